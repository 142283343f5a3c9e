import type { Reach } from '../model/access.ts'
import { batches } from './batches.ts'
import type { Db } from './open.ts'
import { isWithin, NOTHING } from './reach.ts'

export type RunnerPolicy = 'all' | 'selected' | 'none'

/** Which repositories may get runners of their own; `all` where nothing was said. */
export async function runnerPolicy(db: Db, owner: { kind: 'enterprise' | 'organization'; id: number }): Promise<RunnerPolicy> {
  const row = await db
    .selectFrom('runnerPolicy')
    .select('repositories')
    .where('ownerKind', '=', owner.kind)
    .where('ownerId', '=', owner.id)
    .executeTakeFirst()
  return row?.repositories ?? 'all'
}

export async function runnerPolicySet(
  db: Db,
  owner: { kind: 'enterprise' | 'organization'; id: number },
  repositories: RunnerPolicy,
): Promise<void> {
  await db
    .insertInto('runnerPolicy')
    .values({ ownerKind: owner.kind, ownerId: owner.id, repositories })
    .onConflict((c) => c.columns(['ownerKind', 'ownerId']).doUpdateSet({ repositories }))
    .execute()
}

export async function policyRepositoryPage(
  db: Db,
  organizationId: number,
  page: { offset: number; limit: number },
  reach?: Reach,
): Promise<{ ids: number[]; total: number }> {
  const matching = db
    .selectFrom('runnerPolicyRepository')
    .where('organizationId', '=', organizationId)
    .$if(reach !== undefined, (query) => query.where(isWithin('runnerPolicyRepository.repositoryId', reach ?? NOTHING)))
  const { count } = await matching.select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  const rows = await matching.select('repositoryId').orderBy('repositoryId').offset(page.offset).limit(page.limit).execute()
  return { ids: rows.map(({ repositoryId }) => repositoryId), total: count }
}

export async function policyNames(db: Db, organizationId: number, repositoryId: number): Promise<boolean> {
  const row = await db
    .selectFrom('runnerPolicyRepository')
    .select('repositoryId')
    .where('organizationId', '=', organizationId)
    .where('repositoryId', '=', repositoryId)
    .executeTakeFirst()
  return row !== undefined
}

/** Names exactly these; what is beyond `reach` stays. */
export async function policyRepositoriesSet(db: Db, organizationId: number, ids: readonly number[], reach?: Reach): Promise<void> {
  await db
    .deleteFrom('runnerPolicyRepository')
    .where('organizationId', '=', organizationId)
    .$if(reach !== undefined, (query) => query.where(isWithin('runnerPolicyRepository.repositoryId', reach ?? NOTHING)))
    .execute()
  await policyRepositoryAdd(db, organizationId, ids)
}

export async function policyRepositoryAdd(db: Db, organizationId: number, ids: readonly number[]): Promise<void> {
  for (const batch of batches(ids)) {
    await db
      .insertInto('runnerPolicyRepository')
      .values(batch.map((repositoryId) => ({ organizationId, repositoryId })))
      .onConflict((c) => c.doNothing())
      .execute()
  }
}

export async function policyRepositoryRemove(db: Db, organizationId: number, repositoryId: number): Promise<void> {
  await db
    .deleteFrom('runnerPolicyRepository')
    .where('organizationId', '=', organizationId)
    .where('repositoryId', '=', repositoryId)
    .execute()
}
