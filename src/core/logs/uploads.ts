import { AppError } from '../../model/errors.ts'
import type { Assignment } from '../../model/job.ts'
import { assignmentById } from '../../store/jobs.ts'
import { blobGet, logFinish, summarySet } from '../../store/logs.ts'
import { isSigned, sign } from '../access/keys.ts'
import type { Deps } from '../deps.ts'
import { isUnfinished } from '../jobs/job-tokens.ts'

/** Step ids come from the runner, also of steps inside composite actions, which the server never saw. */
const GUID = /^[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}$/

export interface Upload {
  /** `container/name` below `/_blobs/`. */
  key: string
  /** The query that makes the address good. */
  query: string
}

const invalid = (message: string) => new AppError('invalid', message)

export function isStepId(text: string): boolean {
  return GUID.test(text)
}

/** The key of a log or summary; always the same for the same assignment and step, as several blocks ask anew (runner-protocol.md 7.3). */
export function uploadKey(assignment: Pick<Assignment, 'id'>, kind: 'log' | 'summary' | 'diagnostics', stepId: string): string {
  if (stepId !== '' && !isStepId(stepId)) throw invalid('step_backend_id is no GUID')
  return `jobs/${assignment.id}-${kind}${stepId === '' ? '' : `-${stepId}`}`
}

/** Signs an address to write one object, or to read it; good until `expiresAt`. */
export function signUpload({ keys }: Pick<Deps, 'keys'>, key: string, permission: 'rw' | 'r', expiresAt: number): Upload {
  const until = String(Math.floor(expiresAt / 1000))
  const signature = sign(keys.signedUrl, `${key}\n${permission}\n${until}`)
  // The secret part must be called `sig`: that is what toolkits mask (job-services.md 3.3).
  return { key, query: `sp=${permission}&se=${until}&sig=${signature}` }
}

/**
 * Refuses to write an object of a job that has ended: the address outlives it by hours, and a log is a record. The runner writes all before
 * it completes the job; a little later is fine.
 *
 * @throws AppError forbidden
 */
export async function requireRunning({ db, now, times }: Pick<Deps, 'db' | 'now' | 'times'>, key: string): Promise<void> {
  const match = /^jobs\/(\d{1,15})-/.exec(key)
  const assignment = match ? await assignmentById(db, Number(match[1])) : undefined
  const endedAt = assignment?.completedAt ?? Infinity
  const isOpen = assignment && (isUnfinished(assignment) || (assignment.state === 'completed' && now() - endedAt < times.uploadAfterEnd))
  if (!isOpen) throw new AppError('forbidden', 'The job of this object has ended')
}

/** @throws AppError forbidden for a signature that is not ours, not for this object or this use, or over */
export function checkSignature(
  { keys, now }: Pick<Deps, 'keys' | 'now'>,
  key: string,
  query: Record<string, string | undefined>,
  use: 'r' | 'w',
): void {
  const { sp = '', se = '', sig = '' } = query
  const isGood = /^\d{1,12}$/.test(se) && isSigned(keys.signedUrl, `${key}\n${sp}\n${se}`, sig)
  if (!isGood || !sp.includes(use) || Number(se) * 1000 < now()) throw new AppError('forbidden', 'The signature is wrong or has expired')
}

/** The log object of a step, or of the job (`stepId` empty), is whole. */
export async function finishLog(
  { db, now, signals }: Pick<Deps, 'db' | 'now' | 'signals'>,
  assignment: Assignment,
  { stepId, lineCount }: { stepId: string; lineCount: number },
): Promise<void> {
  const blobKey = uploadKey(assignment, 'log', stepId)
  const log = { jobId: assignment.jobId, stepId, assignmentId: assignment.id, blobKey, lineCount, uploadedAt: now() }
  // The runner says so also when its upload failed (runner-protocol.md 7.4): then what the live lines hold is shown.
  if (!(await logFinish(db, log))) return
  signals.send('job', assignment.jobId)
}

/** The summary of a step is whole. */
export async function finishSummary(
  { db, now, signals }: Pick<Deps, 'db' | 'now' | 'signals'>,
  assignment: Assignment,
  { stepId, size }: { stepId: string; size: number },
): Promise<void> {
  const blobKey = uploadKey(assignment, 'summary', stepId)
  if (!(await blobGet(db, blobKey))) throw invalid('the summary was not uploaded')
  await summarySet(db, { jobId: assignment.jobId, stepId, blobKey, size, uploadedAt: now() })
  signals.send('job', assignment.jobId)
}
