import {
  grantOf,
  hasScope,
  ownScopes,
  reaches,
  repositoryScopes,
  type Actor,
  type Grant,
  type InstallationActor,
  type Need,
  type RepositoryRole,
  type ScopeRef,
  type UserActor,
} from '../../model/access.ts'
import type { Account, Enterprise, Repository } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'
import { grants } from '../../model/permissions.ts'
import { accountById, accountByLogin, collaboratorPermission, enterpriseGet, membershipRole } from '../../store/accounts.ts'
import { installationHasRepository } from '../../store/apps.ts'
import { repositoryById, repositoryByName } from '../../store/repositories.ts'
import type { Deps } from '../deps.ts'

type AccessDeps = Pick<Deps, 'db' | 'log'>

/** GitHub's text for a role that is missing, on organizations too (rest-api.md 3.4). */
const NO_ADMIN = 'Must have admin rights to Repository.'
const NO_INTEGRATION = 'Resource not accessible by integration'
const NO_FINE_GRAINED = 'Resource not accessible by personal access token'

const notFound = () => new AppError('not_found', 'Not Found')
const requiresAuthentication = () => new AppError('unauthenticated', 'Requires authentication')

/** A repository by name or by id. */
export type RepositoryRef = { owner: string; name: string } | { id: number }
/** An organization by login or by id. */
export type OrganizationRef = { login: string } | { id: number }
/** What runners are registered at, as a path names it. */
export type RunnerScopeRef =
  | { kind: 'enterprise'; slug: string }
  | ({ kind: 'organization' } & OrganizationRef)
  | { kind: 'repository'; repository: RepositoryRef }

/** A user with a token, whatever its scopes. @throws AppError unauthenticated, forbidden for other kinds of token */
export function requireUser(actor: Actor, need: Need): UserActor {
  if (actor.kind === 'anonymous') throw requiresAuthentication()
  if (actor.kind === 'job' || actor.kind === 'installation' || actor.kind === 'app') throw notAccessible(actor)
  if (actor.kind !== 'user') throw notFound()
  if (actor.token.grant) requirePermission(actor, actor.token.grant, need)
  else if (!hasScope(actor.token.scopes, need.scopes))
    throw new AppError('forbidden', 'Your token has not been granted the required scopes')
  return actor
}

/** An App that signed for itself. Others are told as GitHub does whose token is no JWT. @throws AppError unauthenticated */
export function requireApp(actor: Actor): Extract<Actor, { kind: 'app' }> {
  if (actor.kind === 'anonymous') throw requiresAuthentication()
  if (actor.kind === 'registration') throw notFound()
  if (actor.kind !== 'app') throw new AppError('unauthenticated', 'A JSON web token could not be decoded')
  return actor
}

/** The token of an installation. @throws AppError unauthenticated, forbidden for other kinds of token */
export function requireInstallation(actor: Actor): InstallationActor {
  if (actor.kind === 'anonymous') throw requiresAuthentication()
  if (actor.kind === 'registration') throw notFound()
  if (actor.kind !== 'installation') throw new AppError('forbidden', 'You must authenticate with an installation access token.')
  return actor
}

/** What an App or a fine-grained token is told that was not given what the call takes (rest-api.md 3.4). */
function notAccessible(actor: Actor): AppError {
  return new AppError('forbidden', actor.kind === 'user' ? NO_FINE_GRAINED : NO_INTEGRATION)
}

/** The one place where permissions are compared with the `Need` of a call. Pushed workflow files, webhooks and narrowed tokens compare by `grants` too (ADR 9). */
function requirePermission(actor: Actor, { permissions }: Grant, need: Need): void {
  if (!grants(permissions, need.permission)) throw notAccessible(actor)
}

/** A site administrator. Others may not know that the call exists. */
export function requireSiteAdmin(actor: Actor, need: Need): UserActor {
  if (actor.kind === 'anonymous') throw requiresAuthentication()
  if (actor.kind !== 'user' || !actor.siteAdmin) throw notFound()
  return requireUser(actor, need)
}

/** The enterprise by slug or numeric id, for its owners. @throws AppError unauthenticated, not_found (enterprises are not public) */
export async function authorizeEnterprise(deps: AccessDeps, actor: Actor, slug: string, need: Need): Promise<Enterprise> {
  if (actor.kind === 'anonymous') throw requiresAuthentication()
  const enterprise = await enterpriseGet(deps.db)
  const isNamed = slug === String(enterprise.id) || slug.toLowerCase() === enterprise.slug.toLowerCase()
  if (!isNamed) throw notFound()
  if (actor.kind === 'system') return enterprise
  if (actor.kind === 'registration') {
    requireRegistration(actor, need, { kind: 'enterprise', id: enterprise.id })
    return enterprise
  }
  if (actor.kind !== 'user' || !actor.siteAdmin || actor.token.grant || !hasScope(actor.token.scopes, need.scopes)) throw notFound()
  return enterprise
}

/** An organization, when the actor has the role there and the token a scope. */
export async function authorizeOrganization(deps: AccessDeps, actor: Actor, ref: OrganizationRef, need: Need): Promise<Account> {
  if (actor.kind === 'anonymous' && need.role !== 'anyone') throw requiresAuthentication()
  const organization = 'id' in ref ? await accountById(deps.db, ref.id) : await accountByLogin(deps.db, ref.login)
  if (!organization || organization.kind !== 'organization') throw notFound()
  if (actor.kind === 'system' || need.role === 'anyone') return organization
  if (actor.kind === 'registration') {
    requireRegistration(actor, need, { kind: 'organization', id: organization.id })
    return organization
  }
  if (actor.kind === 'job') throw notAccessible(actor)
  const grant = grantOf(actor)
  if (actor.kind === 'installation' || actor.kind === 'app') {
    if (grant?.accountId !== organization.id) throw notFound()
    requirePermission(actor, grant, need)
    return organization
  }
  if (actor.kind !== 'user') throw requiresAuthentication()

  const role = await membershipRole(deps.db, organization.id, actor.userId)
  if (role === undefined && !actor.siteAdmin) throw notFound()
  if (role !== 'owner' && need.role === 'owner' && !actor.siteAdmin) throw new AppError('forbidden', NO_ADMIN)
  if (grant && grant.accountId !== organization.id) throw notAccessible(actor)
  if (grant) requirePermission(actor, grant, need)
  else if (!hasScope(actor.token.scopes, need.scopes)) throw new AppError('forbidden', NO_ADMIN)
  if (role === undefined) logForeign(deps, actor, 'organization', organization.id)
  return organization
}

/**
 * A repository, when the actor has the role there and the token a scope. What the actor may not see is not found (rest-api.md 3.4); on
 * public ones `public_repo` does for `repo`.
 */
export async function authorizeRepository(
  deps: AccessDeps,
  actor: Actor,
  ref: RepositoryRef,
  need: Need,
): Promise<{ repository: Repository; role: RepositoryRole }> {
  const isPlainRead = need.role === 'read'
  if (actor.kind === 'anonymous' && !isPlainRead) throw requiresAuthentication()
  const repository = 'id' in ref ? await repositoryById(deps.db, ref.id) : await repositoryByName(deps.db, ref.owner, ref.name)
  if (!repository) throw notFound()
  if (actor.kind === 'system') return { repository, role: 'admin' }
  if (actor.kind === 'registration') {
    requireRegistration(actor, need, { kind: 'repository', id: repository.id })
    return { repository, role: 'admin' }
  }
  if (actor.kind === 'job') return authorizeJob(actor, repository, need)
  const grant = grantOf(actor)
  if (grant) return authorizeGranted(deps, actor, grant, repository, need)

  const role = await roleIn(deps, actor, repository, ownScopes(need.scopes))
  if (role === undefined) throw notFound()
  const wanted = need.role as RepositoryRole
  if (!reaches(role, wanted)) throw new AppError('forbidden', NO_ADMIN)
  if (actor.kind === 'user') {
    const scopes = need.scopes.includes('repo') ? [...repositoryScopes(repository.visibility), ...ownScopes(need.scopes)] : need.scopes
    if (!hasScope(actor.token.scopes, scopes)) throw new AppError('forbidden', NO_ADMIN)
  }
  return { repository, role }
}

/**
 * An App's installation or a fine-grained token: first the repositories that it reaches, then the permission, and for a token of a user
 * what that user may do there. What is public can be read by all of them, whatever they were given.
 */
async function authorizeGranted(
  deps: AccessDeps,
  actor: Actor,
  grant: Grant,
  repository: Repository,
  need: Need,
): Promise<{ repository: Repository; role: RepositoryRole }> {
  const isPublic = repository.visibility === 'public'
  const isOpen = isPublic && need.role === 'read'
  if (!(await isReached(deps, grant, repository))) {
    if (!isPublic) throw notFound()
    if (!isOpen) throw notAccessible(actor)
    return { repository, role: 'read' }
  }
  const most = actor.kind === 'user' ? await roleOfUser(deps, actor, repository) : 'admin'
  if (most === undefined) throw notFound()
  if (!isOpen) requirePermission(actor, grant, need)
  if (!reaches(most, need.role as RepositoryRole)) throw new AppError('forbidden', NO_ADMIN)
  const given = roleOfGrant(grant)
  return { repository, role: reaches(most, given) ? given : most }
}

/** Whether what the actor was given leads to a repository of an organization where it was let in already. */
export async function reachesRepository(deps: Pick<Deps, 'db'>, actor: Actor, repository: Repository): Promise<boolean> {
  const grant = grantOf(actor)
  return grant === undefined || isReached(deps, grant, repository)
}

/** Whether a grant reaches a repository: it belongs to the account, and was not left out of a selection. */
async function isReached({ db }: Pick<Deps, 'db'>, grant: Grant, { id, owner }: Repository): Promise<boolean> {
  const { accountId, selection, installationId, only } = grant
  if (owner.id !== accountId || (only !== null && !only.includes(id))) return false
  return selection === 'all' || (installationId !== null && (await installationHasRepository(db, installationId, id)))
}

/** The role that comes nearest to what was given, for what shows one. */
function roleOfGrant({ permissions }: Grant): RepositoryRole {
  if (grants(permissions, 'administration:write')) return 'admin'
  return grants(permissions, 'contents:write') ? 'write' : 'read'
}

function authorizeJob(
  actor: Extract<Actor, { kind: 'job' }>,
  repository: Repository,
  need: Need,
): { repository: Repository; role: RepositoryRole } {
  const isOwn = actor.repositoryId === repository.id
  if (!isOwn && repository.visibility !== 'public') throw notFound()
  if (need.job === undefined) throw notAccessible(actor)
  return { repository, role: 'read' }
}

/**
 * What the actor may do in a repository: site administrators and owners all, members of the organization read, collaborators what they
 * were given, everybody reads public ones and every user internal ones. A token without `repo` sees no private repository, but for what
 * another scope of its lets it do there.
 */
export async function roleIn(
  deps: AccessDeps,
  actor: Actor,
  repository: Repository,
  otherScopes: string[] = [],
): Promise<RepositoryRole | undefined> {
  const { visibility } = repository
  if (actor.kind !== 'user') return visibility === 'public' ? 'read' : undefined
  if (visibility === 'private' && !hasScope(actor.token.scopes, ['repo', ...otherScopes])) return undefined
  return roleOfUser(deps, actor, repository)
}

/** The same, whatever the token. */
async function roleOfUser(deps: AccessDeps, actor: UserActor, repository: Repository): Promise<RepositoryRole | undefined> {
  const { visibility, owner } = repository
  if (owner.id === actor.userId) return 'admin'

  const membership = owner.kind === 'organization' ? await membershipRole(deps.db, owner.id, actor.userId) : undefined
  if (membership === 'owner') return 'admin'
  const given = await collaboratorPermission(deps.db, repository.id, actor.userId)
  if (given === 'admin') return 'admin'
  if (actor.siteAdmin) {
    logForeign(deps, actor, 'repository', repository.id)
    return 'admin'
  }
  return given ?? (visibility !== 'private' || membership === 'member' ? 'read' : undefined)
}

/** The scope that runners are registered at, for whoever may manage runners there. */
export async function authorizeRunnerScope(
  deps: AccessDeps,
  actor: Actor,
  ref: RunnerScopeRef,
  need: { enterprise: Need; organization: Need; repository: Need },
): Promise<RunnerScope> {
  if (ref.kind === 'enterprise') {
    const enterprise = await authorizeEnterprise(deps, actor, ref.slug, need.enterprise)
    return { kind: 'enterprise', id: enterprise.id, enterprise }
  }
  if (ref.kind === 'organization') {
    const organization = await authorizeOrganization(deps, actor, ref, need.organization)
    return { kind: 'organization', id: organization.id, organization }
  }
  const { repository } = await authorizeRepository(deps, actor, ref.repository, need.repository)
  return { kind: 'repository', id: repository.id, repository }
}

export type RunnerScope =
  | { kind: 'enterprise'; id: number; enterprise: Enterprise }
  | { kind: 'organization'; id: number; organization: Account }
  | { kind: 'repository'; id: number; repository: Repository }

/**
 * A registration token removes too, a remove token does not register (rest-api.md 4.5); either only in its own scope. Anything else is
 * not found, which ends the runner's attempts.
 */
export function requireRegistration(actor: Extract<Actor, { kind: 'registration' }>, need: Need, scope: ScopeRef): void {
  const isItsScope = actor.scope.kind === scope.kind && actor.scope.id === scope.id
  const serves = need.registration !== undefined && (actor.purpose === 'register' || need.registration === 'remove')
  if (!isItsScope || !serves) throw notFound()
}

function logForeign({ log }: AccessDeps, actor: UserActor, kind: string, id: number): void {
  log.info({ userId: actor.userId, [`${kind}Id`]: id }, 'a site administrator acts in a place that is not theirs')
}
