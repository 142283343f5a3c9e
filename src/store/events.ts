import type { Insertable } from 'kysely'
import { accountOfActor, type Actor } from '../model/access.ts'
import type { Db } from './open.ts'
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

/** Writes what happened, in the transaction that makes it happen: webhooks, audit and metrics read these rows. */
export async function eventInsert(db: Db, { at, actor, kind, subject, repositoryId, payload }: NewEvent): Promise<void> {
  await insert(db, {
    at,
    actorKind: actor.kind,
    actorId: idOf(actor),
    kind,
    subjectKind: subject.kind,
    subjectId: subject.id,
    repositoryId: repositoryId ?? null,
    payload: payload === undefined ? '{}' : JSON.stringify(payload),
  })
}

/** What `actorId` names is told by `actorKind`: an account for users and installations, whose bot it is. */
function idOf(actor: Actor): number | null {
  const account = accountOfActor(actor)
  if (account) return account.id
  if (actor.kind === 'job') return actor.jobId
  return actor.kind === 'app' ? actor.appId : null
}

const insert = prepared((db, event: Insertable<Schema['event']>) =>
  db
    .insertInto('event')
    .values(columns(event, ['at', 'actorKind', 'actorId', 'kind', 'subjectKind', 'subjectId', 'repositoryId', 'payload'])),
)

/** Deletes events older than `before`. */
export async function eventsForget(db: Db, before: number): Promise<void> {
  await db.deleteFrom('event').where('at', '<', before).execute()
}
