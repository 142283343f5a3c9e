import {
  hasScope,
  ownScopes,
  reaches,
  repositoryScopes,
  type Actor,
  type Need,
  type RepositoryRole,
  type ScopeRef,
  type UserActor,
} from '../../model/access.ts'
import type { Account, Enterprise, Repository } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'
import { accountById, accountByLogin, collaboratorPermission, enterpriseGet, membershipRole } from '../../store/accounts.ts'
import { repositoryById, repositoryByName } from '../../store/repositories.ts'
import type { Deps } from '../deps.ts'

type AccessDeps = Pick<Deps, 'db' | 'log'>

/** GitHub's text for a role that is missing, on organizations too (rest-api.md 3.4). */
const NO_ADMIN = 'Must have admin rights to Repository.'
const NO_INTEGRATION = 'Resource not accessible by integration'

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
  if (actor.kind === 'job') throw new AppError('forbidden', NO_INTEGRATION)
  if (actor.kind !== 'user') throw notFound()
  if (!hasScope(actor.token.scopes, need.scopes)) throw new AppError('forbidden', 'Your token has not been granted the required scopes')
  return actor
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
  if (actor.kind !== 'user' || !actor.siteAdmin || !hasScope(actor.token.scopes, need.scopes)) throw notFound()
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
  if (actor.kind === 'job') throw new AppError('forbidden', NO_INTEGRATION)
  if (actor.kind !== 'user') throw requiresAuthentication()

  const role = await membershipRole(deps.db, organization.id, actor.userId)
  if (role === undefined && !actor.siteAdmin) throw notFound()
  if (role !== 'owner' && need.role === 'owner' && !actor.siteAdmin) throw new AppError('forbidden', NO_ADMIN)
  if (!hasScope(actor.token.scopes, need.scopes)) throw new AppError('forbidden', NO_ADMIN)
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

function authorizeJob(
  actor: Extract<Actor, { kind: 'job' }>,
  repository: Repository,
  need: Need,
): { repository: Repository; role: RepositoryRole } {
  const isOwn = actor.repositoryId === repository.id
  if (!isOwn && repository.visibility !== 'public') throw notFound()
  if (need.job === undefined) throw new AppError('forbidden', NO_INTEGRATION)
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
  const { visibility, owner } = repository
  if (actor.kind !== 'user') return visibility === 'public' ? 'read' : undefined
  if (visibility === 'private' && !hasScope(actor.token.scopes, ['repo', ...otherScopes])) return undefined
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
