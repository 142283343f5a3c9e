import type { MigrationTools } from './columns.ts'

/** Small objects keep their bytes in their row (docs/adr/0007). */
export async function up({ db, postgres }: MigrationTools): Promise<void> {
  await db.schema
    .alterTable('blob')
    .addColumn('content', postgres ? 'bytea' : 'blob')
    .execute()
}
