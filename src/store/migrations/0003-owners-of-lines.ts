import { sql } from 'kysely'
import type { MigrationTools } from './columns.ts'

/** Runners of the enterprise serve organizations: a line says whose it is. */
export async function up({ db }: MigrationTools): Promise<void> {
  await db.schema
    .alterTable('line')
    .addColumn('ownerKind', 'text', (column) => column.notNull().defaultTo('organization'))
    .execute()
  await sql`update "line" set "ownerKind" = 'user' where "ownerId" in (select "id" from "account" where "kind" = 'user')`.execute(db)
}
