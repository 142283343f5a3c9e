import { randomUUID } from 'node:crypto'
import { taskFinished, taskTake } from '../core/background-leases.ts'
import type { Deps } from '../core/deps.ts'

/**
 * Something that is brought back to what it should be: idempotent, without input, safe to run anywhere at any time (architecture 1.7).
 * What `run` answers is kept as its last result.
 */
export interface Task {
  name: string
  everyMs: number
  /** How long it stays a dead node's; short where it has to go on soon and two that run it at once share the work. */
  leaseMs?: number
  /** Asked first, so that a task that runs often and mostly finds nothing writes nothing. */
  isDue?(): Promise<boolean>
  run(abort: AbortSignal): Promise<string | void>
}

/** How long a node may be silent in the middle of a task before another takes it over. */
const LEASE_MS = 60_000

/**
 * Runs each task on its period, on one node at a time: a row in the database is the lease. Failures are logged and the task runs again.
 */
export class Driver implements AsyncDisposable {
  readonly #deps: Pick<Deps, 'db' | 'now' | 'log'>
  readonly #holder = randomUUID()
  readonly #timers: NodeJS.Timeout[] = []
  readonly #running = new Set<Promise<void>>()
  readonly #abort = new AbortController()

  constructor(deps: Pick<Deps, 'db' | 'now' | 'log'>, tasks: Task[]) {
    this.#deps = deps
    for (const task of tasks) {
      let isRunning = false
      const tick = () => {
        if (isRunning || this.#abort.signal.aborted) return
        isRunning = true
        const run = this.#run(task).finally(() => {
          isRunning = false
          this.#running.delete(run)
        })
        this.#running.add(run)
      }
      this.#timers.push(setInterval(tick, task.everyMs).unref())
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort()
    for (const timer of this.#timers) clearInterval(timer)
    await Promise.all(this.#running)
  }

  async #run(task: Task): Promise<void> {
    const { log } = this.#deps
    try {
      if (task.isDue && !(await task.isDue())) return
      const until = task.leaseMs ?? Math.max(LEASE_MS, task.everyMs)
      if (!(await taskTake(this.#deps, task.name, this.#holder, until))) return
      const result = await task.run(this.#abort.signal)
      await taskFinished(this.#deps, task.name, this.#holder, result ?? 'done')
    } catch (error) {
      if (!this.#abort.signal.aborted) log.warn({ err: error, task: task.name }, 'background task failed')
      await taskFinished(this.#deps, task.name, this.#holder, 'failed').catch(() => {})
    }
  }
}
