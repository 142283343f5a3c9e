import { WebSocket } from 'ws'

import { sleep } from './http.ts'
import type { FeedBatch } from './wire.ts'

/** The longest line of the feed; the rest of a longer one is in the log. */
const MAX_LINE = 1024
const MAX_LINES_PER_MESSAGE = 100
const FRAGMENT_BYTES = 1024

/** How long the last lines may take. */
const CLOSE_MS = 5000

export interface FeedOptions {
  url: string
  headers: Record<string, string>
  flushMs: number
  death: AbortSignal
}

/** Cuts the lines of a step into messages of at most 100 lines, each line of at most 1024 characters. */
export function feedBatches(stepId: string, startLine: number, lines: readonly string[]): FeedBatch[] {
  const batches: FeedBatch[] = []
  for (let at = 0; at < lines.length; at += MAX_LINES_PER_MESSAGE) {
    const value = lines
      .slice(at, at + MAX_LINES_PER_MESSAGE)
      .map((line) => (line.length > MAX_LINE ? `${line.slice(0, MAX_LINE)}...` : line))
    batches.push({ value, stepId, startLine: startLine + at, count: value.length })
  }
  return batches
}

/**
 * The live console of one job. Unlike the official runner's it drops no lines while it is connected; like it, it is
 * best effort: three tries to connect, and when a broken connection does not come back the feed stays silent.
 */
export class Feed {
  readonly #options: FeedOptions
  #socket: WebSocket | undefined
  #ready: Promise<void>
  #isDead = false
  #pending: { stepId: string; startLine: number; lines: string[] } | undefined
  #queue: FeedBatch[] = []
  #timer: NodeJS.Timeout | undefined
  #sending: Promise<void> = Promise.resolve()

  constructor(options: FeedOptions) {
    this.#options = options
    options.death.addEventListener('abort', () => this.#die(), { once: true })
    this.#ready = this.#connect()
  }

  /** `line` is masked and has no time; `lineNumber` counts from 1 in the step's log. */
  write(stepId: string, lineNumber: number, line: string): void {
    if (this.#isDead) return
    const pending = this.#pending
    if (pending?.stepId === stepId && pending.startLine + pending.lines.length === lineNumber) pending.lines.push(line)
    else {
      this.#collect()
      this.#pending = { stepId, startLine: lineNumber, lines: [line] }
    }
    this.#timer ??= setTimeout(() => this.#flush(), this.#options.flushMs)
  }

  /** Sends what is left and closes without waiting for the other side. */
  async close(): Promise<void> {
    clearTimeout(this.#timer)
    this.#flush()
    // A server that does not read must not hold up the end of the job.
    const isSent = new AbortController()
    await Promise.race([this.#sending, sleep(CLOSE_MS, isSent.signal).catch(() => {})])
    isSent.abort()
    const socket = this.#socket
    this.#isDead = true
    if (!socket || socket.readyState !== WebSocket.OPEN) return
    socket.close(1000, 'Closing websocket')
    // The close frame is behind the lines in the same buffer; the socket itself must not keep the process.
    setTimeout(() => socket.terminate(), 1000).unref()
  }

  #collect(): void {
    if (this.#pending) this.#queue.push(...feedBatches(this.#pending.stepId, this.#pending.startLine, this.#pending.lines))
    this.#pending = undefined
  }

  #flush(): void {
    this.#timer = undefined
    this.#collect()
    const batches = this.#queue
    this.#queue = []
    if (batches.length > 0) this.#sending = this.#sending.then(() => this.#send(batches))
  }

  async #send(batches: readonly FeedBatch[]): Promise<void> {
    await this.#ready
    for (const batch of batches) {
      if (this.#isDead) return
      if (this.#socket?.readyState !== WebSocket.OPEN) {
        this.#ready = this.#connect()
        await this.#ready
      }
      await this.#sendMessage(JSON.stringify(batch))
    }
  }

  /** In fragments, as the official runner sends: a server must read whole messages. */
  async #sendMessage(text: string): Promise<void> {
    const socket = this.#socket
    if (!socket || socket.readyState !== WebSocket.OPEN) return
    const bytes = Buffer.from(text)
    for (let at = 0; at < bytes.length; at += FRAGMENT_BYTES) {
      const fin = at + FRAGMENT_BYTES >= bytes.length
      const fragment = bytes.subarray(at, at + FRAGMENT_BYTES)
      if (fin) await new Promise<void>((resolve) => socket.send(fragment, { fin, binary: false }, () => resolve()))
      else socket.send(fragment, { fin, binary: false })
    }
  }

  async #connect(): Promise<void> {
    for (let attempt = 0; attempt < 3; attempt++) {
      if (this.#isDead) return
      if (await this.#tryConnect()) return
      await sleep(100 + attempt * 300)
    }
    this.#isDead = true
  }

  #tryConnect(): Promise<boolean> {
    return new Promise((resolve) => {
      // The official runner reads nothing from the socket: it answers no ping.
      const socket = new WebSocket(this.#options.url, {
        headers: this.#options.headers,
        perMessageDeflate: false,
        autoPong: false,
        handshakeTimeout: 30_000,
      })
      socket.on('error', () => resolve(false))
      socket.on('close', () => resolve(false))
      socket.on('open', () => {
        this.#socket = socket
        if (this.#isDead) socket.terminate()
        resolve(true)
      })
    })
  }

  #die(): void {
    this.#isDead = true
    clearTimeout(this.#timer)
    this.#socket?.terminate()
  }
}
