import type { Selectable } from 'kysely'
import type { QueueRule, RuleEffect, RuleMatch } from '../model/queue-rule.ts'
import { literals } from './literals.ts'
import type { Db } from './open.ts'
import { prepared } from './prepared.ts'
import type { Schema } from './schema.ts'

type Owner = Pick<QueueRule, 'ownerKind' | 'ownerId'>

function decodeRule(row: Selectable<Schema['queueRule']>): QueueRule {
  return { ...row, match: JSON.parse(row.match) as RuleMatch, effect: JSON.parse(row.effect) as RuleEffect }
}

const rows = prepared((db, { organizationId, repositoryId }: { organizationId: number; repositoryId: number }) =>
  db
    .selectFrom('queueRule')
    .selectAll()
    .where((eb) =>
      eb.or([
        eb.and([eb('ownerKind', '=', 'organization'), eb('ownerId', '=', organizationId)]),
        eb.and([eb('ownerKind', '=', 'repository'), eb('ownerId', '=', repositoryId)]),
      ]),
    ),
)

/** The rules that may speak of the jobs of a repository. */
export async function rulesFor(db: Db, place: { organizationId: number; repositoryId: number }): Promise<QueueRule[]> {
  return (await rows(db, place)).map(decodeRule)
}

/** An owner's rules in their order. */
export async function ruleList(db: Db, { ownerKind, ownerId }: Owner): Promise<QueueRule[]> {
  const found = await db
    .selectFrom('queueRule')
    .selectAll()
    .where('ownerKind', '=', ownerKind)
    .where('ownerId', '=', ownerId)
    .orderBy('position')
    .orderBy('id')
    .execute()
  return found.map(decodeRule)
}

export async function ruleById(db: Db, id: number): Promise<QueueRule | undefined> {
  const row = await db.selectFrom('queueRule').selectAll().where('id', '=', id).executeTakeFirst()
  return row && decodeRule(row)
}

export async function ruleInsert(db: Db, rule: Omit<QueueRule, 'id'>): Promise<QueueRule> {
  const row = await db
    .insertInto('queueRule')
    .values({ ...rule, match: JSON.stringify(rule.match), effect: JSON.stringify(rule.effect) })
    .returningAll()
    .executeTakeFirstOrThrow()
  return decodeRule(row)
}

export async function ruleUpdate(
  db: Db,
  id: number,
  change: Pick<QueueRule, 'name' | 'position' | 'match' | 'effect' | 'updatedAt'>,
): Promise<QueueRule | undefined> {
  const row = await db
    .updateTable('queueRule')
    .set({ ...change, match: JSON.stringify(change.match), effect: JSON.stringify(change.effect) })
    .where('id', '=', id)
    .returningAll()
    .executeTakeFirst()
  return row && decodeRule(row)
}

export async function ruleDelete(db: Db, id: number): Promise<void> {
  await db.deleteFrom('queueRule').where('id', '=', id).execute()
}

/** Asks for the owner's queued jobs to be placed anew, from the first on. */
export async function reviewAsk(db: Db, { ownerKind, ownerId }: Owner): Promise<void> {
  await db
    .insertInto('queueReview')
    .values({ ownerKind, ownerId, afterJobId: 0, version: 1 })
    .onConflict((c) =>
      c.columns(['ownerKind', 'ownerId']).doUpdateSet((eb) => ({ afterJobId: 0, version: eb('queueReview.version', '+', 1) })),
    )
    .execute()
}

export type Review = Selectable<Schema['queueReview']>

/** The one that got least far. */
export async function reviewNext(db: Db): Promise<Review | undefined> {
  return db.selectFrom('queueReview').selectAll().orderBy('afterJobId').limit(1).executeTakeFirst()
}

/** Notes how far a review got, or that it is done; a review that was asked for anew meanwhile begins again. */
export async function reviewMove(db: Db, { ownerKind, ownerId, version }: Review, afterJobId: number | 'done'): Promise<void> {
  const of = { ownerKind, ownerId, version }
  if (afterJobId === 'done') {
    await db
      .deleteFrom('queueReview')
      .where('ownerKind', '=', of.ownerKind)
      .where('ownerId', '=', of.ownerId)
      .where('version', '=', version)
      .execute()
    return
  }
  await db
    .updateTable('queueReview')
    .set({ afterJobId })
    .where('ownerKind', '=', of.ownerKind)
    .where('ownerId', '=', of.ownerId)
    .where('version', '=', version)
    .execute()
}

/** Jobs of a repository, or of an organization's repositories, that are in line or with a runner, by id. */
export async function queuedJobsOf(db: Db, { ownerKind, ownerId }: Owner, afterJobId: number, limit: number): Promise<number[]> {
  const found = await db
    .selectFrom('job')
    .select('job.id')
    .where('job.status', 'in', literals(['queued', 'assigned', 'in_progress']))
    .where('job.id', '>', afterJobId)
    .$if(ownerKind === 'repository', (query) => query.where('job.repositoryId', '=', ownerId))
    .$if(ownerKind === 'organization', (query) =>
      query.where('job.repositoryId', 'in', (eb) => eb.selectFrom('repository').select('id').where('ownerId', '=', ownerId)),
    )
    .orderBy('job.id')
    .limit(limit)
    .execute()
  return found.map(({ id }) => id)
}
