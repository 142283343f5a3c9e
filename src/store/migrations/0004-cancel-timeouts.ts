import type { MigrationTools } from './columns.ts'

/** `cancel-timeout-minutes` of a job; five minutes where it says nothing. */
export async function up({ db }: MigrationTools): Promise<void> {
  await db.schema
    .alterTable('job')
    .addColumn('cancelTimeoutMs', 'bigint', (column) => column.notNull().defaultTo(300_000))
    .execute()
}
