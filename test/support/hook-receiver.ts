import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** One request as a receiver got it. */
export interface Received {
  headers: IncomingHttpHeaders
  path: string
  /** The exact bytes: what the signature is over. */
  body: string
  // oxlint-disable-next-line typescript/no-explicit-any -- tests look into it as receivers do
  payload: any
}

export interface HookReceiver extends AsyncDisposable {
  url: string
  received: Received[]
  /** Those of an event, in the order in which they came. */
  of(event: string): Received[]
  /** What requests are answered from now on: a status, or anything by hand. */
  answer: number | ((response: ServerResponse, request: Received) => void)
}

/** A receiver of webhooks: a real server on a port of its own, which keeps what it gets. */
export async function startHookReceiver(): Promise<HookReceiver> {
  const received: Received[] = []
  const server = createServer((request, response) => {
    const parts: Buffer[] = []
    request.on('data', (part: Buffer) => parts.push(part))
    request.on('error', () => {})
    request.on('end', () => {
      const body = Buffer.concat(parts).toString()
      const isForm = request.headers['content-type'] === 'application/x-www-form-urlencoded'
      const payload: unknown = JSON.parse(isForm ? (new URLSearchParams(body).get('payload') ?? '') : body)
      const got = { headers: request.headers, path: request.url ?? '', body, payload }
      received.push(got)
      const { answer } = receiver
      if (typeof answer === 'function') answer(response, got)
      else response.writeHead(answer, { 'X-Receiver': 'test' }).end(answer === 204 ? undefined : 'heard')
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const receiver: HookReceiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    received,
    of: (event) => received.filter(({ headers }) => headers['x-github-event'] === event),
    answer: 200,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
  return receiver
}
