import { systemActor } from '../../model/access.ts'
import { assignmentsSilent, jobsOnRunners, jobsQueuedBefore, leasesMove, linesEmptyDelete } from '../../store/jobs.ts'
import { pulseMove } from '../../store/task-leases.ts'
import type { Deps } from '../deps.ts'
import { advanceRun } from '../runs/advance-run.ts'
import { cancelJob } from './cancel-job.ts'
import { endWithoutReport, returnToLine, timeoutText } from './end-job.ts'
import { finishJob } from './finish-job.ts'

type ReconcileDeps = Pick<Deps, 'db' | 'now' | 'times' | 'signals' | 'log' | 'evaluator' | 'addresses'>

const BATCH = 200

/** GitHub's sentence for it, with what we know. */
const LOST = 'The self-hosted runner lost communication with the server'

/**
 * Ends leases: a job that was given and not acquired, or acquired and never renewed, goes back in line; one whose runner then gave no sign
 * of life has failed. The only timer that does (architecture 1.5 (c)).
 */
export async function endJobLeases(deps: ReconcileDeps): Promise<string> {
  const { db, now, times } = deps
  const silent = await assignmentsSilent(db, now() - times.lease, now() - times.acquireWithin, BATCH)
  for (const assignment of silent) {
    if (assignment.state === 'running') {
      const seconds = Math.round((now() - assignment.lastSignAt) / 1000)
      await endWithoutReport(deps, assignment, `${LOST}: no sign of life for ${seconds} s. Its machine may have died or lost its network.`)
    } else {
      await returnToLine(deps, assignment)
    }
  }
  return `${silent.length} ended`
}

/** Tells jobs that run longer than their `timeout-minutes` to stop. */
export async function endOverdueJobs(deps: ReconcileDeps): Promise<string> {
  const overdue = await jobsOnRunners(deps.db, { overdueAt: deps.now(), limit: BATCH })
  for (const { job } of overdue) await cancelJob(deps, systemActor, job.id, 'timeout')
  return `${overdue.length} overdue`
}

/** Ends cancelled jobs whose runner did not answer in time: not every cancel is followed by a report (runner-protocol.md 8.2). */
export async function endCancelledJobs(deps: ReconcileDeps): Promise<string> {
  const { db, now, times } = deps
  let ended = 0
  for (const { job, assignment } of await jobsOnRunners(db, { cancelDueAt: now() - times.cancelMargin, limit: BATCH })) {
    const since = assignment.cancelSentAt ?? job.cancelledAt ?? now()
    if (now() - since < job.cancelTimeoutMs + times.cancelMargin) continue
    const problem = job.cancelReason === 'timeout' ? timeoutText(job) : 'The job was cancelled and its runner did not report how it ended.'
    await endWithoutReport(deps, assignment, problem, 'cancelled')
    ended++
  }
  return `${ended} ended`
}

/** Fails jobs that stood in line longer than the queue limit. */
export async function endStaleQueued(deps: ReconcileDeps): Promise<string> {
  const { db, now, times, signals } = deps
  const stale = await jobsQueuedBefore(db, now() - times.queueLimit, BATCH)
  const hours = Math.round(times.queueLimit / 3_600_000)
  for (const job of stale) {
    const problem = `The job waited in line for more than ${hours} hours without a runner taking it.`
    await db.transaction().execute((tx) => finishJob(tx, job.id, ['queued'], { conclusion: 'failure', problem }, now()))
    signals.send('job', job.id)
    await advanceRun(deps, job.runId)
  }
  await linesEmptyDelete(db, BATCH)
  return `${stale.length} ended`
}

/**
 * Says "a node serves", and finds out whether none did for a while: then every lease moves by the gap, since nobody was there to hear a
 * renewal. Each gap moves them once: who moves the pulse over it does it.
 */
export async function beatPulse({ db, now, times, log }: Pick<Deps, 'db' | 'now' | 'times' | 'log'>): Promise<number> {
  const at = now()
  const gap = await db.transaction().execute(async (tx) => {
    const before = (await pulseMove(tx, at)) ?? at
    if (at - before > times.outageAbove) await leasesMove(tx, { from: before, to: at })
    return at - before
  })
  if (gap <= times.outageAbove) return 0
  log.info({ gapMs: gap }, 'no node served for a while: leases moved')
  return gap
}
