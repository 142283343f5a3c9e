import { hasScope, knownScopes, needs, type Actor, type UserActor } from '../../model/access.ts'
import type { Account, Repository } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'
import { checkPermissions, type Permissions } from '../../model/permissions.ts'
import { hashSecret, newFineGrainedToken, newPersonalToken } from '../../model/secret-text.ts'
import { accountById, accountByLogin, membershipRole } from '../../store/accounts.ts'
import { eventInsert } from '../../store/events.ts'
import { repositoryById, repositoryByName } from '../../store/repositories.ts'
import { tokenDelete, tokenInsert, tokenInsertGranted, tokenSetImpersonation, tokensOfUser, type TokenGrant } from '../../store/tokens.ts'
import { requireSiteAdmin, requireUser } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import { userByLogin } from './users.ts'

type ReadDeps = Pick<Deps, 'db'>
type WriteDeps = Pick<Deps, 'db' | 'now'>

export interface Token {
  id: number
  kind: 'personal' | 'impersonation' | 'admin' | 'fine_grained'
  name: string
  scopes: string[]
  createdAt: number
  expiresAt: number | null
  /** Of a fine-grained one. */
  grant?: TokenGrantView | undefined
}

/** What a fine-grained token opens: things of one account, all of its repositories where none are named. */
export interface TokenGrantView {
  owner: Account
  permissions: Permissions
  repositories: Repository[] | undefined
}

/** A token with its text, which is shown this once: only its hash is kept. */
export interface NewToken extends Token {
  text: string
}

/**
 * The one token that site administrators have of a user. Asked for again it is made anew: the former text ends, since only its hash
 * was kept.
 */
export async function makeImpersonationToken(
  { db, now }: WriteDeps,
  actor: Actor,
  input: { login: string; scopes: string[] },
): Promise<{ user: Account; token: NewToken; isNew: boolean }> {
  requireSiteAdmin(actor, needs.siteAdmin)
  const user = await userByLogin(db, input.login)
  const scopes = checkScopes(input.scopes)

  const text = newPersonalToken()
  const at = now()
  const name = 'impersonation'
  const set = await db.transaction().execute(async (tx) => {
    const made = await tokenSetImpersonation(tx, { userId: user.id, name, scopes, hash: hashSecret(text), createdAt: at })
    const payload = { tokenId: made.id, ...namesOf(user, name), scopes, impersonation: true }
    await eventInsert(tx, { at, actor, kind: 'token.created', subject: { kind: 'user', id: user.id }, payload })
    return made
  })
  const { id, createdAt, isNew } = set
  return { user, token: { id, kind: 'impersonation', name, scopes, createdAt, expiresAt: null, text }, isNew }
}

/** Ends the impersonation token of a user. @throws AppError not_found when there is none */
export async function deleteImpersonationToken({ db, now }: WriteDeps, actor: Actor, login: string): Promise<void> {
  requireSiteAdmin(actor, needs.siteAdmin)
  const user = await userByLogin(db, login)
  const at = now()
  await db.transaction().execute(async (tx) => {
    if (!(await tokenDelete(tx, { userId: user.id, kind: 'impersonation' }))) throw new AppError('not_found', 'Not Found')
    const payload = { ...namesOf(user, 'impersonation'), impersonation: true }
    await eventInsert(tx, { at, actor, kind: 'token.deleted', subject: { kind: 'user', id: user.id }, payload })
  })
}

/**
 * Makes a named token. Site administrators make any; users make them for themselves, with no scope more and no life longer than the token
 * that they use: else a token that leaked would grow.
 */
export async function createToken(
  { db, now }: WriteDeps,
  actor: Actor,
  input: { login: string; name: string; scopes: string[]; expiresAt?: number | null | undefined },
): Promise<NewToken> {
  const { user, asker } = await userFor(db, actor, input.login)
  const scopes = checkScopes(input.scopes)
  const name = checkName(input.name)
  const at = now()
  const expiresAt = checkExpiry(input.expiresAt, at)
  if (!mayGrantAny(asker)) requireNoMore(asker, { scopes, expiresAt })

  const text = newPersonalToken()
  const kind = 'personal'
  const id = await db.transaction().execute(async (tx) => {
    const row = { kind, userId: user.id, assignmentId: null, name, scopes, expiresAt, createdAt: at, hash: hashSecret(text) } as const
    const made = await tokenInsert(tx, row)
    if (made === undefined) throw new Error('a new token was there already')
    const payload = { tokenId: made, ...namesOf(user, name), scopes }
    await eventInsert(tx, { at, actor, kind: 'token.created', subject: { kind: 'user', id: user.id }, payload })
    return made
  })
  return { id, kind, name, scopes, createdAt: at, expiresAt, text }
}

/** What fine-grained permissions can stand for: a token that lacks any of these could make one that may more. */
const SCOPES_OF_PERMISSIONS = ['repo', 'admin:org', 'admin:org_hook', 'admin:repo_hook', 'delete_repo', 'workflow']
const REPOSITORIES_AT_MOST = 50

/**
 * Makes a fine-grained token: permissions on what belongs to one account, the user's own or an organization that the user is in, on all of
 * its repositories or on some. What the user may do there stays the upper bound. Who may make it is as with other tokens.
 *
 * @throws AppError invalid for an owner or a repository that it cannot be for
 */
export async function createFineGrainedToken(
  { db, now }: WriteDeps,
  actor: Actor,
  input: {
    login: string
    name: string
    owner?: string | undefined
    permissions: Record<string, unknown>
    repositories?: string[] | undefined
    expiresAt?: number | null | undefined
  },
): Promise<NewToken> {
  const { user, asker } = await userFor(db, actor, input.login)
  const name = checkName(input.name)
  const permissions = checkPermissions(input.permissions)
  const at = now()
  const expiresAt = checkExpiry(input.expiresAt, at)
  if (!mayGrantAny(asker)) requireNoMore(asker, { scopes: SCOPES_OF_PERMISSIONS, expiresAt })
  const owner = await resourceOwner(db, user, input.owner)
  const repositories = input.repositories && (await repositoriesNamed(db, owner, input.repositories))

  const text = newFineGrainedToken()
  const kind = 'fine_grained'
  const ids = repositories?.map(({ id }) => id) ?? null
  const id = await db.transaction().execute(async (tx) => {
    const grant = { installationId: null, ownerId: owner.id, permissions, repositories: ids }
    const row = { kind, userId: user.id, name, expiresAt, createdAt: at, hash: hashSecret(text), grant } as const
    const made = await tokenInsertGranted(tx, row)
    const payload = { tokenId: made, ...namesOf(user, name), ownerId: owner.id, permissions, ...(ids && { repositoryIds: ids }) }
    await eventInsert(tx, { at, actor, kind: 'token.created', subject: { kind: 'user', id: user.id }, payload })
    return made
  })
  return { id, kind, name, scopes: [], createdAt: at, expiresAt, text, grant: { owner, permissions, repositories } }
}

async function resourceOwner(db: Deps['db'], user: Account, login: string | undefined): Promise<Account> {
  const owner = login === undefined ? user : await accountByLogin(db, login)
  const isOwn = owner?.id === user.id
  const isMember = owner?.kind === 'organization' && (user.siteAdmin || (await membershipRole(db, owner.id, user.id)) !== undefined)
  if (owner && (isOwn || isMember)) return owner
  throw new AppError('invalid', `resource_owner must be ${user.login} or an organization that ${user.login} is in`)
}

async function repositoriesNamed(db: Deps['db'], owner: Account, names: string[]): Promise<Repository[]> {
  if (names.length > REPOSITORIES_AT_MOST) throw new AppError('invalid', `A token names at most ${REPOSITORIES_AT_MOST} repositories`)
  const found = new Map<number, Repository>()
  for (const name of names) {
    const repository = await repositoryByName(db, owner.login, name)
    if (!repository) throw new AppError('invalid', `There is no repository ${owner.login}/${name.slice(0, 100)}`)
    found.set(repository.id, repository)
  }
  return [...found.values()]
}

function checkExpiry(expiresAt: number | null | undefined, now: number): number | null {
  if (expiresAt != null && expiresAt <= now) throw new AppError('invalid', 'expires_at must be in the future')
  return expiresAt ?? null
}

/** The tokens of a user, without their texts, oldest first. */
export async function listTokens({ db }: ReadDeps, actor: Actor, login: string): Promise<Token[]> {
  const { user } = await userFor(db, actor, login)
  const rows = await tokensOfUser(db, user.id)
  const listed: Token[] = []
  for (const { id, kind, name, scopes, createdAt, expiresAt, grant } of rows) {
    if (kind === 'job' || kind === 'installation') continue
    listed.push({ id, kind, name, scopes, createdAt, expiresAt, grant: await grantViewOf(db, grant) })
  }
  return listed
}

/** Repositories that were deleted since are left out. */
async function grantViewOf(db: Deps['db'], grant: TokenGrant | undefined): Promise<TokenGrantView | undefined> {
  const owner = grant?.ownerId == null ? undefined : await accountById(db, grant.ownerId)
  if (!grant || !owner) return undefined
  const found = await Promise.all((grant.repositories ?? []).map((id) => repositoryById(db, id)))
  const repositories = grant.repositories === null ? undefined : found.filter((repository) => repository !== undefined)
  return { owner, permissions: grant.permissions, repositories }
}

/** Ends a token. The administrator's is the configuration's. */
export async function deleteToken({ db, now }: WriteDeps, actor: Actor, input: { login: string; id: number }): Promise<void> {
  const { user } = await userFor(db, actor, input.login)
  const token = (await tokensOfUser(db, user.id)).find(({ id }) => id === input.id)
  if (!token) throw new AppError('not_found', 'Not Found')
  if (token.kind === 'admin') throw new AppError('forbidden', 'The administrator’s token is set by the configuration.')

  const at = now()
  const ownerId = token.grant?.ownerId
  await db.transaction().execute(async (tx) => {
    if (!(await tokenDelete(tx, { userId: user.id, id: token.id }))) throw new AppError('not_found', 'Not Found')
    await eventInsert(tx, {
      at,
      actor,
      kind: 'token.deleted',
      subject: { kind: 'user', id: user.id },
      payload: { tokenId: token.id, ...namesOf(user, token.name), ...(ownerId != null && { ownerId }) },
    })
  })
}

/** What the audit log calls a token and the user whose it is: both may be gone when it is read. */
function namesOf({ login }: Account, name: string) {
  return { login, name }
}

/** The user whose tokens are managed: oneself, or anybody for a site administrator. Others are not found. */
async function userFor(db: Deps['db'], actor: Actor, login: string): Promise<{ user: Account; asker: UserActor }> {
  const asker = requireUser(actor, needs.userTokens)
  const user = await userByLogin(db, login)
  if (mayGrantAny(asker)) return { user, asker }
  if (user.id !== asker.userId) throw new AppError('not_found', 'Not Found')
  if (!hasScope(asker.token.scopes, ['user'])) throw new AppError('forbidden', 'Your token has not been granted the required scopes')
  return { user, asker }
}

function mayGrantAny(asker: UserActor): boolean {
  return asker.siteAdmin && hasScope(asker.token.scopes, ['site_admin'])
}

function requireNoMore({ token }: UserActor, { scopes, expiresAt }: { scopes: string[]; expiresAt: number | null }): void {
  const more = scopes.filter((scope) => !hasScope(token.scopes, [scope]))
  if (more.length > 0) throw new AppError('forbidden', `Your token has not been granted these scopes itself: ${more.join(', ')}`)
  if (token.expiresAt !== null && (expiresAt === null || expiresAt > token.expiresAt)) {
    throw new AppError('forbidden', 'A token cannot live longer than the one that it is made with.')
  }
}

function checkScopes(scopes: string[]): string[] {
  const unknown = scopes.find((scope) => !knownScopes.has(scope))
  if (unknown !== undefined) {
    const detail = { resource: 'OauthAccess', code: 'custom', field: 'scopes', message: `'${unknown.slice(0, 60)}' is not a valid scope` }
    throw new AppError('invalid', 'Validation Failed', { details: [detail] })
  }
  return [...new Set(scopes)].sort()
}

function checkName(name: string): string {
  const clean = name.trim()
  if (clean === '' || clean.length > 100 || /\p{Cc}/u.test(clean)) {
    throw new AppError('invalid', 'name must have 1 to 100 characters, without control characters')
  }
  return clean
}
