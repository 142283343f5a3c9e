import { sql } from 'kysely'
import { withId, type MigrationTools } from './columns.ts'

/** What people did. The database itself refuses to change or delete an entry. */
export async function up(tools: MigrationTools): Promise<void> {
  const { db, postgres } = tools
  await withId(tools, db.schema.createTable('auditEntry'))
    .addColumn('at', 'bigint', (c) => c.notNull())
    .addColumn('action', 'text', (c) => c.notNull())
    .addColumn('actorKind', 'text', (c) => c.notNull())
    .addColumn('actorId', 'bigint')
    .addColumn('actorLogin', 'text')
    .addColumn('ip', 'text')
    .addColumn('userAgent', 'text')
    .addColumn('requestId', 'text')
    .addColumn('organizationId', 'bigint')
    .addColumn('repositoryId', 'bigint')
    .addColumn('subjectKind', 'text', (c) => c.notNull())
    .addColumn('subjectId', 'bigint', (c) => c.notNull())
    .addColumn('data', 'text', (c) => c.notNull())
    .execute()
  await db.schema.createIndex('auditEntry_organization').on('auditEntry').columns(['organizationId', 'id']).execute()
  const run = (text: string) => sql.raw(text).execute(db)
  if (postgres) {
    await run(`create function "auditEntry_refuse"() returns trigger language plpgsql as $$
      begin raise exception 'the audit log is append-only'; end $$`)
    await run(
      `create trigger "auditEntry_append" before update or delete or truncate on "auditEntry" for each statement execute function "auditEntry_refuse"()`,
    )
    return
  }
  for (const verb of ['update', 'delete']) {
    await run(
      `create trigger "auditEntry_${verb}" before ${verb} on "auditEntry" begin select raise(abort, 'the audit log is append-only'); end`,
    )
  }
}
