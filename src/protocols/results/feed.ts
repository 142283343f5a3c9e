import type { IncomingMessage } from 'node:http'
import type { Duplex } from 'node:stream'
import { WebSocketServer, type WebSocket } from 'ws'
import type { Deps } from '../../core/deps.ts'
import { authenticateJob, isUnfinished } from '../../core/jobs/job-tokens.ts'
import { FeedWriter, type FeedLines } from '../../core/logs/live.ts'
import { AppError } from '../../model/errors.ts'
import type { Assignment } from '../../model/job.ts'

const MESSAGE_LIMIT = 4 * 1024 * 1024
const LINE_LIMIT = 4096
const LINES_LIMIT = 5000

type FeedDeps = Pick<Deps, 'db' | 'now' | 'keys' | 'times' | 'signals' | 'log'>

/**
 * The live lines of running jobs over WebSocket (runner-protocol.md 7.5). The runner answers no pings and ignores close frames, so there is
 * no watchdog, and a socket is never closed by us while its job runs.
 */
export class Feed implements AsyncDisposable {
  readonly #deps: FeedDeps
  readonly #sockets = new WebSocketServer({ noServer: true, maxPayload: MESSAGE_LIMIT, perMessageDeflate: false, clientTracking: true })
  readonly #writers = new Set<FeedWriter>()
  #closed = false

  constructor(deps: FeedDeps) {
    this.#deps = deps
  }

  /** Takes a handshake for `/_feed/…`; answers anything else, and a wrong token, with a plain HTTP refusal. */
  async upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): Promise<void> {
    socket.on('error', () => socket.destroy())
    const guid = /^\/_feed\/([0-9a-f-]{36})(?:\?|$)/.exec(request.url ?? '')?.[1]
    if (!guid) return refuse(socket, '404 Not Found')
    let assignment: Assignment
    try {
      assignment = await authenticateJob(this.#deps, request.headers.authorization)
    } catch (error) {
      const isOurs = !(error instanceof AppError)
      if (isOurs) this.#deps.log.warn({ err: error }, 'a feed could not be opened now')
      return refuse(socket, isOurs ? '503 Service Unavailable' : '401 Unauthorized')
    }
    if (this.#closed) return refuse(socket, '503 Service Unavailable')
    if (assignment.jobGuid !== guid || !isUnfinished(assignment)) return refuse(socket, '403 Forbidden')
    this.#sockets.handleUpgrade(request, socket, head, (ws) => this.#accept(ws, assignment))
  }

  /** Writes what was taken in and drops the connections. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#closed = true
    for (const ws of this.#sockets.clients) ws.terminate()
    await Promise.all([...this.#writers].map((writer) => writer[Symbol.asyncDispose]()))
  }

  #accept(ws: WebSocket, assignment: Assignment): void {
    const writer = new FeedWriter(this.#deps, assignment, () => ws.terminate())
    this.#writers.add(writer)
    ws.on('message', (data) => {
      const lines = linesOf(data as Buffer)
      if (lines) writer.add(lines)
    })
    ws.on('error', () => {})
    ws.on('close', () => {
      void writer[Symbol.asyncDispose]().finally(() => this.#writers.delete(writer))
    })
  }
}

/** `{value: […], stepId, startLine, count}`; anything else is dropped: the feed is a convenience. */
function linesOf(data: Buffer): FeedLines | undefined {
  try {
    const { value, stepId, startLine } = JSON.parse(data.toString('utf8')) as Record<string, unknown>
    if (!Array.isArray(value) || typeof stepId !== 'string' || stepId.length > 100) return undefined
    const lines = value
      .slice(0, LINES_LIMIT)
      .filter((line): line is string => typeof line === 'string')
      .map((line) => line.slice(0, LINE_LIMIT).replaceAll('\0', ''))
    const first = typeof startLine === 'number' && Number.isSafeInteger(startLine) && startLine > 0 ? startLine : 1
    return lines.length === 0 ? undefined : { stepId, startLine: first, lines }
  } catch {
    return undefined
  }
}

function refuse(socket: Duplex, status: string): void {
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
}
