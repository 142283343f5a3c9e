import { sql, type ColumnDefinitionBuilder, type CreateTableBuilder, type Kysely } from 'kysely'

/** What SQLite and PostgreSQL spell differently in a migration. */
export interface MigrationTools {
  // A migration describes the schema of its own time, not today's.
  // oxlint-disable-next-line typescript/no-explicit-any
  db: Kysely<any>
  postgres: boolean
}

/** Adds the identity key `id`. SQLite needs AUTOINCREMENT, or the id of a deleted row could come back. */
export function withId<T extends string>({ postgres }: MigrationTools, table: CreateTableBuilder<T>): CreateTableBuilder<T, 'id'> {
  return postgres
    ? table.addColumn('id', 'bigint', (c: ColumnDefinitionBuilder) => c.generatedByDefaultAsIdentity().primaryKey())
    : table.addColumn('id', 'integer', (c: ColumnDefinitionBuilder) => c.primaryKey().autoIncrement())
}

/** A partial index: both databases have them, Kysely's builder has no common form for expressions in them. */
export async function partialIndex(
  { db }: MigrationTools,
  options: { name: string; table: string; columns: string[]; where: string; unique?: boolean },
): Promise<void> {
  const columns = options.columns.map((column) => `"${column}"`).join(', ')
  const unique = options.unique ? 'unique ' : ''
  await sql.raw(`create ${unique}index "${options.name}" on "${options.table}" (${columns}) where ${options.where}`).execute(db)
}
