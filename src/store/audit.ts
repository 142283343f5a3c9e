import type { Selectable } from 'kysely'
import { accountOfActor } from '../model/access.ts'
import { actionOf, isAudited, placeOf, type AuditEntry, type AuditFilter } from '../model/audit.ts'
import { caller } from '../model/caller.ts'
import type { NewEvent } from './events.ts'
import type { Db } from './open.ts'
import type { Schema } from './schema.ts'

/** Writes an event into the audit log, in its own transaction, if it is one for it. */
export async function auditEvent(db: Db, actorId: number | null, event: NewEvent): Promise<void> {
  const { at, actor, kind, subject, payload = {} } = event
  if (!isAudited(kind, actor)) return
  const place = placeOf(event)
  const repositoryId = event.repositoryId ?? (place?.kind === 'repository' ? place.id : null)
  const from = caller.getStore()
  await db
    .insertInto('auditEntry')
    .values({
      at,
      action: actionOf(kind, place),
      actorKind: actor.kind,
      // A registration token acts for who made it.
      actorId: actor.kind === 'registration' ? actor.issuedBy : actorId,
      actorLogin: actor.kind === 'registration' ? await loginOf(db, actor.issuedBy) : (accountOfActor(actor)?.login ?? null),
      ip: from?.ip ?? null,
      userAgent: from?.userAgent ?? null,
      requestId: from?.requestId ?? null,
      organizationId: await organizationOf(db, place?.kind === 'organization' ? place.id : await ownerOf(db, repositoryId)),
      repositoryId,
      subjectKind: subject.kind,
      subjectId: subject.id,
      data: JSON.stringify(payload),
    })
    .execute()
}

async function loginOf(db: Db, accountId: number): Promise<string | null> {
  return (await db.selectFrom('account').select('login').where('id', '=', accountId).executeTakeFirst())?.login ?? null
}

/** Of an account: what belongs to a user is in no organization's log. */
async function organizationOf(db: Db, accountId: number | null): Promise<number | null> {
  if (accountId === null) return null
  const row = await db.selectFrom('account').select('id').where('id', '=', accountId).where('kind', '=', 'organization').executeTakeFirst()
  return row?.id ?? null
}

/** Whose a repository is; its row is there until the transaction that deletes it ends, or the entry is found by its data only. */
async function ownerOf(db: Db, repositoryId: number | null): Promise<number | null> {
  if (repositoryId === null) return null
  const row = await db.selectFrom('repository').select('ownerId').where('id', '=', repositoryId).executeTakeFirst()
  return row?.ownerId ?? null
}

export interface AuditPage {
  /** All of the enterprise where undefined. */
  organizationId: number | undefined
  filter: AuditFilter
  order: 'asc' | 'desc'
  /** The id that the page begins after, in its order. */
  after?: number | undefined
  limit: number
}

/** Entries in the order in which they were written, or the other way round. */
export async function auditPage(db: Db, { organizationId, filter, order, after, limit }: AuditPage): Promise<AuditEntry[]> {
  let query = db.selectFrom('auditEntry').selectAll()
  if (organizationId !== undefined) query = query.where('organizationId', '=', organizationId)
  if (after !== undefined) query = query.where('id', order === 'asc' ? '>' : '<', after)
  if (filter.from !== undefined) query = query.where('at', '>=', filter.from)
  if (filter.to !== undefined) query = query.where('at', '<=', filter.to)
  if (filter.action !== undefined) query = query.where('action', 'like', likeOf(filter.action))
  for (const word of filter.words) query = query.where('action', 'like', `%${likeOf(word)}%`)
  const { actor, repository } = filter
  if (actor !== undefined) {
    query = query.where('actorId', '=', (eb) => eb.selectFrom('account').select('id').where('loginKey', '=', actor.toLowerCase()))
  }
  if (repository !== undefined) {
    const [owner = '', name = ''] = repository.toLowerCase().split('/')
    query = query.where('repositoryId', 'in', (eb) =>
      eb
        .selectFrom('repository')
        .innerJoin('account', 'account.id', 'repository.ownerId')
        .select('repository.id')
        .where('loginKey', '=', owner)
        .where('repository.nameKey', '=', name),
    )
  }
  const rows = await query.orderBy('id', order).limit(limit).execute()
  return rows.map(decode)
}

/** `org.*` as a pattern of the database; its own are taken out, but for `_`, which matches itself too. */
function likeOf(text: string): string {
  return text.replaceAll(/[%\\]/g, '').replaceAll('*', '%')
}

function decode(row: Selectable<Schema['auditEntry']>): AuditEntry {
  return { ...row, data: JSON.parse(row.data) as Record<string, unknown> }
}
