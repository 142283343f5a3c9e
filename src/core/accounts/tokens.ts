import { hasScope, knownScopes, needs, type Actor, type UserActor } from '../../model/access.ts'
import type { Account } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'
import { hashSecret, newPersonalToken } from '../../model/secret-text.ts'
import { eventInsert } from '../../store/events.ts'
import { tokenDelete, tokenInsert, tokenSetImpersonation, tokensOfUser } from '../../store/tokens.ts'
import { requireSiteAdmin, requireUser } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import { userByLogin } from './users.ts'

type ReadDeps = Pick<Deps, 'db'>
type WriteDeps = Pick<Deps, 'db' | 'now'>

export interface Token {
  id: number
  kind: 'personal' | 'impersonation' | 'admin'
  name: string
  scopes: string[]
  createdAt: number
  expiresAt: number | null
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
    const payload = { tokenId: made.id, scopes, impersonation: true }
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
    const payload = { impersonation: true }
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
  const expiresAt = input.expiresAt ?? null
  if (expiresAt !== null && expiresAt <= at) throw new AppError('invalid', 'expires_at must be in the future')
  if (!mayGrantAny(asker)) requireNoMore(asker, { scopes, expiresAt })

  const text = newPersonalToken()
  const kind = 'personal'
  const id = await db.transaction().execute(async (tx) => {
    const row = { kind, userId: user.id, assignmentId: null, name, scopes, expiresAt, createdAt: at, hash: hashSecret(text) } as const
    const made = await tokenInsert(tx, row)
    if (made === undefined) throw new Error('a new token was there already')
    const payload = { tokenId: made, scopes }
    await eventInsert(tx, { at, actor, kind: 'token.created', subject: { kind: 'user', id: user.id }, payload })
    return made
  })
  return { id, kind, name, scopes, createdAt: at, expiresAt, text }
}

/** The tokens of a user, without their texts, oldest first. */
export async function listTokens({ db }: ReadDeps, actor: Actor, login: string): Promise<Token[]> {
  const { user } = await userFor(db, actor, login)
  const rows = await tokensOfUser(db, user.id)
  return rows.flatMap(({ id, kind, name, scopes, createdAt, expiresAt }) =>
    kind === 'job' ? [] : { id, kind, name, scopes, createdAt, expiresAt },
  )
}

/** Ends a token. The administrator's is the configuration's. */
export async function deleteToken({ db, now }: WriteDeps, actor: Actor, input: { login: string; id: number }): Promise<void> {
  const { user } = await userFor(db, actor, input.login)
  const token = (await tokensOfUser(db, user.id)).find(({ id }) => id === input.id)
  if (!token) throw new AppError('not_found', 'Not Found')
  if (token.kind === 'admin') throw new AppError('forbidden', 'The administrator’s token is set by the configuration.')

  const at = now()
  await db.transaction().execute(async (tx) => {
    if (!(await tokenDelete(tx, { userId: user.id, id: token.id }))) throw new AppError('not_found', 'Not Found')
    await eventInsert(tx, {
      at,
      actor,
      kind: 'token.deleted',
      subject: { kind: 'user', id: user.id },
      payload: { tokenId: token.id },
    })
  })
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
