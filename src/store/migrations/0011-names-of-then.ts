import type { MigrationTools } from './columns.ts'

/** What a place was called when an entry of the audit log was written; entries before this have none. */
export async function up({ db }: MigrationTools): Promise<void> {
  await db.schema.alterTable('auditEntry').addColumn('organizationLogin', 'text').execute()
  await db.schema.alterTable('auditEntry').addColumn('repositoryName', 'text').execute()
}
