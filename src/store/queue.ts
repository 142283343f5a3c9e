import { sql } from 'kysely'
import type { Reach, ScopeRef } from '../model/access.ts'
import type { Job } from '../model/job.ts'
import { decodeJob } from './jobs.ts'
import { literals } from './literals.ts'
import { isPostgres, type Db } from './open.ts'
import { isWithin, NOTHING } from './reach.ts'

const SORTED_AT_MOST = 100

/** Jobs that stand in line at a scope and below it, within `reach`, those that wait longest first; a page and the whole count. */
export async function queuedPage(
  db: Db,
  scope: ScopeRef,
  page: { offset: number; limit: number },
  reach?: Reach,
): Promise<{ jobs: Job[]; total: number }> {
  const matching = db
    .selectFrom('job')
    .where('job.status', '=', sql.lit('queued'))
    .$if(scope.kind === 'repository', (query) => query.where('job.repositoryId', '=', scope.id))
    .$if(scope.kind === 'organization', (query) =>
      query.where('job.repositoryId', 'in', (eb) => eb.selectFrom('repository').select('id').where('ownerId', '=', scope.id)),
    )
    .$if(reach !== undefined, (query) => query.where(isWithin('job.repositoryId', reach ?? NOTHING)))
  const { count } = await matching.select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  // In a long queue the index of `queuedAt` is walked until the page is full; in a short one what matches is sorted. SQLite has no statistics
  // to see which, so the plus sign hides the other index from it; PostgreSQL has.
  const isLong = count > SORTED_AT_MOST && !isPostgres(db)
  const ordered = isLong
    ? db
        .selectFrom('job')
        .where('job.status', '=', sql.lit('queued'))
        .$if(scope.kind === 'repository', (query) => query.where(sql<boolean>`+job."repositoryId" = ${scope.id}`))
        .$if(scope.kind === 'organization', (query) =>
          query.where(sql<boolean>`+job."repositoryId" in (select id from repository where "ownerId" = ${scope.id})`),
        )
        .$if(reach !== undefined, (query) => query.where(isWithin('job.repositoryId', reach ?? NOTHING)))
    : matching
  const rows = await ordered.selectAll('job').orderBy('queuedAt').orderBy('id').offset(page.offset).limit(page.limit).execute()
  return { jobs: rows.map(decodeJob), total: count }
}

export interface LanePlace {
  rarestLabel: string
  rank: number
  turn: number
  wideTurn: number
}

/** The lane of a queued job: the label and rank that it is filed under, and its turn there. */
export async function lanePlace(db: Db, jobId: number): Promise<LanePlace | undefined> {
  return db
    .selectFrom('job')
    .innerJoin('line', 'line.id', 'job.lineId')
    .select(['line.rarestLabel', 'line.rank', 'job.turn', 'job.wideTurn'])
    .where('job.id', '=', jobId)
    .where('job.status', '=', sql.lit('queued'))
    .executeTakeFirst()
}

/**
 * How many jobs of the same label and of a place go before a queued one, `limit` at most: those of a better rank, then those of an earlier
 * turn; in the whole enterprise by turns alone. Only lines whose head is before it are looked into.
 */
export async function jobsAhead(
  db: Db,
  scope: ScopeRef,
  { rarestLabel, ...place }: LanePlace,
  job: Pick<Job, 'id' | 'queuedAt'>,
  limit: number,
): Promise<number> {
  const queuedAt = job.queuedAt ?? 0
  const isWide = scope.kind === 'enterprise'
  const [rank, turn] = [place.rank, isWide ? place.wideTurn : place.turn]
  const [ofJob, ofHead] = isWide ? [sql`job."wideTurn"`, sql`line."headWide"`] : [sql`job.turn`, sql`line."headTurn"`]
  const inPlace =
    scope.kind === 'organization'
      ? sql`and line."ownerId" = ${scope.id}`
      : scope.kind === 'repository'
        ? sql`and line."repositoryId" = ${scope.id}`
        : sql``
  const filed = sql`line."rarestLabel" = ${rarestLabel} and line."headQueuedAt" is not null ${inPlace}`
  const joined = sql`line join job on job."lineId" = line.id and job.status = 'queued'`
  const countOf = async (query: ReturnType<typeof sql>) => {
    const { rows } = await sql<{ count: number }>`select count(*) as count from (${query}) as ahead`.execute(db)
    return rows[0]?.count ?? 0
  }
  const ahead = isWide ? 0 : await countOf(sql`select 1 from ${joined} where ${filed} and line.rank < ${rank} limit ${limit}`)
  if (ahead >= limit) return limit
  const sameRank = isWide ? sql`` : sql`and line.rank = ${rank}`
  const earlier = await countOf(sql`select 1 from ${joined} and ${ofJob} <= ${turn}
      where ${filed} ${sameRank} and ${ofHead} <= ${turn}
        and (${ofJob} < ${turn} or job."queuedAt" < ${queuedAt} or (job."queuedAt" = ${queuedAt} and job.id < ${job.id}))
      limit ${limit - ahead}`)
  return ahead + earlier
}

export interface Ended {
  labels: string
  durationMs: number
}

const ENDED_SEEN = 1000

/** How long the jobs of a place took that ended last, newest first; those that ran at all, among the last thousand anywhere. */
export async function recentDurations(db: Db, scope: ScopeRef, limit: number): Promise<Ended[]> {
  const rows = await db
    .selectFrom('job')
    .innerJoin('repository', 'repository.id', 'job.repositoryId')
    .select(['labels', 'startedAt', 'completedAt', 'ownerId', 'repositoryId'])
    .where('status', '=', sql.lit('completed'))
    .where('completedAt', 'is not', null)
    .orderBy('completedAt', 'desc')
    .limit(ENDED_SEEN)
    .execute()
  return rows
    .filter(
      ({ ownerId, repositoryId }) => scope.kind === 'enterprise' || scope.id === (scope.kind === 'organization' ? ownerId : repositoryId),
    )
    .filter(({ startedAt, completedAt }) => startedAt !== null && completedAt !== null)
    .slice(0, limit)
    .map(({ labels, startedAt, completedAt }) => ({ labels, durationMs: (completedAt ?? 0) - (startedAt ?? 0) }))
}

/** Queued jobs whose longest wait is over, and those whose labels are to be replaced. Their ids, at most `limit`. */
export async function jobsOverWait(db: Db, now: number, limit: number): Promise<Job[]> {
  const rows = await db
    .selectFrom('job')
    .selectAll()
    .where('status', '=', sql.lit('queued'))
    .where('waitUntil', 'is not', null)
    .where('waitUntil', '<=', now)
    .limit(limit)
    .execute()
  return rows.map(decodeJob)
}

export async function jobsToFallBack(db: Db, now: number, limit: number): Promise<number[]> {
  const rows = await db
    .selectFrom('job')
    .select('id')
    .where('status', '=', sql.lit('queued'))
    .where('fallbackAt', 'is not', null)
    .where('fallbackAt', '<=', now)
    .limit(limit)
    .execute()
  return rows.map(({ id }) => id)
}

/** How many jobs that ask for a label are with runners, at a scope and below it. */
export async function runningAsking(db: Db, label: string, scope: ScopeRef): Promise<number> {
  const { count } = await db
    .selectFrom('job')
    .innerJoin('line', 'line.id', 'job.lineId')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('job.status', 'in', literals(['assigned', 'in_progress']))
    .where(asks(db, label))
    .$if(scope.kind === 'repository', (query) => query.where('line.repositoryId', '=', scope.id))
    .$if(scope.kind === 'organization', (query) => query.where('line.ownerId', '=', scope.id))
    .executeTakeFirstOrThrow()
  return count
}

/** Whether a line's jobs ask for a label. */
function asks(db: Db, label: string) {
  return isPostgres(db)
    ? sql<boolean>`exists (select 1 from json_array_elements_text(cast(line.labels as json)) as each(value) where value = ${label})`
    : sql<boolean>`exists (select 1 from json_each(line.labels) where value = ${label})`
}

/** Some lines whose jobs ask for a label and stand waiting: whom to wake when it is no longer paused. */
export async function linesAsking(db: Db, label: string, limit: number): Promise<number[]> {
  const rows = await db.selectFrom('line').select('id').where('headQueuedAt', 'is not', null).where(asks(db, label)).limit(limit).execute()
  return rows.map(({ id }) => id)
}
