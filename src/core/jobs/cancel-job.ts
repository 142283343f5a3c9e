import type { Actor } from '../../model/access.ts'
import type { Job } from '../../model/job.ts'
import { assignmentById, assignmentUpdate, jobById, jobUpdate } from '../../store/jobs.ts'
import { tokenDeleteOfAssignment } from '../../store/tokens.ts'
import type { Deps } from '../deps.ts'
import { finishJob } from './finish-job.ts'
import { jobEvent } from './job-event.ts'

/**
 * Cancels a job wherever it is: in line it ends at once; given and not begun it ends and its runner gets nothing; on a runner it is told
 * at the runner's poll, and ended by `end-cancelled-jobs` when no report comes.
 */
export async function cancelJob(
  { db, now, signals }: Pick<Deps, 'db' | 'now' | 'signals'>,
  actor: Actor,
  jobId: number,
  reason: 'user' | 'timeout',
): Promise<void> {
  const at = now()
  const attempt = () =>
    db.transaction().execute(async (tx): Promise<{ job: Job; runnerId: number | null } | 'over' | undefined> => {
      const job = await jobById(tx, jobId)
      if (!job || job.status === 'completed' || job.cancelledAt !== null) return 'over'
      if (job.status === 'pending' || job.status === 'queued') {
        const ended = await finishJob(
          tx,
          jobId,
          [job.status],
          { conclusion: 'cancelled', problem: 'The job was cancelled before it started' },
          at,
        )
        return ended && { job: ended, runnerId: null }
      }
      const assignment = job.assignmentId === null ? undefined : await assignmentById(tx, job.assignmentId)
      if (assignment?.state === 'given') {
        if (!(await assignmentUpdate(tx, assignment.id, ['given'], { state: 'returned', completedAt: at }))) return undefined
        await tokenDeleteOfAssignment(tx, assignment.id)
        const ended = await finishJob(
          tx,
          jobId,
          ['assigned'],
          { conclusion: 'cancelled', problem: 'The job was cancelled before it started' },
          at,
        )
        if (!ended) throw new Error('a job that was given is not assigned')
        return { job: ended, runnerId: assignment.runnerId }
      }
      const marked = await jobUpdate(tx, jobId, ['assigned', 'in_progress'], { cancelledAt: at, cancelReason: reason })
      if (marked) await jobEvent(tx, marked, 'job.cancelling', at, { reason }, actor)
      return marked && { job: marked, runnerId: marked.runnerId }
    })
  // The job went on between the look and the change: look again, it goes on a few times at most.
  let cancelled = await attempt()
  while (cancelled === undefined) cancelled = await attempt()
  if (cancelled === 'over') return
  if (cancelled.runnerId !== null) signals.send('runner', cancelled.runnerId)
  signals.send('job', jobId)
}
