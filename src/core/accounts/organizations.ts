import { needs, type Actor } from '../../model/access.ts'
import { checkLogin, type Account, type Repository } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'
import {
  accountById,
  accountByLogin,
  accountInsert,
  membershipRole,
  membershipSet,
  organizationList,
  organizationsOfUser,
} from '../../store/accounts.ts'
import { eventInsert } from '../../store/events.ts'
import { repositoryCounts, type RepositorySelection } from '../../store/repositories.ts'
import { runnerGroupEnsureDefault } from '../../store/runner-groups.ts'
import { authorizeOrganization, requireSiteAdmin, requireUser, type OrganizationRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import { listRepositories, listRepositoriesOfMember, type Page } from '../repos/repositories.ts'
import { loginTaken, type AccountView } from './users.ts'

type ReadDeps = Pick<Deps, 'db' | 'log'>

/** Makes an organization with its first owner and its Default runner group, for site administrators. */
export async function createOrganization(
  { db, now }: Pick<Deps, 'db' | 'now'>,
  actor: Actor,
  input: { login: string; admin: string; name?: string | undefined },
): Promise<Account> {
  requireSiteAdmin(actor, needs.siteAdmin)

  const login = checkLogin(input.login)
  const owner = await accountByLogin(db, input.admin)
  if (owner?.kind !== 'user') throw noSuchAdmin()
  const at = now()
  return db.transaction().execute(async (tx) => {
    const organization = await accountInsert(tx, { kind: 'organization', login, name: input.name ?? null, createdAt: at })
    if (!organization) throw loginTaken('Organization')
    const { id } = organization
    await membershipSet(tx, { organizationId: id, userId: owner.id, role: 'owner', createdAt: at })
    await runnerGroupEnsureDefault(tx, { kind: 'organization', id }, at)
    const payload = { login, ownerId: owner.id }
    await eventInsert(tx, { at, actor, kind: 'organization.created', subject: { kind: 'organization', id }, payload })
    return organization
  })
}

function noSuchAdmin(): AppError {
  const detail = { resource: 'Organization', code: 'invalid', field: 'admin', message: 'Admin must be a user' }
  return new AppError('invalid', 'Validation Failed', { details: [detail] })
}

/** An organization: its name is public, its settings are for members. */
export async function getOrganization(deps: ReadDeps, actor: Actor, ref: OrganizationRef): Promise<AccountView> {
  const account = await authorizeOrganization(deps, actor, ref, needs.organizationVisible)
  const isMember = actor.kind === 'user' && (await membershipRole(deps.db, account.id, actor.userId)) !== undefined
  const isReached = actor.kind === 'user' && (actor.token.grant === undefined || actor.token.grant.accountId === account.id)
  const isPrivate = isReached && (isMember || actor.siteAdmin)
  return { account, repositories: await repositoryCounts(deps.db, account.id), isPrivate }
}

/** All organizations in the order in which they were made, those after `since`. */
export async function listOrganizations({ db }: Pick<Deps, 'db'>, input: { since: number; limit: number }): Promise<Account[]> {
  return organizationList(db, input.since, input.limit)
}

interface Listed {
  organizations: Account[]
  total: number
}

/** Organizations that the actor belongs to, by login; a fine-grained token tells of its own alone. */
export async function listOwnOrganizations({ db }: Pick<Deps, 'db'>, actor: Actor, page: Page): Promise<Listed> {
  const { userId, token } = requireUser(actor, needs.userOrganizations)
  return organizationsOfUser(db, userId, page, token.grant?.accountId)
}

/**
 * Organizations of a user that the actor may know of: memberships are not public, so one's own, all for site administrators, and none of
 * anybody else's.
 */
export async function listOrganizationsOfUser(
  { db }: Pick<Deps, 'db'>,
  actor: Actor,
  ref: { login: string } | { id: number },
  page: Page,
): Promise<Listed & { user: Account }> {
  const user = 'id' in ref ? await accountById(db, ref.id) : await accountByLogin(db, ref.login)
  if (user?.kind !== 'user') throw new AppError('not_found', 'Not Found')
  const maySee = actor.kind === 'user' && !actor.token.grant && (actor.siteAdmin || actor.userId === user.id)
  return { user, ...(maySee ? await organizationsOfUser(db, user.id, page) : { organizations: [], total: 0 }) }
}

/** Repositories of an organization that the actor may see. */
export async function listOrganizationRepositories(
  deps: ReadDeps,
  actor: Actor,
  ref: OrganizationRef,
  selection: RepositorySelection,
): Promise<{ organization: Account; repositories: Repository[]; total: number }> {
  const organization = await authorizeOrganization(deps, actor, ref, needs.organizationRepositories)
  return { organization, ...(await listRepositories(deps, actor, organization.login, selection)) }
}

/** Repositories of a user, or of an organization, that the actor may see: those it owns, works on, or both. */
export async function listRepositoriesOfAccount(
  deps: ReadDeps,
  actor: Actor,
  ref: { login: string } | { id: number },
  selection: RepositorySelection & { which: 'owner' | 'member' | 'all' },
): Promise<{ account: Account; repositories: Repository[]; total: number }> {
  const account = 'id' in ref ? await accountById(deps.db, ref.id) : await accountByLogin(deps.db, ref.login)
  if (!account) throw new AppError('not_found', 'Not Found')
  if (selection.which === 'owner' || account.kind !== 'user')
    return { account, ...(await listRepositories(deps, actor, account.login, selection)) }
  return { account, ...(await listRepositoriesOfMember(deps, actor, account.login, { ...selection, evenOwn: selection.which === 'all' })) }
}
