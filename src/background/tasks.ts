import type { Deps } from '../core/deps.ts'
import { expireDeliveries } from '../core/hooks/deliveries.ts'
import { fanOutEvents, hasUntoldEvents } from '../core/hooks/fan-out.ts'
import { beatPulse, endCancelledJobs, endJobLeases, endOverdueJobs, endStaleQueued } from '../core/jobs/reconcile-jobs.ts'
import { advanceStalledRuns, expireRuns, pruneSpares, removeAbandonedRunners, tidyRepositories } from '../core/maintenance.ts'
import { sweepOrphans } from '../core/sweep-orphans.ts'
import { sweepArchives } from '../core/repos/archive-cache.ts'
import { endLongWaits, fallBack } from '../core/queue/fall-back.ts'
import { reviewQueue } from '../core/queue/queue-rules.ts'
import { reconcilePushes } from '../core/repos/reconcile-pushes.ts'
import type { Task } from './driver.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
/** A push is left alone for this long: its own connection settles it. */
const PUSH_SETTLES_MS = 10 * SECOND

/** Everything that the product does without being asked. Each is a use-case, run by hand in tests. */
export function backgroundTasks(deps: Deps): Task[] {
  return [
    { name: 'end-job-leases', everyMs: SECOND, run: () => judgeLeases(deps) },
    { name: 'end-overdue-jobs', everyMs: 2 * SECOND, run: () => endOverdueJobs(deps) },
    { name: 'end-cancelled-jobs', everyMs: 2 * SECOND, run: () => endCancelledJobs(deps) },
    { name: 'tend-queue', everyMs: SECOND, run: () => tendQueue(deps) },
    { name: 'end-stale-queued', everyMs: MINUTE, run: () => endStaleQueued(deps) },
    { name: 'advance-stalled-runs', everyMs: 5 * SECOND, run: () => advanceStalledRuns(deps) },
    { name: 'settle-pushes', everyMs: 5 * SECOND, run: async () => `${await reconcilePushes(deps, PUSH_SETTLES_MS)} pushes` },
    {
      name: 'fan-out-events',
      everyMs: SECOND,
      leaseMs: 5 * SECOND,
      isDue: () => hasUntoldEvents(deps),
      run: (abort) => fanOutEvents(deps, abort),
    },
    { name: 'expire-deliveries', everyMs: 10 * MINUTE, run: (abort) => expireDeliveries(deps, abort) },
    { name: 'remove-abandoned-runners', everyMs: 10 * MINUTE, run: () => removeAbandonedRunners(deps) },
    { name: 'prune-spares', everyMs: 10 * MINUTE, run: () => pruneSpares(deps) },
    { name: 'expire-runs', everyMs: 10 * MINUTE, run: () => expireRuns(deps) },
    { name: 'sweep-archives', everyMs: 10 * MINUTE, run: () => sweepArchives(deps) },
    { name: 'sweep-orphans', everyMs: 6 * HOUR, run: (abort) => sweepOrphans(deps, abort) },
    { name: 'tidy-repositories', everyMs: HOUR, run: () => tidyRepositories(deps, 2 * HOUR) },
  ]
}

/** What queue rules do with time, and to jobs that were queued before them. */
async function tendQueue(deps: Deps): Promise<string> {
  return `fell back: ${await fallBack(deps)}; waited too long: ${await endLongWaits(deps)}; rules: ${await reviewQueue(deps)}`
}

/** A process that stood still wakes here as well as at its pulse: the outage is found first. */
async function judgeLeases(deps: Deps): Promise<string> {
  await beatPulse(deps)
  return endJobLeases(deps)
}
