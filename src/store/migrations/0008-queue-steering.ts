import { sql } from 'kysely'
import { partialIndex, withId, type MigrationTools } from './columns.ts'

/** Fair turns and ranks of lines, queue rules, pauses, and what a rule says of a job. */
export async function up(tools: MigrationTools): Promise<void> {
  const { db } = tools
  for (const index of ['line_label', 'line_owner', 'line_repository', 'job_line']) await db.schema.dropIndex(index).execute()
  const add = (table: string, column: string, type: 'bigint' | 'text', value?: number) =>
    db.schema
      .alterTable(table)
      .addColumn(column, type, (c) => (value === undefined ? c : c.notNull().defaultTo(value)))
      .execute()
  await add('line', 'rank', 'bigint', 0)
  await add('line', 'headTurn', 'bigint')
  await add('line', 'lastTurn', 'bigint', 0)
  await add('line', 'servedTurn', 'bigint')
  await add('line', 'headWide', 'bigint')
  await add('line', 'lastWide', 'bigint', 0)
  await add('line', 'servedWide', 'bigint')
  await add('line', 'limitId', 'bigint')
  await add('job', 'turn', 'bigint', 0)
  await add('job', 'wideTurn', 'bigint', 0)
  await add('job', 'askedLabels', 'text')
  await add('job', 'limitId', 'bigint')
  await add('job', 'waitUntil', 'bigint')
  await add('job', 'waitRule', 'text')
  await add('job', 'fallbackAt', 'bigint')
  await add('job', 'fallback', 'text')
  await add('job', 'steeredBy', 'bigint')
  // What was queued before takes turns from now on as if it had just come: each repository's in its order, from one on.
  await sql`with numbered as (
      select "id", row_number() over (partition by "repositoryId" order by "queuedAt", "id") as "place" from "job" where "status" = 'queued'
    )
    update "job" set "turn" = (select "place" from numbered where numbered."id" = "job"."id"),
      "wideTurn" = (select "place" from numbered where numbered."id" = "job"."id")
    where "status" = 'queued'`.execute(db)
  const ofJobs = (column: string, which: string) =>
    sql`(select ${sql.raw(which)}(${sql.ref(column)}) from "job" where "job"."lineId" = "line"."id" and "job"."status" = 'queued')`
  await sql`update "line" set "headTurn" = ${ofJobs('turn', 'min')}, "lastTurn" = coalesce(${ofJobs('turn', 'max')}, 0),
    "headWide" = ${ofJobs('wideTurn', 'min')}, "lastWide" = coalesce(${ofJobs('wideTurn', 'max')}, 0)`.execute(db)

  const filed = '"headQueuedAt" is not null'
  const order = ['headTurn', 'headQueuedAt', 'id']
  await partialIndex(tools, { name: 'line_label', table: 'line', columns: ['rarestLabel', 'rank', ...order], where: filed })
  await partialIndex(tools, { name: 'line_turn', table: 'line', columns: ['rarestLabel', 'headWide', 'headQueuedAt', 'id'], where: filed })
  await partialIndex(tools, { name: 'line_owner', table: 'line', columns: ['rarestLabel', 'ownerId', 'rank', ...order], where: filed })
  await partialIndex(tools, {
    name: 'line_repository',
    table: 'line',
    columns: ['rarestLabel', 'repositoryId', 'rank', ...order],
    where: filed,
  })
  await db.schema.createIndex('line_served').on('line').columns(['rarestLabel', 'rank', 'servedTurn']).execute()
  await db.schema.createIndex('line_last').on('line').columns(['rarestLabel', 'rank', 'repositoryId', 'lastTurn']).execute()
  await db.schema.createIndex('line_servedWide').on('line').columns(['rarestLabel', 'servedWide']).execute()
  await db.schema.createIndex('line_lastWide').on('line').columns(['rarestLabel', 'repositoryId', 'lastWide']).execute()
  await partialIndex(tools, { name: 'line_limit', table: 'line', columns: ['limitId'], where: `${filed} and "limitId" is not null` })
  await partialIndex(tools, { name: 'job_line', table: 'job', columns: ['lineId', 'turn', 'id'], where: `status = 'queued'` })
  await partialIndex(tools, {
    name: 'job_wait',
    table: 'job',
    columns: ['waitUntil'],
    where: `status = 'queued' and "waitUntil" is not null`,
  })
  await partialIndex(tools, {
    name: 'job_fallback',
    table: 'job',
    columns: ['fallbackAt'],
    where: `status = 'queued' and "fallbackAt" is not null`,
  })
  await partialIndex(tools, {
    name: 'job_limit',
    table: 'job',
    columns: ['limitId'],
    where: `status in ('assigned', 'in_progress') and "limitId" is not null`,
  })
  await partialIndex(tools, {
    name: 'job_repository_open',
    table: 'job',
    columns: ['repositoryId', 'id'],
    where: `status in ('queued', 'assigned', 'in_progress')`,
  })
  await partialIndex(tools, { name: 'job_ended', table: 'job', columns: ['completedAt'], where: `status = 'completed'` })

  await withId(tools, db.schema.createTable('queueRule'))
    .addColumn('ownerKind', 'text', (c) => c.notNull())
    .addColumn('ownerId', 'bigint', (c) => c.notNull())
    .addColumn('position', 'bigint', (c) => c.notNull())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('match', 'text', (c) => c.notNull())
    .addColumn('effect', 'text', (c) => c.notNull())
    .addColumn('createdAt', 'bigint', (c) => c.notNull())
    .addColumn('updatedAt', 'bigint', (c) => c.notNull())
    .execute()
  await db.schema.createIndex('queueRule_owner').on('queueRule').columns(['ownerKind', 'ownerId', 'position']).execute()
  await db.schema
    .createTable('queueReview')
    .addColumn('ownerKind', 'text', (c) => c.notNull())
    .addColumn('ownerId', 'bigint', (c) => c.notNull())
    .addColumn('afterJobId', 'bigint', (c) => c.notNull())
    .addColumn('version', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('queueReview_key', ['ownerKind', 'ownerId'])
    .execute()
  await db.schema
    .createTable('pause')
    .addColumn('kind', 'text', (c) => c.notNull())
    .addColumn('targetId', 'bigint', (c) => c.notNull())
    .addColumn('labelKey', 'text', (c) => c.notNull())
    .addColumn('scopeKind', 'text', (c) => c.notNull())
    .addColumn('scopeId', 'bigint', (c) => c.notNull())
    .addColumn('reason', 'text', (c) => c.notNull())
    .addColumn('isDrain', 'bigint', (c) => c.notNull())
    .addColumn('userId', 'bigint')
    .addColumn('createdAt', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('pause_key', ['kind', 'targetId', 'labelKey', 'scopeKind', 'scopeId'])
    .execute()
}
