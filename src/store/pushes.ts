import { sql, type Selectable } from 'kysely'
import type { Push, RefUpdate } from '../model/push.ts'
import type { Db } from './open.ts'
import { guardedUpdate } from './prepared.ts'
import type { Schema } from './schema.ts'

function decodePush({ updates, ...row }: Selectable<Schema['push']>): Push {
  return { ...row, updates: JSON.parse(updates) as RefUpdate[] }
}

/** Records what a pusher is about to move. */
export async function pushInsert(
  db: Db,
  push: { repositoryId: number; userId: number; updates: RefUpdate[]; createdAt: number },
): Promise<number> {
  const row = await db
    .insertInto('push')
    .values({ ...push, updates: JSON.stringify(push.updates), state: 'received', settledAt: null })
    .returning('id')
    .executeTakeFirstOrThrow()
  return row.id
}

export async function pushById(db: Db, id: number): Promise<Push | undefined> {
  const row = await db.selectFrom('push').selectAll().where('id', '=', id).executeTakeFirst()
  return row && decodePush(row)
}

/** Narrows a push to the updates that git made. It waits to be settled again should the reconciler have given it up. */
export async function pushConfirm(db: Db, id: number, updates: RefUpdate[]): Promise<void> {
  await db
    .updateTable('push')
    .set({ updates: JSON.stringify(updates), state: 'received', settledAt: null })
    .where('id', '=', id)
    .where('state', '!=', 'settled')
    .execute()
}

/** Ends a received push; false when another was first. */
export async function pushSettle(db: Db, id: number, state: 'settled' | 'refused', now: number): Promise<boolean> {
  return (await rowUpdate(db, id, ['received'], { state, settledAt: now })) !== undefined
}

const rowUpdate = guardedUpdate('push', 'state')

/** Deletes pushes that ended before an instant. */
export async function pushesForget(db: Db, before: number): Promise<void> {
  await db.deleteFrom('push').where('settledAt', '<', before).execute()
}

/** The latest settled push to a repository. */
export async function lastPushOf(db: Db, repositoryId: number): Promise<Push | undefined> {
  const row = await db
    .selectFrom('push')
    .selectAll()
    .where('repositoryId', '=', repositoryId)
    .where('state', '=', 'settled')
    .orderBy('id', 'desc')
    .limit(1)
    .executeTakeFirst()
  return row && decodePush(row)
}

/** Pushes that were received before an instant and not ended, oldest first. */
export async function pushesReceivedBefore(db: Db, before: number, limit: number, except: number[] = []): Promise<Push[]> {
  const rows = await db
    .selectFrom('push')
    .selectAll()
    .where('state', '=', sql.lit('received'))
    .where('createdAt', '<', before)
    .$if(except.length > 0, (query) => query.where('id', 'not in', except))
    .orderBy('id')
    .limit(limit)
    .execute()
  return rows.map(decodePush)
}

/** Pushes to a repository after this one, oldest first. */
export async function pushesAfter(db: Db, { repositoryId, id }: { repositoryId: number; id: number }, limit: number): Promise<Push[]> {
  const rows = await db
    .selectFrom('push')
    .selectAll()
    .where('repositoryId', '=', repositoryId)
    .where('id', '>', id)
    .orderBy('id')
    .limit(limit)
    .execute()
  return rows.map(decodePush)
}
