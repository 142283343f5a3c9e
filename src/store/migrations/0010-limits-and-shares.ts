import { sql } from 'kysely'
import { partialIndex, type MigrationTools } from './columns.ts'

/** A job may be bound by many limits; moved jobs go before others whatever the turns; who moved a job from where. */
export async function up(tools: MigrationTools): Promise<void> {
  const { db } = tools
  await db.schema
    .createTable('limitHold')
    .addColumn('ruleId', 'bigint', (c) => c.notNull())
    .addColumn('jobId', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('limitHold_key', ['ruleId', 'jobId'])
    .execute()
  await db.schema.createIndex('limitHold_job').on('limitHold').column('jobId').execute()
  await sql`insert into "limitHold" ("ruleId", "jobId")
    select "limitId", "id" from "job" where "status" in ('assigned', 'in_progress') and "limitId" is not null`.execute(db)
  await db.schema.alterTable('line').addColumn('limitIds', 'text').execute()
  await sql`update "line" set "limitIds" = '[' || "limitId" || ']' where "limitId" is not null`.execute(db)
  await db.schema.dropIndex('line_limit').execute()
  await db.schema.dropIndex('job_limit').execute()
  await db.schema.alterTable('line').dropColumn('limitId').execute()
  await db.schema.alterTable('job').dropColumn('limitId').execute()
  await partialIndex(tools, {
    name: 'line_limits',
    table: 'line',
    columns: ['limitIds', 'id'],
    where: `"headQueuedAt" is not null and "limitIds" is not null`,
  })
  await db.schema.alterTable('line').addColumn('ahead', 'text').execute()
  await db.schema.alterTable('job').addColumn('steeredFrom', 'text').execute()
}
