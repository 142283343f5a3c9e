import { sql, type Expression, type ExpressionBuilder, type RawBuilder, type Selectable, type SqlBool } from 'kysely'
import type { Repository } from '../model/account.ts'
import { accountRows, decodeAccount } from './accounts.ts'
import { literals } from './literals.ts'
import type { Reach } from '../model/access.ts'
import { batches } from './batches.ts'
import type { Db } from './open.ts'
import { isWithin, NOTHING } from './reach.ts'
import { prepared } from './prepared.ts'
import type { Schema } from './schema.ts'

type Row = Selectable<Schema['repository']>
type OwnerRow = Selectable<Schema['account']>

function decodeRepository(row: Row, owner: OwnerRow): Repository {
  const { id, name, description, visibility, defaultBranch, createdAt, updatedAt, pushedAt } = row
  return { id, owner: decodeAccount(owner), name, description, visibility, defaultBranch, createdAt, updatedAt, pushedAt }
}

/** Adds a repository; undefined when its owner has one of that name. */
export async function repositoryInsert(
  db: Db,
  repository: {
    ownerId: number
    name: string
    description: string | null
    visibility: Repository['visibility']
    defaultBranch: string
    createdAt: number
  },
): Promise<number | undefined> {
  const row = await db
    .insertInto('repository')
    .values({
      ...repository,
      nameKey: repository.name.toLowerCase(),
      runNumbers: '{}',
      updatedAt: repository.createdAt,
      pushedAt: null,
    })
    .onConflict((c) => c.columns(['ownerId', 'nameKey']).doNothing())
    .returning('id')
    .executeTakeFirst()
  return row?.id
}

export async function repositoryByName(db: Db, owner: string, name: string): Promise<Repository | undefined> {
  const ownerRow = await db.selectFrom('account').selectAll().where('loginKey', '=', owner.toLowerCase()).executeTakeFirst()
  if (!ownerRow) return undefined
  const row = await db
    .selectFrom('repository')
    .selectAll()
    .where('ownerId', '=', ownerRow.id)
    .where('nameKey', '=', name.toLowerCase())
    .executeTakeFirst()
  return row && decodeRepository(row, ownerRow)
}

export async function repositoryById(db: Db, id: number): Promise<Repository | undefined> {
  const [row] = await rowsById(db, { id })
  const [owner] = row ? await accountRows(db, { id: row.ownerId }) : []
  return row && owner && decodeRepository(row, owner)
}

/** Which of these ids are repositories of an owner that a token reaches. */
export async function repositoriesAmong(db: Db, ownerId: number, ids: readonly number[], reach?: Reach): Promise<Set<number>> {
  const found = new Set<number>()
  for (const batch of batches(ids)) {
    const rows = await db
      .selectFrom('repository')
      .select('id')
      .where('id', 'in', batch)
      .where('ownerId', '=', ownerId)
      .$if(reach !== undefined, (query) => query.where(isWithin('repository.id', reach ?? NOTHING)))
      .execute()
    for (const { id } of rows) found.add(id)
  }
  return found
}

const rowsById = prepared((db, { id }: { id: number }) => db.selectFrom('repository').selectAll().where('id', '=', id))

/** Changes what is given. Undefined when the new name is taken. */
export async function repositoryUpdate(
  db: Db,
  id: number,
  change: Partial<Pick<Row, 'name' | 'description' | 'visibility' | 'defaultBranch' | 'pushedAt'>> & { updatedAt: number },
): Promise<void> {
  await db
    .updateTable('repository')
    .set({ ...change, ...(change.name === undefined ? {} : { nameKey: change.name.toLowerCase() }) })
    .where('id', '=', id)
    .execute()
}

/** What of a list of repositories is wanted, and in which order: by full name unless it says otherwise. */
export interface RepositorySelection {
  offset: number
  limit: number
  sort?: 'created' | 'updated' | 'pushed' | 'full_name'
  descending?: boolean
  /** Only these. */
  visibilities?: Repository['visibility'][]
}

const EVERY_VISIBILITY: Repository['visibility'][] = ['public', 'internal', 'private']

/** Never pushed counts as longest ago. Ids grow with time, and break ties. */
function ordered<Q extends { orderBy(column: RawBuilder<unknown>): Q }>(
  query: Q,
  { sort = 'full_name', descending = false }: RepositorySelection,
): Q {
  const direction = sql.raw(descending ? 'desc' : 'asc')
  const columns = {
    created: [],
    updated: [sql.ref('repository.updatedAt')],
    pushed: [sql`coalesce(${sql.ref('repository.pushedAt')}, 0)`],
    full_name: [sql.ref('account.loginKey'), sql.ref('repository.nameKey')],
  }[sort]
  return [...columns, sql.ref('repository.id')].reduce((part, column) => part.orderBy(sql`${column} ${direction}`), query)
}

/**
 * Whose eyes a list is made for: all, a user whose collaborations count beside public and internal ones, a token that reaches certain
 * repositories beside public ones, or nobody known.
 */
export type RepositoryReader = 'all' | { userId: number } | { only: number[] | null; installationId: number | null } | null

/** Repositories of an owner that the reader may see. */
export async function repositoryList(
  db: Db,
  owner: number,
  reader: RepositoryReader,
  selection: RepositorySelection,
): Promise<{ repositories: Repository[]; total: number }> {
  const { visibilities = EVERY_VISIBILITY } = selection
  const matching = db
    .selectFrom('repository')
    .innerJoin('account', 'account.id', 'repository.ownerId')
    .where('ownerId', '=', owner)
    .where((eb) => eb.or(visibilities.map((visibility) => eb('visibility', '=', visibility))))
    .$if(reader === null, (query) => query.where('visibility', '=', 'public'))
    .$if(reader !== null && reader !== 'all', (query) =>
      query.where((eb) => (reader === null || reader === 'all' ? eb.lit(1) : seenBy(eb, reader))),
    )
  const rows = await ordered(matching.selectAll('repository'), selection).offset(selection.offset).limit(selection.limit).execute()
  const { count } = await matching.select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  const ownerRow = await db.selectFrom('account').selectAll().where('id', '=', owner).executeTakeFirstOrThrow()
  return { repositories: rows.map((row) => decodeRepository(row, ownerRow)), total: count }
}

function seenBy(eb: ExpressionBuilder<Schema, 'repository'>, reader: Exclude<RepositoryReader, 'all' | null>): Expression<SqlBool> {
  if ('userId' in reader) {
    const given = eb.selectFrom('collaborator').select('repositoryId').where('userId', '=', reader.userId)
    return eb.or([eb('visibility', 'in', ['public', 'internal']), eb('repository.id', 'in', given)])
  }
  const { only, installationId } = reader
  const selected = eb.selectFrom('installationRepository').select('repositoryId').where('installationId', '=', installationId)
  const reached = [
    ...(only === null ? [] : [only.length === 0 ? eb('repository.id', '=', 0) : eb('repository.id', 'in', only)]),
    ...(installationId === null ? [] : [eb('repository.id', 'in', selected)]),
  ]
  return eb.or([eb('visibility', '=', 'public'), eb.and(reached)])
}

/** How many repositories an owner has that everybody sees, and that not everybody does. */
export async function repositoryCounts(db: Db, ownerId: number): Promise<{ open: number; closed: number }> {
  const rows = await db
    .selectFrom('repository')
    .select(['visibility', (eb) => eb.fn.countAll<number>().as('count')])
    .where('ownerId', '=', ownerId)
    .groupBy('visibility')
    .execute()
  const sum = (isOpen: boolean) =>
    rows.filter(({ visibility }) => (visibility === 'public') === isOpen).reduce((total, { count }) => total + count, 0)
  return { open: sum(true), closed: sum(false) }
}

export type Affiliation = 'owner' | 'collaborator' | 'organization_member'
const EVERY_WAY: Affiliation[] = ['owner', 'collaborator', 'organization_member']

/** What a fine-grained token leaves of a list. */
interface RepositoryBounds {
  ownerId?: number
  only?: number[] | null
}

/** Repositories that a user owns, was invited to or sees as a member. */
export async function repositoryListOfUser(
  db: Db,
  userId: number,
  selection: RepositorySelection & { affiliations?: Affiliation[]; updatedAfter?: number; updatedBefore?: number } & RepositoryBounds,
): Promise<{ repositories: Repository[]; total: number }> {
  const { affiliations = EVERY_WAY, visibilities = EVERY_VISIBILITY, updatedAfter, updatedBefore, ownerId, only } = selection
  if (only?.length === 0) return { repositories: [], total: 0 }
  const matching = db
    .selectFrom('repository')
    .innerJoin('account', 'account.id', 'repository.ownerId')
    .where((eb) => {
      const ways = {
        owner: eb('ownerId', '=', userId),
        collaborator: eb('repository.id', 'in', eb.selectFrom('collaborator').select('repositoryId').where('userId', '=', userId)),
        organization_member: eb('ownerId', 'in', eb.selectFrom('membership').select('organizationId').where('userId', '=', userId)),
      }
      return eb.or(affiliations.map((affiliation) => ways[affiliation]))
    })
    .where((eb) => eb.or(visibilities.map((visibility) => eb('visibility', '=', visibility))))
    .$if(ownerId !== undefined, (query) => query.where('ownerId', '=', ownerId ?? 0))
    .$if(only != null, (query) => query.where('repository.id', 'in', only ?? []))
    .$if(updatedAfter !== undefined, (query) => query.where('repository.updatedAt', '>', updatedAfter ?? 0))
    .$if(updatedBefore !== undefined, (query) => query.where('repository.updatedAt', '<', updatedBefore ?? 0))
  const rows = await ordered(matching.select('repository.id'), selection).offset(selection.offset).limit(selection.limit).execute()
  const { count } = await matching.select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow()

  const repositories: Repository[] = []
  for (const { id } of rows) {
    const repository = await repositoryById(db, id)
    if (repository) repositories.push(repository)
  }
  return { repositories, total: count }
}

/** The repository that had this name once, and gave it up without another taking it. */
export async function repositoryByFormerName(db: Db, owner: string, name: string): Promise<Repository | undefined> {
  const row = await db
    .selectFrom('formerRepository')
    .innerJoin('account', 'account.id', 'formerRepository.ownerId')
    .select('repositoryId')
    .where('loginKey', '=', owner.toLowerCase())
    .where('nameKey', '=', name.toLowerCase())
    .executeTakeFirst()
  return row && repositoryById(db, row.repositoryId)
}

/** Remembers a name that a repository gives up. */
export async function formerRepositorySet(db: Db, former: { ownerId: number; name: string; repositoryId: number }): Promise<void> {
  const { ownerId, name, repositoryId } = former
  await db
    .insertInto('formerRepository')
    .values({ ownerId, nameKey: name.toLowerCase(), repositoryId })
    .onConflict((c) => c.columns(['ownerId', 'nameKey']).doUpdateSet({ repositoryId }))
    .execute()
}

/** A name that is taken again leads nowhere else. */
export async function formerRepositoryForget(db: Db, ownerId: number, name: string): Promise<void> {
  await db.deleteFrom('formerRepository').where('ownerId', '=', ownerId).where('nameKey', '=', name.toLowerCase()).execute()
}

/** Jobs that wait in line go by the new visibility too: groups may not serve public repositories. */
export async function linesSetPublic(db: Db, repositoryId: number, isPublic: boolean): Promise<void> {
  await db
    .updateTable('line')
    .set({ isPublic: isPublic ? 1 : 0 })
    .where('repositoryId', '=', repositoryId)
    .execute()
}

/**
 * Deletes a repository with what belongs to it; false, and the transaction is to be undone, while a runner has one of its jobs. Waiting
 * jobs end as cancelled. Runs stay as rows, where only the retention task finds them: it also deletes their logs.
 */
export async function repositoryDelete(db: Db, id: number, now: number): Promise<boolean> {
  const ended = { status: 'completed', conclusion: 'cancelled', completedAt: now } as const
  await db
    .updateTable('job')
    .set({ ...ended, lineId: null, problem: 'The repository was deleted.' })
    .where('repositoryId', '=', id)
    .where('status', 'in', literals(['pending', 'queued']))
    .execute()
  const running = await db
    .selectFrom('job')
    .select('id')
    .where('repositoryId', '=', id)
    .where('status', '!=', 'completed')
    .limit(1)
    .executeTakeFirst()
  if (running) return false

  const groups = db.selectFrom('runnerGroup').select('id').where('ownerKind', '=', 'organization')
  await db.deleteFrom('runnerGroupAccess').where('targetId', '=', id).where('groupId', 'in', groups).execute()
  await db.deleteFrom('inheritedGroupAccess').where('repositoryId', '=', id).execute()
  await db.deleteFrom('runnerPolicyRepository').where('repositoryId', '=', id).execute()
  const runs = db.selectFrom('run').select('id').where('repositoryId', '=', id)
  await db.updateTable('runAttempt').set({ completedAt: now }).where('runId', 'in', runs).where('completedAt', 'is', null).execute()
  await db
    .updateTable('run')
    .set({ status: 'completed', conclusion: 'cancelled', updatedAt: now })
    .where('repositoryId', '=', id)
    .where('status', '!=', 'completed')
    .execute()
  await db
    .updateTable('runner')
    .set({ deletedAt: now })
    .where('scopeKind', '=', 'repository')
    .where('scopeId', '=', id)
    .where('deletedAt', 'is', null)
    .execute()
  for (const table of ['line', 'push', 'workflow', 'collaborator', 'formerRepository', 'installationRepository'] as const) {
    await db.deleteFrom(table).where('repositoryId', '=', id).execute()
  }
  await db.deleteFrom('registrationToken').where('scopeKind', '=', 'repository').where('scopeId', '=', id).execute()
  await db.deleteFrom('repository').where('id', '=', id).execute()
  return true
}
