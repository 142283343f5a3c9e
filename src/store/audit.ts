import { sql, type Expression, type ExpressionBuilder, type Selectable, type SqlBool } from 'kysely'
import { accountOfActor, type Actor } from '../model/access.ts'
import {
  actionOf,
  isAudited,
  OPERATIONS,
  placeOf,
  type AuditEntry,
  type AuditFilter,
  type AuditTerm,
  type Operation,
} from '../model/audit.ts'
import { caller } from '../model/caller.ts'
import type { NewEvent } from './events.ts'
import type { Db } from './open.ts'
import { repositoryByFormerName, repositoryByName } from './repositories.ts'
import type { Schema } from './schema.ts'

/** Writes an event into the audit log, in its own transaction, if it is one for it. */
export async function auditEvent(db: Db, actorId: number | null, event: NewEvent): Promise<void> {
  const { at, actor, kind, subject, payload = {} } = event
  if (!isAudited(kind, actor)) return
  const place = placeOf(event)
  const repositoryId = event.repositoryId ?? (place?.kind === 'repository' ? place.id : null)
  const repository = await repositoryNamed(db, repositoryId)
  const organization = await organizationNamed(db, place?.kind === 'organization' ? place.id : (repository?.ownerId ?? null))
  const from = caller.getStore()
  await db
    .insertInto('auditEntry')
    .values({
      at,
      action: actionOf(kind, place),
      actorKind: actor.kind,
      actorId: actor.kind === 'registration' ? actor.issuedBy : actorId,
      actorLogin: await loginOf(db, actor),
      ip: from?.ip ?? null,
      userAgent: from?.userAgent ?? null,
      requestId: from?.requestId ?? null,
      organizationId: organization?.id ?? null,
      organizationLogin: organization?.login ?? null,
      repositoryId,
      // The row of one that is deleted is gone within this transaction.
      repositoryName: repository?.name ?? (typeof payload['fullName'] === 'string' ? payload['fullName'] : null),
      subjectKind: subject.kind,
      subjectId: subject.id,
      data: JSON.stringify(payload),
    })
    .execute()
}

/** An App that signed acts as its bot, a registration token for who made it. */
async function loginOf(db: Db, actor: Actor): Promise<string | null> {
  const logins = db.selectFrom('account').select('login')
  if (actor.kind === 'registration') return (await logins.where('id', '=', actor.issuedBy).executeTakeFirst())?.login ?? null
  if (actor.kind !== 'app') return accountOfActor(actor)?.login ?? null
  const bot = logins.where('id', '=', (eb) => eb.selectFrom('app').select('botId').where('app.id', '=', actor.appId))
  return (await bot.executeTakeFirst())?.login ?? null
}

/** Undefined for a user: what belongs to one is in no organization's log. */
async function organizationNamed(db: Db, accountId: number | null): Promise<{ id: number; login: string } | undefined> {
  if (accountId === null) return undefined
  const found = db.selectFrom('account').select(['id', 'login']).where('id', '=', accountId).where('kind', '=', 'organization')
  return found.executeTakeFirst()
}

async function repositoryNamed(db: Db, id: number | null): Promise<{ name: string; ownerId: number } | undefined> {
  if (id === null) return undefined
  const row = await db
    .selectFrom('repository')
    .innerJoin('account', 'account.id', 'repository.ownerId')
    .select(['repository.name', 'repository.ownerId', 'account.login'])
    .where('repository.id', '=', id)
    .executeTakeFirst()
  return row && { name: `${row.login}/${row.name}`, ownerId: row.ownerId }
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
  for (const { from, to, isNot } of filter.times) {
    query = query.where((eb) => wanted(eb.between('at', from, to), isNot))
  }
  for (const { qualifier, values, isNot } of filter.terms) {
    const ids = await idsOf(db, qualifier, values)
    query = query.where((eb) => wanted(eb.or(values.map((value) => CONDITIONS[qualifier](eb, value, ids))), isNot))
  }
  const rows = await query.orderBy('id', order).limit(limit).execute()
  return rows.map(decode)
}

type Filter = ExpressionBuilder<Schema, 'auditEntry'>

/** What is null is not what was asked for. */
function wanted(condition: Expression<SqlBool>, isNot: boolean): Expression<SqlBool> {
  return isNot ? sql<SqlBool>`not coalesce(${condition}, false)` : condition
}

/** Names fit as they were when an entry was written, and by id the things that have them today: a new name leads to what is older than it. */
const CONDITIONS: Record<AuditTerm['qualifier'], (eb: Filter, value: string, ids: number[]) => Expression<SqlBool>> = {
  action: (eb, value) => like(eb, value, !value.includes('*')),
  word: (eb, value) => like(eb, `*${value}*`),
  operation: (eb, value) => {
    const does = (operation: Operation) => eb.or(OPERATIONS[operation].map((pattern) => like(eb, pattern)))
    const makes = does('create')
    if (value === 'create') return makes
    if (value === 'remove') return eb.and([eb.not(makes), does('remove')])
    return value === 'modify' ? eb.not(eb.or([makes, does('remove')])) : sql<SqlBool>`false`
  },
  actor: (eb, value, ids) => eb.or([named(eb, 'actorLogin', value), eb.and([eb('actorKind', '!=', 'app'), among(eb, 'actorId', ids)])]),
  org: (eb, value, ids) => eb.or([named(eb, 'organizationLogin', value), among(eb, 'organizationId', ids)]),
  repo: (eb, value, ids) => eb.or([named(eb, 'repositoryName', value), among(eb, 'repositoryId', ids)]),
}

const named = (eb: Filter, column: 'actorLogin' | 'organizationLogin' | 'repositoryName', value: string) =>
  eb(eb.fn<string>('lower', [column]), '=', value.toLowerCase())

const among = (eb: Filter, column: 'actorId' | 'organizationId' | 'repositoryId', ids: number[]) =>
  ids.length === 0 ? sql<SqlBool>`false` : eb(column, 'in', ids)

/** `org.*` as a pattern of the database, whose own signs are taken out; `hook` may also be what an action begins with. */
function like(eb: Filter, text: string, isCategory = false): Expression<SqlBool> {
  const pattern = text.toLowerCase().replaceAll(/[%\\]/g, '').replaceAll('_', '\\_').replaceAll('*', '%')
  const fits = (each: string) => sql<SqlBool>`${eb.ref('action')} like ${each} escape '\\'`
  return isCategory ? eb.or([fits(pattern), fits(`${pattern}.%`)]) : fits(pattern)
}

/** What has one of these names today, or had it last. */
async function idsOf(db: Db, qualifier: AuditTerm['qualifier'], values: string[]): Promise<number[]> {
  if (qualifier === 'actor' || qualifier === 'org') {
    const keys = values.map((value) => value.toLowerCase())
    return (await db.selectFrom('account').select('id').where('loginKey', 'in', keys).execute()).map(({ id }) => id)
  }
  if (qualifier !== 'repo') return []
  const ids: number[] = []
  for (const value of values) {
    const [owner = '', name = ''] = value.split('/')
    const found = (await repositoryByName(db, owner, name)) ?? (await repositoryByFormerName(db, owner, name))
    if (found) ids.push(found.id)
  }
  return ids
}

function decode(row: Selectable<Schema['auditEntry']>): AuditEntry {
  return { ...row, data: JSON.parse(row.data) as Record<string, unknown> }
}
