import { needs, type Actor } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import type { Assignment, Job } from '../../model/job.ts'
import { jobById } from '../../store/jobs.ts'
import { chunkAppend, chunksAfter, logGet, type Chunk } from '../../store/logs.ts'
import { authorizeRepository, type RepositoryRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'

const BATCH_BYTES = 64 * 1024
const BATCH_MS = 50
const CHUNKS_READ = 100
/** The last lines of a job may still be in a writer's batch, also on another node, when the job is completed already. */
const LAST_LINES_MS = 5 * BATCH_MS

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
  #waiting: FeedLines[] = []
  #bytes = 0
  #timer: NodeJS.Timeout | undefined
  #writing: Promise<void> = Promise.resolve()

  constructor(deps: Pick<Deps, 'db' | 'now' | 'signals' | 'log'>, assignment: Assignment) {
    this.#deps = deps
    this.#assignment = assignment
  }

  add(lines: FeedLines): void {
    const last = this.#waiting.at(-1)
    if (last && last.stepId === lines.stepId && last.startLine + last.lines.length === lines.startLine) last.lines.push(...lines.lines)
    else this.#waiting.push(lines)
    this.#bytes += lines.lines.reduce((sum, line) => sum + line.length + 1, 0)
    if (this.#bytes >= BATCH_BYTES) this.#flush()
    else this.#timer ??= setTimeout(() => this.#flush(), BATCH_MS)
  }

  /** Writes what is left. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#flush()
    await this.#writing
  }

  #flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    const batch = this.#waiting
    this.#waiting = []
    this.#bytes = 0
    if (batch.length > 0) this.#writing = this.#writing.then(() => this.#write(batch))
  }

  async #write(batch: FeedLines[]): Promise<void> {
    const { db, now, signals, log } = this.#deps
    const { id: assignmentId, jobId } = this.#assignment
    try {
      for (const lines of batch) {
        const chunk = { assignmentId, ...lines, createdAt: now() }
        while ((await chunkAppend(db, jobId, chunk)) === undefined);
      }
      signals.send('job', jobId)
    } catch (error) {
      log.warn({ err: error, jobId }, 'live lines were lost')
    }
  }
}

/** What a follower gets: lines, then the end of the job. */
export type LiveEvent = { kind: 'lines'; id: number; chunk: Chunk } | { kind: 'state'; job: Job } | { kind: 'end'; job: Job }

/**
 * Follows the live lines of a job from the one after `after`: those that are there, then each as it comes, until the job has ended or
 * `abort`. Listen, look, sleep; a lost signal costs `times.sweepEvery`.
 *
 * @throws AppError not_found
 */
export async function* followJob(
  deps: Pick<Deps, 'db' | 'now' | 'signals' | 'times' | 'log'>,
  actor: Actor,
  input: { repository: RepositoryRef; jobId: number; after: number },
  abort: AbortSignal,
): AsyncGenerator<LiveEvent> {
  const { db, now, signals, times } = deps
  const first = await findJob(deps, actor, input.repository, input.jobId)
  let after = input.after
  let status: string | undefined
  let wake: () => void = () => {}
  let isSignalled = false
  using _listening = signals.listenTo('job', first.id, () => {
    isSignalled = true
    wake()
  })
  const onAbort = () => wake()
  abort.addEventListener('abort', onAbort)
  try {
    while (!abort.aborted) {
      isSignalled = false
      const job = (await jobById(db, first.id)) ?? first
      if (job.status !== status) yield { kind: 'state', job }
      status = job.status
      for (;;) {
        const chunks = await chunksAfter(db, job.id, after, CHUNKS_READ)
        for (const chunk of chunks) yield { kind: 'lines', id: (after = chunk.seq), chunk }
        if (chunks.length < CHUNKS_READ) break
      }
      const isEnded = job.status === 'completed'
      const lastLinesMs = isEnded ? (job.completedAt ?? 0) + LAST_LINES_MS - now() : 0
      if (isEnded && lastLinesMs <= 0) {
        yield { kind: 'end', job }
        return
      }
      if (!isSignalled && !abort.aborted) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, isEnded ? lastLinesMs : times.sweepEvery)
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
