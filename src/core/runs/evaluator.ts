/**
 * Reads and evaluates what users write in one warm worker thread, so that a workflow can take neither the event loop
 * nor the memory of the server. Calls are done one at a time; one that takes too long or too much memory ends its
 * worker, is answered with that reason, and the others go on in a new one.
 */
import { getCompileCacheDir } from 'node:module'
import path from 'node:path'
import { Worker } from 'node:worker_threads'
import { AppError } from '../../model/errors.ts'
import { decideLiteralJob } from '../../model/workflow/literal.ts'
import { matchCost, matchesPush } from '../../model/workflow/patterns.ts'
import type { JobDecision, ParsedWorkflow } from '../../model/workflow/plan.ts'
import type { AnswerMessage, CallMessage, CallName, EvaluatorCalls } from './evaluator-calls.ts'

const TIMEOUT_MS = 2000
const START_TIMEOUT_MS = 30_000
/** A worker that nobody asks anything goes: it holds 30 MB, and a new one takes a fifth of a second. */
const IDLE_MS = 20_000
const MAX_MEMORY_MB = 256
/** Steps of the pattern matcher that the event loop can spare: some milliseconds. */
const CHEAP_MATCH = 500_000

/** Gives an evaluator; its worker starts with the first call that needs it, or with `warm()`. */
export function openEvaluator({ timeoutMs = TIMEOUT_MS }: { timeoutMs?: number } = {}): Evaluator {
  return new Evaluator(timeoutMs)
}

/** Why a call has no result: too slow, too large, or its worker died. */
class EndedCall extends Error {
  override name = 'EndedCall'
}

interface Call {
  message: CallMessage
  resolve: (result: unknown) => void
  reject: (error: Error) => void
}

interface Thread {
  worker: Worker
  ready: boolean
  call: Call | undefined
  timer: NodeJS.Timeout | undefined
}

export class Evaluator implements AsyncDisposable {
  readonly #timeoutMs: number
  readonly #waiting: Call[] = []
  #thread: Thread | undefined
  #idle: NodeJS.Timeout | undefined
  #closed = false
  #ending: Promise<unknown> = Promise.resolve()

  constructor(timeoutMs: number) {
    this.#timeoutMs = timeoutMs
  }

  /** Starts the worker ahead of the first call. */
  warm(): void {
    if (!this.#closed) this.#thread ??= this.#start()
  }

  /** Reads a workflow file; what takes too long or too much memory is a problem of the file. */
  async parse(file: EvaluatorCalls['parse']['args']): Promise<ParsedWorkflow> {
    const problem = (reason: string) => ({ problems: [{ line: 1, column: 1, message: `the workflow took ${reason} to read` }] })
    return this.#callOr('parse', file, problem)
  }

  /** Decides about a job whose needs have ended; at once when it has no expressions. */
  async evaluateJob(args: EvaluatorCalls['evaluateJob']['args']): Promise<JobDecision> {
    const literal = decideLiteralJob(args.job, args.contexts)
    return literal ?? this.#callOr('evaluateJob', args, (reason) => ({ problem: `job '${args.job.id}' took ${reason} to evaluate` }))
  }

  /** The run's title by `run-name`; `undefined` when there is none or it cannot be had. */
  async runTitle({ plan: { runName }, contexts }: EvaluatorCalls['runTitle']['args']): Promise<string | undefined> {
    if (runName === undefined) return undefined
    const { github, inputs } = contexts
    return this.#callOr('runTitle', { plan: { runName }, contexts: { github, inputs } }, () => undefined)
  }

  /** Whether a push starts the workflow; at once unless patterns and paths are many. */
  async matchesPush(args: EvaluatorCalls['matchesPush']['args']): Promise<boolean> {
    if (matchCost(args.on, args.pushed) <= CHEAP_MATCH) return matchesPush(args.on, args.pushed)
    try {
      return await this.#call('matchesPush', args)
    } catch (error) {
      if (error instanceof EndedCall) throw new AppError('invalid', `the filters of 'push' took ${error.message} to match`)
      throw error
    }
  }

  /** Ends the worker; calls that wait are refused. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    clearTimeout(this.#idle)
    const thread = this.#thread
    const call = thread?.call
    if (thread) this.#end(thread)
    for (const { reject } of [...(call ? [call] : []), ...this.#waiting.splice(0)]) reject(closed())
    await this.#ending
  }

  async #callOr<Name extends CallName>(
    name: Name,
    args: EvaluatorCalls[Name]['args'],
    ended: (reason: string) => EvaluatorCalls[Name]['result'],
  ): Promise<EvaluatorCalls[Name]['result']> {
    try {
      return await this.#call(name, args)
    } catch (error) {
      if (error instanceof EndedCall) return ended(error.message)
      throw error
    }
  }

  async #call<Name extends CallName>(name: Name, args: EvaluatorCalls[Name]['args']): Promise<EvaluatorCalls[Name]['result']> {
    if (this.#closed) throw closed()
    return new Promise<EvaluatorCalls[Name]['result']>((resolve, reject) => {
      this.#waiting.push({ message: { name, args }, resolve: resolve as Call['resolve'], reject })
      this.#next()
    })
  }

  #next(): void {
    clearTimeout(this.#idle)
    if (this.#closed) return
    if (this.#waiting.length === 0) {
      this.#idle = setTimeout(() => this.#thread && !this.#thread.call && this.#end(this.#thread), IDLE_MS).unref()
      return
    }
    const thread = (this.#thread ??= this.#start())
    if (thread.call) return
    const call = (thread.call = this.#waiting.shift()!) // not empty, above
    // Until the worker is there its start is what may take long, not the call.
    if (thread.ready) this.#send(thread, call)
    else this.#limit(thread, START_TIMEOUT_MS)
  }

  #send(thread: Thread, call: Call): void {
    this.#limit(thread, this.#timeoutMs)
    try {
      // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
      thread.worker.postMessage(call.message)
    } catch (error) {
      this.#finish(thread)
      call.reject(error as Error)
      this.#next()
    }
  }

  #limit(thread: Thread, ms: number): void {
    clearTimeout(thread.timer)
    // The timer holds the process as long as somebody waits for the call; the worker itself never does.
    thread.timer = setTimeout(() => this.#lose(thread, new EndedCall(`longer than ${ms / 1000} s`)), ms)
  }

  #finish(thread: Thread): void {
    clearTimeout(thread.timer)
    thread.call = undefined
  }

  #start(): Thread {
    const worker = new Worker(BOOTSTRAP, {
      eval: true,
      resourceLimits: { maxOldGenerationSizeMb: MAX_MEMORY_MB, maxYoungGenerationSizeMb: 8 },
      execArgv: [],
      env: {},
      workerData: { compileCache: compileCacheFolder(), entry: new URL('./evaluator-worker.ts', import.meta.url).href },
    })
    const thread: Thread = { worker, ready: false, call: undefined, timer: undefined }
    worker.on('message', (answer: AnswerMessage) => this.#receive(thread, answer))
    worker.on('error', (error: NodeJS.ErrnoException) => {
      const outgrown = error.code === 'ERR_WORKER_OUT_OF_MEMORY'
      this.#lose(thread, outgrown ? new EndedCall('too much memory') : new Error('the evaluator died', { cause: error }))
    })
    worker.on('exit', () => this.#lose(thread, new Error('the evaluator died')))
    worker.unref()
    return thread
  }

  #receive(thread: Thread, answer: AnswerMessage): void {
    if (thread !== this.#thread) return
    const { call } = thread
    if ('ready' in answer) {
      thread.ready = true
      if (call) this.#send(thread, call)
      return
    }
    this.#finish(thread)
    if ('result' in answer) call?.resolve(answer.result)
    else call?.reject(new Error('the evaluator failed', { cause: answer.error }))
    this.#next()
  }

  /** The worker is gone or has to go; its call with it. */
  #lose(thread: Thread, reason: Error): void {
    if (thread !== this.#thread) return
    const { call } = thread
    this.#end(thread)
    call?.reject(reason)
    this.#next()
  }

  #end(thread: Thread): void {
    this.#finish(thread)
    this.#thread = undefined
    this.#ending = thread.worker.terminate()
  }
}

/**
 * No file of ours, but a line of JavaScript that turns the compile cache on and then reads one: the first TypeScript file that is not in the
 * cache brings Node's compiler for it into the thread, 20 MB.
 */
const BOOTSTRAP = `const { compileCache, entry } = require('node:worker_threads').workerData
if (compileCache !== undefined) require('node:module').enableCompileCache(compileCache)
import(entry)`

/** Where this process keeps what it compiled, if it does: a thread does not take that over by itself. */
function compileCacheFolder(): string | undefined {
  const folder = getCompileCacheDir()
  // Node puts a folder of its version within the one that it was told.
  return folder === undefined ? undefined : path.dirname(folder)
}

function closed(): Error {
  return new AppError('unavailable', 'the server is shutting down')
}
