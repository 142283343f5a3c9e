import { systemActor } from '../../model/access.ts'
import { labelSet } from '../../model/job.ts'
import { jobById, jobMove, lineById } from '../../store/jobs.ts'
import { jobsOverWait, jobsToFallBack } from '../../store/queue.ts'
import { transact } from '../../store/transact.ts'
import type { Deps } from '../deps.ts'
import { finishJob } from '../jobs/finish-job.ts'
import { jobEvent } from '../jobs/job-event.ts'
import { advanceRun } from '../runs/advance-run.ts'

type QueueDeps = Pick<Deps, 'db' | 'now' | 'signals' | 'log' | 'evaluator' | 'addresses'>

const BATCH = 200

/** Jobs that waited as long as their rule says ask for its other labels from now on; they keep the time since which they wait. */
export async function fallBack(deps: Pick<Deps, 'db' | 'now' | 'signals'>): Promise<string> {
  const { db, now, signals } = deps
  const ids = await jobsToFallBack(db, now(), BATCH)
  for (const id of ids) {
    const moved = await transact(db, async (tx) => {
      const job = await jobById(tx, id)
      const [step, ...rest] = job?.fallback ?? []
      if (job?.status !== 'queued' || job.lineId === null || !step || (job.fallbackAt ?? 0) > now()) return undefined
      const line = await lineById(tx, job.lineId)
      if (!line) return undefined
      const change = { runnerLabels: step.labels, askedLabels: job.askedLabels ?? job.labels, fallback: rest }
      const result = await jobMove(tx, job, { ...line, labels: labelSet(step.labels) }, change)
      if (result) await jobEvent(tx, result.job, 'job.fell_back', now(), { from: job.labels, to: step.labels }, systemActor)
      return result
    })
    if (moved) signals.send('line', moved.line.id)
    if (moved) signals.send('job', id)
  }
  return `${ids.length} jobs`
}

/** Jobs that waited longer than their rule allows fail, and say so. */
export async function endLongWaits(deps: QueueDeps): Promise<string> {
  const { db, now, signals } = deps
  const jobs = await jobsOverWait(db, now(), BATCH)
  for (const job of jobs) {
    const seconds = Math.round(((job.waitUntil ?? 0) - (job.queuedAt ?? 0)) / 1000)
    const problem = `The job waited in line for more than ${seconds} seconds, the longest that the queue rule ${job.waitRule ?? ''} allows.`
    await db.transaction().execute((tx) => finishJob(tx, job.id, ['queued'], { conclusion: 'failure', problem }, now()))
    signals.send('job', job.id)
    await advanceRun(deps, job.runId)
  }
  return `${jobs.length} ended`
}
