import { sql } from 'kysely'
import type { Annotation, Step } from '../model/job.ts'
import type { Db } from './open.ts'
import { columns, prepared, preparedChange } from './prepared.ts'

/** The steps that a runner reported of a job; with `atLeast`, an older report never replaces a newer one. */
export async function stepReportGet(
  db: Db,
  jobId: number,
): Promise<{ assignmentId: number; changeOrder: number; steps: Step[] } | undefined> {
  const [row] = await reportOfJob(db, { jobId })
  return row && { assignmentId: row.assignmentId, changeOrder: row.changeOrder, steps: JSON.parse(row.steps) as Step[] }
}

const reportOfJob = prepared((db, { jobId }: { jobId: number }) => db.selectFrom('stepReport').selectAll().where('jobId', '=', jobId))

export async function stepReportsGet(db: Db, jobIds: number[]): Promise<Map<number, Step[]>> {
  if (jobIds.length === 0) return new Map()
  const rows = await db.selectFrom('stepReport').select(['jobId', 'steps']).where('jobId', 'in', jobIds).execute()
  return new Map(rows.map(({ jobId, steps }) => [jobId, JSON.parse(steps) as Step[]]))
}

export async function stepReportSet(
  db: Db,
  report: { jobId: number; assignmentId: number; changeOrder: number; steps: Step[] },
): Promise<void> {
  await reportSet(db, { ...report, steps: JSON.stringify(report.steps) })
}

const reportSet = prepared((db, report: { jobId: number; assignmentId: number; changeOrder: number; steps: string }) => {
  const row = columns(report, ['assignmentId', 'changeOrder', 'steps'])
  return db
    .insertInto('stepReport')
    .values({ jobId: report.jobId, ...row })
    .onConflict((c) => c.column('jobId').doUpdateSet(row))
})

/** Puts a report in the place of the one that the caller read, or of none; false when another came between. */
export async function stepReportReplace(
  db: Db,
  report: { jobId: number; assignmentId: number; changeOrder: number; steps: Step[] },
  known: { assignmentId: number; changeOrder: number } | undefined,
): Promise<boolean> {
  const row = { ...report, steps: JSON.stringify(report.steps) }
  const changed = await reportReplace(db, { ...row, knownAssignment: known?.assignmentId ?? -1, knownOrder: known?.changeOrder ?? -1 })
  return changed > 0
}

interface Replacement {
  jobId: number
  assignmentId: number
  changeOrder: number
  steps: string
  knownAssignment: number
  knownOrder: number
}

const reportReplace = preparedChange((db, report: Replacement) => {
  const row = columns(report, ['assignmentId', 'changeOrder', 'steps'])
  const { jobId, knownAssignment, knownOrder } = report
  return db
    .insertInto('stepReport')
    .values({ jobId, ...row })
    .onConflict((c) =>
      c
        .column('jobId')
        .doUpdateSet(row)
        .where('stepReport.assignmentId', '=', knownAssignment)
        .where('stepReport.changeOrder', '=', knownOrder),
    )
})

export async function stepReportDelete(db: Db, jobId: number): Promise<void> {
  await db.deleteFrom('stepReport').where('jobId', '=', jobId).execute()
}

export async function annotationsSet(db: Db, jobId: number, annotations: Annotation[]): Promise<void> {
  await annotationsDelete(db, { jobId })
  if (annotations.length === 0) return
  // PostgreSQL takes 65,535 parameters a statement, SQLite 32,766.
  for (let i = 0; i < annotations.length; i += 500) {
    await db
      .insertInto('annotation')
      .values(annotations.slice(i, i + 500).map((annotation) => ({ jobId, ...annotation })))
      .execute()
  }
}

/** Adds an annotation where a job has none. The caller holds the job's row. */
export async function annotationEnsure(db: Db, jobId: number, annotation: Annotation): Promise<void> {
  const known = await db.selectFrom('annotation').select('id').where('jobId', '=', jobId).limit(1).executeTakeFirst()
  if (!known)
    await db
      .insertInto('annotation')
      .values({ jobId, ...annotation })
      .execute()
}

const annotationsDelete = prepared((db, { jobId }: { jobId: number }) => db.deleteFrom('annotation').where('jobId', '=', jobId))

export async function annotationsOfJob(
  db: Db,
  jobId: number,
  page: { offset: number; limit: number },
): Promise<{ annotations: Annotation[]; total: number }> {
  const rows = await db
    .selectFrom('annotation')
    .selectAll()
    .where('jobId', '=', jobId)
    .orderBy('id')
    .offset(page.offset)
    .limit(page.limit)
    .execute()
  const { count } = await db
    .selectFrom('annotation')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('jobId', '=', jobId)
    .executeTakeFirstOrThrow()
  return {
    annotations: rows.map(({ id: _id, jobId: _job, ...rest }) => ({ ...rest, level: rest.level as Annotation['level'] })),
    total: count,
  }
}

export interface SummaryRow {
  jobId: number
  stepId: string
  blobKey: string
  size: number
  uploadedAt: number
}

export async function summarySet(db: Db, summary: SummaryRow): Promise<void> {
  await db
    .insertInto('stepSummary')
    .values(summary)
    .onConflict((c) => c.columns(['jobId', 'stepId']).doUpdateSet(summary))
    .execute()
}

export async function summariesOfJob(db: Db, jobId: number): Promise<SummaryRow[]> {
  return db.selectFrom('stepSummary').selectAll().where('jobId', '=', jobId).orderBy('uploadedAt').execute()
}

export interface LogRow {
  jobId: number
  /** The step's GUID; empty for the log of the whole job. */
  stepId: string
  assignmentId: number
  blobKey: string
  /** As the runner counts. */
  lineCount: number
  /** Those that never came: a block was sent while no node served. */
  missingLines: number
  uploadedAt: number
}

/** The log object is whole; what it lacks of the lines that the runner counted is missing. False when there is no such object. */
export async function logFinish(db: Db, log: Omit<LogRow, 'missingLines'>): Promise<boolean> {
  return (await logRowSet(db, log)) > 0
}

const logRowSet = preparedChange((db, { jobId, stepId, assignmentId, blobKey, lineCount, uploadedAt }: Omit<LogRow, 'missingLines'>) => {
  const ints = (...values: number[]) => values.map((value) => sql<number>`cast(${value} as bigint)`)
  const [job, assignment, count, at] = ints(jobId, assignmentId, lineCount, uploadedAt)
  return sql`insert into log ("jobId", "stepId", "assignmentId", "blobKey", "lineCount", "missingLines", "uploadedAt")
    select ${job}, cast(${stepId} as text), ${assignment}, key, ${count}, case when lines < ${count} then ${count} - lines else 0 end, ${at}
    from blob where key = ${blobKey}
    on conflict ("jobId", "stepId") do update set "assignmentId" = excluded."assignmentId", "blobKey" = excluded."blobKey",
      "lineCount" = excluded."lineCount", "missingLines" = excluded."missingLines", "uploadedAt" = excluded."uploadedAt"`
})

export async function logGet(db: Db, jobId: number, stepId: string): Promise<LogRow | undefined> {
  return db.selectFrom('log').selectAll().where('jobId', '=', jobId).where('stepId', '=', stepId).executeTakeFirst()
}

export async function logsOfJob(db: Db, jobId: number): Promise<LogRow[]> {
  return db.selectFrom('log').selectAll().where('jobId', '=', jobId).orderBy('uploadedAt').execute()
}

export interface Chunk {
  seq: number
  assignmentId: number
  stepId: string
  startLine: number
  lines: string[]
  createdAt: number
}

/** Appends live lines after the last ones of the job and answers their number; undefined when another node took it: try again. */
export async function chunkAppend(db: Db, jobId: number, chunk: Omit<Chunk, 'seq'>): Promise<number | undefined> {
  const row = await db
    .insertInto('logChunk')
    .values((eb) => ({
      jobId,
      seq: eb
        .selectFrom('logChunk as last')
        .select((last) => last(last.fn.coalesce(last.fn.max('last.seq'), last.val(0)), '+', 1).as('next'))
        .where('last.jobId', '=', jobId),
      assignmentId: chunk.assignmentId,
      stepId: chunk.stepId,
      startLine: chunk.startLine,
      lines: JSON.stringify(chunk.lines),
      createdAt: chunk.createdAt,
    }))
    .onConflict((c) => c.doNothing())
    .returning('seq')
    .executeTakeFirst()
  return row?.seq
}

/** How many characters of live lines there are of a job. */
export async function chunksLength(db: Db, jobId: number): Promise<number> {
  const row = await db
    .selectFrom('logChunk')
    .select((eb) => eb.fn.sum<number | string | null>(eb.fn('length', ['lines'])).as('length'))
    .where('jobId', '=', jobId)
    .executeTakeFirst()
  return Number(row?.length ?? 0)
}

/** Live lines of a job after `after`, in order, at most `limit` chunks. */
export async function chunksAfter(db: Db, jobId: number, after: number, limit: number): Promise<Chunk[]> {
  const rows = await db
    .selectFrom('logChunk')
    .selectAll()
    .where('jobId', '=', jobId)
    .where('seq', '>', after)
    .orderBy('seq')
    .limit(limit)
    .execute()
  return rows.map(({ jobId: _job, lines, ...rest }) => ({ ...rest, lines: JSON.parse(lines) as string[] }))
}

export async function chunksDelete(db: Db, jobId: number, assignmentId?: number): Promise<void> {
  await db
    .deleteFrom('logChunk')
    .where('jobId', '=', jobId)
    .$if(assignmentId !== undefined, (query) => query.where('assignmentId', '=', assignmentId ?? 0))
    .execute()
}

/** Completed jobs whose log object is there and whose live lines still are, some at a time. */
export async function jobsWithSpareChunks(db: Db, completedBefore: number, limit: number): Promise<number[]> {
  const rows = await db
    .selectFrom('logChunk')
    .innerJoin('job', 'job.id', 'logChunk.jobId')
    .innerJoin('log', (join) => join.onRef('log.jobId', '=', 'job.id').on('log.stepId', '=', ''))
    .select('job.id')
    .distinct()
    .where('job.completedAt', '<', completedBefore)
    .limit(limit)
    .execute()
  return rows.map(({ id }) => id)
}

export interface BlobRow {
  key: string
  kind: 'block' | 'append'
  size: number
  lines: number
  blocks: number
  sealedAt: number | null
  contentType: string | null
  createdAt: number
}

export async function blobGet(db: Db, key: string): Promise<BlobRow | undefined> {
  const [row] = await blobsByKey(db, { key })
  return row
}

const BLOB_COLUMNS = ['key', 'kind', 'size', 'lines', 'blocks', 'sealedAt', 'contentType', 'createdAt'] as const

const blobsByKey = prepared((db, { key }: { key: string }) => db.selectFrom('blob').select(BLOB_COLUMNS).where('key', '=', key))

/** The bytes of a small object; undefined where the blob store has them. */
export async function blobContent(db: Db, key: string): Promise<Buffer | undefined> {
  const row = await db.selectFrom('blob').select('content').where('key', '=', key).executeTakeFirst()
  return row?.content == null ? undefined : Buffer.from(row.content)
}

/** False when there is one of that key. */
export async function blobInsert(db: Db, blob: BlobRow): Promise<boolean> {
  const result = await db
    .insertInto('blob')
    .values({ ...blob, content: null })
    .onConflict((c) => c.doNothing())
    .executeTakeFirst()
  return (result.numInsertedOrUpdatedRows ?? 0n) > 0n
}

/** Writes what is known of an object that was put whole, over what an earlier put of it left. False when there is an append object. */
export async function blobPut(db: Db, blob: BlobRow & { content: Buffer | null }): Promise<boolean> {
  return (await blobRowPut(db, blob)) > 0
}

const blobRowPut = preparedChange((db, blob: BlobRow & { content: Buffer | null }) => {
  const row = columns(blob, ['kind', 'size', 'lines', 'blocks', 'sealedAt', 'contentType', 'createdAt', 'content'])
  return db
    .insertInto('blob')
    .values({ key: blob.key, ...row })
    .onConflict((c) => c.column('key').doUpdateSet(row).where('blob.kind', '=', sql.lit('block')))
})

/** Makes one object of the blocks; false when there are more than the caller knows, or it is done already. Call it in a transaction. */
export async function blobSeal(
  db: Db,
  key: string,
  { size, blocks, now }: { size: number; blocks: number; now: number },
): Promise<boolean> {
  const result = await db
    .updateTable('blob')
    .set({ sealedAt: now, size })
    .where('key', '=', key)
    .where('blocks', '=', blocks)
    .where('sealedAt', 'is', null)
    .executeTakeFirst()
  if (result.numUpdatedRows === 0n) return false
  await db.deleteFrom('blobBlock').where('blobKey', '=', key).execute()
  return true
}

export interface BlockRow {
  number: number
  requestId: string
  part: string
  size: number
  lines: number
}

/** Puts a block at the end; false when its place was taken or the object was sealed meanwhile: undo the transaction that it is called in. */
export async function blobBlockInsert(db: Db, blobKey: string, block: BlockRow): Promise<boolean> {
  const result = await db
    .insertInto('blobBlock')
    .values({ blobKey, ...block })
    .onConflict((c) => c.doNothing())
    .executeTakeFirst()
  if ((result.numInsertedOrUpdatedRows ?? 0n) === 0n) return false
  const counted = await db
    .updateTable('blob')
    .set((eb) => ({ size: eb('size', '+', block.size), lines: eb('lines', '+', block.lines), blocks: eb('blocks', '+', 1) }))
    .where('key', '=', blobKey)
    .where('sealedAt', 'is', null)
    .executeTakeFirst()
  return counted.numUpdatedRows > 0n
}

export async function blobBlocks(db: Db, key: string): Promise<BlockRow[]> {
  return db
    .selectFrom('blobBlock')
    .select(['number', 'requestId', 'part', 'size', 'lines'])
    .where('blobKey', '=', key)
    .orderBy('number')
    .execute()
}

/** Those of some keys that a row names: of a log, a summary, a block that is not sealed yet. */
export async function blobKeysKnown(db: Db, keys: string[]): Promise<Set<string>> {
  const known = new Set<string>()
  const [parts, wholes] = [keys.filter((key) => key.includes(PARTS)), keys.filter((key) => !key.includes(PARTS))]
  if (wholes.length > 0) {
    for (const { key } of await db.selectFrom('blob').select('key').where('key', 'in', wholes).execute()) known.add(key)
  }
  if (parts.length > 0) {
    const blobs = [...new Set(parts.map((part) => part.slice(0, part.indexOf(PARTS))))]
    for (const { part } of await db.selectFrom('blobBlock').select('part').where('blobKey', 'in', blobs).execute()) known.add(part)
  }
  return known
}

/** Between the key of an object that is appended to and the names of its blocks (`appendBlock`). */
const PARTS = '.parts/'

export async function blobDelete(db: Db, key: string): Promise<void> {
  await db.deleteFrom('blobBlock').where('blobKey', '=', key).execute()
  await db.deleteFrom('blob').where('key', '=', key).execute()
}
