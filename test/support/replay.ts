import { readFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import path from 'node:path'
import { WebSocket } from 'ws'
import { clientAssertion, type Credentials } from '../../src/runner/oauth.ts'

/** One call of a capture (`test/fixtures/captures/README.md`). */
export interface Call {
  label: string
  atMs: number
  tookMs?: number
  request: { method: string; url: string; headers: Record<string, string>; body?: unknown }
  /** Undefined where the runner hung up before there was one: a poll that it ended. */
  answer?: { status?: number; body?: unknown }
}

interface FeedEvent {
  label: string
  atMs: number
  kind: string
  headers?: Record<string, string>
  json?: unknown
}

export type Entry = Call | FeedEvent

export const isCall = (entry: Entry): entry is Call => 'request' in entry

export function capture(name: string): Entry[] {
  const file = path.join(import.meta.dirname, '../fixtures/captures', `${name}.jsonl`)
  return readFileSync(file, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as Entry)
}

export interface Answer {
  call: Call
  status: number
  body: unknown
}

/** What names something of a server's own: where a capture has one, ours goes into the requests that follow. */
const NAMES = new Set(
  `url server_url authorization_url client_id token access_token sessionId runner_request_id run_service_url jobId planId AccessToken
  ResultsServiceUrl FeedStreamUrl logs_url summary_url`.split(/\s+/),
)

interface Replayed {
  /** Below which all of ours is. */
  url: string
  /** For the assertions, which only the holder of a runner's key can make. */
  credentials?: Credentials
  /** More that stands for something of ours: captured text to our text. */
  known?: Record<string, string>
}

/**
 * Says to our server what the official runner said to another. Ids, tokens and addresses in the requests are replaced by those that our own
 * answers gave for the same thing; everything else is sent as it was, headers included.
 */
export class Replay implements Disposable {
  readonly #options: Replayed
  readonly #known: Map<string, string>
  readonly #held = new Set<AbortController>()
  #feed: WebSocket | undefined
  #job: { plan: { planId: string }; jobId: string; token: string } | undefined

  constructor(options: Replayed) {
    this.#options = options
    this.#known = new Map(Object.entries(options.known ?? {}))
  }

  /** Sends one call, and takes from the answer what later calls will name. */
  async send(call: Call): Promise<Answer> {
    if (call.request.url.includes('/_broker/message')) this.#endPolls()
    const { method, headers } = call.request
    const body = await this.#bodyOf(call)
    const hold = new AbortController()
    this.#held.add(hold)
    const { status, text } = await send(this.#addressOf(call), { method, headers: this.#headersOf(headers), body, signal: hold.signal })
    this.#held.delete(hold)
    const answer = { call, status, body: parsed(text) }
    this.#learn(call, answer.body)
    return answer
  }

  /** A poll that the runner itself gave up: it stays open until the next one. */
  hold(call: Call): void {
    this.send(call).catch(() => {})
  }

  /** The runner's side of the live feed. */
  async feed(event: FeedEvent): Promise<void> {
    if (event.kind === 'ws-open') {
      const ws = new WebSocket(this.#known.get('feed') ?? '', {
        headers: { Authorization: `Bearer ${this.#job?.token}`, 'User-Agent': event.headers?.['user-agent'] ?? '' },
        perMessageDeflate: false,
      })
      ws.on('error', () => {})
      await new Promise<void>((resolve, reject) => {
        ws.once('open', resolve)
        ws.once('error', reject)
      })
      this.#feed = ws
    }
    if (event.kind === 'ws-msg') this.#feed?.send(JSON.stringify(event.json), { binary: false })
    if (event.kind === 'ws-close-frame') this.#feed?.close(1000, 'Closing websocket')
  }

  [Symbol.dispose](): void {
    this.#endPolls()
    this.#feed?.terminate()
  }

  #endPolls(): void {
    for (const hold of this.#held) hold.abort()
    this.#held.clear()
  }

  #addressOf({ request: { url, headers } }: Call): URL {
    const captured = new URL(url, `http://${headers['Host']}`)
    const upload = this.#known.get(captured.pathname)
    if (upload !== undefined) {
      // What the runner adds to a signed address.
      const address = new URL(upload)
      for (const [name, value] of captured.searchParams) if (!address.searchParams.has(name)) address.searchParams.set(name, value)
      return address
    }
    const prefix = [...this.#known.keys()].filter((known) => captured.href.startsWith(known)).sort((a, b) => b.length - a.length)[0]
    const href = prefix === undefined ? captured.href : this.#known.get(prefix) + captured.href.slice(prefix.length)
    const address = new URL(this.#replaced(href))
    return address.host === captured.host ? new URL(address.pathname + address.search, this.#options.url) : address
  }

  #headersOf(headers: Record<string, string>): Record<string, string> {
    const sent = Object.entries(headers).filter(([name]) => !/^(host|content-length|connection|transfer-encoding)$/i.test(name))
    return Object.fromEntries(sent.map(([name, value]) => [name, this.#replaced(value)]))
  }

  async #bodyOf({ request: { url, headers, body } }: Call): Promise<string | undefined> {
    if (body === undefined) return undefined
    if (url === '/_oauth/token' && this.#options.credentials && typeof body === 'string') {
      const form = new URLSearchParams(body)
      form.set('client_assertion', await clientAssertion(this.#options.credentials, Date.now()))
      return form.toString()
    }
    if (url.startsWith('/_run/renewjob')) this.#learnRenewal(body as { planId: string; jobId: string }, headers)
    if (typeof body === 'string') return body
    return this.#replaced(JSON.stringify(body).replaceAll(`http://${headers['Host']}/`, `${this.#options.url}/`))
  }

  #replaced(text: string): string {
    let replaced = text
    for (const [captured, ours] of this.#known) {
      // Short texts are in other words too.
      replaced =
        captured.length < 8 ? replaced.replace(new RegExp(`(?<=^RemoteAuth )${captured}$`), ours) : replaced.replaceAll(captured, ours)
    }
    return replaced
  }

  #learn({ request, answer }: Call, ours: unknown): void {
    if (answer === undefined) return
    this.#learnFrom(unpacked(answer.body), unpacked(ours))
    if (request.url.startsWith('/_run/acquirejob')) this.#learnJob(ours as JobMessage)
  }

  #learnFrom(captured: unknown, ours: unknown): void {
    if (!isObject(captured) || !isObject(ours)) return
    for (const [key, value] of Object.entries(captured)) {
      const own = ours[key]
      if (typeof value === 'string' && typeof own === 'string' && NAMES.has(key)) {
        this.#known.set(key.endsWith('s_url') || key === 'summary_url' ? new URL(value).pathname : value, own)
      } else this.#learnFrom(value, own)
    }
  }

  #learnJob(message: JobMessage): void {
    const [endpoint] = message.resources.endpoints
    if (!endpoint) return
    this.#job = { plan: message.plan, jobId: message.jobId, token: endpoint.authorization.parameters.AccessToken }
    this.#known.set('feed', endpoint.data['FeedStreamUrl'] ?? '')
    this.#known.set('results', endpoint.data['ResultsServiceUrl'] ?? '')
  }

  /** Where the captured message was cut, its renewal still says what was in it. */
  #learnRenewal({ planId, jobId }: { planId: string; jobId: string }, headers: Record<string, string>): void {
    if (!this.#job) return
    this.#known.set(planId, this.#job.plan.planId)
    this.#known.set(jobId, this.#job.jobId)
    this.#known.set((headers['Authorization'] ?? '').replace(/^Bearer /, ''), this.#job.token)
    this.#known.set(`http://${headers['Host']}/_results/`, this.#known.get('results') ?? '')
  }
}

interface JobMessage {
  plan: { planId: string }
  jobId: string
  resources: { endpoints: { data: Record<string, string>; authorization: { parameters: { AccessToken: string } } }[] }
}

/** Keys and kinds of values that a captured answer has and ours has not. */
export function lacking(captured: unknown, ours: unknown, at = ''): string[] {
  const [theirs, own] = [unpacked(captured), unpacked(ours)]
  if (theirs === null || theirs === undefined) return []
  if (kindOf(theirs) !== kindOf(own)) return [`${at}: ${kindOf(own)} for ${kindOf(theirs)}`]
  if (Array.isArray(theirs) && Array.isArray(own)) {
    return theirs.length === 0 || own.length === 0 ? [] : lacking(theirs[0], own[0], `${at}[]`)
  }
  if (!isObject(theirs) || !isObject(own)) return []
  return Object.entries(theirs).flatMap(([key, value]) => {
    const inner = at === '' ? key : `${at}.${key}`
    if (value === null || (Array.isArray(value) && value.length === 0)) return []
    return key in own ? lacking(value, own[key], inner) : [`${inner}: missing`]
  })
}

/** A text that holds JSON is what it holds; a list of pairs, as contexts are written, is an object. */
function unpacked(value: unknown): unknown {
  const inner = typeof value === 'string' && value.startsWith('{') ? parsed(value) : value
  if (Array.isArray(inner) && inner.length > 0 && inner.every((item) => isObject(item) && 'k' in item && 'v' in item)) {
    return Object.fromEntries((inner as { k: string; v: unknown }[]).map(({ k, v }) => [k, v]))
  }
  if (Array.isArray(inner)) return inner
  return isObject(inner) && 'body' in inner ? { ...inner, body: unpacked(inner['body']) } : inner
}

function kindOf(value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'list' : typeof value
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}

function send(
  url: URL,
  { method, headers, body, signal }: { method: string; headers: Record<string, string>; body: string | undefined; signal: AbortSignal },
): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const length = body === undefined ? (method === 'GET' ? {} : { 'Content-Length': 0 }) : { 'Content-Length': Buffer.byteLength(body) }
    const sent = httpRequest(url, { method, headers: { ...headers, ...length }, signal }, (answer) => {
      let text = ''
      answer.on('data', (chunk: Buffer) => (text += chunk.toString()))
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }))
      answer.on('error', reject)
    })
    sent.on('error', reject)
    sent.end(body)
  })
}
