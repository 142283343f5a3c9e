import { sql, type ExpressionBuilder, type Selectable } from 'kysely'
import type { Reach, ScopeRef } from '../model/access.ts'
import {
  DEFAULT_GROUP_NAME,
  DEFAULT_GROUP_NUMBER,
  type GroupOwner,
  type GroupPolicy,
  type GroupVisibility,
  type InheritedGroup,
  type RunnerGroup,
  type SelectedWorkflow,
} from '../model/runner-group.ts'
import { batches } from './batches.ts'
import type { Db } from './open.ts'
import { prepared } from './prepared.ts'
import { isWithin, NOTHING } from './reach.ts'
import type { Schema } from './schema.ts'

function decodeGroup(row: Selectable<Schema['runnerGroup']>): RunnerGroup {
  const { id, ownerKind, ownerId, number, name, version } = row
  return {
    id,
    ownerKind,
    ownerId,
    number,
    name,
    version,
    visibility: row.visibility as GroupVisibility,
    allowsPublicRepositories: row.allowsPublicRepositories === 1,
    restrictedToWorkflows: row.restrictedToWorkflows === 1,
    selectedWorkflows: JSON.parse(row.selectedWorkflows) as SelectedWorkflow[],
  }
}

export async function runnerGroupEnsureDefault(db: Db, owner: GroupOwner, now: number): Promise<RunnerGroup> {
  await db
    .insertInto('runnerGroup')
    .values({
      ownerKind: owner.kind,
      ownerId: owner.id,
      number: DEFAULT_GROUP_NUMBER,
      name: DEFAULT_GROUP_NAME,
      nameKey: DEFAULT_GROUP_NAME.toLowerCase(),
      visibility: 'all',
      allowsPublicRepositories: 0,
      createdAt: now,
      updatedAt: now,
    })
    .onConflict((c) => c.doNothing())
    .execute()
  const group = await runnerGroupByNumber(db, owner, DEFAULT_GROUP_NUMBER)
  if (!group) throw new Error('the Default group was not made')
  return group
}

export async function runnerGroupByNumber(db: Db, owner: GroupOwner, number: number): Promise<RunnerGroup | undefined> {
  const row = await ofOwner(db, owner).selectAll().where('number', '=', number).executeTakeFirst()
  return row && decodeGroup(row)
}

export async function runnerGroupById(db: Db, id: number): Promise<RunnerGroup | undefined> {
  const row = await db.selectFrom('runnerGroup').selectAll().where('id', '=', id).executeTakeFirst()
  return row && decodeGroup(row)
}

/** Whether one of these places has a group of that name, in lower case; each place has the default one. */
export async function groupExists(db: Db, places: readonly ScopeRef[], nameKey: string): Promise<boolean> {
  if (nameKey === DEFAULT_GROUP_NAME.toLowerCase()) return true
  const row = await db
    .selectFrom('runnerGroup')
    .select('id')
    .where('nameKey', '=', nameKey)
    .where((eb) => eb.or(places.map(({ kind, id }) => eb.and([eb('ownerKind', '=', kind as GroupOwner['kind']), eb('ownerId', '=', id)]))))
    .executeTakeFirst()
  return row !== undefined
}

function ofOwner(db: Db, owner: GroupOwner) {
  return db.selectFrom('runnerGroup').where('ownerKind', '=', owner.kind).where('ownerId', '=', owner.id)
}

/** Groups of an owner by name; with `visibleTo` those that this repository (of an organization's) or organization may use. */
export async function runnerGroupPage(
  db: Db,
  owner: GroupOwner,
  options: { visibleTo?: number | undefined; offset: number; limit: number },
): Promise<{ groups: RunnerGroup[]; total: number }> {
  const { visibleTo } = options
  const matching = ofOwner(db, owner).$if(visibleTo !== undefined, (query) => query.where((eb) => usableBy(eb, visibleTo ?? 0)))
  const { count } = await matching.select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  if (options.offset >= count) return { groups: [], total: count }
  const rows = await matching.selectAll().orderBy('nameKey').offset(options.offset).limit(options.limit).execute()
  return { groups: rows.map(decodeGroup), total: count }
}

function usableBy(eb: ExpressionBuilder<Schema, 'runnerGroup'>, targetId: number) {
  return eb.or([
    eb('runnerGroup.visibility', '!=', 'selected'),
    eb.exists(
      eb
        .selectFrom('runnerGroupAccess')
        .select('targetId')
        .whereRef('runnerGroupAccess.groupId', '=', 'runnerGroup.id')
        .where('targetId', '=', targetId),
    ),
  ])
}

export interface GroupSettings {
  name: string
  visibility: GroupVisibility
  allowsPublicRepositories: boolean
  restrictedToWorkflows: boolean
  selectedWorkflows: SelectedWorkflow[]
}

function columnsOf(settings: GroupSettings) {
  return {
    name: settings.name,
    nameKey: settings.name.toLowerCase(),
    visibility: settings.visibility,
    allowsPublicRepositories: settings.allowsPublicRepositories ? 1 : 0,
    restrictedToWorkflows: settings.restrictedToWorkflows ? 1 : 0,
    selectedWorkflows: JSON.stringify(settings.selectedWorkflows),
  }
}

/** Adds a group under the owner's next number; undefined when the name is taken. Numbers are not given twice while a later one is there. */
export async function runnerGroupInsert(db: Db, owner: GroupOwner, settings: GroupSettings, now: number): Promise<RunnerGroup | undefined> {
  const number = await nextNumber(db, owner)
  const row = await db
    .insertInto('runnerGroup')
    .values({ ownerKind: owner.kind, ownerId: owner.id, number, ...columnsOf(settings), createdAt: now, updatedAt: now })
    .onConflict((c) => c.columns(['ownerKind', 'ownerId', 'nameKey']).doNothing())
    .returningAll()
    .executeTakeFirst()
  return row && decodeGroup(row)
}

/** An organization numbers its own groups and those that it inherits in one row. The Default group's row is the lock. */
async function nextNumber(db: Db, owner: GroupOwner): Promise<number> {
  await db
    .updateTable('runnerGroup')
    .set((eb) => ({ updatedAt: eb.ref('updatedAt') }))
    .where('ownerKind', '=', owner.kind)
    .where('ownerId', '=', owner.id)
    .where('number', '=', DEFAULT_GROUP_NUMBER)
    .execute()
  const own = await ofOwner(db, owner)
    .select((eb) => eb.fn.max<number | null>('number').as('last'))
    .executeTakeFirst()
  const inherited =
    owner.kind === 'organization'
      ? await db
          .selectFrom('inheritedGroup')
          .select((eb) => eb.fn.max<number | null>('number').as('last'))
          .where('organizationId', '=', owner.id)
          .executeTakeFirst()
      : undefined
  return Math.max(own?.last ?? 0, inherited?.last ?? 0) + 1
}

/** Changes a group. @throws the database's unique violation when the name is taken */
export async function runnerGroupUpdate(db: Db, id: number, settings: GroupSettings, now: number): Promise<RunnerGroup | undefined> {
  const row = await db
    .updateTable('runnerGroup')
    .set((eb) => ({ ...columnsOf(settings), version: eb('version', '+', 1), updatedAt: now }))
    .where('id', '=', id)
    .returningAll()
    .executeTakeFirst()
  return row && decodeGroup(row)
}

/** Says that what the group allows has changed: claims that know the former version look again. */
export async function runnerGroupTouch(db: Db, id: number, now: number): Promise<void> {
  await db
    .updateTable('runnerGroup')
    .set((eb) => ({ version: eb('version', '+', 1), updatedAt: now }))
    .where('id', '=', id)
    .execute()
}

/** Deletes a group; its runners must have been moved. */
export async function runnerGroupDelete(db: Db, id: number): Promise<void> {
  await db.deleteFrom('runnerGroupAccess').where('groupId', '=', id).execute()
  await db.deleteFrom('inheritedGroupAccess').where('groupId', '=', id).execute()
  await db.deleteFrom('inheritedGroup').where('groupId', '=', id).execute()
  await db.deleteFrom('runnerGroup').where('id', '=', id).execute()
}

/** A page of the ids that a group is open to, and the whole count. */
export async function groupAccessPage(
  db: Db,
  groupId: number,
  page: { offset: number; limit: number },
  reach?: Reach,
): Promise<{ ids: number[]; total: number }> {
  const matching = db
    .selectFrom('runnerGroupAccess')
    .where('groupId', '=', groupId)
    .$if(reach !== undefined, (query) => query.where(isWithin('runnerGroupAccess.targetId', reach ?? NOTHING)))
  const { count } = await matching.select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  const rows = await matching.select('targetId').orderBy('targetId').offset(page.offset).limit(page.limit).execute()
  return { ids: rows.map(({ targetId }) => targetId), total: count }
}

/** Puts exactly these ids in the place of those that the group was open to; what is beyond `reach` stays. */
export async function groupAccessSet(db: Db, groupId: number, ids: readonly number[], reach?: Reach): Promise<void> {
  await db
    .deleteFrom('runnerGroupAccess')
    .where('groupId', '=', groupId)
    .$if(reach !== undefined, (query) => query.where(isWithin('runnerGroupAccess.targetId', reach ?? NOTHING)))
    .execute()
  await groupAccessAdd(db, groupId, ids)
}

export async function groupAccessAdd(db: Db, groupId: number, ids: readonly number[]): Promise<void> {
  for (const batch of batches(ids)) {
    await db
      .insertInto('runnerGroupAccess')
      .values(batch.map((targetId) => ({ groupId, targetId })))
      .onConflict((c) => c.doNothing())
      .execute()
  }
}

export async function groupAccessRemove(db: Db, groupId: number, targetId: number): Promise<void> {
  await db.deleteFrom('runnerGroupAccess').where('groupId', '=', groupId).where('targetId', '=', targetId).execute()
}

/**
 * The groups of the enterprise that an organization may use, by name. Each gets its number there when it is first listed, and keeps it.
 */
export async function inheritedGroupPage(
  db: Db,
  { organizationId, enterpriseId, now }: { organizationId: number; enterpriseId: number; now: number },
  page: { offset: number; limit: number },
): Promise<{ groups: InheritedGroup[]; total: number }> {
  await inheritedGroupsNumber(db, { organizationId, enterpriseId, now })
  const matching = ofOwner(db, { kind: 'enterprise', id: enterpriseId }).where((eb) => usableBy(eb, organizationId))
  const { count } = await matching.select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  if (page.limit === 0 || page.offset >= count) return { groups: [], total: count }
  const rows = await matching.selectAll().orderBy('nameKey').offset(page.offset).limit(page.limit).execute()
  const groups: InheritedGroup[] = []
  for (const row of rows) {
    const own = await inheritedRow(db, organizationId, row.id)
    if (own) groups.push(decodeInherited(own, decodeGroup(row)))
  }
  return { groups, total: count }
}

async function inheritedGroupsNumber(
  db: Db,
  { organizationId, enterpriseId, now }: { organizationId: number; enterpriseId: number; now: number },
): Promise<void> {
  const missing = await ofOwner(db, { kind: 'enterprise', id: enterpriseId })
    .select('id')
    .where((eb) => usableBy(eb, organizationId))
    .where((eb) =>
      eb.not(
        eb.exists(
          eb
            .selectFrom('inheritedGroup')
            .select('number')
            .whereRef('inheritedGroup.groupId', '=', 'runnerGroup.id')
            .where('organizationId', '=', organizationId),
        ),
      ),
    )
    .orderBy('id')
    .execute()
  if (missing.length === 0) return
  await db.transaction().execute(async (tx) => {
    let number = await nextNumber(tx, { kind: 'organization', id: organizationId })
    for (const { id } of missing) if (await inheritedInsert(tx, { organizationId, groupId: id, number, now })) number++
  })
}

/** False for a group that has its number in the organization. */
async function inheritedInsert(
  db: Db,
  { organizationId, groupId, number, now }: { organizationId: number; groupId: number; number: number; now: number },
): Promise<boolean> {
  const added = await db
    .insertInto('inheritedGroup')
    .values({ organizationId, number, groupId, visibility: 'all', allowsPublicRepositories: null, updatedAt: now })
    .onConflict((c) => c.doNothing())
    .executeTakeFirst()
  return (added.numInsertedOrUpdatedRows ?? 0n) > 0n
}

/**
 * The number that a group of the enterprise has in the organization that owns a repository: its own there, given now if it has none yet.
 * Undefined where a person owns the repository. Call it in a transaction.
 */
export async function inheritedGroupNumber(
  db: Db,
  { groupId, repositoryId, now }: { groupId: number; repositoryId: number; now: number },
): Promise<number | undefined> {
  const [owner] = await numbersForOwner(db, { groupId, repositoryId })
  if (!owner || owner.number !== null) return owner?.number ?? undefined
  const { organizationId } = owner
  const number = await nextNumber(db, { kind: 'organization', id: organizationId })
  if (await inheritedInsert(db, { organizationId, groupId, number, now })) return number
  return (await inheritedRow(db, organizationId, groupId))?.number
}

const numbersForOwner = prepared((db, { groupId, repositoryId }: { groupId: number; repositoryId: number }) =>
  db
    .selectFrom('repository')
    .innerJoin('account', (join) => join.onRef('account.id', '=', 'repository.ownerId').on('account.kind', '=', sql.lit('organization')))
    .leftJoin('inheritedGroup', (join) =>
      join.onRef('inheritedGroup.organizationId', '=', 'account.id').on('inheritedGroup.groupId', '=', groupId),
    )
    .select(['account.id as organizationId', 'inheritedGroup.number'])
    .where('repository.id', '=', repositoryId),
)

function inheritedRow(db: Db, organizationId: number, groupId: number) {
  return db
    .selectFrom('inheritedGroup')
    .selectAll()
    .where('groupId', '=', groupId)
    .where('organizationId', '=', organizationId)
    .executeTakeFirst()
}

function decodeInherited(row: Selectable<Schema['inheritedGroup']>, group: RunnerGroup): InheritedGroup {
  return {
    organizationId: row.organizationId,
    number: row.number,
    group,
    visibility: row.visibility as GroupVisibility,
    allowsPublicRepositories: row.allowsPublicRepositories === null ? null : row.allowsPublicRepositories === 1,
  }
}

/** The inherited group with that number in the organization, while the enterprise leaves it open to it. */
export async function inheritedGroupByNumber(db: Db, organizationId: number, number: number): Promise<InheritedGroup | undefined> {
  const row = await db
    .selectFrom('inheritedGroup')
    .selectAll()
    .where('organizationId', '=', organizationId)
    .where('number', '=', number)
    .executeTakeFirst()
  if (!row) return undefined
  const group = await db
    .selectFrom('runnerGroup')
    .selectAll()
    .where('id', '=', row.groupId)
    .where((eb) => usableBy(eb, organizationId))
    .executeTakeFirst()
  return group && decodeInherited(row, decodeGroup(group))
}

/** How an organization narrows a group that it inherits. */
export async function inheritedGroupUpdate(
  db: Db,
  { organizationId, group }: InheritedGroup,
  change: { visibility?: GroupVisibility; allowsPublicRepositories?: boolean },
  now: number,
): Promise<void> {
  const { visibility, allowsPublicRepositories } = change
  await db
    .updateTable('inheritedGroup')
    .set({
      updatedAt: now,
      ...(visibility !== undefined && { visibility }),
      ...(allowsPublicRepositories !== undefined && { allowsPublicRepositories: allowsPublicRepositories ? 1 : 0 }),
    })
    .where('organizationId', '=', organizationId)
    .where('groupId', '=', group.id)
    .execute()
  await runnerGroupTouch(db, group.id, now)
}

export async function inheritedAccessPage(
  db: Db,
  { organizationId, group }: InheritedGroup,
  page: { offset: number; limit: number },
  reach?: Reach,
): Promise<{ ids: number[]; total: number }> {
  const matching = db
    .selectFrom('inheritedGroupAccess')
    .where('groupId', '=', group.id)
    .where('organizationId', '=', organizationId)
    .$if(reach !== undefined, (query) => query.where(isWithin('inheritedGroupAccess.repositoryId', reach ?? NOTHING)))
  const { count } = await matching.select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  const rows = await matching.select('repositoryId').orderBy('repositoryId').offset(page.offset).limit(page.limit).execute()
  return { ids: rows.map(({ repositoryId }) => repositoryId), total: count }
}

/** As `groupAccessSet`, of what an organization made of an inherited group. */
export async function inheritedAccessSet(
  db: Db,
  { organizationId, group }: InheritedGroup,
  ids: readonly number[],
  reach?: Reach,
): Promise<void> {
  await db
    .deleteFrom('inheritedGroupAccess')
    .where('groupId', '=', group.id)
    .where('organizationId', '=', organizationId)
    .$if(reach !== undefined, (query) => query.where(isWithin('inheritedGroupAccess.repositoryId', reach ?? NOTHING)))
    .execute()
  await inheritedAccessAdd(db, { organizationId, group }, ids)
}

export async function inheritedAccessAdd(
  db: Db,
  { organizationId, group }: Pick<InheritedGroup, 'organizationId' | 'group'>,
  ids: readonly number[],
): Promise<void> {
  for (const batch of batches(ids)) {
    await db
      .insertInto('inheritedGroupAccess')
      .values(batch.map((repositoryId) => ({ groupId: group.id, organizationId, repositoryId })))
      .onConflict((c) => c.doNothing())
      .execute()
  }
}

export async function inheritedAccessRemove(db: Db, { organizationId, group }: InheritedGroup, repositoryId: number): Promise<void> {
  await db
    .deleteFrom('inheritedGroupAccess')
    .where('groupId', '=', group.id)
    .where('organizationId', '=', organizationId)
    .where('repositoryId', '=', repositoryId)
    .execute()
}

/** Everything that decides what runners of a group may serve, as it is now. */
export async function groupPolicy(db: Db, id: number): Promise<GroupPolicy | undefined> {
  const group = await runnerGroupById(db, id)
  return group && policyOf(db, group)
}

/** The same of several groups; those that are gone are left out. */
export async function groupPolicies(db: Db, ids: number[]): Promise<Map<number, GroupPolicy>> {
  const policies = new Map<number, GroupPolicy>()
  if (ids.length === 0) return policies
  const rows = await db.selectFrom('runnerGroup').selectAll().where('id', 'in', ids).execute()
  for (const row of rows) policies.set(row.id, await policyOf(db, decodeGroup(row)))
  return policies
}

async function policyOf(db: Db, group: RunnerGroup): Promise<GroupPolicy> {
  const { id } = group
  const selected = new Set<number>()
  if (group.visibility === 'selected') {
    const rows = await db.selectFrom('runnerGroupAccess').select('targetId').where('groupId', '=', id).execute()
    for (const { targetId } of rows) selected.add(targetId)
  }
  return {
    id,
    version: group.version,
    name: group.name.toLowerCase(),
    allowsPublic: group.allowsPublicRepositories,
    visibility: group.visibility,
    selected,
    narrowed: group.ownerKind === 'enterprise' ? await narrowings(db, group) : new Map(),
    workflows: group.restrictedToWorkflows ? group.selectedWorkflows : undefined,
  }
}

async function narrowings(db: Db, group: RunnerGroup): Promise<GroupPolicy['narrowed']> {
  const rows = await db
    .selectFrom('inheritedGroup')
    .selectAll()
    .where('groupId', '=', group.id)
    .where((eb) => eb.or([eb('visibility', '!=', 'all'), eb('allowsPublicRepositories', 'is not', null)]))
    .execute()
  if (rows.length === 0) return new Map()
  const access = await db.selectFrom('inheritedGroupAccess').selectAll().where('groupId', '=', group.id).execute()
  return new Map(
    rows.map((row) => [
      row.organizationId,
      {
        visibility: row.visibility as GroupVisibility,
        allowsPublic: row.allowsPublicRepositories !== 0,
        repositories: new Set(
          access.filter(({ organizationId }) => organizationId === row.organizationId).map((each) => each.repositoryId),
        ),
      },
    ]),
  )
}

/** Moves a group's runners, all or those named, to another. The ids of those that moved. */
export async function runnersMove(db: Db, { from, to, ids }: { from?: number; to: number; ids?: readonly number[] }): Promise<number[]> {
  const moved: number[] = []
  for (const batch of ids === undefined ? [undefined] : batches(ids)) {
    const rows = await db
      .updateTable('runner')
      .set({ groupId: to })
      .where('deletedAt', 'is', null)
      .where('groupId', '!=', to)
      .$if(from !== undefined, (query) => query.where('groupId', '=', from ?? 0))
      .$if(batch !== undefined, (query) => query.where('id', 'in', batch ?? []))
      .returning('id')
      .execute()
    moved.push(...rows.map(({ id }) => id))
  }
  return moved
}
