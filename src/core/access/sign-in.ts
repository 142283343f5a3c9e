import type { Actor, Grant } from '../../model/access.ts'
import { botLogin } from '../../model/app.ts'
import { AppError } from '../../model/errors.ts'
import { commonPermissions } from '../../model/permissions.ts'
import { hashSecret } from '../../model/secret-text.ts'
import { jobById, assignmentById } from '../../store/jobs.ts'
import { installationById, appById } from '../../store/apps.ts'
import { registrationTokenByHash, tokenByHash, type SignedInToken } from '../../store/tokens.ts'
import type { Deps } from '../deps.ts'
import { isAppJwt, readAppJwt } from './app-jwt.ts'

type SignInDeps = Pick<Deps, 'db' | 'now'>

/**
 * Turns an `Authorization` header into an actor: `token X`, `Bearer X`, `Basic user:X` (or `X:`), `RemoteAuth X`; none is anonymous.
 * A JWT is an App's. Scheme names are compared in any case of letters (rest-api.md 3.2).
 *
 * @throws AppError unauthenticated `Bad credentials` for a token that is unknown, revoked or expired, GitHub's own texts for a JWT; forbidden
 *   for a suspended installation; not_found for a bad RemoteAuth token, as GitHub answers and the runner expects (rest-api.md 2.5)
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

async function signInToken(deps: SignInDeps, token: string): Promise<Actor> {
  const { db, now } = deps
  if (isAppJwt(token)) return readAppJwt(deps, token)
  if (token === '' || token.length > 1000) throw badCredentials()
  const found = await tokenByHash(db, hashSecret(token))
  if (!found || (found.expiresAt !== null && found.expiresAt <= now()) || found.suspended) throw badCredentials()
  if (found.kind === 'job') {
    const assignment = found.assignmentId === null ? undefined : await assignmentById(db, found.assignmentId)
    const job = assignment && (await jobById(db, assignment.jobId))
    if (!job || job.status === 'completed' || job.assignmentId !== found.assignmentId) throw badCredentials()
    return { kind: 'job', jobId: job.id, repositoryId: job.repositoryId }
  }
  if (found.kind === 'installation') return installationActor(db, found)
  if (found.userId === null || found.login === null) throw badCredentials()
  return {
    kind: 'user',
    userId: found.userId,
    login: found.login,
    siteAdmin: found.siteAdmin,
    token: {
      kind: found.kind,
      scopes: found.scopes,
      expiresAt: found.expiresAt,
      ...(found.kind === 'fine_grained' && { grant: fineGrainedGrant(found) }),
    },
  }
}

/** A fine-grained token without what it was given opens nothing. */
function fineGrainedGrant({ grant }: SignedInToken): Grant {
  const { ownerId, permissions, repositories } = grant ?? { ownerId: null, permissions: {}, repositories: [] }
  return { accountId: ownerId ?? 0, permissions, selection: 'all', installationId: null, only: repositories }
}

/** What the installation was given since counts too: it may be less than when the token was made. */
async function installationActor(db: Deps['db'], { id, grant }: SignedInToken): Promise<Actor> {
  const installation = grant?.installationId == null ? undefined : await installationById(db, grant.installationId)
  const app = installation && (await appById(db, installation.appId))
  if (!grant || !installation || !app) throw badCredentials()
  if (installation.suspendedAt !== null) throw new AppError('forbidden', 'This installation has been suspended')
  return {
    kind: 'installation',
    appId: app.id,
    installationId: installation.id,
    tokenId: id,
    bot: { id: app.botId, login: botLogin(app.slug) },
    grant: {
      accountId: installation.accountId,
      permissions: commonPermissions(grant.permissions, installation.permissions),
      selection: installation.repositorySelection,
      installationId: installation.id,
      only: grant.repositories,
    },
  }
}

async function signInRegistration({ db, now }: SignInDeps, token: string): Promise<Actor> {
  const found = await registrationTokenByHash(db, hashSecret(token), now())
  if (!found) throw new AppError('not_found', 'Not Found')
  return { kind: 'registration', purpose: found.purpose, scope: found.scope, issuedBy: found.userId }
}

function badCredentials(): AppError {
  return new AppError('unauthenticated', 'Bad credentials')
}
