import { sql, type Selectable } from 'kysely'
import type { Delivery, HookAttempt, WholeDelivery } from '../model/hook.ts'
import type { Db } from './open.ts'
import type { Schema } from './schema.ts'

type Row = Selectable<Schema['hookDelivery']>

const LISTED = [
  'id',
  'hookId',
  'guid',
  'event',
  'action',
  'repositoryId',
  'installationId',
  'redelivery',
  'state',
  'attempts',
  'nextAttemptAt',
  'createdAt',
  'deliveredAt',
  'durationMs',
  'statusCode',
  'status',
] as const

function decodeDelivery(row: Pick<Row, (typeof LISTED)[number]>): Delivery {
  return { ...row, redelivery: row.redelivery === 1, nextAttemptAt: row.state === 'pending' ? row.nextAttemptAt : null }
}

export interface NewDelivery {
  hookId: number
  guid: string
  event: string
  action: string | null
  repositoryId: number | null
  installationId: number | null
  /** The row that it was made from: one webhook gets each once. */
  eventId: number | null
  orderKey: string
  payload: string
  redelivery: boolean
  createdAt: number
}

/** Adds deliveries; one that is there for its event already is not added again. Say `hookDue` in the same transaction. */
export async function deliveriesInsert(db: Db, deliveries: NewDelivery[]): Promise<void> {
  for (const { redelivery, ...delivery } of deliveries) {
    await db
      .insertInto('hookDelivery')
      .values({
        ...delivery,
        redelivery: redelivery ? 1 : 0,
        state: 'pending',
        attempts: 0,
        nextAttemptAt: delivery.createdAt,
        deliveredAt: null,
        durationMs: null,
        statusCode: null,
        status: null,
        url: null,
        requestHeaders: null,
        responseHeaders: null,
        responseBody: null,
      })
      .onConflict((c) => c.doNothing())
      .execute()
  }
}

/** A delivery whose turn it may be. */
export interface DueDelivery {
  id: number
  guid: string
  event: string
  orderKey: string
  payload: string
  attempts: number
  nextAttemptAt: number
}

/**
 * What a webhook has to send now: of each key its first one alone, and no more than `limit`. A later one of a key whose first waits for its
 * next try is put off to that time, so that it is not looked at again and again.
 */
export async function deliveriesDue(db: Db, hookId: number, now: number, limit: number): Promise<DueDelivery[]> {
  const found: DueDelivery[] = []
  const seen = new Set<string>()
  for (let offset = 0; found.length < limit;) {
    const rows = await pending(db, hookId)
      .select(['id', 'orderKey'])
      .where('nextAttemptAt', '<=', now)
      .orderBy('nextAttemptAt')
      .orderBy('id')
      .offset(offset)
      .limit(LOOKED_AT)
      .execute()
    for (const { id, orderKey } of rows) {
      if (found.length >= limit) break
      offset++
      if (seen.has(orderKey)) continue
      seen.add(orderKey)
      const head = await headOf(db, hookId, orderKey)
      if (!head) continue
      if (head.nextAttemptAt <= now) found.push(head)
      else if (head.id !== id) offset -= await putOff(db, hookId, orderKey, head.nextAttemptAt)
    }
    if (rows.length < LOOKED_AT) break
  }
  return found
}

const LOOKED_AT = 50

const pending = (db: Db, hookId: number) =>
  db.selectFrom('hookDelivery').where('hookId', '=', hookId).where('state', '=', sql.lit('pending'))

function headOf(db: Db, hookId: number, orderKey: string): Promise<DueDelivery | undefined> {
  return pending(db, hookId)
    .select(['id', 'guid', 'event', 'orderKey', 'payload', 'attempts', 'nextAttemptAt'])
    .where('orderKey', '=', orderKey)
    .orderBy('id')
    .limit(1)
    .executeTakeFirst()
}

async function putOff(db: Db, hookId: number, orderKey: string, until: number): Promise<number> {
  const result = await db
    .updateTable('hookDelivery')
    .set({ nextAttemptAt: until })
    .where('hookId', '=', hookId)
    .where('orderKey', '=', orderKey)
    .where('state', '=', sql.lit('pending'))
    .where('nextAttemptAt', '<', until)
    .executeTakeFirst()
  return Number(result.numUpdatedRows)
}

export interface Attempt {
  /** Where there is a next one, when. */
  retryAt: number | undefined
  succeeded: boolean
  at: number
  durationMs: number
  statusCode: number
  status: string
  url: string
  requestHeaders: Record<string, string>
  responseHeaders: Record<string, string> | null
  responseBody: string | null
}

/**
 * Writes what became of a request, unless the delivery was ended, or another node that thought this one dead has made one since. One that is to be tried again takes
 * the later ones of its key with it. The row has the last try; all are kept where there is more than one: call it in a transaction then.
 */
export async function deliveryAttempted(db: Db, hookId: number, { id, orderKey, attempts }: DueDelivery, attempt: Attempt): Promise<void> {
  const { retryAt } = attempt
  const { numUpdatedRows } = await db
    .updateTable('hookDelivery')
    .set((eb) => ({
      attempts: eb('attempts', '+', 1),
      deliveredAt: attempt.at,
      durationMs: attempt.durationMs,
      statusCode: attempt.statusCode,
      status: attempt.status,
      url: attempt.url,
      requestHeaders: JSON.stringify(attempt.requestHeaders),
      responseHeaders: attempt.responseHeaders && JSON.stringify(attempt.responseHeaders),
      responseBody: attempt.responseBody,
      state: attempt.succeeded ? 'delivered' : retryAt === undefined ? 'failed' : 'pending',
    }))
    .where('id', '=', id)
    .where('attempts', '=', attempts)
    .where('state', '=', sql.lit('pending'))
    .executeTakeFirst()
  if (numUpdatedRows === 0n) return
  if (hasMore(attempts, attempt)) {
    const { at, durationMs, statusCode, status } = attempt
    await db.insertInto('hookAttempt').values({ deliveryId: id, at, durationMs, statusCode, status }).execute()
  }
  if (retryAt !== undefined) await putOff(db, hookId, orderKey, retryAt)
}

/** Whether a try is not the only one of its delivery. */
export function hasMore(attemptsBefore: number, { retryAt }: Pick<Attempt, 'retryAt'>): boolean {
  return attemptsBefore > 0 || retryAt !== undefined
}

/** Ends what a webhook would still send. */
export async function deliveriesDrop(db: Db, hookId: number): Promise<void> {
  await db
    .updateTable('hookDelivery')
    .set({ state: 'failed' })
    .where('hookId', '=', hookId)
    .where('state', '=', sql.lit('pending'))
    .execute()
}

/** Ends what an App would still be sent through an installation; what befell that itself is told all the same. */
export async function deliveriesDropOfInstallation(db: Db, installationId: number): Promise<void> {
  await db
    .updateTable('hookDelivery')
    .set({ state: 'failed' })
    .where('installationId', '=', installationId)
    .where('event', 'not in', [sql.lit('installation'), sql.lit('installation_repositories')])
    .where('state', '=', sql.lit('pending'))
    .execute()
}

/** Ends what an App would still be sent of repositories that its installation, which is for selected ones, has lost. */
export async function deliveriesDropUnselected(db: Db, installationId: number): Promise<void> {
  await db
    .updateTable('hookDelivery')
    .set({ state: 'failed' })
    .where('installationId', '=', installationId)
    .where('repositoryId', 'is not', null)
    .where('repositoryId', 'not in', (eb) =>
      eb.selectFrom('installationRepository').select('repositoryId').where('installationId', '=', installationId),
    )
    .where('state', '=', sql.lit('pending'))
    .execute()
}

/** Deliveries that were attempted, newest first, below the id `before`. */
export async function deliveryList(
  db: Db,
  hookId: number,
  filter: { before: number | undefined; succeeded: boolean | undefined; limit: number },
): Promise<Delivery[]> {
  const { before, succeeded, limit } = filter
  const rows = await db
    .selectFrom('hookDelivery')
    .select([...LISTED])
    .where('hookId', '=', hookId)
    .where('deliveredAt', 'is not', null)
    .$if(before !== undefined, (query) => query.where('id', '<', before ?? 0))
    .$if(succeeded === true, (query) => query.where('state', '=', 'delivered'))
    .$if(succeeded === false, (query) => query.where('state', '!=', 'delivered'))
    .orderBy('id', 'desc')
    .limit(limit)
    .execute()
  return rows.map(decodeDelivery)
}

/** A delivery that was attempted. */
export async function deliveryById(db: Db, hookId: number, id: number): Promise<WholeDelivery | undefined> {
  const row = await db
    .selectFrom('hookDelivery')
    .select([...LISTED, 'url', 'payload', 'requestHeaders', 'responseHeaders', 'responseBody'])
    .where('hookId', '=', hookId)
    .where('id', '=', id)
    .where('deliveredAt', 'is not', null)
    .executeTakeFirst()
  if (!row) return undefined
  const { url, payload, requestHeaders, responseHeaders, responseBody, ...listed } = row
  const delivery = decodeDelivery(listed)
  return {
    ...delivery,
    attemptsMade: await attemptsOf(db, delivery),
    url: url ?? '',
    payload,
    requestHeaders: headersOf(requestHeaders),
    responseHeaders: headersOf(responseHeaders),
    responseBody,
  }
}

const ATTEMPTS_SHOWN = 100

/** The row itself is the only one of a delivery that was tried once. */
async function attemptsOf(db: Db, { id, deliveredAt, durationMs, statusCode, status }: Delivery): Promise<HookAttempt[]> {
  const kept = await db
    .selectFrom('hookAttempt')
    .select(['at', 'durationMs', 'statusCode', 'status'])
    .where('deliveryId', '=', id)
    .orderBy('id', 'desc')
    .limit(ATTEMPTS_SHOWN)
    .execute()
  if (kept.length > 0) return kept.toReversed()
  return deliveredAt === null ? [] : [{ at: deliveredAt, durationMs: durationMs ?? 0, statusCode: statusCode ?? 0, status: status ?? '' }]
}

const headersOf = (text: string | null) => (text === null ? null : (JSON.parse(text) as Record<string, string>))

/** Deletes at most `limit` deliveries that were made before an instant; answers how many. */
export async function deliveriesForget(db: Db, before: number, limit: number): Promise<number> {
  const some = db.selectFrom('hookDelivery').select('id').where('createdAt', '<', before).orderBy('createdAt').limit(limit)
  const result = await db.deleteFrom('hookDelivery').where('id', 'in', some).executeTakeFirst()
  return Number(result.numDeletedRows)
}
