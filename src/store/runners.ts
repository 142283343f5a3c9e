import { sql, type ExpressionBuilder, type Selectable } from 'kysely'
import type { ScopeRef } from '../model/access.ts'
import { DEFAULT_GROUP_NAME, DEFAULT_GROUP_NUMBER } from '../model/runner-group.ts'
import type { Label, Runner } from '../model/runner.ts'
import { literals } from './literals.ts'
import { batches } from './batches.ts'
import { isPostgres, type Db } from './open.ts'
import { prepared } from './prepared.ts'
import type { Schema } from './schema.ts'

const UNFINISHED = ['given', 'acquired', 'running'] as const

type RunnerRow = Omit<Selectable<Schema['runner']>, 'nameKey'> & {
  groupNumber: number | null
  groupName: string | null
  groupVersion: number | null
  sessionId: string | null
  polledAt: number | null
  busyAssignment: number | null
  runnerPaused?: string | null
  groupPaused?: string | null
}

function decodeRunner(row: RunnerRow): Runner {
  return {
    id: row.id,
    scope: { kind: row.scopeKind, id: row.scopeId },
    groupId: row.groupId,
    groupNumber: row.groupNumber ?? DEFAULT_GROUP_NUMBER,
    groupName: row.groupName ?? DEFAULT_GROUP_NAME,
    name: row.name,
    labels: JSON.parse(row.labels) as Label[],
    os: row.os,
    version: row.version,
    ephemeral: row.ephemeral === 1,
    updatesDisabled: row.updatesDisabled === 1,
    clientId: row.clientId,
    credentialVersion: row.credentialVersion,
    publicKey: JSON.parse(row.publicKey) as Runner['publicKey'],
    createdAt: row.createdAt,
    lastSeenAt: row.lastSeenAt,
    deletedAt: row.deletedAt,
    groupVersion: row.groupVersion ?? 0,
    sessionId: row.sessionId,
    polledAt: row.polledAt,
    busy: row.busyAssignment !== null,
    pausedFor: row.runnerPaused ?? row.groupPaused ?? null,
  }
}

/** Runners with their group, session and unfinished assignment: all by key, so a page costs its rows. */
function runnersWith(db: Db) {
  return db
    .selectFrom('runner')
    .leftJoin('runnerGroup', 'runnerGroup.id', 'runner.groupId')
    .leftJoin('runnerSession', 'runnerSession.runnerId', 'runner.id')
    .leftJoin('assignment', (join) =>
      join.onRef('assignment.runnerId', '=', 'runner.id').on('assignment.state', 'in', literals(UNFINISHED)),
    )
    .select([
      'runner.id',
      'runner.scopeKind',
      'runner.scopeId',
      'runner.groupId',
      'runner.name',
      'runner.labels',
      'runner.os',
      'runner.version',
      'runner.ephemeral',
      'runner.updatesDisabled',
      'runner.clientId',
      'runner.credentialVersion',
      'runner.publicKey',
      'runner.createdAt',
      'runner.lastSeenAt',
      'runner.deletedAt',
      'runnerGroup.number as groupNumber',
      'runnerGroup.name as groupName',
      'runnerGroup.version as groupVersion',
      'runnerSession.sessionId',
      'runnerSession.lastPollAt as polledAt',
      'assignment.id as busyAssignment',
    ])
}

/** Lists do without the pauses, and say that there is none. */
const rowsById = prepared((db, { id }: { id: number }) =>
  runnersWith(db)
    .leftJoin('pause as ownPause', (join) => join.onRef('ownPause.targetId', '=', 'runner.id').on('ownPause.kind', '=', sql.lit('runner')))
    .leftJoin('pause as groupPause', (join) =>
      join.onRef('groupPause.targetId', '=', 'runner.groupId').on('groupPause.kind', '=', sql.lit('group')),
    )
    .select(['ownPause.reason as runnerPaused', 'groupPause.reason as groupPaused'])
    .where('runner.id', '=', id)
    .where('runner.deletedAt', 'is', null),
)

export async function runnerById(db: Db, id: number): Promise<Runner | undefined> {
  const [row] = await rowsById(db, { id })
  return row && decodeRunner(row)
}

const rowsByClientId = prepared((db, { clientId }: { clientId: string }) => runnersWith(db).where('runner.clientId', '=', clientId))

/** By OAuth client id; also a deleted one, so that it can be told. */
export async function runnerByClientId(db: Db, clientId: string): Promise<Runner | undefined> {
  const [row] = await rowsByClientId(db, { clientId })
  return row && decodeRunner(row)
}

export async function runnerByName(db: Db, scope: ScopeRef, name: string): Promise<Runner | undefined> {
  const row = await inScope(db, scope).where('runner.nameKey', '=', name.toLowerCase()).executeTakeFirst()
  return row && decodeRunner(row)
}

function inScope(db: Db, scope: ScopeRef) {
  return runnersWith(db)
    .where('runner.scopeKind', '=', scope.kind)
    .where('runner.scopeId', '=', scope.id)
    .where('runner.deletedAt', 'is', null)
}

/**
 * A page of a scope's runners by name, then id. The count reads the same index without the rows; the page is cut on the index before
 * anything is joined.
 */
export async function runnerList(
  db: Db,
  scope: ScopeRef,
  options: { name?: string | undefined; offset: number; limit: number },
): Promise<{ runners: Runner[]; total: number }> {
  const matching = db
    .selectFrom('runner as listed')
    .where('listed.scopeKind', '=', scope.kind)
    .where('listed.scopeId', '=', scope.id)
    .where('listed.deletedAt', 'is', null)
    // The whole name, in any case of letters, as names are unique: config.sh takes the first hit for "a runner of my name" (rest-api.md 1.1).
    .$if(options.name !== undefined, (query) => query.where('listed.nameKey', '=', (options.name ?? '').toLowerCase()))
  const { count } = await matching.select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  const total = count
  if (options.offset >= total) return { runners: [], total }
  const ids = matching.select('listed.id').orderBy('listed.nameKey').offset(options.offset).limit(options.limit)
  const rows = await runnersWith(db).where('runner.id', 'in', ids).orderBy('runner.nameKey').execute()
  return { runners: rows.map(decodeRunner), total }
}

export interface NewRunner {
  scope: ScopeRef
  groupId: number | null
  name: string
  labels: { name: string; type: Label['type'] }[]
  os: string
  version: string | null
  ephemeral: boolean
  updatesDisabled: boolean
  clientId: string
  publicKey: { n: string; e: string }
  createdAt: number
}

/** Adds a runner with its labels; undefined when the name is taken in its scope. Call it in a transaction of its own. */
export async function runnerInsert(db: Db, runner: NewRunner): Promise<Runner | undefined> {
  const labels = await labelsWithIds(db, runner.labels)
  const row = await db
    .insertInto('runner')
    .values({
      scopeKind: runner.scope.kind,
      scopeId: runner.scope.id,
      groupId: runner.groupId,
      name: runner.name,
      nameKey: runner.name.toLowerCase(),
      labels: JSON.stringify(labels),
      os: runner.os,
      version: runner.version,
      ephemeral: runner.ephemeral ? 1 : 0,
      updatesDisabled: runner.updatesDisabled ? 1 : 0,
      clientId: runner.clientId,
      credentialVersion: 1,
      publicKey: JSON.stringify(runner.publicKey),
      createdAt: runner.createdAt,
      lastSeenAt: null,
      deletedAt: null,
    })
    .onConflict((c) => c.doNothing())
    .returning('id')
    .executeTakeFirst()
  if (!row) return undefined
  const { id } = row
  await runnerLabelsSet(db, id, labels)
  return runnerById(db, id)
}

/**
 * Gives an existing runner new credentials, labels and flags: `--replace`. Its id and group stay (rest-api.md 2.5), the old token and
 * session are worth nothing from then on.
 */
export async function runnerReplace(
  db: Db,
  id: number,
  change: Omit<NewRunner, 'scope' | 'groupId' | 'createdAt'>,
): Promise<Runner | undefined> {
  const labels = await labelsWithIds(db, change.labels)
  await db
    .updateTable('runner')
    .set((eb) => ({
      name: change.name,
      nameKey: change.name.toLowerCase(),
      labels: JSON.stringify(labels),
      os: change.os,
      version: change.version,
      ephemeral: change.ephemeral ? 1 : 0,
      updatesDisabled: change.updatesDisabled ? 1 : 0,
      clientId: change.clientId,
      credentialVersion: eb('credentialVersion', '+', 1),
      publicKey: JSON.stringify(change.publicKey),
      lastSeenAt: null,
    }))
    .where('id', '=', id)
    .where('deletedAt', 'is', null)
    .execute()
  await runnerLabelsSet(db, id, labels)
  await sessionDelete(db, id)
  return runnerById(db, id)
}

/** Puts these in the place of the runner's labels. Call it in a transaction that found the runner there. */
export async function runnerRelabel(db: Db, id: number, labels: Pick<Label, 'name' | 'type'>[]): Promise<Label[]> {
  const known = await labelsWithIds(db, labels)
  await db
    .updateTable('runner')
    .set({ labels: JSON.stringify(known) })
    .where('id', '=', id)
    .execute()
  await runnerLabelsSet(db, id, known)
  return known
}

/** Locks a runner's row on PostgreSQL, so that two changes of its labels follow each other. */
export async function runnerLock(db: Db, id: number): Promise<void> {
  if (isPostgres(db)) await db.selectFrom('runner').select('id').where('id', '=', id).forUpdate().execute()
}

/** Which of these ids are runners of a scope. */
export async function runnersAmong(db: Db, scope: ScopeRef, ids: readonly number[]): Promise<Set<number>> {
  const found = new Set<number>()
  for (const batch of batches(ids)) {
    const rows = await db
      .selectFrom('runner')
      .select('id')
      .where('id', 'in', batch)
      .where('scopeKind', '=', scope.kind)
      .where('scopeId', '=', scope.id)
      .where('deletedAt', 'is', null)
      .execute()
    for (const { id } of rows) found.add(id)
  }
  return found
}

/** How many runners of a group have a job. */
export async function runnersBusyOf(db: Db, groupId: number): Promise<number> {
  const { count } = await db
    .selectFrom('assignment')
    .innerJoin('runner', 'runner.id', 'assignment.runnerId')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('assignment.state', 'in', literals(UNFINISHED))
    .where('runner.groupId', '=', groupId)
    .executeTakeFirstOrThrow()
  return count
}

/** A page of a group's runners by name, then id. */
export async function runnersOfGroup(
  db: Db,
  groupId: number,
  page: { offset: number; limit: number },
): Promise<{ runners: Runner[]; total: number }> {
  const matching = db.selectFrom('runner as listed').where('listed.groupId', '=', groupId).where('listed.deletedAt', 'is', null)
  const { count } = await matching.select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  if (page.offset >= count) return { runners: [], total: count }
  const ids = matching.select('listed.id').orderBy('listed.nameKey').offset(page.offset).limit(page.limit)
  const rows = await runnersWith(db).where('runner.id', 'in', ids).orderBy('runner.nameKey').execute()
  return { runners: rows.map(decodeRunner), total: count }
}

async function labelsWithIds(db: Db, labels: { name: string; type: Label['type'] }[]): Promise<Label[]> {
  if (labels.length === 0) return []
  const keys = labels.map(({ name }) => name.toLowerCase())
  const known = new Map(
    (await db.selectFrom('label').select(['id', 'nameKey']).where('nameKey', 'in', keys).execute()).map((row) => [row.nameKey, row.id]),
  )
  const missing = keys.filter((key) => !known.has(key)).sort()
  for (const nameKey of missing) {
    const row = await db
      .insertInto('label')
      .values({ nameKey })
      .onConflict((c) => c.column('nameKey').doUpdateSet({ nameKey }))
      .returning('id')
      .executeTakeFirstOrThrow()
    known.set(nameKey, row.id)
  }
  return labels.map(({ name, type }) => ({ id: known.get(name.toLowerCase()) ?? 0, name, type }))
}

async function runnerLabelsSet(db: Db, runnerId: number, labels: Label[]): Promise<void> {
  await db.deleteFrom('runnerLabel').where('runnerId', '=', runnerId).execute()
  if (labels.length === 0) return
  await db
    .insertInto('runnerLabel')
    .values(labels.map(({ name }) => ({ runnerId, nameKey: name.toLowerCase() })))
    .execute()
}

/** Marks a runner deleted; its row stays a while, so that the machine can be told. False when it was gone or is busy. */
export async function runnerDelete(db: Db, id: number, now: number, options: { evenBusy?: boolean } = {}): Promise<boolean> {
  const result = await db
    .updateTable('runner')
    .set({ deletedAt: now })
    .where('id', '=', id)
    .where('deletedAt', 'is', null)
    .$if(!options.evenBusy, (query) =>
      query.where((eb) =>
        eb.not(
          eb.exists(
            eb
              .selectFrom('assignment')
              .select('id')
              .whereRef('assignment.runnerId', '=', 'runner.id')
              .where('state', 'in', literals(UNFINISHED)),
          ),
        ),
      ),
    )
    .executeTakeFirst()
  if (result.numUpdatedRows === 0n) return false
  await sessionDelete(db, id)
  await db.deleteFrom('runnerLabel').where('runnerId', '=', id).execute()
  await db.deleteFrom('pause').where('kind', '=', 'runner').where('targetId', '=', id).execute()
  return true
}

/** Marks an ephemeral runner deleted, with its one job; others stay. */
export async function runnerDeleteIfEphemeral(db: Db, id: number, now: number): Promise<void> {
  const row = await db.selectFrom('runner').select('ephemeral').where('id', '=', id).executeTakeFirst()
  if (row?.ephemeral === 1) await runnerDelete(db, id, now, { evenBusy: true })
}

/** The runner was heard of. Only moves forward. */
export async function runnerSeen(db: Db, id: number, now: number, first?: { version: string; os: string | undefined }): Promise<void> {
  await db
    .updateTable('runner')
    .set({ lastSeenAt: now, ...(first ? { version: first.version, ...(first.os ? { os: first.os } : {}) } : {}) })
    .where('id', '=', id)
    .execute()
}

export interface SessionRow {
  runnerId: number
  sessionId: string
  ownerName: string
  createdAt: number
  lastPollAt: number
}

export async function sessionGet(db: Db, runnerId: number): Promise<SessionRow | undefined> {
  return db.selectFrom('runnerSession').selectAll().where('runnerId', '=', runnerId).executeTakeFirst()
}

/** Opens the runner's one session, unless another polled after `staleBefore`: then undefined. */
export async function sessionOpen(db: Db, session: SessionRow, staleBefore: number): Promise<boolean> {
  const result = await db
    .insertInto('runnerSession')
    .values(session)
    .onConflict((c) =>
      c
        .column('runnerId')
        .doUpdateSet({
          sessionId: session.sessionId,
          ownerName: session.ownerName,
          createdAt: session.createdAt,
          lastPollAt: session.lastPollAt,
        })
        .where('runnerSession.lastPollAt', '<=', staleBefore),
    )
    .executeTakeFirst()
  return (result.numInsertedOrUpdatedRows ?? 0n) > 0n
}

export async function sessionPolled(db: Db, runnerId: number, sessionId: string, now: number): Promise<void> {
  await db
    .updateTable('runnerSession')
    .set({ lastPollAt: now })
    .where('runnerId', '=', runnerId)
    .where('sessionId', '=', sessionId)
    .execute()
}

export async function sessionDelete(db: Db, runnerId: number): Promise<boolean> {
  const result = await db.deleteFrom('runnerSession').where('runnerId', '=', runnerId).executeTakeFirst()
  return result.numDeletedRows > 0n
}

/** How many runners have each of these labels: the rarest files the line. Labels that no runner has count 0. */
export async function labelCounts(db: Db, keys: string[]): Promise<Map<string, number>> {
  const counts = new Map(keys.map((key) => [key, 0]))
  if (keys.length === 0) return counts
  const rows = await db
    .selectFrom('runnerLabel')
    .select(['nameKey', (eb) => eb.fn.countAll<number>().as('count')])
    .where('nameKey', 'in', keys)
    .groupBy('nameKey')
    .execute()
  for (const { nameKey, count } of rows) counts.set(nameKey, count)
  return counts
}

/** What a waiting reason is made of: runners that could see a line by scope, with what each lacks. */
export interface Candidate {
  id: number
  scope: ScopeRef
  groupId: number | null
  groupName: string
  sessionId: string | null
  lastSeenAt: number | null
  busy: boolean
}

/** Runners of a repository, its organization and the enterprise, at most `limit`, those with all the labels first. */
export async function candidatesFor(
  db: Db,
  scopes: ScopeRef[],
  labels: string[],
  limit: number,
): Promise<{ matching: Candidate[]; labelsSomewhere: Set<string>; any: boolean }> {
  const within = (eb: ExpressionBuilder<Schema, 'runner'>) =>
    eb.or(scopes.map(({ kind, id }) => eb.and([eb('runner.scopeKind', '=', kind), eb('runner.scopeId', '=', id)])))
  const scoped = db.selectFrom('runner').where('runner.deletedAt', 'is', null).where(within)
  const { count: there } = await db
    .selectFrom(scoped.select('runner.id').limit(limit).as('there'))
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow()
  if (there === 0) return { matching: [], labelsSomewhere: new Set(), any: false }
  const rarest = await rarestOf(db, labels, there)
  // A cross join keeps its order on SQLite, which has no statistics and would begin with every runner of the scope.
  const begun =
    rarest === undefined
      ? scoped
      : db
          .selectFrom('runnerLabel as rare')
          .crossJoin('runner')
          .where('rare.nameKey', '=', rarest)
          .whereRef('runner.id', '=', 'rare.runnerId')
          .where('runner.deletedAt', 'is', null)
          .where(within)
  let matching = begun
    .leftJoin('runnerGroup', 'runnerGroup.id', 'runner.groupId')
    .leftJoin('runnerSession', 'runnerSession.runnerId', 'runner.id')
    .leftJoin('assignment', (join) =>
      join.onRef('assignment.runnerId', '=', 'runner.id').on('assignment.state', 'in', literals(UNFINISHED)),
    )
    .select([
      'runner.id',
      'runner.scopeKind',
      'runner.scopeId',
      'runner.groupId',
      'runner.lastSeenAt',
      'runnerGroup.name as groupName',
      'runnerSession.sessionId',
      'assignment.id as busyAssignment',
    ])
  for (const label of labels) {
    if (label === rarest) continue
    matching = matching.where((eb) =>
      eb.exists(
        eb.selectFrom('runnerLabel').select('runnerId').whereRef('runnerLabel.runnerId', '=', 'runner.id').where('nameKey', '=', label),
      ),
    )
  }
  const rows = await matching.limit(limit).execute()
  const labelsSomewhere = new Set<string>()
  let any = rows.length > 0
  if (rows.length === 0) {
    any = (await scoped.select('runner.id').limit(1).executeTakeFirst()) !== undefined
    for (const label of labels) {
      const found = await scoped
        .innerJoin('runnerLabel', 'runnerLabel.runnerId', 'runner.id')
        .select('runner.id')
        .where('runnerLabel.nameKey', '=', label)
        .limit(1)
        .executeTakeFirst()
      if (found) labelsSomewhere.add(label)
    }
  }
  return {
    matching: rows.map((row) => ({
      id: row.id,
      scope: { kind: row.scopeKind, id: row.scopeId },
      groupId: row.groupId,
      groupName: row.groupName ?? DEFAULT_GROUP_NAME,
      sessionId: row.sessionId,
      lastSeenAt: row.lastSeenAt,
      busy: row.busyAssignment !== null,
    })),
    labelsSomewhere,
    any,
  }
}

/** The label that the fewest runners have, if they are no more than `fewest`. Nothing is counted beyond what decides. */
async function rarestOf(db: Db, labels: string[], fewest: number): Promise<string | undefined> {
  let rarest: { label: string; count: number } | undefined
  for (const label of labels) {
    const enough = rarest?.count ?? fewest + 1
    const having = db.selectFrom('runnerLabel').select('runnerId').where('nameKey', '=', label).limit(enough)
    const { count } = await db
      .selectFrom(having.as('having'))
      .select((eb) => eb.fn.countAll<number>().as('count'))
      .executeTakeFirstOrThrow()
    if (count < enough) rarest = { label, count }
  }
  return rarest?.label
}

/** Runners that have not been heard of since: 14 days, ephemeral ones a day (rest-api.md 4.2). Their ids, at most `limit`. */
export async function runnersAbandoned(db: Db, before: { lasting: number; ephemeral: number }, limit: number): Promise<number[]> {
  const seen = sql<number>`coalesce("lastSeenAt", "createdAt")`
  const rows = await db
    .selectFrom('runner')
    .select('id')
    .where('deletedAt', 'is', null)
    .where((eb) =>
      eb.or([
        eb.and([eb('ephemeral', '=', 0), eb(seen, '<', before.lasting)]),
        eb.and([eb('ephemeral', '=', 1), eb(seen, '<', before.ephemeral)]),
      ]),
    )
    .limit(limit)
    .execute()
  return rows.map(({ id }) => id)
}

/** Forgets runners that were deleted before `before`. */
export async function runnersForget(db: Db, before: number): Promise<void> {
  await db.deleteFrom('runner').where('deletedAt', '<', before).execute()
}

export interface PackageRow {
  id: number
  os: string
  architecture: string
  version: string
  filename: string
  blobKey: string
  sha256: string
  size: number
  createdAt: number
}

export async function runnerPackageList(db: Db): Promise<PackageRow[]> {
  return db.selectFrom('runnerPackage').selectAll().orderBy('id').execute()
}

export async function runnerPackageByFilename(db: Db, filename: string): Promise<PackageRow | undefined> {
  return db.selectFrom('runnerPackage').selectAll().where('filename', '=', filename).executeTakeFirst()
}

/** Adds a package, or puts it in the place of the one for the same system. Answers the replaced one's blob. */
export async function runnerPackageSet(db: Db, entry: Omit<PackageRow, 'id'>): Promise<string | undefined> {
  const before = await db
    .selectFrom('runnerPackage')
    .select('blobKey')
    .where('os', '=', entry.os)
    .where('architecture', '=', entry.architecture)
    .executeTakeFirst()
  await db
    .insertInto('runnerPackage')
    .values(entry)
    .onConflict((c) => c.columns(['os', 'architecture']).doUpdateSet(entry))
    .execute()
  return before && before.blobKey !== entry.blobKey ? before.blobKey : undefined
}
