import { hasScope, needs, type Actor } from '../../model/access.ts'
import { checkLogin, type Account } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'
import { accountById, accountByLogin, accountInsert, accountSetSiteAdmin } from '../../store/accounts.ts'
import { eventInsert } from '../../store/events.ts'
import { repositoryCounts } from '../../store/repositories.ts'
import { tokensOfUser } from '../../store/tokens.ts'
import { requireSiteAdmin, requireUser } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'

type WriteDeps = Pick<Deps, 'db' | 'now'>

/** An account with its numbers, and whether the asker may see what is private of it. */
export interface AccountView {
  account: Account
  repositories: { open: number; closed: number }
  isPrivate: boolean
}

/** Makes a user, for site administrators. @throws AppError invalid for a login that is taken or cannot be */
export async function createUser(
  { db, now }: WriteDeps,
  actor: Actor,
  input: { login: string; email?: string | undefined; suspended?: boolean | undefined },
): Promise<Account> {
  requireSiteAdmin(actor, needs.siteAdmin)

  const login = checkLogin(input.login)
  const email = input.email === undefined || input.email === '' ? null : checkEmail(input.email)
  const at = now()
  return db.transaction().execute(async (tx) => {
    const suspension = input.suspended ? { suspendedAt: at } : {}
    const user = await accountInsert(tx, { kind: 'user', login, email, ...suspension, createdAt: at })
    if (!user) throw loginTaken('User')
    await eventInsert(tx, { at, actor, kind: 'user.created', subject: { kind: 'user', id: user.id }, payload: { login } })
    return user
  })
}

/** A user or an organization by login or id: they share one namespace, and their names are public. */
export async function getAccount({ db }: Pick<Deps, 'db'>, actor: Actor, ref: { login: string } | { id: number }): Promise<AccountView> {
  const account = 'id' in ref ? await accountById(db, ref.id) : await accountByLogin(db, ref.login)
  if (!account) throw new AppError('not_found', 'Not Found')
  return viewOf(db, actor, account)
}

/** Who the token belongs to. */
export async function getSelf({ db }: Pick<Deps, 'db'>, actor: Actor): Promise<AccountView> {
  const { userId } = requireUser(actor, needs.self)
  const account = await accountById(db, userId)
  if (!account) throw new AppError('not_found', 'Not Found')
  return viewOf(db, actor, account)
}

async function viewOf(db: Deps['db'], actor: Actor, account: Account): Promise<AccountView> {
  const isSelf = actor.kind === 'user' && actor.userId === account.id
  const isPrivate = isSelf && hasScope(actor.token.scopes, ['read:user'])
  return { account, repositories: await repositoryCounts(db, account.id), isPrivate }
}

/** Makes a user a site administrator. */
export async function promoteUser({ db, now }: WriteDeps, actor: Actor, login: string): Promise<void> {
  requireSiteAdmin(actor, needs.siteAdmin)
  const user = await userByLogin(db, login)
  if (user.siteAdmin) return

  const at = now()
  await db.transaction().execute(async (tx) => {
    await accountSetSiteAdmin(tx, user.id, at, at)
    await eventInsert(tx, { at, actor, kind: 'user.promoted', subject: { kind: 'user', id: user.id } })
  })
}

/** Takes the rights of a site administrator away: not from oneself, nor from whom the configuration names. */
export async function demoteUser({ db, now }: WriteDeps, actor: Actor, login: string): Promise<void> {
  const admin = requireSiteAdmin(actor, needs.siteAdmin)
  const user = await userByLogin(db, login)
  if (user.id === admin.userId) throw new AppError('forbidden', 'You cannot demote yourself.')
  const isConfigured = (await tokensOfUser(db, user.id)).some(({ kind }) => kind === 'admin')
  if (isConfigured) throw new AppError('forbidden', `${user.login} is the administrator of the configuration and cannot be demoted.`)
  if (!user.siteAdmin) return

  const at = now()
  await db.transaction().execute(async (tx) => {
    await accountSetSiteAdmin(tx, user.id, null, at)
    await eventInsert(tx, { at, actor, kind: 'user.demoted', subject: { kind: 'user', id: user.id } })
  })
}

/** A user, not an organization. @throws AppError not_found */
export async function userByLogin(db: Deps['db'], login: string): Promise<Account> {
  const account = await accountByLogin(db, login)
  if (account?.kind !== 'user') throw new AppError('not_found', 'Not Found')
  return account
}

export function loginTaken(resource: 'User' | 'Organization'): AppError {
  const detail = { resource, code: 'already_exists', field: 'login', message: 'Login is already taken' }
  return new AppError('invalid', 'Validation Failed', { details: [detail] })
}

function checkEmail(email: string): string {
  if (email.length <= 254 && /^[^\s@<>"]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*$/.test(email)) return email
  const detail = { resource: 'User', code: 'invalid', field: 'email', message: 'Email is invalid' }
  throw new AppError('invalid', 'Validation Failed', { details: [detail] })
}
