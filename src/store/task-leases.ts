import { isPostgres, type Db } from './open.ts'

/** Takes a task for `holder` until `until`, unless another node has it; whether it was taken. */
export async function taskLeaseTake(db: Db, name: string, holder: string, now: number, until: number): Promise<boolean> {
  const row = { name, holder, until, lastRunAt: now, lastResult: null }
  const result = await db
    .insertInto('taskLease')
    .values(row)
    .onConflict((c) =>
      c
        .column('name')
        .doUpdateSet({ holder, until, lastRunAt: now })
        .where((eb) => eb.or([eb('taskLease.until', '<=', now), eb('taskLease.holder', '=', holder)])),
    )
    .executeTakeFirst()
  return (result.numInsertedOrUpdatedRows ?? 0n) > 0n
}

/** Gives the task back with what came of it. */
export async function taskLeaseEnd(db: Db, name: string, holder: string, now: number, result: string): Promise<void> {
  await db.updateTable('taskLease').set({ until: now, lastResult: result }).where('name', '=', name).where('holder', '=', holder).execute()
}

/**
 * Moves the pulse that says "a node serves"; answers where it stood before. Of two nodes after one gap only the first sees it. Call it in a
 * transaction.
 */
export async function pulseMove(db: Db, now: number): Promise<number | undefined> {
  const before = await db
    .selectFrom('pulse')
    .select('at')
    .where('id', '=', 1)
    .$if(isPostgres(db), (query) => query.forUpdate())
    .executeTakeFirst()
  await db
    .insertInto('pulse')
    .values({ id: 1, at: now })
    .onConflict((c) => c.column('id').doUpdateSet({ at: now }).where('pulse.at', '<', now))
    .execute()
  return before?.at
}

export async function settingGet(db: Db, name: string): Promise<string | undefined> {
  return (await db.selectFrom('setting').select('value').where('name', '=', name).executeTakeFirst())?.value
}

/** Sets a value that nobody set before; answers the one that holds. */
export async function settingEnsure(db: Db, name: string, value: string): Promise<string> {
  await db
    .insertInto('setting')
    .values({ name, value })
    .onConflict((c) => c.doNothing())
    .execute()
  return (await settingGet(db, name)) ?? value
}
