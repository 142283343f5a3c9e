import { createHash } from 'node:crypto'
import { sql, type RawBuilder, type Selectable, type Updateable } from 'kysely'
import { commitsAllowed, mayServe, type Assignment, type Job, type Line, type Server } from '../model/job.ts'
import type { FallbackStep } from '../model/queue-rule.ts'
import { limitsHold } from './limits.ts'
import { literals } from './literals.ts'
import { isPostgres, type Db } from './open.ts'
import { Shares } from '../model/shares.ts'
import { labelCounts } from './runners.ts'
import { columns, guardedUpdate, prepared, preparedChange } from './prepared.ts'
import type { Schema } from './schema.ts'

export function decodeJob(row: Selectable<Schema['job']>): Job {
  return {
    ...row,
    conclusion: row.conclusion as Job['conclusion'],
    labels: JSON.parse(row.labels) as string[],
    continueOnError: row.continueOnError === 1,
    outputs: row.outputs === null ? null : (JSON.parse(row.outputs) as Record<string, string>),
    askedLabels: row.askedLabels === null ? null : (JSON.parse(row.askedLabels) as string[]),
    fallback: row.fallback === null ? [] : (JSON.parse(row.fallback) as Job['fallback']),
  }
}

export async function jobInsert(
  db: Db,
  job: Pick<Job, 'runId' | 'attemptId' | 'repositoryId' | 'key' | 'name' | 'position' | 'timeoutMs' | 'createdAt'>,
): Promise<Job> {
  const row = await db
    .insertInto('job')
    .values({
      ...job,
      status: 'pending',
      conclusion: null,
      problem: null,
      lineId: null,
      labels: '[]',
      groupName: null,
      queuedAt: null,
      assignmentId: null,
      runnerId: null,
      runnerName: null,
      runnerGroupId: null,
      runnerGroupName: null,
      continueOnError: 0,
      outputs: null,
      cancelledAt: null,
      cancelReason: null,
      startedAt: null,
      completedAt: null,
    })
    .returningAll()
    .executeTakeFirstOrThrow()
  return decodeJob(row)
}

export async function jobById(db: Db, id: number): Promise<Job | undefined> {
  const [row] = await rowsById(db, { id })
  return row && decodeJob(row)
}

const rowsById = prepared((db, { id }: { id: number }) => db.selectFrom('job').selectAll().where('id', '=', id))

/** Jobs of an attempt in the order of the workflow file. */
export async function jobsOfAttempt(db: Db, attemptId: number): Promise<Job[]> {
  const rows = await db.selectFrom('job').selectAll().where('attemptId', '=', attemptId).orderBy('position').orderBy('id').execute()
  return rows.map(decodeJob)
}

/** The states that jobs of a run's latest attempt are in: cheaper than the jobs, where a run of hundreds ends one after the other. */
export async function jobStatesOfRun(db: Db, runId: number): Promise<Set<Job['status']>> {
  const rows = await statesByRun(db, { runId })
  return new Set(rows.map(({ status }) => status))
}

const statesByRun = prepared((db, { runId }: { runId: number }) =>
  db
    .selectFrom('job')
    .select('status')
    .distinct()
    .where('attemptId', '=', (eb) =>
      eb.selectFrom('runAttempt').select('id').where('runId', '=', runId).orderBy('number', 'desc').limit(1),
    ),
)

/** Jobs of a run, of its latest attempt or of all; a page and the whole count. */
export async function jobsOfRun(
  db: Db,
  runId: number,
  options: { attemptId?: number | undefined; offset: number; limit: number },
): Promise<{ jobs: Job[]; total: number }> {
  const matching = db
    .selectFrom('job')
    .where('runId', '=', runId)
    .$if(options.attemptId !== undefined, (query) => query.where('attemptId', '=', options.attemptId ?? 0))
  const rows = await matching
    .selectAll()
    .orderBy('attemptId')
    .orderBy('position')
    .orderBy('id')
    .offset(options.offset)
    .limit(options.limit)
    .execute()
  const { count } = await matching.select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  return { jobs: rows.map(decodeJob), total: count }
}

/** Changes a job that is still in one of the states named; undefined when it is not (another node was first). */
export async function jobUpdate(db: Db, id: number, from: Job['status'][], change: Updateable<Schema['job']>): Promise<Job | undefined> {
  const row = await rowUpdate(db, id, from, change)
  return row && decodeJob(row)
}

const rowUpdate = guardedUpdate('job', 'status')

/**
 * Puts a job in its line and makes the line if there is none. The line's row is written first: it is the lock that keeps its head right
 * against a claim that empties the line at the same moment.
 *
 * Its turn shares the lane (the lines filed under one label with one rank) fairly between repositories, by start tags: it follows the last
 * turn of its own repository, and is not before the turn that was served last. So who queues a thousand jobs at once has the next job of
 * another repository in between, and none starves.
 */
export async function jobEnqueue(
  db: Db,
  job: { id: number; from: Job['status'] },
  place: Omit<Line, 'id'> & {
    runnerLabels: string[]
    name: string
    continueOnError: boolean
    timeoutMs: number
    cancelTimeoutMs: number
    queuedAt: number
    waitUntil: number | null
    waitRule: string | null
    fallback: FallbackStep[]
  },
): Promise<{ job: Job; line: Line } | undefined> {
  const { line, turn, wideTurn } = await lineEnsure(db, place, place.queuedAt)
  const updated = await jobUpdate(db, job.id, [job.from], {
    status: 'queued',
    name: place.name,
    lineId: line.id,
    turn,
    wideTurn,
    askedLabels: null,
    labels: JSON.stringify(place.runnerLabels),
    groupName: place.groupName,
    queuedAt: place.queuedAt,
    continueOnError: place.continueOnError ? 1 : 0,
    timeoutMs: place.timeoutMs,
    cancelTimeoutMs: place.cancelTimeoutMs,
    waitUntil: place.waitUntil,
    waitRule: place.waitRule,
    ...fallbackColumns(place.fallback, place.queuedAt),
  })
  return updated && { job: updated, line }
}

function fallbackColumns(fallback: FallbackStep[], queuedAt: number): { fallback: string | null; fallbackAt: number | null } {
  const [next] = fallback
  return { fallback: next ? JSON.stringify(fallback) : null, fallbackAt: next ? queuedAt + next.afterSeconds * 1000 : null }
}

/**
 * Moves a job that stands in line to another place: other labels, another rank or limit, or a turn of one's own choice. Its turn stays where
 * label and rank do. Undefined when it left its line meanwhile. Lines that are there are locked in the order of their ids.
 */
export async function jobMove(
  db: Db,
  known: Job,
  place: Omit<Line, 'id'>,
  change: {
    turn?: number
    wideTurn?: number
    runnerLabels?: string[]
    askedLabels?: string[]
    waitUntil?: number | null
    waitRule?: string | null
    fallback?: FallbackStep[]
    steeredBy?: number | null
    steeredFrom?: Job['steeredFrom']
    /** It takes its turn as if it came now. */
    asNew?: true
  },
): Promise<{ job: Job; line: Line } | undefined> {
  if (known.lineId === null || known.queuedAt === null) return undefined
  const target = await db.selectFrom('line').select(['id', 'rarestLabel', 'rank']).where('key', '=', lineKey(place)).executeTakeFirst()
  for (const id of [...new Set([known.lineId, target?.id ?? known.lineId])].toSorted((a, b) => a - b)) await lineLock(db, id)
  const from = await db.selectFrom('line').select(['rarestLabel', 'rank']).where('id', '=', known.lineId).executeTakeFirst()
  const isSame = target?.id === known.lineId
  const ensured = isSame ? undefined : await lineEnsure(db, place, known.queuedAt, change.asNew ? undefined : known)
  const lineId = ensured?.line.id ?? known.lineId
  const staysInLane = ensured === undefined || (!change.asNew && ensured.rarestLabel === from?.rarestLabel && place.rank === from.rank)
  const staysWide = ensured === undefined || (!change.asNew && ensured.rarestLabel === from?.rarestLabel)
  const job = await jobUpdate(db, known.id, ['queued'], {
    lineId,
    turn: change.turn ?? (staysInLane ? known.turn : ensured.turn),
    wideTurn: change.wideTurn ?? (staysWide ? known.wideTurn : ensured.wideTurn),
    ...(change.runnerLabels && { labels: JSON.stringify(change.runnerLabels) }),
    ...(change.askedLabels && { askedLabels: JSON.stringify(change.askedLabels) }),
    ...(change.waitUntil !== undefined && { waitUntil: change.waitUntil }),
    ...(change.waitRule !== undefined && { waitRule: change.waitRule }),
    ...(change.fallback && fallbackColumns(change.fallback, known.queuedAt)),
    ...(change.steeredBy !== undefined && { steeredBy: change.steeredBy, steeredFrom: change.steeredFrom ?? null }),
  })
  if (job && !isSame) {
    await db
      .updateTable('line')
      .set({ lastTurn: larger(db, sql.ref('lastTurn'), sql`${job.turn}`), lastWide: larger(db, sql.ref('lastWide'), sql`${job.wideTurn}`) })
      .where('id', '=', lineId)
      .execute()
  }
  if (lineId !== known.lineId) await lineSettle(db, known.lineId)
  await lineSettle(db, lineId)
  return job && { job, line: ensured?.line ?? { ...place, id: lineId } }
}

/** Puts a job that was given out back at its old place in line. */
export async function jobRequeue(db: Db, jobId: number): Promise<{ job: Job; line: Line } | undefined> {
  const job = await jobById(db, jobId)
  if (!job || job.lineId === null || job.queuedAt === null) return undefined
  const line = await lineTouch(db, job.lineId, job.queuedAt)
  if (!line) return undefined
  const updated = await jobUpdate(db, jobId, ['assigned', 'in_progress'], {
    status: 'queued',
    assignmentId: null,
    runnerId: null,
    runnerName: null,
    runnerGroupId: null,
    runnerGroupName: null,
    startedAt: null,
  })
  await lineSettle(db, job.lineId)
  return updated && { job: updated, line }
}

/** One text for each place. Long ones (labels may be many) as their hash: PostgreSQL cannot have long texts in an index. */
function lineKey({ repositoryId, groupName, labels, workflow, rank, limitIds, ahead }: Omit<Line, 'id'>): string {
  const isPlain = rank === 0 && limitIds.length === 0 && ahead === null
  const steered = isPlain ? [] : [rank, ...(limitIds.length === 0 ? [null] : limitIds), ...(ahead === null ? [] : [ahead])]
  const key = JSON.stringify([repositoryId, groupName, labels, workflow, ...steered])
  return key.length <= KEY_LENGTH ? key : createHash('sha256').update(key).digest('hex')
}

const KEY_LENGTH = 500

/**
 * The line of a place, made where there is none, and the turns of the next job in it. A job that moves there and may keep its turns is
 * `moving`: the line is only made sure of.
 */
async function lineEnsure(
  db: Db,
  place: Omit<Line, 'id'>,
  queuedAt: number,
  moving?: Pick<Job, 'turn' | 'wideTurn'>,
): Promise<{ line: Line; turn: number; wideTurn: number; rarestLabel: string }> {
  const { repositoryId, ownerId, ownerKind, isPublic, groupName, labels, workflow, rank, limitIds, ahead } = place
  const line = { repositoryId, ownerId, ownerKind, isPublic, groupName, labels, workflow, rank, limitIds, ahead }
  const key = lineKey(place)
  if (!moving) {
    const [touched] = await lineJoin(db, { key })
    if (touched)
      return { line: { ...line, id: touched.id }, turn: touched.lastTurn, wideTurn: touched.lastWide, rarestLabel: touched.rarestLabel }
  }

  const counts = await labelCounts(db, labels)
  // A line without labels (a group alone) is filed under the empty one, which every runner looks at.
  const rarestLabel = labels.reduce<string>(
    (best, label) => (best === '' || (counts.get(label) ?? 0) < (counts.get(best) ?? 0) ? label : best),
    '',
  )
  const { turn, wideTurn } = await nextTurns(db, { rarestLabel, rank, repositoryId })
  const filed = { isPublic: isPublicNow(sql`${repositoryId}`), rarestLabel, headQueuedAt: queuedAt, headTurn: turn, headWide: wideTurn }
  const last = moving ? { lastTurn: 0, lastWide: 0 } : { lastTurn: turn, lastWide: wideTurn }
  const row = await db
    .insertInto('line')
    .values({
      key,
      repositoryId,
      ownerId,
      ownerKind,
      groupName,
      workflow,
      rank,
      limitIds: limitIds.length === 0 ? null : JSON.stringify(limitIds),
      ahead,
      labels: JSON.stringify(labels),
      ...filed,
      ...last,
    })
    .onConflict((c) =>
      c.column('key').doUpdateSet((eb) => ({
        // One that another transaction filed just now keeps its head, and its label.
        isPublic: filed.isPublic,
        rarestLabel: sql<string>`case when ${eb.ref('line.headQueuedAt')} is null then ${rarestLabel} else ${eb.ref('line.rarestLabel')} end`,
        headQueuedAt: sql<number>`coalesce(${eb.ref('line.headQueuedAt')}, ${queuedAt})`,
        headTurn: sql<number>`coalesce(${eb.ref('line.headTurn')}, ${turn})`,
        headWide: sql<number>`coalesce(${eb.ref('line.headWide')}, ${wideTurn})`,
        lastTurn: larger(db, sql.ref('line.lastTurn'), sql`${last.lastTurn}`),
        lastWide: larger(db, sql.ref('line.lastWide'), sql`${last.lastWide}`),
      })),
    )
    .returning(['id', 'rarestLabel'])
    .executeTakeFirstOrThrow()
  return { line: { ...line, id: row.id }, turn, wideTurn, rarestLabel: row.rarestLabel }
}

interface Lane {
  rarestLabel: RawBuilder<unknown>
  repositoryId: RawBuilder<unknown>
  /** Undefined: of all ranks. */
  rank: RawBuilder<unknown> | undefined
}

/** After the repository's own last turn in the lane, not before the one served last; where that is forgotten, not before the first that waits. */
function turnAfter(db: Db, { rarestLabel, repositoryId, rank }: Lane) {
  const lane = rank ? sql`other."rarestLabel" = ${rarestLabel} and other."rank" = ${rank}` : sql`other."rarestLabel" = ${rarestLabel}`
  const [served, head, last] = (rank ? ['servedTurn', 'headTurn', 'lastTurn'] : ['servedWide', 'headWide', 'lastWide']).map((name) =>
    sql.raw(`other."${name}"`),
  )
  return larger(
    db,
    sql`coalesce((select max(${served}) from line as other where ${lane}),
      (select min(${head}) from line as other where ${lane} and other."headQueuedAt" is not null), 0)`,
    sql`coalesce((select max(${last}) from line as other where ${lane} and other."repositoryId" = ${repositoryId}), 0) + 1`,
  )
}

async function nextTurns(
  db: Db,
  of: { rarestLabel: string; rank: number; repositoryId: number },
): Promise<{ turn: number; wideTurn: number }> {
  const lane = { rarestLabel: sql`${of.rarestLabel}`, repositoryId: sql`${of.repositoryId}` }
  const { rows } = await sql<{ turn: number; wide: number }>`select ${turnAfter(db, { ...lane, rank: sql`${of.rank}` })} as turn,
    ${turnAfter(db, { ...lane, rank: undefined })} as wide`.execute(db)
  return { turn: rows[0]?.turn ?? 1, wideTurn: rows[0]?.wide ?? 1 }
}

/** Read as the line is written: a repository that becomes public between a look and this must not keep the rights of a private one. */
function isPublicNow(repositoryId: RawBuilder<unknown>): RawBuilder<number> {
  return sql<number>`coalesce((select case when visibility = 'public' then 1 else 0 end from repository where repository.id = ${repositoryId}), 0)`
}

/** A line that is there and has a head: the new job comes last, so the head stays. */
const lineJoin = prepared((db, { key }: { key: string }) => {
  const lane = { rarestLabel: sql.ref('line.rarestLabel'), repositoryId: sql.ref('line.repositoryId') }
  return db
    .updateTable('line')
    .set({
      lastTurn: turnAfter(db, { ...lane, rank: sql.ref('line.rank') }),
      lastWide: turnAfter(db, { ...lane, rank: undefined }),
      isPublic: isPublicNow(lane.repositoryId),
    })
    .where('key', '=', key)
    .where('headQueuedAt', 'is not', null)
    .returning(['id', 'lastTurn', 'lastWide', 'rarestLabel'])
})

function larger(db: Db, a: RawBuilder<unknown>, b: RawBuilder<unknown>): RawBuilder<number> {
  return isPostgres(db) ? sql<number>`greatest(${a}, ${b})` : sql<number>`max(${a}, ${b})`
}

/** Locks a line and sees that it is filed; who calls it writes its head anew with `lineSettle`. */
async function lineTouch(db: Db, id: number, queuedAt: number): Promise<Line | undefined> {
  const row = await db
    .updateTable('line')
    .set((eb) => ({ headQueuedAt: sql<number>`coalesce(${eb.ref('headQueuedAt')}, ${queuedAt})` }))
    .where('id', '=', id)
    .returningAll()
    .executeTakeFirst()
  return row && decodeLine(row)
}

function decodeLine(row: Selectable<Schema['line']>): Line {
  const { id, repositoryId, ownerId, ownerKind, isPublic, groupName, labels, workflow, rank, limitIds, ahead } = row
  return {
    id,
    repositoryId,
    ownerId,
    ownerKind,
    isPublic: isPublic === 1,
    groupName,
    workflow,
    rank,
    limitIds: limitIds === null ? [] : (JSON.parse(limitIds) as number[]),
    ahead,
    labels: JSON.parse(labels) as string[],
  }
}

export async function lineById(db: Db, id: number): Promise<Line | undefined> {
  const row = await db.selectFrom('line').selectAll().where('id', '=', id).executeTakeFirst()
  return row && decodeLine(row)
}

/** Heads looked at per label in one round. More are only needed where a label files lines of other scopes or label sets. */
const HEADS_PER_LABEL = [4, 64, 1024, 1_000_000] as const

/** Whether something keeps a runner from a line; `stale` when that changed in this moment. */
export type IsHeld = (line: Line) => Promise<boolean | 'stale'>

/** Lines as they were read for a claim. */
export type Heads = readonly LineRow[]

/**
 * The first lines that a runner may find a job in; undefined when there can be none. To be asked before a claim, without a transaction: an
 * idle runner costs one reading statement and holds up nobody.
 */
export async function claimHeads(db: Db, server: Server): Promise<Heads | undefined> {
  const [heads] = HEADS_PER_LABEL
  const lines = await lineHeads(db, server, heads)
  return lines.length >= heads || lines.some((row) => mayServe(server, decodeLine(row))) ? lines : undefined
}

/**
 * Gives the runner the oldest queued job that it may serve, and undefined when there is none.
 *
 * Looks at the lines filed under the runner's own labels, oldest head first, a few per label, by index: the cost does not grow with jobs
 * or lines. Then one update takes the head. On PostgreSQL the line's row is locked first, so that emptying it and filling it cannot
 * cross; who finds it locked waits and goes on with what is left. `first` are lines that were read a moment ago: what a line allows is
 * looked at again as its head is taken. `holds` is asked once, when there is something to give: what keeps it from lines beside its group,
 * `stale` when what is known of the runner no longer holds. The job has the columns of `runner` then. Call it in the transaction that also
 * writes the assignment.
 */
export async function jobClaim(
  db: Db,
  server: Server,
  first: Heads,
  runner: ClaimedFor,
  holds: () => Promise<'stale' | IsHeld> = async () => async () => false,
  shares = new Shares(Date.now),
): Promise<{ job: Job; isMore: boolean } | 'stale' | undefined> {
  const tried = new Set<number>()
  let before = 0
  let isHeld: IsHeld | undefined
  for (const heads of HEADS_PER_LABEL) {
    const lines = heads === HEADS_PER_LABEL[0] ? [...first] : await lineHeads(db, server, heads)
    const pool = poolOf(server, lines)
    for (const { line: waiting, turnOf } of shares.order(pool, lines.map(waitingAs(server)), isWide(server))) {
      const line = decodeLine(waiting.row)
      if (tried.has(line.id)) continue
      tried.add(line.id)
      if (!mayServe(server, line)) continue
      if (!isHeld) {
        const asked = await holds()
        if (asked === 'stale') return asked
        isHeld = asked
      }
      const held = await isHeld(line)
      if (held === 'stale') return held
      if (held) continue
      const taken = await lineTakeHead(db, server, line, runner)
      if (taken) {
        shares.serve(pool, turnOf, waiting.label)
        return taken
      }
    }
    if (lines.length === before || lines.length < heads) return undefined
    before = lines.length
  }
  return undefined
}

interface Targets {
  column: 'repositoryId' | 'ownerId' | undefined
  ids: number[]
}

/** By what the lines that a runner may serve are found: its place, or what its group is open to, so that the others cost nothing. */
function targetsOf({ scope, group }: Server): Targets {
  if (scope.kind === 'repository') return { column: 'repositoryId', ids: [scope.id] }
  if (group?.workflows) return { column: 'repositoryId', ids: [...new Set(group.workflows.map(({ repositoryId }) => repositoryId))] }
  if (scope.kind === 'enterprise')
    return group?.visibility === 'selected' ? { column: 'ownerId', ids: [...group.selected] } : { column: undefined, ids: [] }
  return group?.visibility === 'selected' ? { column: 'repositoryId', ids: [...group.selected] } : { column: 'ownerId', ids: [scope.id] }
}

type LineRow = Selectable<Schema['line']>

async function lineHeads(db: Db, server: Server, heads: number): Promise<LineRow[]> {
  const { column, ids } = targetsOf(server)
  // One target is a plain condition, many are a join: each is a look into the index of its column.
  const many = column !== undefined && ids.length !== 1
  const key = `${column} ${many}`
  let statement = headStatements.get(key)
  if (!statement) headStatements.set(key, (statement = headStatement(column, many)))
  return statement(db, { labels: JSON.stringify([...server.labels, '']), list: JSON.stringify(ids), one: ids[0] ?? 0, heads })
}

const headStatements = new Map<string, ReturnType<typeof headStatement>>()

function headStatement(column: Targets['column'], many: boolean) {
  return prepared((db, { labels, list, one, heads }: { labels: string; list: string; one: number; heads: number }) => {
    const filter =
      column === undefined
        ? sql`and "ownerKind" = 'organization'`
        : many
          ? sql`and ${sql.ref(column)} = target.value`
          : sql`and ${sql.ref(column)} = ${one}`
    const filed = sql`from line where "rarestLabel" = label.value and "headQueuedAt" is not null ${filter}`
    const byRank = sql`order by "rank", "headTurn", "headQueuedAt", id limit ${heads}`
    // The enterprise's runners go by turns; an organization spends its turns on what it ranks first, so that is read too.
    const first =
      column === undefined
        ? sql`select id from (select id ${filed} order by "headWide", "headQueuedAt", id limit ${heads}) as by_turn
            union select id from (select id ${filed} and "rank" < 0 ${byRank}) as by_rank`
        : sql`select id ${filed} ${byRank}`
    return isPostgres(db)
      ? sql<LineRow>`select line.* from json_array_elements_text(${labels}::json) as label(value)
          ${many ? sql`cross join (select value::bigint from json_array_elements_text(${list}::json) as each(value)) as target(value)` : sql``}
          cross join lateral (${first}) as first join line on line.id = first.id`
      : sql<LineRow>`select line.* from json_each(${labels}) as label
          ${many ? sql`cross join json_each(${list}) as target` : sql``}
          join line on line.id in (${first})`
  })
}

const isWide = ({ scope }: Server) => scope.kind === 'enterprise'

const waitingAs = (server: Server) => (row: LineRow) => ({
  id: row.id,
  ownerId: row.ownerId,
  repositoryId: row.repositoryId,
  label: row.rarestLabel,
  rank: row.rank,
  turn: (isWide(server) ? row.headWide : row.headTurn) ?? 0,
  queuedAt: row.headQueuedAt ?? 0,
  ahead: row.ahead,
  row,
})

/** Runners of one place and group that find work under the same labels: those that share it fairly. */
function poolOf({ scope, group }: Server, lines: readonly LineRow[]): string {
  const labels = new Set(lines.map(({ rarestLabel }) => rarestLabel))
  return JSON.stringify([scope.kind, scope.id, group?.id, ...[...labels].sort()])
}

/** The columns that a job has while a runner has it. */
export type ClaimedFor = Pick<Job, 'runnerId' | 'runnerName' | 'runnerGroupId' | 'runnerGroupName'>

async function lineTakeHead(db: Db, server: Server, line: Line, runner: ClaimedFor): Promise<{ job: Job; isMore: boolean } | undefined> {
  // Its repository may have become public since the line was read.
  const [now] = await lockedLine(db, { lineId: line.id })
  if (!now || !mayServe(server, { ...line, isPublic: now.isPublic === 1 })) return undefined
  const commits = commitsAllowed(server, line)
  const [row] = await (commits ? headTakeOf(db, line.id, runner, commits) : headTake(db, { lineId: line.id, ...runner }))
  const isMore = await lineSettle(db, line.id, row)
  if (row && line.limitIds.length > 0) await limitsHold(db, row.id, line.limitIds)
  return row && { job: decodeJob(row), isMore }
}

/** The first of a line's jobs whose run is of one of these commits. */
function headTakeOf(db: Db, lineId: number, runner: ClaimedFor, commits: string[]) {
  return db
    .updateTable('job')
    .set({ status: sql.lit('assigned'), ...runner })
    .where('id', '=', (eb) =>
      eb
        .selectFrom('job as head')
        .innerJoin('run', 'run.id', 'head.runId')
        .select('head.id')
        .where('head.lineId', '=', lineId)
        .where('head.status', '=', sql.lit('queued'))
        .where('run.headSha', 'in', commits)
        .orderBy('head.turn')
        .orderBy('head.id')
        .limit(1),
    )
    .where('status', '=', sql.lit('queued'))
    .returningAll()
    .execute()
}

const headTake = prepared((db, { lineId, runnerId, runnerName, runnerGroupId, runnerGroupName }: ClaimedFor & { lineId: number }) =>
  db
    .updateTable('job')
    .set({ status: sql.lit('assigned'), runnerId, runnerName, runnerGroupId, runnerGroupName })
    .where('id', '=', (eb) =>
      eb
        .selectFrom('job as head')
        .select('head.id')
        .where('head.lineId', '=', lineId)
        .where('head.status', '=', sql.lit('queued'))
        .orderBy('head.turn')
        .orderBy('head.id')
        .limit(1),
    )
    .where('status', '=', sql.lit('queued'))
    .returningAll(),
)

/** Writes the line's head anew after a job left it; whether there is one. `served` are the turns that a runner was given. */
export async function lineSettle(db: Db, lineId: number, served?: { turn: number; wideTurn: number }): Promise<boolean> {
  const [row] = await headSettle(db, { lineId, served: served?.turn ?? 0, servedWide: served?.wideTurn ?? 0 })
  return row !== undefined && row.headQueuedAt !== null
}

const headSettle = prepared((db, { lineId, served, servedWide }: { lineId: number; served: number; servedWide: number }) => {
  const head = (column: 'turn' | 'wideTurn' | 'queuedAt') =>
    sql<number>`(select job.${sql.ref(column)} from job where job."lineId" = line.id and job.status = 'queued' order by job.turn, job.id limit 1)`
  return db
    .updateTable('line')
    .set({
      headTurn: head('turn'),
      headWide: head('wideTurn'),
      headQueuedAt: head('queuedAt'),
      servedTurn: larger(db, sql`coalesce("servedTurn", 0)`, sql`${served}`),
      servedWide: larger(db, sql`coalesce("servedWide", 0)`, sql`${servedWide}`),
    })
    .where('id', '=', lineId)
    .returning('headQueuedAt')
})

/** Locks a line on PostgreSQL before a job leaves it. */
export async function lineLock(db: Db, lineId: number): Promise<void> {
  if (isPostgres(db)) await lockedLine(db, { lineId })
}

const lockedLine = prepared((db, { lineId }: { lineId: number }) =>
  db
    .selectFrom('line')
    .select('isPublic')
    .where('id', '=', lineId)
    .$if(isPostgres(db), (query) => query.forUpdate()),
)

/** Deletes lines that stand empty, a batch at a time. */
export async function linesEmptyDelete(db: Db, limit: number): Promise<number> {
  const result = await db
    .deleteFrom('line')
    .where('headQueuedAt', 'is', null)
    .where('id', 'in', db.selectFrom('line').select('id').where('headQueuedAt', 'is', null).limit(limit))
    // A job that was given out may come back to its place.
    .where((eb) =>
      eb.not(
        eb.exists(
          eb
            .selectFrom('job')
            .select('job.id')
            .whereRef('job.lineId', '=', 'line.id')
            .where('job.status', 'in', literals(['assigned', 'in_progress'])),
        ),
      ),
    )
    .executeTakeFirst()
  return Number(result.numDeletedRows)
}

/** Jobs that stood in line since before `before`: the queue limit. */
export async function jobsQueuedBefore(db: Db, before: number, limit: number): Promise<Job[]> {
  const rows = await db
    .selectFrom('job')
    .selectAll()
    .where('status', '=', sql.lit('queued'))
    .where('queuedAt', '<', before)
    .orderBy('queuedAt')
    .limit(limit)
    .execute()
  return rows.map(decodeJob)
}

const UNFINISHED = ['given', 'acquired', 'running'] as const

export async function assignmentInsert(
  db: Db,
  assignment: Pick<Assignment, 'requestId' | 'jobId' | 'runnerId' | 'sessionId' | 'planId' | 'timelineId' | 'jobGuid' | 'givenAt'>,
): Promise<Assignment | undefined> {
  const [row] = await assignmentRow(db, assignment)
  return row
}

const assignmentRow = prepared((db, given: Parameters<typeof assignmentInsert>[1]) =>
  db
    .insertInto('assignment')
    .values({
      ...columns(given, ['requestId', 'jobId', 'runnerId', 'sessionId', 'planId', 'timelineId', 'jobGuid', 'givenAt']),
      state: sql.lit('given'),
      acquiredAt: null,
      renewedAt: null,
      lastSignAt: given.givenAt,
      cancelSentAt: null,
      completedAt: null,
    })
    .onConflict((c) => c.doNothing())
    .returningAll(),
)

export async function assignmentById(db: Db, id: number): Promise<Assignment | undefined> {
  const [row] = await assignmentsById(db, { id })
  return row
}

const assignmentsById = prepared((db, { id }: { id: number }) => db.selectFrom('assignment').selectAll().where('id', '=', id))

export async function assignmentByRequest(db: Db, requestId: string): Promise<Assignment | undefined> {
  const [row] = await assignmentsByRequest(db, { requestId })
  return row
}

const assignmentsByRequest = prepared((db, { requestId }: { requestId: string }) =>
  db.selectFrom('assignment').selectAll().where('requestId', '=', requestId),
)

/** The runner's one unfinished assignment. */
export async function assignmentOfRunner(db: Db, runnerId: number): Promise<Assignment | undefined> {
  const [row] = await assignmentsOfRunner(db, { runnerId })
  return row
}

const assignmentsOfRunner = prepared((db, { runnerId }: { runnerId: number }) =>
  db.selectFrom('assignment').selectAll().where('runnerId', '=', runnerId).where('state', 'in', literals(UNFINISHED)),
)

/** Changes an assignment that is still in one of the states named; undefined when it is not. */
export const assignmentUpdate: (
  db: Db,
  id: number,
  from: readonly Assignment['state'][],
  change: Updateable<Schema['assignment']>,
) => Promise<Assignment | undefined> = guardedUpdate('assignment', 'state')

/** A sign of life: the lease moves. */
export async function assignmentSign(db: Db, id: number, now: number): Promise<void> {
  await leaseMove(db, { id, now })
}

const leaseMove = preparedChange((db, { id, now }: { id: number; now: number }) =>
  db.updateTable('assignment').set({ lastSignAt: now }).where('id', '=', id).where('lastSignAt', '<', now),
)

/** Unfinished assignments that gave no sign since `before`, or were given and not acquired since `givenBefore`. */
export async function assignmentsSilent(db: Db, before: number, givenBefore: number, limit: number): Promise<Assignment[]> {
  return db
    .selectFrom('assignment')
    .selectAll()
    .where('state', 'in', literals(UNFINISHED))
    .where((eb) => eb.or([eb('lastSignAt', '<', before), eb.and([eb('state', '=', sql.lit('given')), eb('givenAt', '<', givenBefore)])]))
    .orderBy('lastSignAt')
    .limit(limit)
    .execute()
}

/** Jobs on a runner, with their assignment: what time-outs and cancels look at. */
export async function jobsOnRunners(
  db: Db,
  options: { overdueAt?: number; cancelDueAt?: number; limit: number },
): Promise<{ job: Job; assignment: Assignment }[]> {
  const rows = await db
    .selectFrom('job')
    .selectAll()
    .where('status', 'in', literals(['assigned', 'in_progress']))
    .$if(options.overdueAt !== undefined, (query) =>
      query
        .where('cancelledAt', 'is', null)
        .where('startedAt', 'is not', null)
        .where((eb) => eb(sql<number>`"startedAt" + "timeoutMs"`, '<=', options.overdueAt ?? 0)),
    )
    .$if(options.cancelDueAt !== undefined, (query) =>
      query.where('cancelledAt', 'is not', null).where(sql<number>`"cancelledAt" + "cancelTimeoutMs"`, '<=', options.cancelDueAt ?? 0),
    )
    .limit(options.limit)
    .execute()
  const found: { job: Job; assignment: Assignment }[] = []
  for (const row of rows) {
    const assignment = row.assignmentId === null ? undefined : await assignmentById(db, row.assignmentId)
    if (assignment) found.push({ job: decodeJob(row), assignment })
  }
  return found
}

/**
 * Moves every lease and every runner's last sign by an outage from `from` to `to`: no node was there to hear them (architecture 1.14). What
 * was heard since it ended stays; nothing moves into the future.
 */
export async function leasesMove(db: Db, { from, to }: { from: number; to: number }): Promise<void> {
  // The last pulse may be a little older than the last sign, and the first sign than the pulse that finds the outage.
  const middle = Math.floor((from + to) / 2)
  const moved = (column: 'lastSignAt' | 'givenAt' | 'lastSeenAt') => {
    const sum = sql`${sql.ref(column)} + ${to - from}`
    return isPostgres(db) ? sql<number>`least(${sum}, ${to})` : sql<number>`min(${sum}, ${to})`
  }
  await db
    .updateTable('assignment')
    .set({ lastSignAt: moved('lastSignAt'), givenAt: moved('givenAt') })
    .where('state', 'in', literals(UNFINISHED))
    .where('lastSignAt', '<', middle)
    .execute()
  await db
    .updateTable('runner')
    .set({ lastSeenAt: moved('lastSeenAt') })
    .where('lastSeenAt', '<', middle)
    .where('deletedAt', 'is', null)
    .where('id', 'in', db.selectFrom('runnerSession').select('runnerId'))
    .execute()
}

/** Numbers of the queue for /metrics. */
export async function queueCounts(db: Db): Promise<{ status: string; count: number }[]> {
  const rows = await db
    .selectFrom('job')
    .select(['status', (eb) => eb.fn.countAll<number>().as('count')])
    .where('status', 'in', literals(['queued', 'assigned', 'in_progress']))
    .groupBy('status')
    .execute()
  return rows.map(({ status, count }) => ({ status, count: count }))
}

/** Filled lines under any of these labels, oldest heads first, at most `perLabel` for each. */
export async function linesFiledUnder(db: Db, labels: string[], perLabel: number): Promise<Line[]> {
  if (labels.length === 0) return []
  const list = JSON.stringify(labels)
  const query = isPostgres(db)
    ? sql<Selectable<Schema['line']>>`select l.* from json_array_elements_text(${list}::json) as label(value)
        cross join lateral (select * from line where "rarestLabel" = label.value and "headQueuedAt" is not null
          order by "rank", "headTurn", "headQueuedAt", id limit ${perLabel}) as l order by l."rank", l."headQueuedAt", l.id`
    : sql<Selectable<Schema['line']>>`select line.* from json_each(${list}) as label
        join line on line.id in (select id from line where "rarestLabel" = label.value and "headQueuedAt" is not null
          order by "rank", "headTurn", "headQueuedAt", id limit ${perLabel}) order by line."rank", line."headQueuedAt", line.id`
  const { rows } = await query.execute(db)
  return rows.map(decodeLine)
}
