import { sql } from 'kysely'
import type { Reach } from '../model/access.ts'

/** Whether the repository in a column, as `table.column`, is within what a token reaches. */
export function isWithin(column: string, { only, selectedFor }: Reach) {
  const id = sql.ref(column)
  const named = only === null ? sql`1 = 1` : only.length === 0 ? sql`1 = 0` : sql`${id} in (${sql.join(only)})`
  const selected =
    selectedFor === null
      ? sql`1 = 1`
      : sql`${id} in (select "repositoryId" from "installationRepository" where "installationId" = ${selectedFor})`
  return sql<boolean>`(${named} and ${selected})`
}

/** No repository at all. */
export const NOTHING: Reach = { only: [], selectedFor: null }
