import { randomUUID } from 'node:crypto'
import { finished, Transform, type Readable, type TransformCallback } from 'node:stream'
import { AppError } from '../../model/errors.ts'
import { blobBlockInsert, blobBlocks, blobContent, blobGet, blobInsert, blobPut, blobSeal } from '../../store/logs.ts'
import type { Deps } from '../deps.ts'

type ObjectDeps = Pick<Deps, 'db' | 'now' | 'blobs'>

/** Below this share of free disk new uploads are refused for now (architecture 1.9). */
export const MIN_FREE_SHARE = 0.05

/** Objects of at most this many bytes are kept in their row: a file takes a whole block of the disk as well, and four calls (docs/adr/0007). */
const SMALL_OBJECT = 4096

/** One request brings no more than this: a log block is larger than its 2 MiB by one line of any length (runner-protocol.md 7.3). Summaries have a limit of their own, which the runner was told (`results/routes.ts`). */
const REQUEST_BYTES = 1024 * 1024 * 1024
export const SUMMARY_BYTES = 1024 * 1024

function limitOf(key: string): number {
  return /^jobs\/\d+-summary-/.test(key) ? SUMMARY_BYTES : REQUEST_BYTES
}

function tooLarge(limit: number): AppError {
  return new AppError('too_large', `The body is larger than ${limit} bytes`)
}

/** An append to an object that is sealed, or another form than it has. */
const conflict = (message: string) => new AppError('conflict', message)

async function requireSpace({ blobs }: ObjectDeps): Promise<void> {
  if ((await blobs.freeShare()) < MIN_FREE_SHARE) throw new AppError('unavailable', 'The disk is nearly full')
}

/**
 * Writes a whole object at once; `length` is that of the body, where it is known ahead. A repeat of the same upload is fine: the answer to
 * the first may have been lost.
 */
export async function putObject(
  deps: ObjectDeps,
  key: string,
  body: Readable,
  { contentType, length }: { contentType: string | undefined; length: number | undefined },
): Promise<void> {
  if (length !== undefined && length > limitOf(key)) throw tooLarge(limitOf(key))
  const isSmall = length !== undefined && length <= SMALL_OBJECT
  if (!isSmall) {
    if ((await blobGet(deps.db, key))?.kind === 'append') throw conflict('The object is there in another form')
    await requireSpace(deps)
  }
  const text = new TextCleaner(limitOf(key))
  const content = isSmall ? text.clean(await readAll(body)) : null
  const size = content === null ? await deps.blobs.put(key, through(body, text)) : content.length
  const at = deps.now()
  const put = await blobPut(deps.db, {
    key,
    kind: 'block',
    size,
    lines: text.lines,
    blocks: 0,
    sealedAt: at,
    contentType: contentType ?? null,
    createdAt: at,
    content,
  })
  if (!put) throw conflict('The object is there in another form')
}

/** Makes an object that is appended to. One that is there already is fine, when nothing was sealed. */
export async function createAppendObject(deps: ObjectDeps, key: string, contentType: string | undefined): Promise<void> {
  await requireSpace(deps)
  const made = await blobInsert(deps.db, {
    key,
    kind: 'append',
    size: 0,
    lines: 0,
    blocks: 0,
    sealedAt: null,
    contentType: contentType ?? null,
    createdAt: deps.now(),
  })
  if (!made && (await blobGet(deps.db, key))?.kind !== 'append') throw conflict('The object is there in another form')
}

/**
 * Appends a block. The same request again (`requestId`) is a success without a second copy: a client repeats after a lost answer. An
 * object that was never created is made: a defect of runners without the SDK skips that step (runner-protocol.md 7.4).
 */
export async function appendBlock(
  deps: ObjectDeps,
  key: string,
  body: Readable,
  requestId: string | undefined,
): Promise<{ offset: number; blocks: number }> {
  const { db, blobs } = deps
  if (!(await blobGet(db, key))) await createAppendObject(deps, key, undefined)
  await requireSpace(deps)
  const id = requestId ?? randomUUID()
  const part = `${key}.parts/${randomUUID()}`
  const text = new TextCleaner(limitOf(key))
  const size = await blobs.put(part, through(body, text))
  for (;;) {
    const blob = await blobGet(db, key)
    if (!blob || blob.kind !== 'append' || blob.sealedAt !== null) {
      await blobs.delete(part)
      throw conflict('The object takes no more blocks')
    }
    const blocks = await blobBlocks(db, key)
    const before = blocks.findIndex((block) => block.requestId === id)
    if (before >= 0) {
      await blobs.delete(part)
      return { offset: blocks.slice(0, before).reduce((sum, block) => sum + block.size, 0), blocks: blocks.length }
    }
    const block = { number: blocks.length + 1, requestId: id, part, size, lines: text.lines }
    if (await tryInsert(db, key, block)) return { offset: blocks.reduce((sum, { size }) => sum + size, 0), blocks: block.number }
  }
}

/** False when another block, or the seal, was first. */
async function tryInsert(db: Deps['db'], key: string, block: Parameters<typeof blobBlockInsert>[2]): Promise<boolean> {
  try {
    await db.transaction().execute(async (tx) => {
      if (!(await blobBlockInsert(tx, key, block))) throw new Lost()
    })
    return true
  } catch (error) {
    if (error instanceof Lost) return false
    throw error
  }
}

class Lost extends Error {}

/** Makes one object of the blocks. Sealing twice is fine. */
export async function sealObject({ db, blobs, now }: ObjectDeps, key: string): Promise<void> {
  for (;;) {
    const blob = await blobGet(db, key)
    if (!blob || blob.kind !== 'append') throw new AppError('not_found', 'There is no such object')
    if (blob.sealedAt !== null) return
    const parts = await partsOf(db, key)
    const size = await blobs.concatenate(key, parts)
    // A block that came meanwhile was acknowledged: it belongs in.
    if (!(await db.transaction().execute((tx) => blobSeal(tx, key, { size, blocks: parts.length, now: now() })))) continue
    for (const part of parts) await blobs.delete(part)
    return
  }
}

async function partsOf(db: Deps['db'], key: string): Promise<string[]> {
  return (await blobBlocks(db, key)).map(({ part }) => part)
}

/** The bytes of an object, or of its blocks so far; undefined when there is none, also when the store has lost it. */
export async function readObject(
  { db, blobs }: Pick<Deps, 'db' | 'blobs'>,
  key: string,
  range?: { start: number; end: number },
): Promise<{ size: number; contentType: string | null; sealed: boolean; open: () => AsyncIterable<Buffer> } | undefined> {
  const blob = await blobGet(db, key)
  if (!blob) return undefined
  const isWhole = blob.kind === 'block' || blob.sealedAt !== null
  const content = blob.kind === 'block' ? await blobContent(db, key) : undefined
  if (content) {
    const bytes = range ? content.subarray(range.start, range.end + 1) : content
    return { size: blob.size, contentType: blob.contentType, sealed: true, open: () => once(bytes) }
  }
  const parts = isWhole ? [key] : await partsOf(db, key)
  for (const part of parts) if ((await blobs.size(part)) === undefined) return undefined
  async function* open() {
    for (const part of parts) {
      const stream = await blobs.get(part, isWhole ? range : undefined)
      if (stream) yield* stream as AsyncIterable<Buffer>
    }
  }
  return { size: blob.size, contentType: blob.contentType, sealed: isWhole, open }
}

async function* once(bytes: Buffer): AsyncIterable<Buffer> {
  yield bytes
}

async function readAll(body: Readable): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of body as AsyncIterable<Buffer>) chunks.push(chunk)
  return chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks)
}

/**
 * Sends a stream through another. A body that breaks off ends both. When the other side fails, the rest of the body is read and dropped: a
 * client that is still sending does not see an answer on a connection that was cut, and takes it for a lost one.
 */
function through(body: Readable, transform: Transform): Transform {
  finished(body, (error) => {
    if (error) transform.destroy(error)
  })
  finished(transform, { readable: false }, (error) => {
    if (!error) return
    body.unpipe(transform)
    body.resume()
  })
  return body.pipe(transform)
}

/**
 * Drops the byte-order mark that every block of the runner's logs begins with (runner-protocol.md 7.3), or it ends up within the text, and
 * counts lines.
 */
class TextCleaner extends Transform {
  lines = 0
  readonly #limit: number
  #size = 0
  #head: Buffer | undefined = Buffer.alloc(0)

  constructor(limit: number) {
    super()
    this.#limit = limit
  }

  /** A text that is there whole. */
  clean(bytes: Buffer): Buffer {
    return this.#counted(stripMark(bytes))
  }

  override _transform(chunk: Buffer, _encoding: BufferEncoding, done: TransformCallback): void {
    this.#size += chunk.length
    if (this.#size > this.#limit) return done(tooLarge(this.#limit))
    if (this.#head === undefined) return done(null, this.#counted(chunk))
    this.#head = Buffer.concat([this.#head, chunk])
    if (this.#head.length < 3) return done()
    const rest = stripMark(this.#head)
    this.#head = undefined
    return done(null, this.#counted(rest))
  }

  override _flush(done: TransformCallback): void {
    done(null, this.#head === undefined || this.#head.length === 0 ? undefined : this.#counted(stripMark(this.#head)))
  }

  #counted(bytes: Buffer): Buffer {
    for (let at = bytes.indexOf(10); at >= 0; at = bytes.indexOf(10, at + 1)) this.lines++
    return bytes
  }
}

function stripMark(bytes: Buffer): Buffer {
  return bytes.length >= 3 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes
}
