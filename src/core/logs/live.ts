import { needs, type Actor } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import type { Assignment, Job } from '../../model/job.ts'
import { isPassingTrouble } from '../../model/trouble.ts'
import { assignmentById, jobById } from '../../store/jobs.ts'
import { chunkAppend, chunksAfter, chunksLength, logGet, summariesOfJob, type Chunk } from '../../store/logs.ts'
import { authorizeRepository, type RepositoryRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import { isUnfinished } from '../jobs/job-tokens.ts'
import { readObject } from './objects.ts'
import { readStepLogs } from './read-log.ts'

const BATCH_BYTES = 64 * 1024
const BATCH_MS = 50
/** Lines that wait while the database is away: they may be the only copy of what the job says meanwhile. */
const KEPT_BYTES = 8 * 1024 * 1024
const RETRY_MS = 1000
/** Live lines that are kept of a job: what comes beyond is in the uploaded log only. */
const JOB_BYTES = 64 * 1024 * 1024
/** A writer asks this often whether its job still runs, and takes lines this long after its end. */
const ASK_MS = 5000
const AFTER_END_MS = 60_000
/** The last lines of a job may still be in a writer's batch, also on another node, when the job is completed already. */
const LAST_LINES_MS = 5 * BATCH_MS
const CHUNKS_READ = 100
/** Lines of an uploaded log in one event. */
const EVENT_LINES = 1000

export interface FeedLines {
  stepId: string
  startLine: number
  lines: string[]
}

/**
 * Takes in the live lines of a job and writes them in batches of 64 KiB or 50 ms, so that a follower on any node can read them. The feed
 * may lose lines; the uploaded log is the record (architecture 1.5 (d)).
 */
export class FeedWriter implements AsyncDisposable {
  readonly #deps: Pick<Deps, 'db' | 'now' | 'signals' | 'log'>
  readonly #assignment: Assignment
  readonly #onOver: () => void
  #room: number | undefined
  #askedAt = 0
  #waiting: FeedLines[] = []
  #bytes = 0
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> | undefined
  #closed = false

  /** `onOver` is called when no more lines of the job are taken: it ended a while ago. */
  constructor(deps: Pick<Deps, 'db' | 'now' | 'signals' | 'log'>, assignment: Assignment, onOver: () => void = () => {}) {
    this.#deps = deps
    this.#assignment = assignment
    this.#onOver = onOver
    this.#askedAt = deps.now()
  }

  add(lines: FeedLines): void {
    if (this.#bytes >= KEPT_BYTES) {
      this.#lost(undefined)
      return
    }
    const last = this.#waiting.at(-1)
    // The first may be on its way into the database at this moment.
    if (
      last &&
      this.#waiting.length > (this.#writing ? 1 : 0) &&
      last.stepId === lines.stepId &&
      last.startLine + last.lines.length === lines.startLine
    )
      last.lines.push(...lines.lines)
    else this.#waiting.push({ ...lines, lines: [...lines.lines] })
    this.#bytes += sizeOf(lines)
    if (this.#bytes >= BATCH_BYTES) this.#flush()
    else this.#timer ??= setTimeout(() => this.#flush(), BATCH_MS)
  }

  /** Writes what is left; what cannot be written by then is lost. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    this.#flush()
    await this.#writing
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    this.#writing ??= this.#write().finally(() => (this.#writing = undefined))
  }

  /** One batch after the other, so that lines stay in order. */
  async #write(): Promise<void> {
    const { signals, log } = this.#deps
    const { jobId } = this.#assignment
    while (this.#waiting.length > 0) {
      const [lines] = this.#waiting
      try {
        if (lines) await this.#append(lines)
        this.#take()
        signals.send('job', jobId)
      } catch (error) {
        if (this.#closed || !isPassingTrouble(error)) {
          this.#lost(error)
          this.#take()
        } else {
          log.debug({ err: error, jobId }, 'live lines wait')
          this.#timer ??= setTimeout(() => this.#flush(), RETRY_MS)
          return
        }
      }
    }
  }

  async #append(lines: FeedLines): Promise<void> {
    const { db, now } = this.#deps
    const { id: assignmentId, jobId } = this.#assignment
    if (now() - this.#askedAt >= ASK_MS) {
      this.#askedAt = now()
      const assignment = await assignmentById(db, assignmentId)
      const isOver = !assignment || (!isUnfinished(assignment) && now() - (assignment.completedAt ?? 0) >= AFTER_END_MS)
      if (isOver) {
        this.#onOver()
        return
      }
    }
    this.#room ??= JOB_BYTES - (await chunksLength(db, jobId))
    if (this.#room < sizeOf(lines)) return
    this.#room -= sizeOf(lines)
    const chunk = { assignmentId, ...lines, createdAt: now() }
    while ((await chunkAppend(db, jobId, chunk)) === undefined);
  }

  #take(): void {
    const lines = this.#waiting.shift()
    if (lines) this.#bytes -= sizeOf(lines)
  }

  #lost(error: unknown): void {
    this.#deps.log.warn({ err: error, jobId: this.#assignment.jobId }, 'live lines were lost')
  }
}

function sizeOf({ lines }: FeedLines): number {
  return lines.reduce((sum, line) => sum + line.length + 1, 0)
}

/** What a follower gets: lines, then the end of the job. */
export type LiveEvent = { kind: 'lines'; id: string; chunk: LiveLines } | { kind: 'state'; job: Job } | { kind: 'end'; job: Job }

export type LiveLines = Pick<Chunk, 'stepId' | 'startLine' | 'lines'>

/**
 * Where a follower left off: the number of the last live lines it got, or, once the uploaded log has taken their place, `u` and how many
 * lines of that it has. What cannot be read is the beginning.
 */
type Position = { live: number } | { uploaded: number }

function positionOf(text: string): Position {
  const match = /^(u?)(\d{1,15})$/.exec(text)
  if (!match) return { live: 0 }
  return match[1] === 'u' ? { uploaded: Number(match[2]) } : { live: Number(match[2]) }
}

type FollowDeps = Pick<Deps, 'db' | 'now' | 'blobs' | 'signals' | 'times' | 'log'>

/**
 * Follows the lines of a job from the event after `after` (an event's id; empty for all): those that are there, then each as it comes, until
 * the job has ended or `abort`. Listen, look, sleep; a lost signal costs `times.sweepEvery`. When the live lines of an ended job are deleted
 * the uploaded log is sent; each event says step and line, so that who resumes with an older id can tell what it has already. `who` is asked
 * again every `times.sweepEvery`: a follower whose token or rights are gone gets no more.
 *
 * @throws AppError not_found, and what `who` throws
 */
export async function* followJob(
  deps: FollowDeps,
  who: () => Promise<Actor>,
  input: { repository: RepositoryRef; jobId: number; after: string },
  abort: AbortSignal,
): AsyncGenerator<LiveEvent> {
  const { db, now, signals, times } = deps
  const first = await findJob(deps, await who(), input.repository, input.jobId)
  let checkedAt = now()
  const position = positionOf(input.after)
  let after = 'live' in position ? position.live : 0
  let status: string | undefined
  let wake: () => void = () => {}
  let isSignalled = false
  let hasWaited = false
  using _listening = signals.listenTo('job', first.id, () => {
    isSignalled = true
    wake()
  })
  const onAbort = () => wake()
  abort.addEventListener('abort', onAbort)
  try {
    while (!abort.aborted) {
      isSignalled = false
      if (now() - checkedAt >= times.sweepEvery) {
        checkedAt = now()
        await findJob(deps, await who(), input.repository, input.jobId)
      }
      const job = (await jobById(db, first.id)) ?? first
      if (job.status !== status) yield { kind: 'state', job }
      status = job.status
      const isEnded = job.status === 'completed'
      const isSettled = isEnded && (hasWaited || now() - (job.completedAt ?? 0) >= LAST_LINES_MS)
      const isPruned = isSettled && (await chunksAfter(db, job.id, 0, 1)).length === 0
      if (isSettled && (isPruned || 'uploaded' in position)) {
        yield* uploadedLines(deps, job.id, 'uploaded' in position ? position.uploaded : 0)
      } else {
        for (;;) {
          const chunks = await chunksAfter(db, job.id, after, CHUNKS_READ)
          for (const chunk of chunks) yield { kind: 'lines', id: String((after = chunk.seq)), chunk }
          if (chunks.length < CHUNKS_READ) break
        }
      }
      if (isSettled) {
        yield { kind: 'end', job }
        return
      }
      if (isEnded) {
        hasWaited = true
        await new Promise((resolve) => setTimeout(resolve, LAST_LINES_MS))
        continue
      }
      if (!isSignalled && !abort.aborted) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, times.sweepEvery)
          wake = () => {
            clearTimeout(timer)
            resolve()
          }
        })
      }
    }
  } finally {
    abort.removeEventListener('abort', onAbort)
  }
}

/** The uploaded logs of the steps as events, without the timestamps that live lines do not have either. */
async function* uploadedLines(deps: FollowDeps, jobId: number, skip: number): AsyncGenerator<LiveEvent> {
  let sent = 0
  for (const { stepId, text } of await readStepLogs(deps, jobId)) {
    let startLine = 1
    for await (const lines of batched(linesOf(text()), EVENT_LINES)) {
      sent += lines.length
      const fresh = lines.slice(Math.max(0, skip - (sent - lines.length)))
      const chunk = { stepId, startLine: startLine + lines.length - fresh.length, lines: fresh.map(withoutTime) }
      if (fresh.length > 0) yield { kind: 'lines', id: `u${sent}`, chunk }
      startLine += lines.length
    }
  }
}

async function* linesOf(bytes: AsyncIterable<Buffer>): AsyncGenerator<string> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const part of bytes) {
    const lines = (rest + decoder.decode(part, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
  if (rest !== '') yield rest
}

async function* batched(lines: AsyncIterable<string>, size: number): AsyncGenerator<string[]> {
  let batch: string[] = []
  for await (const line of lines) {
    batch.push(line.replace(/\r$/, ''))
    if (batch.length < size) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}

function withoutTime(line: string): string {
  return line.replace(/^\d{4}-\d\d-\d\dT[\d:.]+Z /, '')
}

/**
 * What the steps of a job wrote for people to read, as Markdown, one after the other in the order in which they were uploaded.
 *
 * @throws AppError not_found, also when no step wrote any
 */
export async function jobSummary(
  deps: Pick<Deps, 'db' | 'log' | 'blobs'>,
  actor: Actor,
  ref: RepositoryRef,
  jobId: number,
): Promise<AsyncIterable<Buffer>> {
  const job = await findJob(deps, actor, ref, jobId)
  const summaries = await summariesOfJob(deps.db, job.id)
  if (summaries.length === 0) throw new AppError('not_found', 'Not Found')
  return (async function* () {
    for (const { blobKey } of summaries) {
      const object = await readObject(deps, blobKey)
      if (!object) continue
      yield* object.open()
      yield Buffer.from('\n')
    }
  })()
}

/** A job of a repository, for whoever may read it. */
export async function findJob(deps: Pick<Deps, 'db' | 'log'>, actor: Actor, ref: RepositoryRef, jobId: number): Promise<Job> {
  const { repository } = await authorizeRepository(deps, actor, ref, needs.actionsRead)
  const job = await jobById(deps.db, jobId)
  if (!job || job.repositoryId !== repository.id) throw new AppError('not_found', 'Not Found')
  return job
}

/** Whether the uploaded log of the job is there and whole. */
export async function hasWholeLog({ db }: Pick<Deps, 'db'>, jobId: number): Promise<boolean> {
  const log = await logGet(db, jobId, '')
  return log !== undefined && log.missingLines === 0
}
