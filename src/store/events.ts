import { sql, type Insertable } from 'kysely'
import { accountOfActor, type Actor } from '../model/access.ts'
import { hookEventKinds } from '../model/hook.ts'
import { auditEvent } from './audit.ts'
import { isPostgres, type Db } from './open.ts'
import { columns, prepared } from './prepared.ts'
import type { Schema } from './schema.ts'

export interface NewEvent {
  at: number
  actor: Actor
  /** `job.queued`, `runner.registered` … */
  kind: string
  subject: { kind: string; id: number }
  repositoryId?: number
  /** Ids in it are numbers. */
  payload?: Record<string, unknown>
}

/** Writes what happened, in the transaction that makes it happen: webhooks and metrics read these rows, and what somebody did goes into the audit log. */
export async function eventInsert(db: Db, event: NewEvent): Promise<void> {
  const { at, actor, kind, subject, repositoryId, payload } = event
  const statement = forHooks.has(kind) ? insertForHooks : insert
  await statement(db, {
    at,
    actorKind: actor.kind,
    actorId: idOf(actor),
    kind,
    subjectKind: subject.kind,
    subjectId: subject.id,
    repositoryId: repositoryId ?? null,
    payload: payload === undefined ? '{}' : JSON.stringify(payload),
  })
  await auditEvent(db, idOf(actor), event)
}

/** What `actorId` names is told by `actorKind`: an account for users and installations, whose bot it is. */
function idOf(actor: Actor): number | null {
  const account = accountOfActor(actor)
  if (account) return account.id
  if (actor.kind === 'job') return actor.jobId
  return actor.kind === 'app' ? actor.appId : null
}

const forHooks: ReadonlySet<string> = new Set(hookEventKinds)
const COLUMNS = ['at', 'actorKind', 'actorId', 'kind', 'subjectKind', 'subjectId', 'repositoryId', 'payload'] as const
type NewRow = Omit<Insertable<Schema['event']>, 'hooks'>

const insert = prepared((db, event: NewRow) => db.insertInto('event').values(columns(event, COLUMNS)))

/** The mark that makes it deliveries is set only where a webhook is there: one look into an index, and no work later where there is none. */
const insertForHooks = prepared((db, event: NewRow) =>
  db.insertInto('event').values({
    ...columns(event, COLUMNS),
    hooks: sql<number>`(select 1 from "hook" where "active" = 1 and "deletedAt" is null limit 1)`,
  }),
)

/** An event that is to become deliveries. */
export interface HookEvent {
  id: number
  at: number
  actorId: number | null
  kind: string
  subjectId: number
  repositoryId: number | null
  payload: Record<string, unknown>
}

/**
 * The oldest events that are still to become deliveries. Each is marked by itself, so one whose transaction commits later than one with a
 * higher id is not passed over. Events of one subject commit in the order of their ids: the row that changes is locked before its event is
 * written.
 */
export async function eventsForHooks(db: Db, limit: number): Promise<HookEvent[]> {
  const rows = await db
    .selectFrom('event')
    .select(['id', 'at', 'actorId', 'kind', 'subjectId', 'repositoryId', 'payload'])
    .where('hooks', '=', sql.lit(1))
    .orderBy('id')
    .limit(limit)
    .execute()
  return rows.map(({ payload, ...row }) => ({ ...row, payload: JSON.parse(payload) as Record<string, unknown> }))
}

/** Takes the mark off; answers the ids of those that still had it: of two nodes one gets each. Call it in the transaction that adds the deliveries. */
export async function eventsSettleHooks(db: Db, ids: number[], mark: 0 | 2): Promise<Set<number>> {
  if (ids.length === 0) return new Set()
  const held = await db
    .selectFrom('event')
    .select('id')
    .where('id', 'in', ids)
    .where('hooks', '=', sql.lit(1))
    .orderBy('id')
    .$if(isPostgres(db), (query) => query.forUpdate())
    .execute()
  if (held.length === 0) return new Set()
  const found = held.map(({ id }) => id)
  await db.updateTable('event').set({ hooks: mark }).where('id', 'in', found).execute()
  return new Set(found)
}

/** Deletes events older than `before`. */
export async function eventsForget(db: Db, before: number): Promise<void> {
  await db.deleteFrom('event').where('at', '<', before).execute()
}
