import { Agent, request as requestHttp } from 'node:http'

/** One pool of kept-alive connections for all loads. */
export const agent = new Agent({ keepAlive: true, maxSockets: Infinity, maxFreeSockets: 20_000 })

export interface Answer {
  status: number
  body: string
  json<T>(): T
}

export interface Call {
  method: string
  token?: string | undefined
  body?: unknown
  signal?: AbortSignal
  headers?: Record<string, string>
}

/** Sends one request and reads the whole answer. */
export function callJson(url: string, { method, token, body, signal, headers }: Call): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const text = body === undefined ? undefined : JSON.stringify(body)
    const sent = requestHttp(url, {
      method,
      agent,
      ...(signal && { signal }),
      headers: {
        'User-Agent': 'fleetfoot-bench',
        Accept: 'application/json',
        ...(token !== undefined && { Authorization: `Bearer ${token}` }),
        ...(text !== undefined && { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) }),
        ...headers,
      },
    })
    sent.on('error', reject)
    sent.on('response', (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('error', reject)
      response.on('end', () => {
        const whole = Buffer.concat(chunks).toString()
        resolve({ status: response.statusCode ?? 0, body: whole, json: <T>() => JSON.parse(whole) as T })
      })
    })
    sent.end(text)
  })
}

/** A call that must succeed. */
export async function mustCall(url: string, call: Call): Promise<Answer> {
  const answer = await callJson(url, call)
  if (answer.status < 200 || answer.status > 299) throw new Error(`${call.method} ${url}: ${answer.status} ${answer.body.slice(0, 300)}`)
  return answer
}

/** Requests a second that `clients` get who ask one after the other for `ms`. */
export async function requestsPerSecond(ask: () => Promise<unknown>, clients: number, ms: number): Promise<number> {
  let done = 0
  const began = performance.now()
  const end = began + ms
  await Promise.all(
    Array.from({ length: clients }, async () => {
      while (performance.now() < end) {
        await ask()
        done++
      }
    }),
  )
  return (done / (performance.now() - began)) * 1000
}

/** The address of a runner's poll. */
export function pollUrl(base: string, sessionId: string): string {
  return `${base}/acme/_broker/message?sessionId=${sessionId}&status=Online&runnerVersion=2.336.0&os=linux&architecture=x64&disableUpdate=True`
}
