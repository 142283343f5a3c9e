import { randomUUID } from 'node:crypto'

import type { Feed } from './feed.ts'
import { sleep } from './http.ts'
import type { LogStream } from './log.ts'
import { preciseTime } from './log.ts'
import type { Masker } from './masker.ts'
import { sendStepUpdates, type Results } from './results.ts'
import { STEP_CONCLUSION, STEP_STATUS, type Annotation, type StepResult, type StepUpdate, type TaskResult } from './wire.ts'

/** One step as it is reported: to the results service while it runs, in `completejob` at the end. */
export interface StepRecord {
  id: string
  number: number
  name: string
  actionName: string | undefined
  type: string | undefined
  ref: string | undefined
  startedAt: string | undefined
  completedAt: string | undefined
  result: TaskResult | undefined
  annotations: Annotation[]
}

/** A step that has not begun. */
export function newStepRecord(number: number, name: string, id: string = randomUUID()): StepRecord {
  return {
    id,
    number,
    name,
    actionName: undefined,
    type: undefined,
    ref: undefined,
    startedAt: undefined,
    completedAt: undefined,
    result: undefined,
    annotations: [],
  }
}

/** As `WorkflowStepsUpdate` says it: numbers, and times with three decimals. */
export function stepUpdate(record: StepRecord): StepUpdate {
  const isDone = record.completedAt !== undefined
  return {
    external_id: record.id,
    number: record.number,
    name: record.name,
    status: isDone ? STEP_STATUS.completed : record.startedAt ? STEP_STATUS.inProgress : STEP_STATUS.pending,
    started_at: millis(record.startedAt),
    completed_at: millis(record.completedAt),
    conclusion: isDone && record.result ? STEP_CONCLUSION[record.result] : 0,
  }
}

/** As `completejob` says it: words, and times with seven decimals. */
export function stepResult(record: StepRecord): StepResult {
  return {
    external_id: record.id,
    number: record.number,
    name: record.name,
    ...(record.actionName === undefined ? {} : { action_name: record.actionName }),
    ...(record.ref === undefined ? {} : { ref: record.ref }),
    ...(record.type === undefined ? {} : { type: record.type }),
    status: record.completedAt ? 'completed' : record.startedAt ? 'inProgress' : 'pending',
    conclusion: record.result ?? null,
    started_at: record.startedAt ?? null,
    completed_at: record.completedAt ?? null,
    annotations: record.annotations,
  }
}

/** Sends changed steps, at most one update per period; what changes meanwhile is merged into the next one. */
export class StepReporter {
  readonly #results: Results | undefined
  readonly #everyMs: number
  readonly #changed = new Map<string, StepRecord>()
  #changeOrder = 0
  #sending: Promise<void> | undefined
  readonly #isEnding = new AbortController()

  constructor(results: Results | undefined, everyMs: number) {
    this.#results = results
    this.#everyMs = everyMs
  }

  changed(...records: StepRecord[]): void {
    if (!this.#results) return
    for (const record of records) this.#changed.set(record.id, record)
    this.#sending ??= this.#sendLater()
  }

  /** Sends what is left, without waiting for the period. */
  async flush(): Promise<void> {
    this.#isEnding.abort()
    await this.#sending
    await this.#send()
  }

  async #sendLater(): Promise<void> {
    try {
      await sleep(this.#everyMs, this.#isEnding.signal)
      await this.#send()
    } catch {
      // `flush` sends the rest
    }
    this.#sending = undefined
    if (this.#changed.size > 0 && !this.#isEnding.signal.aborted) this.#sending = this.#sendLater()
  }

  /** A lost update is not repeated: the last word is in `completejob`. */
  async #send(): Promise<void> {
    if (!this.#results || this.#changed.size === 0) return
    const steps = [...this.#changed.values()].map(stepUpdate)
    this.#changed.clear()
    await sendStepUpdates(this.#results, steps, ++this.#changeOrder).catch(() => {})
  }
}

/** Everything one step writes: masked, with its time, to its own log, the job's log and the live feed. */
export class StepConsole {
  readonly record: StepRecord
  readonly #masker: Masker
  readonly #log: LogStream
  readonly #jobLog: LogStream
  readonly #feed: Feed | undefined

  constructor(record: StepRecord, masker: Masker, log: LogStream, jobLog: LogStream, feed: Feed | undefined) {
    this.record = record
    this.#masker = masker
    this.#log = log
    this.#jobLog = jobLog
    this.#feed = feed
  }

  /** Lines of the step's log so far. */
  get lineCount(): number {
    return this.#log.lineCount
  }

  write(text: string): void {
    const line = this.#masker.mask(text)
    const timed = `${preciseTime()} ${line}`
    const number = this.#log.lineCount + 1
    this.#log.write(timed)
    this.#jobLog.write(timed)
    line.split('\n').forEach((part, index) => this.#feed?.write(this.record.id, number + index, part))
  }

  /** Writes `##[error]…` and the like, and keeps it as an annotation; ten of a level and step are kept. */
  annotate(level: Annotation['level'], message: string, annotation?: (logLine: number) => Annotation): void {
    const marker = level === 'failure' ? 'error' : level
    this.write(`##[${marker}]${message}`)
    if (this.record.annotations.filter((kept) => kept.level === level).length >= 10) return
    const line = this.#log.lineCount
    const made = annotation?.(line) ?? { level, message, startLine: line, endLine: line, stepNumber: this.record.number }
    const title = made.title === undefined ? {} : { title: this.#masker.mask(made.title) }
    this.record.annotations.push({ ...made, ...title, message: this.#masker.mask(made.message) })
  }

  end(): void {
    this.#log.end()
  }
}

function millis(time: string | undefined): string | null {
  return time === undefined ? null : `${time.slice(0, 23)}Z`
}
