import type { ExpressionBuilder } from 'kysely'
import type { RuleEffect } from '../model/queue-rule.ts'
import { literals } from './literals.ts'
import { isPostgres, type Db } from './open.ts'
import type { Schema } from './schema.ts'

const RUNNING = ['assigned', 'in_progress'] as const

/** Which of these rules have as many running jobs as they allow. A rule that is gone, or no longer limits, allows all. */
export async function limitsFull(db: Db, ruleIds: readonly number[]): Promise<Set<number>> {
  if (ruleIds.length === 0) return new Set()
  const rows = await db
    .selectFrom('queueRule')
    .select((eb) => [
      'id',
      'effect',
      eb
        .selectFrom('limitHold')
        .innerJoin('job', 'job.id', 'limitHold.jobId')
        .select(({ fn }) => fn.countAll<number>().as('count'))
        .whereRef('limitHold.ruleId', '=', 'queueRule.id')
        .where('job.status', 'in', literals(RUNNING))
        .as('running'),
    ])
    .where('id', 'in', ruleIds)
    .execute()
  const full = rows.filter(({ effect, running }) => {
    const most = (JSON.parse(effect) as RuleEffect).mostAtOnce
    return most !== undefined && (running ?? 0) >= most
  })
  return new Set(full.map(({ id }) => id))
}

/**
 * Keeps a room under rules that had one a moment ago, until the transaction ends; false when another took it meanwhile. Two claims count one
 * after the other: on PostgreSQL by locks on the rules' rows, in one order, on SQLite there is one that writes.
 */
export async function limitsTake(db: Db, ruleIds: readonly number[]): Promise<boolean> {
  if (!isPostgres(db)) return true
  await rulesLock(db, ruleIds)
  return (await limitsFull(db, ruleIds)).size === 0
}

async function rulesLock(tx: Db, ruleIds: readonly number[]): Promise<void> {
  await tx.selectFrom('queueRule').select('id').where('id', 'in', ruleIds).orderBy('id').forUpdate().execute()
}

/** A job that is given out counts for these rules as long as it runs. */
export async function limitsHold(db: Db, jobId: number, ruleIds: readonly number[]): Promise<void> {
  await db
    .insertInto('limitHold')
    .values(ruleIds.map((ruleId) => ({ ruleId, jobId })))
    .onConflict((c) => c.doNothing())
    .execute()
}

/** A running job counts for these rules from now on, and for no others. */
export async function limitsReplace(db: Db, jobId: number, ruleIds: readonly number[]): Promise<void> {
  await db.deleteFrom('limitHold').where('jobId', '=', jobId).execute()
  if (ruleIds.length > 0) await limitsHold(db, jobId, ruleIds)
}

/**
 * Forgets jobs that no longer run; they count for nothing, but their rows would pile up. Call it in a transaction. A job that went back in
 * line may be given out in this moment, and keep its row: rules are locked first, as claims lock them, and what they did is seen then.
 */
export async function limitsSweep(tx: Db): Promise<void> {
  const stale = await tx.selectFrom('limitHold').select('ruleId').distinct().where(isOver).execute()
  if (stale.length === 0) return
  const ruleIds = stale.map(({ ruleId }) => ruleId)
  if (isPostgres(tx)) await rulesLock(tx, ruleIds)
  await tx.deleteFrom('limitHold').where('ruleId', 'in', ruleIds).where(isOver).execute()
}

/** Whether the job of a row no longer runs. */
function isOver(eb: ExpressionBuilder<Schema, 'limitHold'>) {
  const running = eb.selectFrom('job').select('job.id').whereRef('job.id', '=', 'limitHold.jobId')
  return eb.not(eb.exists(running.where('job.status', 'in', literals(RUNNING))))
}

/** The limits that jobs wait for, and one line of each set of them. */
export async function linesOfLimits(db: Db): Promise<{ limitIds: number[]; lineId: number }[]> {
  const found = await db
    .selectFrom('line')
    .select(['limitIds', (eb) => eb.fn.min('id').as('lineId')])
    .where('headQueuedAt', 'is not', null)
    .where('limitIds', 'is not', null)
    .groupBy('limitIds')
    .execute()
  return found.map(({ limitIds, lineId }) => ({ limitIds: JSON.parse(limitIds ?? '[]') as number[], lineId }))
}
