import type { Annotation, Step } from '../model/job.ts'
import type { Db } from './open.ts'

/** The steps that a runner reported of a job; with `atLeast`, an older report never replaces a newer one. */
export async function stepReportGet(
  db: Db,
  jobId: number,
): Promise<{ assignmentId: number; changeOrder: number; steps: Step[] } | undefined> {
  const row = await db.selectFrom('stepReport').selectAll().where('jobId', '=', jobId).executeTakeFirst()
  return row && { assignmentId: row.assignmentId, changeOrder: row.changeOrder, steps: JSON.parse(row.steps) as Step[] }
}

export async function stepReportsGet(db: Db, jobIds: number[]): Promise<Map<number, Step[]>> {
  if (jobIds.length === 0) return new Map()
  const rows = await db.selectFrom('stepReport').select(['jobId', 'steps']).where('jobId', 'in', jobIds).execute()
  return new Map(rows.map(({ jobId, steps }) => [jobId, JSON.parse(steps) as Step[]]))
}

export async function stepReportSet(
  db: Db,
  report: { jobId: number; assignmentId: number; changeOrder: number; steps: Step[] },
): Promise<void> {
  const row = { ...report, steps: JSON.stringify(report.steps) }
  await db
    .insertInto('stepReport')
    .values(row)
    .onConflict((c) => c.column('jobId').doUpdateSet(row))
    .execute()
}

export async function stepReportDelete(db: Db, jobId: number): Promise<void> {
  await db.deleteFrom('stepReport').where('jobId', '=', jobId).execute()
}

export async function annotationsSet(db: Db, jobId: number, annotations: Annotation[]): Promise<void> {
  await db.deleteFrom('annotation').where('jobId', '=', jobId).execute()
  if (annotations.length === 0) return
  // PostgreSQL takes 65,535 parameters a statement, SQLite 32,766.
  for (let i = 0; i < annotations.length; i += 500) {
    await db
      .insertInto('annotation')
      .values(annotations.slice(i, i + 500).map((annotation) => ({ jobId, ...annotation })))
      .execute()
  }
}

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

/** The log object is whole. */
export async function logSet(db: Db, log: LogRow): Promise<void> {
  await db
    .insertInto('log')
    .values(log)
    .onConflict((c) => c.columns(['jobId', 'stepId']).doUpdateSet(log))
    .execute()
}

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
  return db.selectFrom('blob').selectAll().where('key', '=', key).executeTakeFirst()
}

/** False when there is one of that key. */
export async function blobInsert(db: Db, blob: BlobRow): Promise<boolean> {
  const result = await db
    .insertInto('blob')
    .values(blob)
    .onConflict((c) => c.doNothing())
    .executeTakeFirst()
  return (result.numInsertedOrUpdatedRows ?? 0n) > 0n
}

/** Writes what is known of an object that was put whole, over what an earlier put of it left. */
export async function blobPut(db: Db, blob: BlobRow): Promise<void> {
  await db
    .insertInto('blob')
    .values(blob)
    .onConflict((c) => c.column('key').doUpdateSet(blob))
    .execute()
}

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
