import type { Annotation, Assignment, Conclusion, Job, Step } from '../../model/job.ts'
import { assignmentUpdate, jobById, jobRequeue } from '../../store/jobs.ts'
import { annotationsSet, chunksDelete, stepReportDelete, stepReportGet, stepReportSet } from '../../store/logs.ts'
import { runnerDeleteIfEphemeral } from '../../store/runners.ts'
import { tokenDeleteOfAssignment } from '../../store/tokens.ts'
import type { Deps } from '../deps.ts'
import { advanceRun } from '../runs/advance-run.ts'
import { finishJob } from './finish-job.ts'
import { jobEvent } from './job-event.ts'
import { problemAnnotation } from './problem-annotation.ts'

type EndDeps = Pick<Deps, 'db' | 'now' | 'signals' | 'log' | 'evaluator' | 'times' | 'addresses'>

const UNFINISHED = ['given', 'acquired', 'running'] as const

/** What a runner says of a job that ended. */
export interface JobReport {
  conclusion: Conclusion
  outputs: Record<string, string>
  /** Undefined where the worker died and its listener reports for it. */
  steps: Step[] | undefined
  annotations: Annotation[]
}

/**
 * Ends a job by its runner's report. The first report wins; what comes later is accepted and changes nothing (architecture 1.12). An
 * ephemeral runner is gone with it, and its run goes on.
 */
export async function completeJob(deps: EndDeps, assignment: Assignment, report: JobReport): Promise<void> {
  const { db, now, signals, log } = deps
  const at = now()
  const job = await db.transaction().execute(async (tx) => {
    const ended = await assignmentUpdate(tx, assignment.id, UNFINISHED, { state: 'completed', completedAt: at })
    if (!ended) return undefined
    const before = await jobById(tx, assignment.jobId)
    // One that succeeded was done before it heard of the cancel; what failed by the cancel is cancelled.
    const isCancelled = before?.cancelledAt != null && report.conclusion !== 'success'
    const isTimeout = isCancelled && before.cancelReason === 'timeout'
    const conclusion = isCancelled ? 'cancelled' : report.conclusion
    const steps = report.steps ?? closeSteps((await stepReportGet(tx, assignment.jobId))?.steps ?? [], conclusion, at)
    await stepReportSet(tx, { jobId: assignment.jobId, assignmentId: assignment.id, changeOrder: Number.MAX_SAFE_INTEGER, steps })
    const annotations =
      isTimeout && before ? [problemAnnotation(conclusion, timeoutText(before)), ...report.annotations] : report.annotations
    await annotationsSet(tx, assignment.jobId, annotations)
    const problem = isTimeout && before ? timeoutText(before) : null
    return finish(tx, assignment, { conclusion, outputs: report.outputs, problem }, at, before)
  })
  if (!job) return
  log.info({ jobId: job.id, assignmentId: assignment.id, conclusion: job.conclusion }, 'job completed')
  signals.send('runner', assignment.runnerId)
  signals.send('job', job.id)
  await advanceRun(deps, job.runId)
}

export function timeoutText({ timeoutMs }: Pick<Job, 'timeoutMs'>): string {
  return `The job has exceeded the maximum execution time of ${timeoutMs / 60_000} minutes.`
}

/** Ends a job whose runner will not report: it is lost, silent, or went on to something else. */
export async function endWithoutReport(
  deps: EndDeps,
  assignment: Assignment,
  problem: string,
  conclusion: Conclusion = 'failure',
): Promise<void> {
  const { db, now, signals, log } = deps
  const at = now()
  const job = await db.transaction().execute(async (tx) => {
    const ended = await assignmentUpdate(tx, assignment.id, UNFINISHED, { state: 'lost', completedAt: at })
    if (!ended) return undefined
    const report = await stepReportGet(tx, assignment.jobId)
    if (report) await stepReportSet(tx, { jobId: assignment.jobId, ...report, steps: closeSteps(report.steps, 'cancelled', at) })
    await annotationsSet(tx, assignment.jobId, [problemAnnotation(conclusion, problem)])
    return finish(tx, assignment, { conclusion, outputs: {}, problem }, at)
  })
  if (!job) return
  log.warn({ jobId: job.id, assignmentId: assignment.id, runnerId: assignment.runnerId, problem }, 'job ended without a report')
  signals.send('runner', assignment.runnerId)
  signals.send('job', job.id)
  await advanceRun(deps, job.runId)
}

/** Puts a job that no worker has begun back in line, at its old place; one that was cancelled meanwhile ends. */
export async function returnToLine(deps: EndDeps, assignment: Assignment): Promise<void> {
  const { db, now, signals, log } = deps
  const at = now()
  const returned = await db
    .transaction()
    .execute(async (tx) => {
      const ended = await assignmentUpdate(tx, assignment.id, ['given', 'acquired'], { state: 'returned', completedAt: at })
      if (!ended) return undefined
      const requeued = await jobRequeue(tx, assignment.jobId)
      if (requeued && requeued.job.cancelledAt !== null) throw new Cancelled()
      await tokenDeleteOfAssignment(tx, assignment.id)
      await stepReportDelete(tx, assignment.jobId)
      await chunksDelete(tx, assignment.jobId, assignment.id)
      if (requeued) {
        // Once acquired it was told to be in progress: then webhooks tell that it is queued again.
        const begun = ended.acquiredAt !== null
        await jobEvent(tx, requeued.job, 'job.requeued', at, { runnerId: assignment.runnerId, assignmentId: assignment.id, begun })
      }
      return requeued
    })
    .catch((error: unknown) => {
      if (error instanceof Cancelled) return 'cancelled' as const
      throw error
    })
  if (returned === 'cancelled') return endWithoutReport(deps, assignment, 'The job was cancelled before it started', 'cancelled')
  if (!returned) return
  log.info({ jobId: assignment.jobId, assignmentId: assignment.id, runnerId: assignment.runnerId }, 'job back in line')
  signals.send('runner', assignment.runnerId)
  signals.send('line', returned.line.id)
}

/** Undoes the way back to the line. */
class Cancelled extends Error {}

async function finish(
  tx: Deps['db'],
  assignment: Assignment,
  end: { conclusion: Conclusion; outputs: Record<string, string>; problem: string | null },
  at: number,
  known?: Job,
): Promise<Job | undefined> {
  await tokenDeleteOfAssignment(tx, assignment.id)
  // An ephemeral runner has had its one job: the registration is the server's to delete (runner-protocol.md 8.3).
  await runnerDeleteIfEphemeral(tx, assignment.runnerId, at)
  return finishJob(tx, assignment.jobId, ['assigned', 'in_progress'], end, at, known)
}

function closeSteps(steps: Step[], conclusion: Conclusion, at: number): Step[] {
  const completedAt = new Date(at).toISOString()
  return steps.map((step) => (step.status === 'completed' ? step : { ...step, status: 'completed', conclusion, completedAt }))
}
