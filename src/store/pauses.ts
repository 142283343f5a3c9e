import { sql, type Selectable } from 'kysely'
import type { ScopeRef } from '../model/access.ts'
import { isPostgres, type Db } from './open.ts'
import { prepared } from './prepared.ts'
import type { Schema } from './schema.ts'

export type Pause = Omit<Selectable<Schema['pause']>, 'isDrain'> & { isDrain: boolean }
export type PauseTarget = Pick<Pause, 'kind' | 'targetId' | 'labelKey' | 'scopeKind' | 'scopeId'>

const decode = (row: Selectable<Schema['pause']>): Pause => ({ ...row, isDrain: row.isDrain === 1 })

/** Pauses, or changes reason and kind of a pause that is there. */
export async function pauseSet(db: Db, pause: Pause): Promise<void> {
  const row = { ...pause, isDrain: pause.isDrain ? 1 : 0 }
  const { reason, isDrain, userId, createdAt } = row
  await db
    .insertInto('pause')
    .values(row)
    .onConflict((c) =>
      c.columns(['kind', 'targetId', 'labelKey', 'scopeKind', 'scopeId']).doUpdateSet({ reason, isDrain, userId, createdAt }),
    )
    .execute()
}

/** How many pauses were made at a scope. */
export async function pauseCount(db: Db, scope: ScopeRef): Promise<number> {
  const { count } = await db
    .selectFrom('pause')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('scopeKind', '=', scope.kind)
    .where('scopeId', '=', scope.id)
    .executeTakeFirstOrThrow()
  return count
}

/** Ends a pause; whether there was one. */
export async function pauseEnd(db: Db, { kind, targetId, labelKey, scopeKind, scopeId }: PauseTarget): Promise<boolean> {
  const result = await db
    .deleteFrom('pause')
    .where('kind', '=', kind)
    .where('targetId', '=', targetId)
    .where('labelKey', '=', labelKey)
    .where('scopeKind', '=', scopeKind)
    .where('scopeId', '=', scopeId)
    .executeTakeFirst()
  return result.numDeletedRows > 0n
}

/** The pauses that were made at a scope. */
export async function pauseList(db: Db, scope: ScopeRef): Promise<Pause[]> {
  const rows = await db
    .selectFrom('pause')
    .selectAll()
    .where('scopeKind', '=', scope.kind)
    .where('scopeId', '=', scope.id)
    .orderBy('kind')
    .orderBy('targetId')
    .orderBy('labelKey')
    .execute()
  return rows.map(decode)
}

interface Check {
  groupId: number | null
  version: number | null
}

const checks = prepared((db, { runnerId, labels }: { runnerId: number; labels: string }) => {
  const values = isPostgres(db)
    ? sql`(select value from json_array_elements_text(cast(${labels} as json)) as each(value))`
    : sql`(select value from json_each(${labels}))`
  return sql<Check & { [Column in keyof Selectable<Schema['pause']>]: Selectable<Schema['pause']>[Column] | null }>`
    select runner."groupId" as "groupId", (select version from "runnerGroup" where id = runner."groupId") as version, pause.*
    from runner left join pause on (kind = 'runner' and "targetId" = runner.id) or (kind = 'group' and "targetId" = runner."groupId")
      or (kind = 'label' and "targetId" = 0 and "labelKey" in ${values})
    where runner.id = ${runnerId}`
})

/**
 * What a claim asks of a runner, in one statement: its group of now with the version of its rules, and what may hold it back: its own
 * pause, its group's, and those of its labels, wherever they were made. Undefined when the runner is gone.
 */
export async function claimChecks(db: Db, of: { runnerId: number; labels: string[] }): Promise<(Check & { pauses: Pause[] }) | undefined> {
  const rows = await checks(db, { runnerId: of.runnerId, labels: JSON.stringify(of.labels) })
  const [first] = rows
  const pauses = rows.flatMap(({ groupId: _group, version: _version, ...row }) =>
    row.kind === null ? [] : [decode(row as Selectable<Schema['pause']>)],
  )
  return first && { groupId: first.groupId, version: first.version, pauses }
}

/** The pauses of these runners and groups, and all of labels. */
export async function pausesAmong(db: Db, of: { runnerIds: number[]; groupIds: number[] }): Promise<Pause[]> {
  const found = await db
    .selectFrom('pause')
    .selectAll()
    .where((eb) =>
      eb.or([
        ...(of.runnerIds.length > 0 ? [eb.and([eb('kind', '=', 'runner'), eb('targetId', 'in', of.runnerIds)])] : []),
        ...(of.groupIds.length > 0 ? [eb.and([eb('kind', '=', 'group'), eb('targetId', 'in', of.groupIds)])] : []),
        eb('kind', '=', 'label'),
      ]),
    )
    .execute()
  return found.map(decode)
}
