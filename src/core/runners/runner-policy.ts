import { needs, reachOf, type Actor, type ScopeRef } from '../../model/access.ts'
import type { Account, Repository } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'
import { enterpriseGet } from '../../store/accounts.ts'
import { eventInsert } from '../../store/events.ts'
import { repositoriesAmong, repositoryById } from '../../store/repositories.ts'
import {
  policyNames,
  policyRepositoriesSet,
  policyRepositoryAdd,
  policyRepositoryPage,
  policyRepositoryRemove,
  runnerPolicy,
  runnerPolicySet,
  type RunnerPolicy,
} from '../../store/runner-policy.ts'
import { authorizeEnterprise, authorizeOrganization, type OrganizationRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'

type PolicyDeps = Pick<Deps, 'db' | 'log' | 'now'>

/** Which repositories of an organization may get runners of their own (rest-api.md 2.6). */
export async function getOrganizationRunnerPolicy(
  deps: PolicyDeps,
  actor: Actor,
  ref: OrganizationRef,
): Promise<{ organization: Account; policy: RunnerPolicy }> {
  const organization = await authorizeOrganization(deps, actor, ref, needs.organizationPolicyRead)
  return { organization, policy: await runnerPolicy(deps.db, { kind: 'organization', id: organization.id }) }
}

/** @throws AppError conflict while the enterprise forbids them to all its organizations */
export async function setOrganizationRunnerPolicy(
  deps: PolicyDeps,
  actor: Actor,
  ref: OrganizationRef,
  policy: RunnerPolicy,
): Promise<void> {
  const organization = await authorizeOrganization(deps, actor, ref, needs.organizationPolicy)
  const enterprise = await enterpriseGet(deps.db)
  if (policy !== 'none' && (await runnerPolicy(deps.db, { kind: 'enterprise', id: enterprise.id })) === 'none') {
    throw new AppError('conflict', 'The enterprise has disabled repository-level self-hosted runners for all organizations')
  }
  const owner = { kind: 'organization' as const, id: organization.id }
  await change(deps, actor, owner, { repositories: policy }, (tx) => runnerPolicySet(tx, owner, policy))
}

/** Whether the enterprise forbids repository-level runners in all its organizations. */
export async function getEnterpriseRunnerPolicy(deps: PolicyDeps, actor: Actor, slug: string): Promise<boolean> {
  const enterprise = await authorizeEnterprise(deps, actor, slug, needs.enterprisePolicy)
  return (await runnerPolicy(deps.db, { kind: 'enterprise', id: enterprise.id })) === 'none'
}

export async function setEnterpriseRunnerPolicy(deps: PolicyDeps, actor: Actor, slug: string, disabled: boolean): Promise<void> {
  const enterprise = await authorizeEnterprise(deps, actor, slug, needs.enterprisePolicy)
  const owner = { kind: 'enterprise' as const, id: enterprise.id }
  await change(deps, actor, owner, { disabled }, (tx) => runnerPolicySet(tx, owner, disabled ? 'none' : 'all'))
}

/** The repositories that a `selected` policy names, by id. */
export async function listPolicyRepositories(
  deps: PolicyDeps,
  actor: Actor,
  ref: OrganizationRef,
  page: { offset: number; limit: number },
): Promise<{ organization: Account; repositories: Repository[]; total: number }> {
  const organization = await authorizeOrganization(deps, actor, ref, needs.organizationPolicyRead)
  const { ids, total } = await policyRepositoryPage(deps.db, organization.id, page, reachOf(actor))
  const repositories: Repository[] = []
  for (const id of ids) {
    const repository = await repositoryById(deps.db, id)
    if (repository) repositories.push(repository)
  }
  return { organization, repositories, total }
}

/** Sets those that the token reaches. @throws AppError invalid for others */
export async function setPolicyRepositories(deps: PolicyDeps, actor: Actor, ref: OrganizationRef, ids: number[]): Promise<void> {
  const organization = await authorizeOrganization(deps, actor, ref, needs.organizationPolicy)
  const found = await repositoriesAmong(deps.db, organization.id, ids, reachOf(actor))
  const missing = ids.find((id) => !found.has(id))
  if (missing !== undefined) throw new AppError('invalid', `There is no repository ${missing} here`)
  const owner = { kind: 'organization' as const, id: organization.id }
  await change(deps, actor, owner, { selected: ids }, (tx) => policyRepositoriesSet(tx, organization.id, ids, reachOf(actor)))
}

/** @throws AppError not_found for the repository; conflict unless the policy is `selected` */
export async function changePolicyRepository(
  deps: PolicyDeps,
  actor: Actor,
  ref: OrganizationRef,
  input: { repositoryId: number; change: 'add' | 'remove' },
): Promise<void> {
  const organization = await authorizeOrganization(deps, actor, ref, needs.organizationPolicy)
  const found = await repositoriesAmong(deps.db, organization.id, [input.repositoryId], reachOf(actor))
  if (!found.has(input.repositoryId)) throw new AppError('not_found', 'Not Found')
  const owner = { kind: 'organization' as const, id: organization.id }
  if ((await runnerPolicy(deps.db, owner)) !== 'selected') {
    throw new AppError('conflict', 'The organization does not restrict self-hosted runners to selected repositories')
  }
  const { repositoryId } = input
  await change(deps, actor, owner, { [input.change]: repositoryId }, (tx) =>
    input.change === 'add'
      ? policyRepositoryAdd(tx, organization.id, [repositoryId])
      : policyRepositoryRemove(tx, organization.id, repositoryId),
  )
}

async function change(
  { db, now }: PolicyDeps,
  actor: Actor,
  owner: { kind: 'enterprise' | 'organization'; id: number },
  payload: Record<string, unknown>,
  make: (tx: Deps['db']) => Promise<void>,
): Promise<void> {
  await db.transaction().execute(async (tx) => {
    await make(tx)
    await eventInsert(tx, { at: now(), actor, kind: 'runner_policy.updated', subject: owner, payload })
  })
}

/**
 * Refuses new runners of a repository whose organization, or the enterprise, switched them off. Those that are there go on.
 *
 * @throws AppError forbidden
 */
export async function requireRunnersAllowed({ db }: Pick<Deps, 'db'>, scope: ScopeRef): Promise<void> {
  const repository = scope.kind === 'repository' ? await repositoryById(db, scope.id) : undefined
  if (repository?.owner.kind !== 'organization') return
  const { id, owner } = repository
  const enterprise = await enterpriseGet(db)
  const ofEnterprise = await runnerPolicy(db, { kind: 'enterprise', id: enterprise.id })
  const policy = ofEnterprise === 'none' ? 'none' : await runnerPolicy(db, { kind: 'organization', id: owner.id })
  if (policy === 'all' || (policy === 'selected' && (await policyNames(db, owner.id, id)))) return
  throw new AppError('forbidden', 'Repository level self-hosted runners are disabled on this repository.')
}
