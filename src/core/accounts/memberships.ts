import { needs, type Actor } from '../../model/access.ts'
import type { Account } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'
import {
  accountByLogin,
  accountTouch,
  collaboratorDeleteAt,
  memberList,
  membershipDelete,
  membershipOwners,
  membershipRole,
  membershipSet,
} from '../../store/accounts.ts'
import { eventInsert } from '../../store/events.ts'
import { authorizeOrganization, requireUser, type OrganizationRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import type { Page } from '../repos/repositories.ts'
import { userByLogin } from './users.ts'

type ReadDeps = Pick<Deps, 'db' | 'log'>
type WriteDeps = Pick<Deps, 'db' | 'log' | 'now'>

export interface Membership {
  organization: Account
  user: Account
  role: 'owner' | 'member'
}

/** Makes a user a member or an owner, at once. @throws AppError invalid for an organization, or the last owner's demotion */
export async function setMembership(
  deps: WriteDeps,
  actor: Actor,
  input: { organization: OrganizationRef; login: string; role: Membership['role'] },
): Promise<Membership> {
  const organization = await authorizeOrganization(deps, actor, input.organization, needs.organizationMembersWrite)
  const user = await accountByLogin(deps.db, input.login)
  if (!user) throw new AppError('not_found', 'Not Found')
  if (user.kind !== 'user') throw new AppError('invalid', 'An organization cannot be a member of an organization.')

  const { role } = input
  const at = deps.now()
  await deps.db.transaction().execute(async (tx) => {
    // Two owners who demote each other at the same time go one after the other.
    await accountTouch(tx, organization.id, at)
    await membershipSet(tx, { organizationId: organization.id, userId: user.id, role, createdAt: at })
    if ((await membershipOwners(tx, organization.id)) === 0) throw new AppError('invalid', 'The last owner cannot become a member.')
    await eventInsert(tx, {
      at,
      actor,
      kind: 'membership.set',
      subject: { kind: 'organization', id: organization.id },
      payload: { userId: user.id, role },
    })
  })
  return { organization, user, role }
}

/** Ends a membership, and what the user was given in single repositories of the organization. @throws AppError forbidden for the last owner */
export async function removeMembership(
  deps: WriteDeps,
  actor: Actor,
  input: { organization: OrganizationRef; login: string },
): Promise<void> {
  const organization = await authorizeOrganization(deps, actor, input.organization, needs.organizationMembersWrite)
  const user = await userByLogin(deps.db, input.login)

  const at = deps.now()
  await deps.db.transaction().execute(async (tx) => {
    await accountTouch(tx, organization.id, at)
    if (!(await membershipDelete(tx, organization.id, user.id))) throw new AppError('not_found', 'Not Found')
    if ((await membershipOwners(tx, organization.id)) === 0) throw new AppError('forbidden', 'The last owner cannot be removed.')
    await collaboratorDeleteAt(tx, organization.id, user.id)
    await eventInsert(tx, {
      at,
      actor,
      kind: 'membership.removed',
      subject: { kind: 'organization', id: organization.id },
      payload: { userId: user.id },
    })
  })
}

/** What somebody is in an organization, for its members. @throws AppError not_found for somebody who is no member */
export async function getMembership(
  deps: ReadDeps,
  actor: Actor,
  input: { organization: OrganizationRef; login: string },
): Promise<Membership> {
  const organization = await authorizeOrganization(deps, actor, input.organization, needs.organizationMembersRead)
  const user = await userByLogin(deps.db, input.login)
  const role = await membershipRole(deps.db, organization.id, user.id)
  if (role === undefined) throw new AppError('not_found', 'Not Found')
  return { organization, user, role }
}

/** What the actor is in an organization. */
export async function getOwnMembership(deps: ReadDeps, actor: Actor, organization: OrganizationRef): Promise<Membership> {
  const { login } = requireUser(actor, needs.self)
  return getMembership(deps, actor, { organization, login })
}

/** Members of an organization by login, for members. */
export async function listMembers(
  deps: ReadDeps,
  actor: Actor,
  input: { organization: OrganizationRef; role?: Membership['role'] | undefined },
  page: Page,
): Promise<{ organization: Account; members: Account[]; total: number }> {
  const organization = await authorizeOrganization(deps, actor, input.organization, needs.organizationMembersRead)
  return { organization, ...(await memberList(deps.db, organization.id, input.role, page)) }
}
