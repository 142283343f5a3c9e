import { sql, type Selectable } from 'kysely'
import type { Hook, HookOwnerRef, HookResponse } from '../model/hook.ts'
import { isPostgres, larger, smaller, type Db } from './open.ts'
import { prepared } from './prepared.ts'
import type { Schema } from './schema.ts'

type Row = Selectable<Schema['hook']>

function decodeHook(row: Row): Hook {
  const { id, url, contentType, createdAt, updatedAt } = row
  return {
    id,
    owner: { kind: row.ownerKind, id: row.ownerId },
    url,
    contentType,
    hasSecret: row.secret !== null,
    insecureSsl: row.insecureSsl === 1,
    events: JSON.parse(row.events) as string[],
    active: row.active === 1,
    lastResponse: row.lastResponse === null ? null : (JSON.parse(row.lastResponse) as HookResponse),
    createdAt,
    updatedAt,
  }
}

export type HookSettings = Pick<Hook, 'url' | 'contentType' | 'insecureSsl' | 'events' | 'active'>

/** Adds a webhook; `secret` is encrypted. */
export async function hookInsert(
  db: Db,
  owner: HookOwnerRef,
  { url, contentType, insecureSsl, events, active }: HookSettings,
  secret: string | null,
  now: number,
): Promise<Hook> {
  const row = await db
    .insertInto('hook')
    .values({
      ownerKind: owner.kind,
      ownerId: owner.id,
      url,
      contentType,
      secret,
      insecureSsl: insecureSsl ? 1 : 0,
      events: JSON.stringify(events),
      active: active ? 1 : 0,
      lastResponse: null,
      createdAt: now,
      updatedAt: now,
      deletedAt: null,
      dueAt: null,
      notBefore: 0,
      laneHolder: null,
      laneUntil: 0,
      troubles: 0,
    })
    .returningAll()
    .executeTakeFirstOrThrow()
  return decodeHook(row)
}

/** Changes a webhook; a `secret` that is not given stays. Undefined when it is deleted. */
export async function hookUpdate(
  db: Db,
  id: number,
  { url, contentType, insecureSsl, events, active }: HookSettings,
  secret: string | null | undefined,
  now: number,
): Promise<Hook | undefined> {
  const row = await db
    .updateTable('hook')
    .set({
      url,
      contentType,
      insecureSsl: insecureSsl ? 1 : 0,
      events: JSON.stringify(events),
      active: active ? 1 : 0,
      updatedAt: now,
      // Perhaps it leads elsewhere: no more waiting.
      troubles: 0,
      notBefore: 0,
      ...(secret !== undefined && { secret }),
    })
    .where('id', '=', id)
    .where('deletedAt', 'is', null)
    .returningAll()
    .executeTakeFirst()
  return row && decodeHook(row)
}

export async function hookOf(db: Db, owner: HookOwnerRef, id: number): Promise<Hook | undefined> {
  const row = await live(db).where('id', '=', id).where('ownerKind', '=', owner.kind).where('ownerId', '=', owner.id).executeTakeFirst()
  return row && decodeHook(row)
}

const live = (db: Db) => db.selectFrom('hook').selectAll().where('deletedAt', 'is', null)

/** Webhooks of an owner in the order in which they were made. */
export async function hooksOf(db: Db, owner: HookOwnerRef): Promise<Hook[]> {
  const rows = await live(db).where('ownerKind', '=', owner.kind).where('ownerId', '=', owner.id).orderBy('id').execute()
  return rows.map(decodeHook)
}

/** Active webhooks of any of these owners. */
export async function hooksOfAny(db: Db, owners: HookOwnerRef[]): Promise<Hook[]> {
  const rows = await live(db)
    .where('active', '=', sql.lit(1))
    .where((eb) => eb.or(owners.map(({ kind, id }) => eb.and([eb('ownerKind', '=', kind), eb('ownerId', '=', id)]))))
    .orderBy('id')
    .execute()
  return rows.map(decodeHook)
}

/** Of two transactions that begin with this on one owner, the second waits for the first. */
export async function hookOwnerLock(db: Db, owner: HookOwnerRef): Promise<void> {
  if (owner.kind === 'repository')
    await db
      .updateTable('repository')
      .set((eb) => ({ updatedAt: eb.ref('updatedAt') }))
      .where('id', '=', owner.id)
      .execute()
  else if (owner.kind === 'organization')
    await db
      .updateTable('account')
      .set((eb) => ({ updatedAt: eb.ref('updatedAt') }))
      .where('id', '=', owner.id)
      .execute()
  else
    await db
      .updateTable('enterprise')
      .set((eb) => ({ updatedAt: eb.ref('updatedAt') }))
      .execute()
}

/** Hides a webhook at once; `hooksPurge` deletes what it left. Whether it was there. */
export async function hookDelete(db: Db, id: number, now: number): Promise<boolean> {
  const result = await db
    .updateTable('hook')
    .set({ deletedAt: now, active: 0, dueAt: null, secret: null })
    .where('id', '=', id)
    .where('deletedAt', 'is', null)
    .executeTakeFirst()
  return result.numUpdatedRows > 0n
}

/** As `hookDelete`, for all webhooks of an owner that is deleted itself. */
export async function hooksDeleteOf(db: Db, owner: HookOwnerRef, now: number): Promise<void> {
  await db
    .updateTable('hook')
    .set({ deletedAt: now, active: 0, dueAt: null, secret: null })
    .where('ownerKind', '=', owner.kind)
    .where('ownerId', '=', owner.id)
    .where('deletedAt', 'is', null)
    .execute()
}

/** Deletes at most `limit` deliveries of each deleted webhook, and those webhooks that have none left; answers how many deliveries. */
export async function hooksPurge(db: Db, limit: number): Promise<number> {
  let deleted = 0
  const gone = await db.selectFrom('hook').select('id').where('deletedAt', 'is not', null).limit(limit).execute()
  for (const { id } of gone) {
    const some = db.selectFrom('hookDelivery').select('id').where('hookId', '=', id).limit(limit)
    const { numDeletedRows } = await db.deleteFrom('hookDelivery').where('id', 'in', some).executeTakeFirst()
    if (numDeletedRows < BigInt(limit)) await db.deleteFrom('hook').where('id', '=', id).execute()
    deleted += Number(numDeletedRows)
  }
  return deleted
}

/** A webhook whose requests one node makes. */
export interface Lane {
  hook: Hook
  /** Encrypted. */
  secret: string | null
  troubles: number
}

const decodeLane = (row: Row): Lane => ({ hook: decodeHook(row), secret: row.secret, troubles: row.troubles })

/** The account whose webhook a row is: the owner of its repository or App; 0 for those of the enterprise and of the server. */
const accountOf = (table: 'hook' | 'candidate') => {
  const ownerId = sql.ref(`${table}.ownerId`)
  return sql<number>`coalesce(case ${sql.ref(`${table}.ownerKind`)}
    when 'repository' then (select owned."ownerId" from repository as owned where owned.id = ${ownerId})
    when 'app' then (select owned."ownerId" from app as owned where owned.id = ${ownerId})
    when 'organization' then ${ownerId} end, 0)`
}

/** Whether `laneClaim` would find one: a read, where that writes. */
export async function laneIsDue(db: Db, now: number, busyAccounts: number[] = []): Promise<boolean> {
  if (busyAccounts.length > 0) return (await candidate(db, now, busyAccounts).executeTakeFirst()) !== undefined
  const [row] = await due(db, { now })
  return row !== undefined
}

const due = prepared((db, { now }: { now: number }) =>
  db.selectFrom('hook').select('id').where('dueAt', 'is not', null).where('dueAt', '<=', now).where('laneUntil', '<=', now).limit(1),
)

const candidate = (db: Db, now: number, busyAccounts: number[]) =>
  db
    .selectFrom('hook as candidate')
    .select('candidate.id')
    .where('candidate.dueAt', 'is not', null)
    .where('candidate.dueAt', '<=', now)
    .where('candidate.laneUntil', '<=', now)
    .$if(busyAccounts.length > 0, (query) => query.where(accountOf('candidate'), 'not in', busyAccounts))
    .orderBy('candidate.dueAt')
    .limit(1)

/**
 * Gives a node the webhook that has been due for longest, that no node has, and that is none of `busyAccounts`; until `until` the others
 * leave it alone. On PostgreSQL `skip locked` lets the second of two nodes take the next one. `accountId` is whose it is, 0 for nobody's.
 */
export async function laneClaim(
  db: Db,
  holder: string,
  now: number,
  until: number,
  busyAccounts: number[] = [],
): Promise<{ lane: Lane; accountId: number } | undefined> {
  const row = await db
    .updateTable('hook')
    .set({ laneHolder: holder, laneUntil: until })
    .where('laneUntil', '<=', now)
    .where(
      'id',
      '=',
      candidate(db, now, busyAccounts).$if(isPostgres(db), (query) => query.forUpdate().skipLocked()),
    )
    .returningAll()
    .returning(accountOf('hook').as('accountId'))
    .executeTakeFirst()
  return row && { lane: decodeLane(row), accountId: row.accountId }
}

/**
 * Keeps a lane, and writes what its last request came to; `troubles` counts rounds in a row in which one got no answer. Answers the webhook
 * as it is now, undefined when the lane was lost or the webhook deleted.
 */
export async function laneKeep(
  db: Db,
  { id, holder, until }: { id: number; holder: string; until: number },
  { response, troubles }: { response: HookResponse; troubles: number },
): Promise<Lane | undefined> {
  const row = await db
    .updateTable('hook')
    .set({ laneUntil: until, lastResponse: JSON.stringify(response), troubles })
    .where('id', '=', id)
    .where('laneHolder', '=', holder)
    .where('deletedAt', 'is', null)
    .returningAll()
    .executeTakeFirst()
  return row && decodeLane(row)
}

/**
 * Gives a lane back, due again when its next delivery is, and nothing before `notBefore`. Call it in a transaction: the row is locked first, so a
 * delivery that is added meanwhile is either seen here or sets the time itself.
 */
export async function laneRelease(db: Db, id: number, holder: string, notBefore: number): Promise<void> {
  const released = await db
    .updateTable('hook')
    .set({ laneHolder: null, laneUntil: 0 })
    .where('id', '=', id)
    .where('laneHolder', '=', holder)
    .executeTakeFirst()
  if (released.numUpdatedRows === 0n) return
  const next = await db
    .selectFrom('hookDelivery')
    .select('nextAttemptAt')
    .where('hookId', '=', id)
    .where('state', '=', sql.lit('pending'))
    .orderBy('nextAttemptAt')
    .limit(1)
    .executeTakeFirst()
  const dueAt = next === undefined ? null : Math.max(next.nextAttemptAt, notBefore)
  await db.updateTable('hook').set({ dueAt, notBefore }).where('id', '=', id).where('deletedAt', 'is', null).execute()
}

/** Gives back what a process held that is no more: only where one process alone uses the database. */
export async function lanesFree(db: Db): Promise<void> {
  await db.updateTable('hook').set({ laneHolder: null, laneUntil: 0 }).where('laneHolder', 'is not', null).execute()
}

/**
 * Says that webhooks have something to send from `at` on. One that gave no answer is left alone until its `notBefore`, unless somebody asks
 * for a delivery.
 */
export async function hookDue(db: Db, ids: number[], at: number, asked: 'by an event' | 'by somebody' = 'by an event'): Promise<void> {
  if (ids.length === 0) return
  const from = asked === 'by somebody' ? sql<number>`${at}` : larger(db, 'hook.notBefore', at)
  await db
    .updateTable('hook')
    .set({ dueAt: sql<number>`case when "dueAt" is null then ${from} else ${smaller(db, 'hook.dueAt', from)} end` })
    .where('id', 'in', ids)
    .where('deletedAt', 'is', null)
    .execute()
}
