import type { Conclusion, Job } from '../../model/job.ts'
import { jobById, jobUpdate, lineLock, lineSettle } from '../../store/jobs.ts'
import { annotationEnsure } from '../../store/logs.ts'
import type { Deps } from '../deps.ts'
import { jobEvent } from './job-event.ts'
import { problemAnnotation } from './problem-annotation.ts'

/** The one way for a job to become completed, from any of the states named; undefined when it is in none. `known` is its row, where it was read within the transaction. */
export async function finishJob(
  tx: Deps['db'],
  jobId: number,
  from: Job['status'][],
  end: { conclusion: Conclusion; outputs?: Record<string, string>; problem?: string | null },
  at: number,
  known?: Job,
): Promise<Job | undefined> {
  const before = known ?? (await jobById(tx, jobId))
  if (before?.status === 'queued' && before.lineId !== null) await lineLock(tx, before.lineId)
  const job = await jobUpdate(tx, jobId, from, {
    status: 'completed',
    conclusion: end.conclusion,
    problem: end.problem ?? null,
    outputs: JSON.stringify(end.outputs ?? {}),
    completedAt: at,
  })
  if (!job) return undefined
  if (before?.status === 'queued' && before.lineId !== null) await lineSettle(tx, before.lineId)
  // Whoever knows more has written it before, or writes it after.
  if (end.problem) await annotationEnsure(tx, job.id, problemAnnotation(end.conclusion, end.problem))
  await jobEvent(tx, job, 'job.completed', at, { conclusion: end.conclusion, runnerId: job.runnerId })
  return job
}
