import type { Selectable } from 'kysely'
import type { Repository } from '../model/account.ts'
import { decodeAccount } from './accounts.ts'
import type { Db } from './open.ts'
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
  const row = await db.selectFrom('repository').selectAll().where('id', '=', id).executeTakeFirst()
  if (!row) return undefined
  const owner = await db.selectFrom('account').selectAll().where('id', '=', row.ownerId).executeTakeFirstOrThrow()
  return decodeRepository(row, owner)
}

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

/**
 * Repositories of an owner that the reader may see, by name. `reader`: 'all', or a user whose collaborations count beside public and
 * internal ones; null is an anonymous reader.
 */
export async function repositoryList(
  db: Db,
  owner: number,
  reader: 'all' | { userId: number } | null,
  page: { offset: number; limit: number },
): Promise<{ repositories: Repository[]; total: number }> {
  const matching = db
    .selectFrom('repository')
    .where('ownerId', '=', owner)
    .$if(reader === null, (query) => query.where('visibility', '=', 'public'))
    .$if(reader !== null && reader !== 'all', (query) =>
      query.where((eb) =>
        eb.or([
          eb('visibility', 'in', ['public', 'internal']),
          eb(
            'id',
            'in',
            eb
              .selectFrom('collaborator')
              .select('repositoryId')
              .where('userId', '=', reader === 'all' || reader === null ? 0 : reader.userId),
          ),
        ]),
      ),
    )
  const rows = await matching.selectAll().orderBy('nameKey').offset(page.offset).limit(page.limit).execute()
  const { count } = await matching.select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  const ownerRow = await db.selectFrom('account').selectAll().where('id', '=', owner).executeTakeFirstOrThrow()
  return { repositories: rows.map((row) => decodeRepository(row, ownerRow)), total: count }
}
