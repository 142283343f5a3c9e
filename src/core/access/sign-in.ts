import type { Actor } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import { hashSecret } from '../../model/secret-text.ts'
import { jobById, assignmentById } from '../../store/jobs.ts'
import { registrationTokenByHash, tokenByHash } from '../../store/tokens.ts'
import type { Deps } from '../deps.ts'

type SignInDeps = Pick<Deps, 'db' | 'now'>

/**
 * Turns an `Authorization` header into an actor: `token X`, `Bearer X`, `Basic user:X` (or `X:`), `RemoteAuth X`; none is anonymous.
 * Scheme names are compared in any case of letters (rest-api.md 3.2).
 *
 * @throws AppError unauthenticated `Bad credentials` for a token that is unknown, revoked or expired; not_found for a bad RemoteAuth
 *   token, as GitHub answers and the runner expects (rest-api.md 2.5)
 */
export async function signIn(deps: SignInDeps, header: string | undefined): Promise<Actor> {
  if (header === undefined || header === '') return { kind: 'anonymous' }
  const space = header.indexOf(' ')
  const scheme = header.slice(0, space).toLowerCase()
  const value = header.slice(space + 1).trim()
  if (scheme === 'remoteauth') return signInRegistration(deps, value)
  if (scheme === 'basic') return signInToken(deps, tokenOfBasic(value))
  if (scheme === 'token' || scheme === 'bearer') return signInToken(deps, value)
  throw badCredentials()
}

function tokenOfBasic(value: string): string {
  const text = Buffer.from(value, 'base64').toString()
  const colon = text.indexOf(':')
  const user = colon < 0 ? text : text.slice(0, colon)
  const password = colon < 0 ? '' : text.slice(colon + 1)
  return password === '' || password === 'x-oauth-basic' ? user : password
}

async function signInToken({ db, now }: SignInDeps, token: string): Promise<Actor> {
  if (token === '' || token.length > 1000) throw badCredentials()
  const found = await tokenByHash(db, hashSecret(token))
  if (!found || (found.expiresAt !== null && found.expiresAt <= now()) || found.suspended) throw badCredentials()
  if (found.kind === 'job') {
    const assignment = found.assignmentId === null ? undefined : await assignmentById(db, found.assignmentId)
    const job = assignment && (await jobById(db, assignment.jobId))
    if (!job || job.status === 'completed' || job.assignmentId !== found.assignmentId) throw badCredentials()
    return { kind: 'job', jobId: job.id, repositoryId: job.repositoryId }
  }
  if (found.userId === null || found.login === null) throw badCredentials()
  return {
    kind: 'user',
    userId: found.userId,
    login: found.login,
    siteAdmin: found.siteAdmin,
    token: { kind: found.kind, scopes: found.scopes, expiresAt: found.expiresAt },
  }
}

async function signInRegistration({ db, now }: SignInDeps, token: string): Promise<Actor> {
  const found = await registrationTokenByHash(db, hashSecret(token), now())
  if (!found) throw new AppError('not_found', 'Not Found')
  return { kind: 'registration', purpose: found.purpose, scope: found.scope }
}

function badCredentials(): AppError {
  return new AppError('unauthenticated', 'Bad credentials')
}
