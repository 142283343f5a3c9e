import type { KeyObject } from 'node:crypto'
import { AppError } from '../../model/errors.ts'
import type { Assignment, Job, Run } from '../../model/job.ts'
import { assignmentById, assignmentSign } from '../../store/jobs.ts'
import { readToken, signToken } from '../access/signed-token.ts'
import type { Deps } from '../deps.ts'

/** A sign of life is written when the last one is older than this; the lease is much longer. */
const SIGN_EVERY_MS = 5000

/**
 * The job's token: `ACTIONS_RUNTIME_TOKEN`, and the runner's credential for renew, complete, results, launch and feed. The same
 * assignment always gives the same token, so that a repeated `acquirejob` gives the same message. Claims as job-services.md 2 wants them.
 */
export function makeJobToken(
  { keys, times, addresses }: Pick<Deps, 'keys' | 'times' | 'addresses'>,
  assignment: Assignment,
  job: Job,
  run: Run,
): string {
  const issuedAt = Math.floor(assignment.givenAt / 1000)
  const scope = JSON.stringify([{ Scope: run.ref, Permission: 3 }])
  return signToken(keys.jobToken, {
    iss: addresses.url,
    aud: addresses.url,
    sub: `job:${job.id}`,
    iat: issuedAt,
    nbf: issuedAt - 300,
    exp: issuedAt + Math.ceil((job.timeoutMs + times.jobTokenSlack + job.cancelTimeoutMs + times.cancelMargin) / 1000),
    jti: assignment.requestId,
    asg: assignment.id,
    scp: `Actions.Results:${assignment.planId}:${assignment.jobGuid}`,
    ac: scope,
    orch_id: `${run.id}.${run.latestAttempt}.${job.key}`,
    repository_id: String(run.repositoryId),
    run_id: String(run.id),
    run_attempt: String(run.latestAttempt),
  })
}

/**
 * The assignment that a job token names, while the job runs and a little after. Every call is a sign of life.
 *
 * @throws AppError unauthenticated for anything that is not a job token of ours that still lives
 */
export async function authenticateJob(
  deps: Pick<Deps, 'db' | 'now' | 'keys' | 'times'>,
  authorization: string | undefined,
  options: { evenEnded?: boolean } = {},
): Promise<Assignment> {
  const match = /^bearer (\S+)$/i.exec(authorization ?? '')
  const claims = match?.[1] ? tryRead(deps.keys.jobToken, match[1], deps.now()) : undefined
  const assignment = typeof claims?.['asg'] === 'number' ? await assignmentById(deps.db, claims['asg']) : undefined
  if (!assignment) throw new AppError('unauthenticated', 'The job token is missing, wrong or expired')

  const at = deps.now()
  if (isUnfinished(assignment)) {
    if (at - assignment.lastSignAt > SIGN_EVERY_MS) await assignmentSign(deps.db, assignment.id, at)
    return assignment
  }
  if (options.evenEnded) return assignment
  const endedLately = assignment.completedAt !== null && at - assignment.completedAt < deps.times.renewAfterEnd
  if (assignment.state === 'returned' || !endedLately) {
    throw new AppError('unauthenticated', 'The job of this token has ended')
  }
  return assignment
}

function tryRead(key: KeyObject, token: string, now: number): Record<string, unknown> | undefined {
  try {
    return readToken(key, token, now)
  } catch {
    return undefined
  }
}

export function isUnfinished({ state }: Pick<Assignment, 'state'>): boolean {
  return state === 'given' || state === 'acquired' || state === 'running'
}
