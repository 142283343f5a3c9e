import type { Actor } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import { labelSet, type Job } from '../../model/job.ts'
import { EXPEDITED_RANK } from '../../model/queue-rule.ts'
import { cleanLabels } from '../../model/runner.ts'
import { jobById, jobMove, lineById } from '../../store/jobs.ts'
import { lanePlace } from '../../store/queue.ts'
import { repositoryById } from '../../store/repositories.ts'
import { authorizeRunnerScope, reachesRepository, type RunnerScope, type RunnerScopeRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import { jobEvent } from '../jobs/job-event.ts'
import { queueSteerNeeds } from './queue-needs.ts'

/** Where a job is to go: to the front of all, before another one that waits for the same label, to a priority, to other labels. */
export type Steering =
  | { kind: 'expedite' }
  | { kind: 'before'; jobId: number }
  | { kind: 'priority'; priority: number }
  | { kind: 'labels'; labels: string[] }

/**
 * Moves one job that stands in line, and leaves it there whatever the rules say. Who manages only a repository of an organization may let
 * its jobs yield, or change the order among them, and overtake nobody else.
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
  const moved = await deps.db.transaction().execute(async (tx) => {
    const job = await jobById(tx, input.jobId)
    const line = job?.lineId == null ? undefined : await lineById(tx, job.lineId)
    if (job?.status !== 'queued' || !line) throw new AppError('conflict', 'The job does not stand in line')
    const steeredBy = actor.kind === 'user' ? actor.userId : 0
    const to = await targetOf(tx, actor, scope, job, steering)
    const result = await jobMove(tx, job, { ...line, ...to.place }, { ...to.change, steeredBy })
    if (result) await jobEvent(tx, result.job, 'job.steered', deps.now(), { ...steering }, actor)
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

async function targetOf(
  tx: Deps['db'],
  actor: Actor,
  scope: RunnerScope,
  job: Job,
  steering: Steering,
): Promise<{ place: { rank?: number; labels?: string[] }; change: { turn?: number; runnerLabels?: string[]; fallback?: [] } }> {
  const mayOvertake = scope.kind !== 'repository' || scope.repository.owner.kind === 'user'
  if (steering.kind === 'labels') {
    const labels = cleanLabels(steering.labels.map((name) => ({ name }))).map(({ name }) => name)
    if (labels.length === 0) throw new AppError('invalid', 'A job must ask for one label at least')
    return { place: { labels: labelSet(labels) }, change: { runnerLabels: labels, fallback: [] } }
  }
  if (steering.kind === 'before') {
    const [own, other] = [await lanePlace(tx, job.id), await lanePlace(tx, steering.jobId)]
    const target = await jobIn(tx, actor, scope, steering.jobId)
    if (!own || !other || target.id === job.id) throw new AppError('invalid', `The job ${steering.jobId} does not stand in line`)
    if (own.rarestLabel !== other.rarestLabel) throw new AppError('invalid', 'The two jobs do not wait for the same label')
    return { place: { rank: other.rank }, change: { turn: other.turn - 1 } }
  }
  const rank = steering.kind === 'expedite' ? EXPEDITED_RANK : 0 - steering.priority
  if (!mayOvertake && rank < 0)
    throw new AppError('forbidden', 'Only who manages the runners of the organization may let a job overtake others')
  return { place: { rank }, change: {} }
}
