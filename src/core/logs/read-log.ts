import type { Step } from '../../model/job.ts'
import type { Chunk, LogRow } from '../../store/logs.ts'
import { blobGet, chunksAfter, logGet, logsOfJob, stepReportGet } from '../../store/logs.ts'
import type { Deps } from '../deps.ts'
import { readObject } from './objects.ts'
import { isStepId, uploadKey } from './uploads.ts'

type ReadDeps = Pick<Deps, 'db' | 'blobs' | 'now'>

const CHUNKS_READ = 500
const REST_MISSING = "The rest of this step's log, if there was more, is missing here: the server did not receive it"

/** The name of a step's file in the zip of a run's logs, and its text. */
export interface StepLog {
  stepId: string
  number: number
  name: string
  text: () => AsyncIterable<Buffer>
}

/**
 * The log of a job as text with a timestamp at the head of each line: the uploaded one where it is whole; else put together from the logs
 * of the steps, what is missing of those from the live lines, and what is missing there as a marked gap. Undefined when there is nothing.
 */
export async function readJobLog(deps: ReadDeps, jobId: number): Promise<AsyncIterable<Buffer> | undefined> {
  const whole = await logGet(deps.db, jobId, '')
  if (whole?.missingLines === 0) {
    const object = await readObject(deps, whole.blobKey)
    if (object) return object.open()
  }
  const steps = await readStepLogs(deps, jobId)
  if (steps.length === 0) return undefined
  return (async function* () {
    for (const step of steps) yield* step.text()
  })()
}

/** The logs of a job's steps that have one, in their order. */
export async function readStepLogs(deps: ReadDeps, jobId: number): Promise<StepLog[]> {
  const report = await stepReportGet(deps.db, jobId)
  const logs = new Map<string, StepObject>((await logsOfJob(deps.db, jobId)).map((log) => [log.stepId, log]))
  const chunks = await chunksByStep(deps, jobId)
  const known = (report?.steps ?? []).map(({ externalId, number, name }) => ({ externalId, number, name }))
  const ids = new Set(known.map(({ externalId }) => externalId))
  // Steps that spoke and are in no report: it may have been lost, or not have come yet.
  for (const stepId of new Set([...logs.keys(), ...chunks.keys()])) {
    if (stepId !== '' && !ids.has(stepId)) known.push({ externalId: stepId, number: known.length + 1, name: 'step' })
  }
  // Of a log that was never said to be whole nobody knows how long it was. With the job's own log nothing was lost.
  const finished = new Set(logs.keys())
  const isWhole = logs.get('')?.missingLines === 0
  const isDoubtful = (stepId: string) => !finished.has(stepId) && !isWhole
  for (const { externalId } of known) {
    const assignmentId = chunks.get(externalId)?.at(-1)?.assignmentId ?? report?.assignmentId
    if (finished.has(externalId) || assignmentId === undefined) continue
    const unfinished = await unfinishedUpload(deps, assignmentId, externalId, chunks.get(externalId) ?? [])
    if (unfinished) logs.set(externalId, unfinished)
  }
  if (logs.size === 0 && chunks.size === 0) return []
  const ran = new Set((report?.steps ?? []).filter(hasRun).map(({ externalId }) => externalId))
  return known
    .filter(({ externalId: id }) => logs.has(id) || chunks.has(id) || (isDoubtful(id) && ran.has(id)))
    .map(({ externalId, number, name }) => ({
      stepId: externalId,
      number,
      name,
      text: () => stepText(deps, logs.get(externalId), chunks.get(externalId) ?? [], isDoubtful(externalId)),
    }))
}

function hasRun({ startedAt, conclusion }: Step): boolean {
  return startedAt !== null && conclusion !== 'skipped'
}

type StepObject = Pick<LogRow, 'blobKey' | 'missingLines'>

/** Blocks of a log whose runner died before the last: the first of a long step, acknowledged long ago. */
async function unfinishedUpload({ db }: ReadDeps, assignmentId: number, stepId: string, chunks: Chunk[]): Promise<StepObject | undefined> {
  if (!isStepId(stepId)) return undefined
  const blobKey = uploadKey({ id: assignmentId }, 'log', stepId)
  const blob = await blobGet(db, blobKey)
  const last = chunks.reduce((max, { startLine, lines }) => Math.max(max, startLine + lines.length - 1), 0)
  return blob && { blobKey, missingLines: Math.max(0, last - blob.lines) }
}

async function chunksByStep({ db }: ReadDeps, jobId: number): Promise<Map<string, Chunk[]>> {
  const byStep = new Map<string, Chunk[]>()
  let after = 0
  for (;;) {
    const chunks = await chunksAfter(db, jobId, after, CHUNKS_READ)
    for (const chunk of chunks) {
      after = chunk.seq
      const list = byStep.get(chunk.stepId)
      if (list) list.push(chunk)
      else byStep.set(chunk.stepId, [chunk])
    }
    if (chunks.length < CHUNKS_READ) return byStep
  }
}

async function* stepText(deps: ReadDeps, log: StepObject | undefined, chunks: Chunk[], isDoubtful: boolean): AsyncIterable<Buffer> {
  yield* linesOfStep(deps, log, chunks)
  if (isDoubtful) yield Buffer.from(`${stamp(chunks.at(-1)?.createdAt ?? deps.now())} ##[warning]${REST_MISSING}\n`)
}

async function* linesOfStep(deps: ReadDeps, log: StepObject | undefined, chunks: Chunk[]): AsyncIterable<Buffer> {
  const object = log && (await readObject(deps, log.blobKey))
  if (!log || !object) {
    yield Buffer.from(fromLiveLines(liveLines(chunks), 1, undefined))
    return
  }
  if (log.missingLines === 0) {
    yield* object.open()
    return
  }
  const parts: Buffer[] = []
  for await (const part of object.open()) parts.push(part)
  yield Buffer.from(mend(Buffer.concat(parts).toString('utf8'), log.missingLines, liveLines(chunks)))
}

interface LiveLine {
  text: string
  at: number
}

/** Live lines by their number in the step's log. */
function liveLines(chunks: Chunk[]): Map<number, LiveLine> {
  const lines = new Map<number, LiveLine>()
  for (const { startLine, lines: texts, createdAt } of chunks) {
    for (const [index, text] of texts.entries()) lines.set(startLine + index, { text, at: createdAt })
  }
  return lines
}

/** The feed cuts lines at this many characters and adds dots (runner-protocol.md 7.5). */
const FEED_CUT = 1024

/**
 * Puts the missing lines of an uploaded log where they belong: where the live lines fit best before and, that number of lines later, after it;
 * at the end when none tells.
 */
export function mend(uploaded: string, missing: number, live: ReadonlyMap<number, LiveLine>): string {
  const lines = uploaded.split('\n')
  if (lines.at(-1) === '') lines.pop()
  /** 1 when the line has that number by the live lines, -1 when another has, 0 when they do not tell. */
  const fit = (line: string, number: number) => {
    const known = live.get(number)
    if (known === undefined) return 0
    return isSame(line.slice(line.indexOf(' ') + 1), known.text) ? 1 : -1
  }
  let at = 0
  let score = 0
  let best = 0
  for (const [index, line] of lines.entries()) {
    // The gap moves from before this line to behind it.
    score += fit(line, index + 1) - fit(line, index + 1 + missing)
    if (score >= best) [best, at] = [score, index + 1]
  }
  const gap = fromLiveLines(live, at + 1, at + missing)
  return `${[...lines.slice(0, at), ...gap.split('\n').slice(0, -1), ...lines.slice(at)].join('\n')}\n`
}

function isSame(uploaded: string, live: string): boolean {
  return uploaded === live || (live.length > FEED_CUT && live.endsWith('...') && uploaded.startsWith(live.slice(0, -3)))
}

/** Live lines from `first` to `last` as log text; a run of numbers that never came is one marked line. */
export function fromLiveLines(live: ReadonlyMap<number, LiveLine>, first: number, last: number | undefined): string {
  // By the lines that are there, not by their numbers: those come from the job, and may be anything.
  const numbers = [...live.keys()].filter((number) => number >= first && (last === undefined || number <= last)).sort((a, b) => a - b)
  const texts: string[] = []
  let at = live.values().next().value?.at ?? 0
  const gap = (lost: number) => {
    if (lost <= 0) return
    const lines = lost === 1 ? 'One line is' : `${lost} lines are`
    texts.push(`${stamp(at)} ##[warning]${lines} missing here: the server did not receive them`)
  }
  let next = first
  for (const number of numbers) {
    const line = live.get(number)
    at = line?.at ?? at
    gap(number - next)
    texts.push(`${stamp(at)} ${line?.text ?? ''}`)
    next = number + 1
  }
  if (last !== undefined) gap(last + 1 - next)
  return texts.map((text) => `${text}\n`).join('')
}

function stamp(at: number): string {
  return new Date(at).toISOString().replace('Z', '0000Z')
}
