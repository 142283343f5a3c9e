import { Agent as HttpAgent, request as requestHttp, type ClientRequest, type IncomingMessage, type RequestOptions } from 'node:http'
import { Agent as HttpsAgent, request as requestHttps } from 'node:https'
import { arch, platform, release } from 'node:os'

import { PROTOCOL_VERSION } from './wire.ts'

/**
 * The runner's HTTP client. It repeats what the official runner repeats and nothing else, in three layers:
 * A, 502/503/504 after pauses (`httpSend`); B, a 401 once with a new token (`withToken`); C, an operation that
 * failed five times over (`withAttempts`).
 */
export interface Http {
  agents: Agents
  pauses: Pauses
  /** One attempt may take this long. */
  timeoutMs: number
}

/** The connections; a load test shares one pair among thousands of listeners. */
export interface Agents {
  http: HttpAgent
  https: HttpsAgent
}

/** Every pause of the runner, so that tests need not wait; pairs are the ends of a random pause. */
export interface Pauses {
  /** Layer A: before each repeat of a 502, 503 or 504. */
  gatewayMs: readonly number[]
  /** Layer C: between attempts of one operation. */
  attemptMs: readonly [number, number]
  /** Between the calls of a registration. */
  registerMs: readonly [number, number]
  /** Before a session is asked for again. */
  sessionMs: number
  /** After five polls failed in a row. */
  roundMs: readonly [number, number]
  /** Between renewals of a job. */
  renewMs: number
  /** Between rounds of `completejob`. */
  completeMs: number
  /** Between step updates. */
  updateMs: number
  /** Between messages of the live feed. */
  feedMs: number
  /** From SIGINT to SIGTERM, and from there to SIGKILL. */
  interruptMs: number
  terminateMs: number
}

/** The pauses of the official runner. */
export const OFFICIAL_PAUSES: Pauses = Object.freeze({
  gatewayMs: [11_000, 13_000, 15_000],
  attemptMs: [5000, 15_000],
  registerMs: [1000, 5000],
  sessionMs: 30_000,
  roundMs: [15_000, 30_000],
  renewMs: 60_000,
  completeMs: 5000,
  updateMs: 500,
  feedMs: 250,
  interruptMs: 7500,
  terminateMs: 2500,
} as const)

export interface HttpRequest {
  method: 'GET' | 'POST' | 'PUT' | 'DELETE'
  url: string
  headers?: Record<string, string>
  /** An object is sent as JSON. */
  body?: Buffer | string | object
  signal?: AbortSignal | undefined
  timeoutMs?: number
}

export interface HttpAnswer {
  status: number
  headers: IncomingMessage['headers']
  body: Buffer
}

/** An answer that is no success, with what the services say in their error bodies. */
export class HttpError extends Error {
  override name = 'HttpError'
  readonly status: number
  readonly body: string
  readonly source: string | undefined
  /** The broker's word, when `source` is `actions-broker-listener`. */
  readonly errorKind: string | undefined
  /** The run service's own status, when `source` is `actions-run-service`. */
  readonly runServiceStatus: number | undefined

  constructor(what: string, answer: HttpAnswer) {
    const body = answer.body.toString('utf8')
    super(`${what}: HTTP ${answer.status}${body ? ` ${body.slice(0, 500)}` : ''}`)
    this.status = answer.status
    this.body = body
    const parsed = parseObject(body)
    this.source = typeof parsed?.['source'] === 'string' ? parsed['source'] : undefined
    this.errorKind =
      this.source === 'actions-broker-listener' && typeof parsed?.['errorKind'] === 'string' ? parsed['errorKind'] : undefined
    this.runServiceStatus =
      this.source === 'actions-run-service' && typeof parsed?.['statusCode'] === 'number' ? parsed['statusCode'] : undefined
  }
}

/** A client with the official pauses and kept-alive connections, unless told otherwise. */
export function createHttp(options: { agents?: Agents; pauses?: Partial<Pauses>; timeoutMs?: number } = {}): Http {
  return {
    agents: options.agents ?? createAgents(),
    pauses: options.pauses ? { ...OFFICIAL_PAUSES, ...options.pauses } : OFFICIAL_PAUSES,
    timeoutMs: options.timeoutMs ?? 100_000,
  }
}

/** Kept-alive connections without a limit on their number. */
export function createAgents(): Agents {
  const options = { keepAlive: true, maxSockets: Infinity, maxFreeSockets: 256, noDelay: true }
  return { http: new HttpAgent(options), https: new HttpsAgent(options) }
}

/** Sends one request; 502, 503 and 504 are repeated after the pauses of layer A. Any status is an answer. */
export async function httpSend(http: Http, request: HttpRequest): Promise<HttpAnswer> {
  for (let attempt = 0; ; attempt++) {
    const answer = await sendOnLiveConnection(http, request)
    const pauseMs = http.pauses.gatewayMs[attempt]
    if (!isGatewayTrouble(answer) || pauseMs === undefined) return answer
    await sleep(pauseMs, request.signal)
  }
}

/** Sends one request and reads the JSON of its answer; null for none. Throws `HttpError` unless it is a success. */
export async function httpJson<T>(http: Http, what: string, request: HttpRequest): Promise<T | null> {
  const answer = await httpSend(http, request)
  return jsonOf<T>(what, answer)
}

/** The JSON of a successful answer, null when there is none. */
export function jsonOf<T>(what: string, answer: HttpAnswer): T | null {
  if (answer.status < 200 || answer.status > 299) throw new HttpError(what, answer)
  if (answer.status === 204 || answer.body.length === 0) return null
  if (!answer.headers['content-type']?.includes('json')) return null
  return JSON.parse(answer.body.toString('utf8')) as T
}

/** Layer B: on 401 the token is dropped and the same request sent once more with a new one. */
export async function withToken(token: TokenSource, send: (authorization: string) => Promise<HttpAnswer>): Promise<HttpAnswer> {
  const answer = await send(`Bearer ${await token.get()}`)
  if (answer.status !== 401) return answer
  token.drop()
  return send(`Bearer ${await token.get()}`)
}

/** Where `withToken` gets its token from. */
export interface TokenSource {
  get(): Promise<string>
  drop(): void
}

/** Layer C: five attempts with random pauses; `isFinal` names the errors that end them at once. */
export async function withAttempts<T>(
  http: Http,
  operation: () => Promise<T>,
  isFinal: (error: unknown) => boolean,
  signal?: AbortSignal,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await operation()
    } catch (error) {
      if (attempt === 5 || signal?.aborted || isFinal(error)) throw error
      await sleep(between(http.pauses.attemptMs), signal)
    }
  }
}

/** A random number of milliseconds between two ends. */
export function between([from, to]: readonly [number, number]): number {
  return from + Math.random() * (to - from)
}

/** Waits, or throws the reason of the signal as soon as it is aborted. */
export function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return Promise.reject(abortReason(signal))
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', onAbort)
      resolve()
    }, ms)
    const onAbort = (): void => {
      clearTimeout(timer)
      reject(abortReason(signal))
    }
    signal?.addEventListener('abort', onAbort, { once: true })
  })
}

/** The `User-Agent` of the official runner, with our name in it: the part says who asks (`Runner`, `Worker`). */
export function userAgent(part: 'Runner' | 'Worker', ids?: { clientId: string; agentId: number; poolId: number }): string {
  const who = ids ? ` ClientId/${ids.clientId} RunnerId/${ids.agentId} GroupId/${ids.poolId}` : ''
  return `GitHubActionsRunner-${osName()}-${arch()}/${PROTOCOL_VERSION}${who} FleetfootPortableRunner Pid/${process.pid} (${part}) (${platform()} ${release()})`
}

function osName(): string {
  const name = platform()
  return name === 'win32' ? 'win' : name === 'darwin' ? 'osx' : name
}

function isGatewayTrouble(answer: HttpAnswer): boolean {
  return (answer.status === 502 || answer.status === 503 || answer.status === 504) && !answer.headers['x-vss-hostofflineerror']
}

/**
 * A kept-alive connection may be closed by the server while the request is on its way. That says nothing about the
 * request, so it is sent once more on another connection, as every HTTP client does.
 */
async function sendOnLiveConnection(http: Http, request: HttpRequest): Promise<HttpAnswer> {
  for (let stale = 0; ; stale++) {
    try {
      return await sendOnce(http, request)
    } catch (error) {
      if (stale === 3 || !(error instanceof StaleConnectionError)) throw error
    }
  }
}

class StaleConnectionError extends Error {}

function sendOnce(http: Http, request: HttpRequest): Promise<HttpAnswer> {
  const { signal } = request
  if (signal?.aborted) return Promise.reject(abortReason(signal))

  return new Promise((resolve, reject) => {
    const url = new URL(request.url)
    const headers: Record<string, string | number> = { ...request.headers }
    let body: Buffer | string | undefined
    if (request.body !== undefined) {
      const isText = typeof request.body === 'string' || Buffer.isBuffer(request.body)
      body = isText ? (request.body as Buffer | string) : JSON.stringify(request.body)
      if (!isText) headers['Content-Type'] = 'application/json; charset=utf-8'
      headers['Content-Length'] = Buffer.byteLength(body)
    }
    const options: RequestOptions = {
      method: request.method,
      headers,
      timeout: request.timeoutMs ?? http.timeoutMs,
      agent: url.protocol === 'https:' ? http.agents.https : http.agents.http,
    }
    const sent: ClientRequest = url.protocol === 'https:' ? requestHttps(url, options) : requestHttp(url, options)

    const onAbort = (): void => {
      sent.destroy(abortReason(signal))
    }
    signal?.addEventListener('abort', onAbort, { once: true })
    const settle = (): void => signal?.removeEventListener('abort', onAbort)

    sent.on('timeout', () => sent.destroy(new Error(`no answer from ${url.host} in time`)))
    sent.on('error', (error: NodeJS.ErrnoException) => {
      settle()
      const isStale = sent.reusedSocket && error.code === 'ECONNRESET' && !signal?.aborted
      reject(isStale ? new StaleConnectionError(error.message, { cause: error }) : error)
    })
    sent.on('response', (answer) => {
      const chunks: Buffer[] = []
      answer.on('data', (chunk: Buffer) => chunks.push(chunk))
      answer.on('error', (error) => {
        settle()
        reject(error)
      })
      answer.on('end', () => {
        settle()
        resolve({ status: answer.statusCode ?? 0, headers: answer.headers, body: Buffer.concat(chunks) })
      })
    })
    sent.end(body)
  })
}

function abortReason(signal: AbortSignal | undefined): Error {
  const reason: unknown = signal?.reason
  return reason instanceof Error ? reason : new Error('aborted')
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return value !== null && typeof value === 'object' ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
