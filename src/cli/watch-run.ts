import { setTimeout as sleep } from 'node:timers/promises'
import { ApiError, callPages, unlessMissing, type ApiClient } from './api-client.ts'
import { CommandError } from './command.ts'
import { readEvents } from './event-stream.ts'

/**
 * Follows a run as any client can: it asks for the run and its jobs once a second, and reads the live log of each job that runs as
 * server-sent events. A connection that breaks is made again from where it was, until the caller gives up.
 */

export interface RunBody {
  id: number
  name: string | null
  run_number: number
  event: string
  head_branch: string | null
  head_sha: string
  display_title: string
  status: string
  conclusion: string | null
  problem: string | null
  created_at: string
  updated_at: string
}

export interface JobBody {
  id: number
  name: string
  status: string
  conclusion: string | null
  runner_name: string | null
  waiting_reason: string | null
  waiting_since: string | null
  problem: string | null
  started_at: string
  completed_at: string | null
  steps: StepBody[]
}

export interface StepBody {
  number: number
  name: string
  status: string
  conclusion: string | null
}

export type WatchEvent =
  | { kind: 'run'; run: RunBody }
  /** A job's state, or why it waits, is another than before. */
  | { kind: 'job'; job: JobBody }
  | { kind: 'step'; job: JobBody; step: StepBody }
  | { kind: 'log'; job: JobBody; lines: string[] }
  | { kind: 'notice'; message: string }
  | { kind: 'end'; run: RunBody; jobs: JobBody[] }

export interface WatchOptions {
  /** `owner/name`. */
  repository: string
  runId: number
  onEvent: (event: WatchEvent) => void
  signal?: AbortSignal
  pollMs?: number
}

/** Follows a run to its end. @throws ApiError when it is not there; an AbortError when the caller gives up */
export async function watchRun(client: ApiClient, options: WatchOptions): Promise<RunBody> {
  return new Watch(client, options).follow()
}

interface LinesBody {
  step_id: string
  start_line: number
  lines: string[]
}

interface JobLog {
  job: JobBody
  done: boolean
  reading: Promise<void>
  /** For each step the number of the line that follows the last one seen. */
  next: Map<string, number>
}

class Watch {
  readonly #client: ApiClient
  readonly #options: WatchOptions
  readonly #signal: AbortSignal
  readonly #known = new Map<number, { state: string; steps: Map<number, string> }>()
  readonly #logs = new Map<number, JobLog>()
  #wake: () => void = () => {}
  #isLost = false

  constructor(client: ApiClient, options: WatchOptions) {
    this.#client = client
    this.#options = options
    this.#signal = options.signal ?? new AbortController().signal
  }

  async follow(): Promise<RunBody> {
    const first = await this.#getRun()
    this.#emit({ kind: 'run', run: first })
    for (;;) {
      const seen = await this.#look().catch((error: unknown) => this.#lost(error))
      if (seen?.run.status === 'completed') {
        await Promise.all([...this.#logs.values()].map(({ reading }) => reading))
        for (const job of seen.jobs) this.#report(job)
        this.#emit({ kind: 'end', ...seen })
        return seen.run
      }
      await this.#pause(this.#options.pollMs ?? 1000)
    }
  }

  async #look(): Promise<{ run: RunBody; jobs: JobBody[] }> {
    const run = await this.#getRun()
    const jobs = await callPages<JobBody>(this.#client, `${this.#path}/actions/runs/${run.id}/jobs`, 'jobs')
    this.#found()
    for (const job of jobs) this.#see(job)
    return { run, jobs }
  }

  get #path(): string {
    return `/repos/${this.#options.repository}`
  }

  #getRun(): Promise<RunBody> {
    return this.#client.call<RunBody>('GET', `${this.#path}/actions/runs/${this.#options.runId}`)
  }

  #see(job: JobBody): void {
    const log = this.#logs.get(job.id)
    if (log) log.job = job
    const hasLog = job.status === 'in_progress' || (job.status === 'completed' && job.runner_name !== null)
    if (!log && hasLog) this.#startLog(job)
    // The end of a job is told after the last line of its log.
    if (job.status !== 'completed' || this.#logs.get(job.id)?.done !== false) this.#report(job)
  }

  /** Tells what is new about a job and its steps. */
  #report(job: JobBody): void {
    const known = this.#known.get(job.id) ?? { state: '', steps: new Map<number, string>() }
    this.#known.set(job.id, known)
    const state = [job.status, job.conclusion, job.waiting_reason].join(' ')
    const isEnd = job.status === 'completed'
    if (state !== known.state && !isEnd) this.#emit({ kind: 'job', job })
    for (const step of job.steps) {
      const stepState = `${step.status} ${step.conclusion ?? ''}`
      if (step.status === 'queued' || known.steps.get(step.number) === stepState) continue
      known.steps.set(step.number, stepState)
      this.#emit({ kind: 'step', job, step })
    }
    if (state !== known.state && isEnd) this.#emit({ kind: 'job', job })
    known.state = state
  }

  #startLog(job: JobBody): void {
    if (job.status === 'in_progress') this.#report(job)
    const log: JobLog = { job, done: false, reading: Promise.resolve(), next: new Map() }
    this.#logs.set(job.id, log)
    log.reading = this.#readLog(log).finally(() => {
      log.done = true
      this.#wake()
    })
    // Its failure is met at the end of the run; until then, or when the caller gave up, it is nobody's.
    log.reading.catch(() => {})
  }

  /** Reads live lines to the end of the job; of one whose live lines are gone, its uploaded log. */
  async #readLog(log: JobLog): Promise<void> {
    const path = `${this.#path}/actions/jobs/${log.job.id}/logs`
    let lastId: string | undefined
    let isEnd = false
    while (!isEnd && !this.#signal.aborted) {
      try {
        const headers = { Accept: '*/*', ...(lastId !== undefined && { 'Last-Event-ID': lastId }) }
        const answer = await this.#client.fetch(`${path}/live`, { headers, signal: this.#signal })
        if (!answer.body) throw new CommandError('the live log has no body')
        for await (const event of readEvents(answer.body)) {
          this.#found()
          lastId = event.id ?? lastId
          if (event.event === 'lines') {
            this.#showLines(log, JSON.parse(event.data) as LinesBody, event.id?.startsWith('u') === true)
          }
          if (event.event === 'end') isEnd = true
        }
        if (!isEnd) await this.#pause(200)
      } catch (error) {
        if (error instanceof ApiError && error.status === 404) return
        await this.#lost(error)
        await this.#pause(1000)
      }
    }
    if (lastId === undefined) await this.#readWholeLog(log, path)
  }

  /**
   * Live lines may be lost on their way, the uploaded log has them all: a gap is told. After a broken connection the uploaded log may
   * come in place of the live lines, from its beginning: what was shown is left out.
   */
  #showLines({ job, next }: JobLog, { step_id, start_line, lines }: LinesBody, isUploaded: boolean): void {
    const expected = next.get(step_id) ?? start_line
    const missing = start_line - expected
    if (missing > 0)
      this.#emit({ kind: 'notice', message: `${missing} lines did not come live: the log of job ${job.id} has them at its end` })
    const fresh = isUploaded && missing < 0 ? lines.slice(-missing) : lines
    next.set(step_id, Math.max(isUploaded ? expected : 0, start_line + lines.length))
    if (fresh.length > 0) this.#emit({ kind: 'log', job, lines: fresh })
  }

  async #readWholeLog(log: JobLog, path: string): Promise<void> {
    const text = await unlessMissing(this.#client.fetch(path, { signal: this.#signal }).then((answer) => answer.text()))
    const lines = text?.replace(/\n$/, '').split('\n').map(withoutTimestamp) ?? []
    if (lines.length > 0) this.#emit({ kind: 'log', job: log.job, lines })
  }

  /** Passing trouble is told once and then waited out; anything else is for the caller. */
  async #lost(error: unknown): Promise<undefined> {
    this.#signal.throwIfAborted()
    if (error instanceof ApiError && error.status < 500) throw error
    if (!this.#isLost) this.#emit({ kind: 'notice', message: `the connection is lost, trying again: ${textOf(error)}` })
    this.#isLost = true
  }

  #found(): void {
    if (this.#isLost) this.#emit({ kind: 'notice', message: 'the connection is back' })
    this.#isLost = false
  }

  async #pause(ms: number): Promise<void> {
    const woken = new AbortController()
    this.#wake = () => woken.abort()
    await sleep(ms, undefined, { signal: AbortSignal.any([this.#signal, woken.signal]) }).catch(() => {})
    this.#signal.throwIfAborted()
  }

  #emit(event: WatchEvent): void {
    this.#options.onEvent(event)
  }
}

function withoutTimestamp(line: string): string {
  return line.replace(/^\uFEFF?\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z /, '')
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
