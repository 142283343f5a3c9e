import { sql, type Selectable } from 'kysely'
import type { HeadCommit, Run, Workflow } from '../model/job.ts'
import type { WorkflowPlan } from '../model/workflow/plan.ts'
import { literals } from './literals.ts'
import type { Db } from './open.ts'
import { guardedUpdate, prepared } from './prepared.ts'
import type { Schema } from './schema.ts'

function decodeRun(row: Selectable<Schema['run']>): Run {
  const { source: _source, ...rest } = row
  return {
    ...rest,
    conclusion: row.conclusion as Run['conclusion'],
    headCommit: JSON.parse(row.headCommit) as HeadCommit,
    payload: JSON.parse(row.payload) as Record<string, unknown>,
    inputs: JSON.parse(row.inputs) as Record<string, unknown>,
  }
}

/** The workflow of a path, made or renamed to what the file says. */
export async function workflowEnsure(
  db: Db,
  workflow: { repositoryId: number; path: string; name: string; now: number },
): Promise<Workflow> {
  const { repositoryId, path, name, now } = workflow
  const existing = await db
    .selectFrom('workflow')
    .selectAll()
    .where('repositoryId', '=', repositoryId)
    .where('path', '=', path)
    .executeTakeFirst()
  if (existing?.name === name && existing.state !== 'deleted') return existing
  return db
    .insertInto('workflow')
    .values({ repositoryId, path, name, state: 'active', createdAt: now, updatedAt: now })
    .onConflict((c) =>
      c.columns(['repositoryId', 'path']).doUpdateSet((eb) => ({
        name,
        updatedAt: now,
        state: eb.case().when('workflow.state', '=', 'deleted').then('active').else(eb.ref('workflow.state')).end(),
      })),
    )
    .returningAll()
    .executeTakeFirstOrThrow()
}

export async function workflowById(db: Db, repositoryId: number, id: number): Promise<Workflow | undefined> {
  return db.selectFrom('workflow').selectAll().where('repositoryId', '=', repositoryId).where('id', '=', id).executeTakeFirst()
}

/** By the name of its file, as `ci.yml`, or by its whole path. */
export async function workflowByFile(db: Db, repositoryId: number, file: string): Promise<Workflow | undefined> {
  return db
    .selectFrom('workflow')
    .selectAll()
    .where('repositoryId', '=', repositoryId)
    .where('path', 'in', [file, `.github/workflows/${file}`])
    .executeTakeFirst()
}

export async function workflowList(
  db: Db,
  repositoryId: number,
  page: { offset: number; limit: number },
): Promise<{ workflows: Workflow[]; total: number }> {
  const matching = db.selectFrom('workflow').where('repositoryId', '=', repositoryId).where('state', '!=', 'deleted')
  const workflows = await matching.selectAll().orderBy('id').offset(page.offset).limit(page.limit).execute()
  const { count } = await matching.select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  return { workflows, total: count }
}

/** Workflows whose file the default branch no longer has. */
export async function workflowsMarkDeleted(db: Db, repositoryId: number, keep: string[], now: number): Promise<void> {
  await db
    .updateTable('workflow')
    .set({ state: 'deleted', updatedAt: now })
    .where('repositoryId', '=', repositoryId)
    .where('state', '!=', 'deleted')
    .$if(keep.length > 0, (query) => query.where('path', 'not in', keep))
    .execute()
}

export type NewRun = Omit<Run, 'id' | 'number' | 'status' | 'conclusion' | 'latestAttempt' | 'updatedAt' | 'startedAt'> & {
  /** Names what caused it, so that settling a push twice makes each run once; null for a dispatch. */
  source: string | null
}

/** Adds a run with its next number in the workflow; undefined when its source made one already. Call it in a transaction. */
export async function runInsert(db: Db, run: NewRun): Promise<Run | undefined> {
  // Written first: the row is the lock under which numbers are given out one by one.
  const repository = await db
    .updateTable('repository')
    .set((eb) => ({ runNumbers: eb.ref('runNumbers') }))
    .where('id', '=', run.repositoryId)
    .returning('runNumbers')
    .executeTakeFirst()
  if (!repository) return undefined
  const numbers = JSON.parse(repository.runNumbers) as Record<string, number>
  const number = (numbers[run.workflowId] ?? 0) + 1
  const row = await db
    .insertInto('run')
    .values({
      ...run,
      number,
      headCommit: JSON.stringify(run.headCommit),
      payload: JSON.stringify(run.payload),
      inputs: JSON.stringify(run.inputs),
      status: 'queued',
      conclusion: null,
      latestAttempt: 1,
      updatedAt: run.createdAt,
      startedAt: run.createdAt,
    })
    .onConflict((c) => c.doNothing())
    .returningAll()
    .executeTakeFirst()
  if (!row) return undefined
  numbers[run.workflowId] = number
  await db
    .updateTable('repository')
    .set({ runNumbers: JSON.stringify(numbers) })
    .where('id', '=', run.repositoryId)
    .execute()
  return decodeRun(row)
}

export async function runById(db: Db, id: number): Promise<Run | undefined> {
  const [row] = await rowsById(db, { id })
  return row && decodeRun(row)
}

const rowsById = prepared((db, { id }: { id: number }) => db.selectFrom('run').selectAll().where('id', '=', id))

/** Changes a run in one of the states named; undefined when it is in none. */
export async function runUpdate(
  db: Db,
  id: number,
  from: Run['status'][],
  change: Partial<Pick<Run, 'status' | 'conclusion' | 'problem'>> & { updatedAt: number },
): Promise<Run | undefined> {
  const row = await rowUpdate(db, id, from, change)
  return row && decodeRun(row)
}

const rowUpdate = guardedUpdate('run', 'status')

export interface RunFilter {
  workflowId?: number | undefined
  actorId?: number | undefined
  branch?: string | undefined
  event?: string | undefined
  /** A status or a conclusion. */
  status?: string | undefined
  headSha?: string | undefined
  checkSuiteId?: number | undefined
  created?: { from?: number | undefined; to?: number | undefined } | undefined
}

const STATUSES = new Set(['queued', 'in_progress', 'completed'])

/** Runs of a repository, newest first; a page and the whole count. */
export async function runList(
  db: Db,
  repositoryId: number,
  filter: RunFilter,
  page: { offset: number; limit: number },
): Promise<{ runs: Run[]; total: number }> {
  const { workflowId, actorId, branch, event, status, headSha, checkSuiteId, created } = filter
  let matching = db.selectFrom('run').where('repositoryId', '=', repositoryId)
  if (workflowId !== undefined) matching = matching.where('workflowId', '=', workflowId)
  if (actorId !== undefined) matching = matching.where('actorId', '=', actorId)
  if (branch !== undefined) matching = matching.where('headBranch', '=', branch)
  if (event !== undefined) matching = matching.where('event', '=', event)
  if (headSha !== undefined) matching = matching.where('headSha', '=', headSha)
  if (created?.from !== undefined) matching = matching.where('createdAt', '>=', created.from)
  if (created?.to !== undefined) matching = matching.where('createdAt', '<=', created.to)
  if (status !== undefined) {
    matching = STATUSES.has(status) ? matching.where('status', '=', status as Run['status']) : matching.where('conclusion', '=', status)
  }
  if (checkSuiteId !== undefined) {
    matching = matching.where('id', 'in', db.selectFrom('runAttempt').select('runId').where('runAttempt.id', '=', checkSuiteId))
  }
  const rows = await matching.selectAll().orderBy('id', 'desc').offset(page.offset).limit(page.limit).execute()
  const { count } = await matching.select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  return { runs: rows.map(decodeRun), total: count }
}

export interface Attempt {
  id: number
  runId: number
  number: number
  plan: WorkflowPlan | null
  cancelledAt: number | null
  createdAt: number
  completedAt: number | null
}

export async function attemptInsert(
  db: Db,
  attempt: { runId: number; number: number; plan: WorkflowPlan | null; createdAt: number },
): Promise<number> {
  const row = await db
    .insertInto('runAttempt')
    .values({ ...attempt, plan: attempt.plan === null ? null : JSON.stringify(attempt.plan), cancelledAt: null, completedAt: null })
    .returning('id')
    .executeTakeFirstOrThrow()
  return row.id
}

/** The latest attempt of a run, or the one of that number. */
export async function attemptOfRun(db: Db, runId: number, number?: number): Promise<Attempt | undefined> {
  const [row] = number === undefined ? await latestAttempt(db, { runId }) : await numberedAttempt(db, { runId, number })
  return row && { ...row, plan: row.hasPlan === 1 ? await planOf(db, row.id) : null }
}

const attempts = (db: Db, runId: number) =>
  db
    .selectFrom('runAttempt')
    .select(['id', 'runId', 'number', 'cancelledAt', 'createdAt', 'completedAt'])
    .select((eb) => eb.case().when('plan', 'is', null).then(sql.lit(0)).else(sql.lit(1)).end().as('hasPlan'))
    .where('runId', '=', runId)
const latestAttempt = prepared((db, { runId }: { runId: number }) => attempts(db, runId).orderBy('number', 'desc').limit(1))
const numberedAttempt = prepared((db, { runId, number }: { runId: number; number: number }) =>
  attempts(db, runId).where('number', '=', number),
)

/**
 * Plans read last, by database: one does not change, and each job of its run asks for it. They may be of megabytes, so it is the length of
 * their texts that is bounded.
 */
const PLANS_LENGTH = 4 * 1024 * 1024
const plansOf = new WeakMap<object, { byAttempt: Map<number, WorkflowPlan>; length: number }>()

async function planOf(db: Db, attemptId: number): Promise<WorkflowPlan | null> {
  const { adapter } = db.getExecutor()
  let plans = plansOf.get(adapter)
  if (!plans) plansOf.set(adapter, (plans = { byAttempt: new Map(), length: 0 }))
  const known = plans.byAttempt.get(attemptId)
  if (known) return known
  const [row] = await planTexts(db, { attemptId })
  if (!row || row.plan === null) return null
  const plan = JSON.parse(row.plan) as WorkflowPlan
  if (plans.length + row.plan.length > PLANS_LENGTH) Object.assign(plans, { byAttempt: new Map(), length: 0 })
  plans.byAttempt.set(attemptId, plan)
  plans.length += row.plan.length
  return plan
}

const planTexts = prepared((db, { attemptId }: { attemptId: number }) =>
  db.selectFrom('runAttempt').select('plan').where('id', '=', attemptId),
)

/** The ids of attempts of runs, for lists that do not need the plans. */
export async function attemptIds(db: Db, runIds: number[]): Promise<Map<number, number>> {
  if (runIds.length === 0) return new Map()
  const rows = await db.selectFrom('runAttempt').select(['id', 'runId']).where('runId', 'in', runIds).orderBy('number').execute()
  return new Map(rows.map(({ id, runId }) => [runId, id]))
}

export async function attemptCancel(db: Db, id: number, now: number): Promise<boolean> {
  const result = await db
    .updateTable('runAttempt')
    .set({ cancelledAt: now })
    .where('id', '=', id)
    .where('cancelledAt', 'is', null)
    .where('completedAt', 'is', null)
    .executeTakeFirst()
  return result.numUpdatedRows > 0n
}

export async function attemptIsCancelled(db: Db, id: number): Promise<boolean> {
  const [row] = await cancelById(db, { id })
  return row !== undefined && row.cancelledAt !== null
}

const cancelById = prepared((db, { id }: { id: number }) => db.selectFrom('runAttempt').select('cancelledAt').where('id', '=', id))

export async function attemptComplete(db: Db, id: number, now: number): Promise<void> {
  await db.updateTable('runAttempt').set({ completedAt: now }).where('id', '=', id).execute()
}

/** Unfinished runs that no job of theirs moves: every job is completed or waits for needs that are. A death left them so. */
export async function runsStalled(db: Db, updatedBefore: number, limit: number): Promise<number[]> {
  const rows = await db
    .selectFrom('run')
    .select('id')
    .where('status', '!=', 'completed')
    .where('updatedAt', '<', updatedBefore)
    .where((eb) =>
      eb.not(
        eb.exists(
          eb
            .selectFrom('job')
            .select('job.id')
            .whereRef('job.runId', '=', 'run.id')
            .where('job.status', 'in', literals(['queued', 'assigned', 'in_progress'])),
        ),
      ),
    )
    .limit(limit)
    .execute()
  return rows.map(({ id }) => id)
}
