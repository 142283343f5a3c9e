import { sql } from 'kysely'
import type { Reach, ScopeRef } from '../model/access.ts'
import type { Job } from '../model/job.ts'
import { decodeJob } from './jobs.ts'
import type { Db } from './open.ts'
import { isWithin, NOTHING } from './reach.ts'

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
  const rows = await matching.selectAll('job').orderBy('queuedAt').orderBy('id').offset(page.offset).limit(page.limit).execute()
  return { jobs: rows.map(decodeJob), total: count }
}

export interface LanePlace {
  rarestLabel: string
  rank: number
  turn: number
}

/** The lane of a queued job: the label and rank that it is filed under, and its turn there. */
export async function lanePlace(db: Db, jobId: number): Promise<LanePlace | undefined> {
  return db
    .selectFrom('job')
    .innerJoin('line', 'line.id', 'job.lineId')
    .select(['line.rarestLabel', 'line.rank', 'job.turn'])
    .where('job.id', '=', jobId)
    .where('job.status', '=', sql.lit('queued'))
    .executeTakeFirst()
}

/**
 * How many jobs of the same label go before a queued one, `limit` at most: those of a better rank, then those of an earlier turn. Only lines
 * whose head is before it are looked into.
 */
export async function jobsAhead(
  db: Db,
  { rarestLabel, rank, turn }: LanePlace,
  job: Pick<Job, 'id' | 'queuedAt'>,
  limit: number,
): Promise<number> {
  const queuedAt = job.queuedAt ?? 0
  const filed = sql`line."rarestLabel" = ${rarestLabel} and line."headQueuedAt" is not null`
  const joined = sql`line join job on job."lineId" = line.id and job.status = 'queued'`
  const better = await sql<{ count: number }>`select count(*) as count from
    (select 1 from ${joined} where ${filed} and line.rank < ${rank} limit ${limit}) as ahead`.execute(db)
  const ahead = better.rows[0]?.count ?? 0
  if (ahead >= limit) return limit
  const earlier = await sql<{ count: number }>`select count(*) as count from
    (select 1 from ${joined} and job.turn <= ${turn}
      where ${filed} and line.rank = ${rank} and line."headTurn" <= ${turn}
        and (job.turn < ${turn} or job."queuedAt" < ${queuedAt} or (job."queuedAt" = ${queuedAt} and job.id < ${job.id}))
      limit ${limit - ahead}) as ahead`.execute(db)
  return ahead + (earlier.rows[0]?.count ?? 0)
}

export interface Ended {
  labels: string
  durationMs: number
}

/** How long the jobs took that ended last, newest first; those that ran at all. */
export async function recentDurations(db: Db, limit: number): Promise<Ended[]> {
  const rows = await db
    .selectFrom('job')
    .select(['labels', 'startedAt', 'completedAt'])
    .where('status', '=', sql.lit('completed'))
    .where('completedAt', 'is not', null)
    .orderBy('completedAt', 'desc')
    .limit(limit)
    .execute()
  return rows
    .filter(({ startedAt, completedAt }) => startedAt !== null && completedAt !== null)
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

/** Some lines whose jobs ask for a label and stand waiting: whom to wake when it is no longer paused. */
export async function linesAsking(db: Db, label: string, limit: number): Promise<number[]> {
  const rows = await db
    .selectFrom('line')
    .select('id')
    .where('headQueuedAt', 'is not', null)
    .where('labels', 'like', `%${JSON.stringify(label).replaceAll(/[%_\\]/g, '')}%`)
    .limit(limit)
    .execute()
  return rows.map(({ id }) => id)
}
