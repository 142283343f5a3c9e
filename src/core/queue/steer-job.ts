import { accountOfActor, type Actor } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import { labelSet, type Job, type Line } from '../../model/job.ts'
import { EXPEDITED_RANK, type Placement } from '../../model/queue-rule.ts'
import { cleanLabels } from '../../model/runner.ts'
import { jobById, jobMove, lineById } from '../../store/jobs.ts'
import { lanePlace } from '../../store/queue.ts'
import { repositoryById } from '../../store/repositories.ts'
import { runById } from '../../store/runs.ts'
import { transact } from '../../store/transact.ts'
import { authorizeRunnerScope, reachesRepository, type RunnerScope, type RunnerScopeRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import { jobEvent } from '../jobs/job-event.ts'
import { placeJob } from './place-job.ts'
import { queueSteerNeeds } from './queue-needs.ts'

/** Where a job is to go: to the front of all, before another one that waits for the same label, to a priority, to other labels, or where the rules say. */
export type Steering =
  | { kind: 'expedite' }
  | { kind: 'reset' }
  | { kind: 'before'; jobId: number }
  | { kind: 'priority'; priority: number }
  | { kind: 'labels'; labels: string[] }

/**
 * Moves one job that stands in line, and leaves it there whatever the rules say, until it is reset. On the enterprise's runners an
 * organization orders its own jobs only: what it expedites has the organization's next turn. Who manages only a repository of an organization may let
 * its jobs yield, or let two of them change places, and overtakes nobody else.
 *
 * @throws AppError not_found for a job that is not of the scope, or that the token does not reach; conflict when it does not stand in line; forbidden; invalid
 */
export async function steerJob(
  deps: Pick<Deps, 'db' | 'log' | 'now' | 'signals'>,
  actor: Actor,
  input: { scope: RunnerScopeRef; jobId: number; steering: Steering },
): Promise<Job> {
  const scope = await authorizeRunnerScope(deps, actor, input.scope, queueSteerNeeds)
  const { steering } = input
  await jobIn(deps.db, actor, scope, input.jobId)
  const moved = await transact(deps.db, async (tx) => {
    const job = await jobById(tx, input.jobId)
    const line = job?.lineId == null ? undefined : await lineById(tx, job.lineId)
    if (job?.status !== 'queued' || !line) throw new AppError('conflict', 'The job does not stand in line')
    const steeredFrom: Job['steeredFrom'] = scope.kind === 'repository' ? 'repository' : 'above'
    const steered = { steeredBy: accountOfActor(actor)?.id ?? 0, steeredFrom }
    const to = await targetOf(tx, actor, scope, job, line, steering)
    if (to.swap) await jobMove(tx, to.swap.job, to.swap.line, { turn: job.turn, wideTurn: job.wideTurn, ...steered })
    const result = await jobMove(tx, job, { ...line, ahead: null, ...to.place }, { ...steered, ...to.change })
    // Webhooks tell a job that asks for other labels as queued anew.
    const labels = to.change.runnerLabels && { from: job.labels, to: to.change.runnerLabels }
    if (result) await jobEvent(tx, result.job, 'job.steered', deps.now(), { ...steering, ...labels }, actor)
    return result
  })
  if (!moved) throw new AppError('conflict', 'The job does not stand in line any more')
  deps.signals.send('line', moved.line.id)
  return moved.job
}

async function jobIn(db: Deps['db'], actor: Actor, scope: RunnerScope, jobId: number): Promise<Job> {
  const job = await jobById(db, jobId)
  const repository = job && (await repositoryById(db, job.repositoryId))
  const isIn =
    repository && (scope.kind === 'enterprise' || (scope.kind === 'organization' ? repository.owner.id : repository.id) === scope.id)
  if (!job || !isIn || !(await reachesRepository({ db }, actor, repository))) throw new AppError('not_found', 'Not Found')
  return job
}

interface Target {
  place: Partial<Pick<Line, 'rank' | 'labels' | 'ahead'>>
  change: Omit<NonNullable<Parameters<typeof jobMove>[3]>, 'steeredFrom'>
  /** The other job takes this one's turn. */
  swap?: { job: Job; line: Line }
}

async function targetOf(tx: Deps['db'], actor: Actor, scope: RunnerScope, job: Job, line: Line, steering: Steering): Promise<Target> {
  const mayOvertake = scope.kind !== 'repository' || scope.repository.owner.kind === 'user'
  const notBefore = () => new AppError('forbidden', 'Only who manages the runners of the organization may let a job overtake others')
  if (steering.kind === 'labels') {
    const labels = cleanLabels(steering.labels.map((name) => ({ name }))).map(({ name }) => name)
    if (labels.length === 0) throw new AppError('invalid', 'A job must ask for one label at least')
    const change: Target['change'] = { runnerLabels: labels, askedLabels: job.askedLabels ?? job.labels, fallback: [] }
    return { place: { labels: labelSet(labels) }, change }
  }
  if (steering.kind === 'before') {
    const other = await jobIn(tx, actor, scope, steering.jobId)
    const [own, place] = [await lanePlace(tx, job.id), await lanePlace(tx, other.id)]
    const otherLine = other.lineId === null ? undefined : await lineById(tx, other.lineId)
    if (!own || !place || !otherLine || other.id === job.id)
      throw new AppError('invalid', `The job ${steering.jobId} does not stand in line`)
    if (own.rarestLabel !== place.rarestLabel) throw new AppError('invalid', 'The two jobs do not wait for the same label')
    if (mayOvertake) return { place: { rank: place.rank, ahead: 'lane' }, change: { turn: other.turn - 1, wideTurn: other.wideTurn - 1 } }
    // Within one's own repository the order is one's own: the two change places.
    if (own.rank !== place.rank) throw notBefore()
    if (own.turn <= place.turn) return { place: {}, change: {} }
    return { place: {}, change: { turn: other.turn, wideTurn: other.wideTurn }, swap: { job: other, line: otherLine } }
  }
  if (steering.kind === 'expedite') {
    if (!mayOvertake) throw notBefore()
    // Of the enterprise's runners only the enterprise says who goes first of all.
    return scope.kind === 'enterprise'
      ? { place: { rank: EXPEDITED_RANK, ahead: 'all' }, change: { wideTurn: 0 } }
      : { place: { rank: EXPEDITED_RANK }, change: {} }
  }
  if (steering.kind === 'reset') {
    if (!mayOvertake && job.steeredFrom === 'above') throw notBefore()
    const { rank } = await ruledPlace(tx, job, line)
    return { place: { rank }, change: { steeredBy: null, asNew: true } }
  }
  const rank = 0 - steering.priority
  if (!mayOvertake && rank < Math.max(0, (await ruledPlace(tx, job, line)).rank)) throw notBefore()
  return { place: { rank }, change: {} }
}

/** What the rules say of the job. */
async function ruledPlace(tx: Deps['db'], job: Job, line: Line): Promise<Placement> {
  const [run, repository] = [await runById(tx, job.runId), await repositoryById(tx, job.repositoryId)]
  if (!run || !repository) throw new AppError('conflict', 'The repository of the job is gone')
  const about = { repository, run, workflow: line.workflow.split('@')[0] ?? '', labels: job.askedLabels ?? job.labels }
  return placeJob(tx, about, job.queuedAt ?? 0)
}
