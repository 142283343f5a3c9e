import { uploadLogBlock, type BlockPlace, type LogTarget, type Results } from './results.ts'

/** A block is closed after the line that reaches this size. */
export const BLOCK_BYTES = 2 * 1024 * 1024

const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf])

/** `2026-07-21T10:00:01.1234567Z`: seven decimals, as every time of the protocol. */
export function preciseTime(epochMs: number = exactNow()): string {
  const wholeMs = Math.floor(epochMs)
  const ticks = Math.floor((epochMs - wholeMs) * 10_000)
  return `${new Date(wholeMs).toISOString().slice(0, -1)}${String(ticks).padStart(4, '0')}Z`
}

let clockOffsetMs = performance.timeOrigin

/** Milliseconds with a fraction; follows the system's clock where that was set, or slept, since the process began. */
function exactNow(): number {
  const exact = clockOffsetMs + performance.now()
  const now = Date.now()
  if (Math.abs(exact - now) < 5) return exact
  clockOffsetMs = now - performance.now()
  return now
}

/** A block of a log that is complete. */
export interface Block {
  bytes: Buffer
  place: BlockPlace
  /** Lines of the whole log up to its end. */
  lineCount: number
}

/**
 * Cuts one log into blocks. Only the last block knows that it is the last, so a log that ends exactly at a block's
 * end has an empty last block.
 */
export class BlockCutter {
  readonly #limit: number
  #lines: string[] = []
  #size = 0
  #blocks = 0
  lineCount = 0

  constructor(limit = BLOCK_BYTES) {
    this.#limit = limit
  }

  /** Adds a line, which may contain newlines; gives the block that it fills. */
  add(line: string): Block | undefined {
    this.#lines.push(line)
    this.#size += Buffer.byteLength(line) + 1
    this.lineCount += 1 + countNewlines(line)
    if (this.#size < this.#limit) return undefined
    return this.#cut(this.#blocks === 0 ? 'first' : 'middle')
  }

  /** The end of the log; nothing for a log in which nothing was written. */
  end(): Block | undefined {
    if (this.lineCount === 0) return undefined
    return this.#cut(this.#blocks === 0 ? 'only' : 'last')
  }

  #cut(place: BlockPlace): Block {
    const text = this.#lines.length > 0 ? `${this.#lines.join('\n')}\n` : ''
    this.#lines = []
    this.#size = 0
    this.#blocks++
    return { bytes: Buffer.concat([BYTE_ORDER_MARK, Buffer.from(text)]), place, lineCount: this.lineCount }
  }
}

/** Uploads, one after the other and in order; a failed one is gone and does not stop the next. */
export class UploadQueue {
  #tail: Promise<void> = Promise.resolve()

  add(upload: () => Promise<unknown>): void {
    this.#tail = this.#tail.then(upload).then(
      () => {},
      () => {},
    )
  }

  /** Ends when everything added so far has been tried. */
  drained(): Promise<void> {
    return this.#tail
  }
}

/** The log of a step or of the job: takes lines, uploads blocks. Without a results service it only counts. */
export class LogStream {
  readonly #target: LogTarget
  readonly #results: Results | undefined
  readonly #queue: UploadQueue
  readonly #cutter = new BlockCutter()

  constructor(target: LogTarget, results: Results | undefined, queue: UploadQueue) {
    this.#target = target
    this.#results = results
    this.#queue = queue
  }

  get lineCount(): number {
    return this.#cutter.lineCount
  }

  /** `line` has its time in front and no secret in it. */
  write(line: string): void {
    this.#upload(this.#cutter.add(line))
  }

  end(): void {
    this.#upload(this.#cutter.end())
  }

  #upload(block: Block | undefined): void {
    const results = this.#results
    if (block && results) this.#queue.add(() => uploadLogBlock(results, this.#target, block.bytes, block.place, block.lineCount))
  }
}

function countNewlines(text: string): number {
  let count = 0
  for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) count++
  return count
}
