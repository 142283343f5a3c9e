import { reachOf, type Actor } from '../../model/access.ts'
import type { Repository } from '../../model/account.ts'
import { labelSet, type Job } from '../../model/job.ts'
import { jobsAhead, lanePlace, queuedPage, recentDurations, type Ended } from '../../store/queue.ts'
import { repositoryById } from '../../store/repositories.ts'
import { authorizeRunnerScope, type RunnerScope, type RunnerScopeRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import { nothingSeen, queuedState } from '../jobs/waiting-reason.ts'
import { queueReadNeeds } from './queue-needs.ts'

/** Positions beyond this are not counted. */
const POSITION_LIMIT = 1000
const DURATIONS = 200
/** With fewer ended jobs of the same labels the mean of all says more. */
const ENOUGH = 5

export interface QueuedJob {
  job: Job
  repository: Repository
  /** From 1; null beyond a thousand. Among the jobs of the place that are filed under the same label. */
  position: number | null
  priority: number
  reason: string
  /** Milliseconds until it probably starts; null when no runner could start it, or nothing ended yet. */
  startsInMs: number | null
}

/** The jobs that wait for a runner at a scope and below it and that the token reaches, longest first, with position, reason and an estimate from recent durations. */
export async function listQueue(
  deps: Pick<Deps, 'db' | 'log' | 'now' | 'times'>,
  actor: Actor,
  { scope: ref, offset, limit }: { scope: RunnerScopeRef; offset: number; limit: number },
): Promise<{ scope: RunnerScope; jobs: QueuedJob[]; total: number }> {
  const scope = await authorizeRunnerScope(deps, actor, ref, queueReadNeeds)
  // Of one repository that question is answered: a public one may be read without being reached.
  const reach = scope.kind === 'repository' ? undefined : reachOf(actor)
  const { jobs, total } = await queuedPage(deps.db, scope, { offset, limit }, reach)
  const durations = await recentDurations(deps.db, scope, DURATIONS)
  const states = new Map<string, Awaited<ReturnType<typeof queuedState>>>()
  const seen = nothingSeen()
  const listed: QueuedJob[] = []
  for (const job of jobs) {
    const repository = await repositoryById(deps.db, job.repositoryId)
    const place = await lanePlace(deps.db, job.id)
    if (!repository || !place) continue
    // Jobs of one line wait for the same reason.
    const key = `${job.lineId}`
    const state = states.get(key) ?? (await queuedState(deps, repository, job, seen))
    states.set(key, state)
    const ahead = await jobsAhead(deps.db, scope, place, job, POSITION_LIMIT)
    const position = ahead >= POSITION_LIMIT ? null : ahead + 1
    listed.push({
      job,
      repository,
      position,
      priority: 0 - place.rank,
      reason: state.reason,
      startsInMs: estimate(position, state, meanFor(job, durations)),
    })
  }
  return { scope, jobs: listed, total }
}

function meanFor(job: Job, durations: Ended[]): number | undefined {
  const labels = JSON.stringify(labelSet(job.labels))
  const same = durations.filter((ended) => JSON.stringify(labelSet(JSON.parse(ended.labels) as string[])) === labels)
  const used = same.length >= ENOUGH ? same : durations
  return used.length === 0 ? undefined : used.reduce((sum, { durationMs }) => sum + durationMs, 0) / used.length
}

function estimate(position: number | null, { online, idle }: { online: number; idle: number }, meanMs: number | undefined): number | null {
  if (position === null || online === 0) return null
  if (position <= idle) return 0
  return meanMs === undefined ? null : Math.round(Math.ceil((position - idle) / online) * meanMs)
}
