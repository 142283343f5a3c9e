import { randomUUID } from 'node:crypto'
import { hostname, platform, release } from 'node:os'

import { completeJob } from './completion.ts'
import {
  between,
  createHttp,
  httpSend,
  HttpError,
  jsonOf,
  sleep,
  userAgent,
  withAttempts,
  withToken,
  type Http,
  type HttpRequest,
  type TokenSource,
} from './http.ts'
import { OAuthError, requestToken, runnerToken } from './oauth.ts'
import { runnerArchitecture, runnerOs } from './platform.ts'
import type { RunnerConfig } from './registration.ts'
import { PROTOCOL_VERSION, type BrokerMessage, type JobCancellation, type JobMessage, type JobReference, type TaskResult } from './wire.ts'

/**
 * The listener: one broker session, one poll at a time, at most one job.
 *
 *     session → poll (Online) → [acknowledge] → acquirejob → renewjob → executor, while polling (Busy) → poll (Online) …
 *
 * It ends when it is told to (signal, RunnerShutdown), after the one job of an ephemeral runner, or when the server
 * says that it has no place any more. While it waits it is one object and one open request.
 */

/** Why a job is ended from outside: by the server, or because its runner is shut down. */
export type JobAbort = 'canceled' | 'shutdown'

/** The reason of an aborted job signal. */
export class JobAbortedError extends Error {
  override name = 'JobAbortedError'
  readonly abort: JobAbort

  constructor(abort: JobAbort) {
    super(`job aborted: ${abort}`)
    this.abort = abort
  }
}

/** An acquired job, as an executor gets it. */
export interface JobRun {
  message: JobMessage
  config: RunnerConfig
  http: Http
  /** Wind up: aborted with a `JobAbortedError` as its reason. The job still reports. */
  signal: AbortSignal
  /** Fall silent: the worker was killed or its machine died, nothing more may be sent. */
  death: AbortSignal
}

/** Does a job and reports it, `completejob` included. One that throws is reported as failed by the listener. */
export type JobExecutor = (run: JobRun) => Promise<TaskResult>

export type ListenerEvent =
  | { kind: 'connected'; sessionId: string }
  | { kind: 'message'; message: BrokerMessage }
  | { kind: 'job-started'; jobId: string; planId: string; jobName: string }
  | { kind: 'job-completed'; jobId: string; planId: string; jobName: string; result: TaskResult }
  | { kind: 'job-dropped'; jobId: string | undefined; error: unknown }
  | { kind: 'session-conflict' }
  | { kind: 'retrying'; what: string; error: unknown }

/** How a listener ended; `exitCode` is the official one (0 end, 1 refused, 2 try again, 5 session conflict). */
export interface ListenerEnd {
  exitCode: 0 | 1 | 2 | 5
  reason:
    | 'stopped'
    | 'died'
    | 'job-done'
    | 'shutdown-message'
    | 'runner-not-found'
    | 'version-too-old'
    | 'deprovisioned'
    | 'unauthorized'
    | 'session-conflict'
    | 'registration-deleted'
    | 'acknowledge-refused'
    | 'unexpected'
  message?: string
  /** The registration is gone: whoever keeps the configuration on disk deletes it. */
  forgetConfiguration: boolean
}

export interface ListenerOptions {
  executor: JobExecutor
  http?: Http
  /** Ctrl-C: a running job ends as failed, the session is deleted. */
  signal?: AbortSignal
  /** Simulated death of the machine: every connection breaks, nothing more is sent. */
  death?: AbortSignal
  onEvent?: (event: ListenerEvent) => void
  /** One job, then the end, as for an ephemeral runner. */
  once?: boolean
}

/** Listens for jobs until the end; never throws. */
export function runListener(config: RunnerConfig, options: ListenerOptions): Promise<ListenerEnd> {
  return new Listener(config, options).run()
}

/** Thrown inside to leave every loop with the given end. */
class EndOfListening extends Error {
  readonly end: ListenerEnd
  readonly keepsSession: boolean

  constructor(end: Omit<ListenerEnd, 'forgetConfiguration'> & { forgetConfiguration?: boolean }, keepsSession = false) {
    super(end.reason)
    this.end = { forgetConfiguration: false, ...end }
    this.keepsSession = keepsSession
  }
}

interface RunningJob {
  message: JobMessage
  abort: AbortController
  death: AbortController
  done: Promise<void>
  killTimer: NodeJS.Timeout | undefined
}

/** One runner process, without the process. */
export class Listener {
  readonly #config: RunnerConfig
  readonly #options: ListenerOptions
  readonly #http: Http
  readonly #headers: Record<string, string>
  readonly #stop = new AbortController()
  #token: TokenSource
  #sessionId = ''
  #poll: AbortController | undefined
  #job: RunningJob | undefined
  /** Acquired while another job ran; starts when that one has ended. */
  #nextJob: JobMessage | undefined
  #jobsTaken = 0
  #skipped = 0
  #pollFailures = 0
  /** What a job's course says about the listener itself, for the loop to find. */
  #end: EndOfListening | undefined

  constructor(config: RunnerConfig, options: ListenerOptions) {
    this.#config = config
    this.#options = options
    this.#http = options.http ?? createHttp()
    this.#token = runnerToken(this.#http, config, this.#stop.signal)
    this.#headers = {
      Accept: 'application/json',
      'User-Agent': userAgent('Runner', config),
      'X-Actions-Session': randomUUID(),
    }
  }

  /** Listens until the end; never throws. */
  async run(): Promise<ListenerEnd> {
    const { signal, death } = this.#options
    const onSignal = (): void => this.stop()
    const onDeath = (): void => this.die()
    signal?.addEventListener('abort', onSignal, { once: true })
    death?.addEventListener('abort', onDeath, { once: true })
    if (signal?.aborted) this.stop()
    if (death?.aborted) this.die()

    let end: EndOfListening
    try {
      end = await this.#listen()
    } finally {
      signal?.removeEventListener('abort', onSignal)
      death?.removeEventListener('abort', onDeath)
    }
    if (end.end.reason === 'died') return end.end

    // Whatever ended the listening, a job under way is told and may report.
    this.#job?.abort.abort(new JobAbortedError(end.end.reason === 'shutdown-message' ? 'canceled' : 'shutdown'))
    await this.#job?.done
    if (this.#options.death?.aborted) return { exitCode: 0, reason: 'died', forgetConfiguration: false }
    if (this.#sessionId && !end.keepsSession) await this.#deleteSession()
    return end.end
  }

  /** Ends as Ctrl-C does. */
  stop(): void {
    this.#end ??= new EndOfListening({ exitCode: 0, reason: 'stopped' })
    this.#stop.abort(this.#end)
  }

  /** Dies as a machine does that loses its power: connections break, nothing more is sent. */
  die(): void {
    this.#end = new EndOfListening({ exitCode: 0, reason: 'died' }, true)
    this.#job?.death.abort()
    this.#stop.abort(this.#end)
  }

  async #listen(): Promise<EndOfListening> {
    try {
      await this.#openSession()
      for (;;) {
        const message = await this.#nextMessage()
        if (message) await this.#handle(message)
      }
    } catch (error) {
      if (this.#end) return this.#end
      if (error instanceof EndOfListening) return error
      const message = error instanceof Error ? error.message : String(error)
      return new EndOfListening({ exitCode: 2, reason: 'unexpected', message })
    }
  }

  // ---- session

  async #openSession(): Promise<void> {
    const { pauses } = this.#http
    let conflicts = 0
    for (;;) {
      // Every attempt takes a token of its own.
      this.#token = runnerToken(this.#http, this.#config, this.#stop.signal)
      try {
        const session = await this.#broker<{ sessionId?: string }>('create session', {
          method: 'POST',
          url: this.#brokerUrl('session'),
          body: {
            sessionId: '00000000-0000-0000-0000-000000000000',
            ownerName: `${hostname()} (PID: ${process.pid})`,
            agent: {
              id: this.#config.agentId,
              name: this.#config.agentName,
              version: PROTOCOL_VERSION,
              osDescription: `${platform()} ${release()} (Fleetfoot portable runner)`,
              ephemeral: null,
              status: 0,
              provisioningState: null,
            },
            useFipsEncryption: false,
          },
        })
        if (!session?.sessionId) throw new Error('the answer to create session has no sessionId')
        this.#sessionId = session.sessionId
        this.#emit({ kind: 'connected', sessionId: session.sessionId })
        return
      } catch (error) {
        this.#throwIfEnded()
        if (error instanceof OAuthError && error.error === 'invalid_client')
          throw new EndOfListening({
            exitCode: 1,
            reason: 'registration-deleted',
            message: 'The runner registration has been deleted from the server, please re-configure.',
          })
        if (error instanceof HttpError && (error.status === 401 || error.status === 403))
          throw new EndOfListening({ exitCode: 1, reason: 'unauthorized', message: error.message })
        if (error instanceof HttpError && error.status === 409) {
          this.#emit({ kind: 'session-conflict' })
          if (++conflicts === 8)
            throw new EndOfListening({ exitCode: 5, reason: 'session-conflict', message: 'A session for this runner already exists.' })
        } else this.#emit({ kind: 'retrying', what: 'create session', error })
        await sleep(pauses.sessionMs, this.#stop.signal)
      }
    }
  }

  /** Any failure is ignored: a session that nobody polls ends by itself. */
  async #deleteSession(): Promise<void> {
    try {
      await withToken(runnerTokenAfter(this.#token, this.#http, this.#config), (authorization) =>
        httpSend(this.#http, {
          method: 'DELETE',
          url: this.#brokerUrl('session'),
          headers: { ...this.#headers, Authorization: authorization },
          timeoutMs: 30_000,
        }),
      )
    } catch (error) {
      this.#emit({ kind: 'retrying', what: 'delete session', error })
    }
  }

  // ---- messages

  async #nextMessage(): Promise<BrokerMessage | undefined> {
    this.#throwIfEnded()
    const poll = new AbortController()
    this.#poll = poll
    const onStop = (): void => poll.abort(this.#stop.signal.reason)
    this.#stop.signal.addEventListener('abort', onStop, { once: true })
    const isBusy = this.#job !== undefined && this.#nextJob === undefined
    try {
      const message = await withAttempts(
        this.#http,
        () =>
          this.#broker<BrokerMessage>('poll', {
            method: 'GET',
            url: this.#brokerUrl('message', isBusy ? 'Busy' : 'Online', `&disableUpdate=${this.#config.disableUpdate}`),
            signal: poll.signal,
          }),
        (error) => error instanceof HttpError && (error.errorKind !== undefined || error.status === 401),
        poll.signal,
      )
      if (!message) return undefined
      this.#pollFailures = 0
      return message
    } catch (error) {
      this.#throwIfEnded()
      if (poll.signal.aborted) return undefined // the status has changed: poll anew
      await this.#pollFailed(error)
      return undefined
    } finally {
      this.#stop.signal.removeEventListener('abort', onStop)
      if (this.#poll === poll) this.#poll = undefined
    }
  }

  async #pollFailed(error: unknown): Promise<void> {
    if (error instanceof HttpError) {
      const message = error.message
      if (error.errorKind === 'RunnerNotFound')
        throw new EndOfListening({ exitCode: 0, reason: 'runner-not-found', message, forgetConfiguration: true }, true)
      if (error.errorKind === 'RunnerVersionTooOld') throw new EndOfListening({ exitCode: 1, reason: 'version-too-old', message })
      if (error.errorKind === 'HostedRunnerDeprovisioned') throw new EndOfListening({ exitCode: 0, reason: 'deprovisioned', message })
      if (error.errorKind === 'RunnerSessionInvalid') return this.#openSession()
      if (error.status === 401) throw new EndOfListening({ exitCode: 1, reason: 'unauthorized', message })
    }
    this.#emit({ kind: 'retrying', what: 'poll', error })
    if (++this.#pollFailures === 10)
      throw new EndOfListening({ exitCode: 2, reason: 'unexpected', message: error instanceof Error ? error.message : String(error) })
    this.#token = runnerToken(this.#http, this.#config, this.#stop.signal)
    const { roundMs } = this.#http.pauses
    const factor = this.#pollFailures > 5 ? 2 : 1
    await sleep(between(roundMs) * factor, this.#stop.signal)
  }

  async #handle(message: BrokerMessage): Promise<void> {
    this.#emit({ kind: 'message', message })
    if (message.messageType === 'ForceTokenRefresh') {
      this.#token = runnerToken(this.#http, this.#config, this.#stop.signal)
      return
    }
    switch (message.messageType.toLowerCase()) {
      case 'runnerjobrequest':
        // A single-use runner that has its job drops any other without a word.
        if (!this.#isSingleUse() || this.#jobsTaken === 0) await this.#takeJob(JSON.parse(message.body) as JobReference)
        return
      case 'jobcancellation':
        this.#cancelJob(JSON.parse(message.body) as JobCancellation)
        return
      case 'runnershutdown':
        throw new EndOfListening({ exitCode: 0, reason: 'shutdown-message' }, true)
      default:
        return // RunnerRefresh and the like: there is nothing to update
    }
  }

  // ---- jobs

  async #takeJob(reference: JobReference): Promise<void> {
    if (reference.should_acknowledge) await this.#acknowledge(reference)
    let message: JobMessage
    try {
      message = await this.#acquire(reference)
    } catch (error) {
      this.#throwIfEnded()
      this.#emit({ kind: 'job-dropped', jobId: undefined, error })
      const status = error instanceof HttpError ? error.runServiceStatus : undefined
      if (status === 404 || status === 409 || status === 422) {
        if (this.#skipped++ > 0) await sleep(Math.min(2 ** (this.#skipped - 2), 60) * 1000, this.#stop.signal)
      }
      return
    }
    this.#skipped = 0
    requireDecodableToken(message)
    this.#jobsTaken++
    if (!this.#job) return this.#startJob(message)

    // The official runner takes a second job at its word: the one that runs is cancelled, and until the second
    // one starts the polls say Online.
    this.#nextJob = message
    this.#job.abort.abort(new JobAbortedError('canceled'))
  }

  async #acknowledge(reference: JobReference): Promise<void> {
    try {
      await this.#broker('acknowledge', {
        method: 'POST',
        url: this.#brokerUrl('acknowledge', 'Online'),
        body: { runnerRequestId: reference.runner_request_id },
        timeoutMs: 5000,
        signal: this.#stop.signal,
      })
    } catch (error) {
      this.#throwIfEnded()
      if (this.#isSingleUse() && error instanceof HttpError && error.errorKind === 'AcknowledgeJobNotFound')
        throw new EndOfListening({ exitCode: 0, reason: 'acknowledge-refused', message: error.message, forgetConfiguration: true })
    }
  }

  async #acquire(reference: JobReference): Promise<JobMessage> {
    const token = runnerToken(this.#http, this.#config, this.#stop.signal) // a connection, and so a token, for each job
    const message = await withAttempts(
      this.#http,
      async () => {
        const answer = await withToken(token, (authorization) =>
          httpSend(this.#http, {
            method: 'POST',
            url: new URL('acquirejob', reference.run_service_url).href,
            headers: { ...this.#headers, Authorization: authorization },
            body: {
              jobMessageId: reference.runner_request_id,
              runnerOS: runnerOs(),
              billingOwnerId: reference.billing_owner_id ?? null,
            },
            signal: this.#stop.signal,
          }),
        )
        const job = jsonOf<JobMessage>('acquirejob', answer)
        if (!job) throw new Error('acquirejob answered without a job')
        return job
      },
      (error) => error instanceof HttpError && [404, 409, 422].includes(error.runServiceStatus ?? 0),
      this.#stop.signal,
    )
    return message
  }

  #startJob(message: JobMessage): void {
    const job: RunningJob = {
      message,
      abort: new AbortController(),
      death: new AbortController(),
      done: Promise.resolve(),
      killTimer: undefined,
    }
    this.#job = job
    job.done = this.#runJob(job).finally(() => {
      clearTimeout(job.killTimer)
      this.#job = undefined
      const next = this.#nextJob
      this.#nextJob = undefined
      if (next && !this.#end) this.#startJob(next)
      else if (this.#isSingleUse())
        this.#end ??= new EndOfListening({ exitCode: 0, reason: 'job-done', forgetConfiguration: !this.#options.once })
      this.#poll?.abort()
    })
  }

  async #runJob(job: RunningJob): Promise<void> {
    const { message, abort, death } = job
    const names = { jobId: message.jobId, planId: message.plan.planId, jobName: message.jobDisplayName ?? message.jobName ?? message.jobId }
    try {
      // The worker starts after the first renewal; a cancellation before it leaves no trace.
      await this.#renew(message, AbortSignal.any([abort.signal, death.signal]))
    } catch (error) {
      this.#emit({ kind: 'job-dropped', jobId: message.jobId, error })
      return
    }
    this.#emit({ kind: 'job-started', ...names })

    const renewals = new AbortController()
    const renewing = this.#keepRenewing(job, renewals.signal)
    let result: TaskResult
    try {
      result = await this.#options.executor({
        message,
        config: this.#config,
        http: this.#http,
        signal: abort.signal,
        death: death.signal,
      })
    } catch (error) {
      result = await this.#reportCrash(job, error)
    }
    renewals.abort()
    await renewing
    if (!death.signal.aborted) this.#emit({ kind: 'job-completed', ...names, result })
  }

  async #renew(message: JobMessage, signal: AbortSignal): Promise<void> {
    const endpoint = systemEndpoint(message)
    await withAttempts(
      this.#http,
      async () => {
        const answer = await httpSend(this.#http, {
          method: 'POST',
          url: new URL('renewjob', endpoint.url).href,
          headers: { ...this.#headers, Authorization: `Bearer ${endpoint.authorization?.parameters?.['AccessToken'] ?? ''}` },
          body: { planId: message.plan.planId, jobId: message.jobId },
          signal,
        })
        if (!jsonOf('renewjob', answer)) throw new Error('renewjob answered without a body')
      },
      (error) => error instanceof HttpError && error.runServiceStatus === 404,
      signal,
    )
  }

  /** Renews until told to end. When a renewal fails for good the job is cancelled, as the official runner does. */
  async #keepRenewing({ message, abort, death }: RunningJob, until: AbortSignal): Promise<void> {
    // Renewals go on while a cancelled job winds up: only the end of the job and its death end them.
    const signal = AbortSignal.any([until, death.signal])
    try {
      while (!signal.aborted) {
        await sleep(this.#http.pauses.renewMs, signal)
        await this.#renew(message, signal)
      }
    } catch {
      if (!signal.aborted) abort.abort(new JobAbortedError('canceled'))
    }
  }

  #cancelJob({ jobId, timeout }: JobCancellation): void {
    const job = this.#job
    if (!job || job.message.jobId.toLowerCase() !== jobId.toLowerCase()) return
    job.abort.abort(new JobAbortedError('canceled'))
    clearTimeout(job.killTimer)
    const killMs = Math.max(parseTimeSpanMs(timeout ?? '00:05:00'), 60_000) - 15_000
    // The worker that has not ended by then is killed, and no completion is sent.
    job.killTimer = setTimeout(() => job.death.abort(), killMs)
    job.killTimer.unref()
  }

  /** What the listener reports when the worker process has ended with an error. */
  async #reportCrash({ message, death }: RunningJob, error: unknown): Promise<TaskResult> {
    if (death.signal.aborted) return 'abandoned'
    const text = error instanceof Error ? (error.stack ?? error.message) : String(error)
    const completion = {
      planId: message.plan.planId,
      jobId: message.jobId,
      conclusion: 'failed' as const,
      annotations: [{ level: 'failure' as const, message: text }],
    }
    await completeJob(this.#http, message, completion, death.signal).catch(() => {})
    return 'failed'
  }

  // ---- plumbing

  #isSingleUse(): boolean {
    return this.#config.ephemeral || this.#options.once === true
  }

  #throwIfEnded(): void {
    if (this.#end) throw this.#end
  }

  #emit(event: ListenerEvent): void {
    this.#options.onEvent?.(event)
  }

  async #broker<T>(what: string, request: HttpRequest): Promise<T | null> {
    const answer = await withToken(this.#token, (authorization) =>
      httpSend(this.#http, {
        signal: this.#stop.signal,
        ...request,
        headers: { ...this.#headers, Authorization: authorization },
      }),
    )
    return jsonOf<T>(what, answer)
  }

  #brokerUrl(call: 'session' | 'message' | 'acknowledge', status?: 'Online' | 'Busy', more = ''): string {
    const query = status
      ? `?sessionId=${this.#sessionId}&status=${status}&runnerVersion=${PROTOCOL_VERSION}&os=${runnerOs()}&architecture=${runnerArchitecture()}${more}`
      : ''
    return `${new URL(call, this.#config.serverUrl).href}${query}`
  }
}

/** The job's `SystemVssConnection`. */
export function systemEndpoint(message: JobMessage): JobMessage['resources']['endpoints'][number] {
  const endpoint = message.resources.endpoints.find(({ name }) => name.toLowerCase() === 'systemvssconnection')
  if (!endpoint) throw new Error('the job message has no endpoint SystemVssConnection')
  return endpoint
}

/** The official listener decodes the job token before it starts the worker, and ends over one that is no JWT. */
function requireDecodableToken(message: JobMessage): void {
  const token = systemEndpoint(message).authorization?.parameters?.['AccessToken'] ?? ''
  const parts = token.split('.')
  const decoded = parts.slice(0, 2).map((part) => JSON.parse(Buffer.from(part, 'base64url').toString('utf8')) as unknown)
  const claims = decoded[1]
  if (parts.length !== 3 || claims === null || typeof claims !== 'object') throw new Error('the job token is no JWT')
  if (Object.values(claims).includes(null)) throw new Error('a claim of the job token is null')
}

/** The session is deleted after the stop, so with a token source that the stop does not reach. */
function runnerTokenAfter(token: TokenSource, http: Http, config: RunnerConfig): TokenSource {
  let current: string | undefined
  return {
    get: async () => (current ??= await token.get().catch(() => requestToken(http, config))),
    drop: () => {
      current = undefined
      token.drop()
    },
  }
}

/** Milliseconds of a `[d.]hh:mm:ss[.fffffff]`. */
function parseTimeSpanMs(text: string): number {
  const match = /^(?:(\d+)\.)?(\d+):(\d+):(\d+(?:\.\d+)?)$/.exec(text)
  if (!match) return 300_000
  const [, days = '0', hours = '0', minutes = '0', seconds = '0'] = match
  return (((Number(days) * 24 + Number(hours)) * 60 + Number(minutes)) * 60 + Number(seconds)) * 1000
}
