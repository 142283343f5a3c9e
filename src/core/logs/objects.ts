import { randomUUID } from 'node:crypto'
import { Transform, type Readable } from 'node:stream'
import { AppError } from '../../model/errors.ts'
import { blobBlockInsert, blobBlocks, blobGet, blobInsert, blobSeal } from '../../store/logs.ts'
import type { Deps } from '../deps.ts'

type ObjectDeps = Pick<Deps, 'db' | 'now' | 'blobs'>

/** Below this share of free disk new uploads are refused for now (architecture 1.9). */
export const MIN_FREE_SHARE = 0.05

/** An append to an object that is sealed, or another form than it has. */
const conflict = (message: string) => new AppError('conflict', message)

async function requireSpace({ blobs }: ObjectDeps): Promise<void> {
  if ((await blobs.freeShare()) < MIN_FREE_SHARE) throw new AppError('unavailable', 'The disk is nearly full')
}

/** Writes a whole object at once. A repeat of the same upload is fine: the answer to the first may have been lost. */
export async function putObject(deps: ObjectDeps, key: string, body: Readable, contentType: string | undefined): Promise<void> {
  await requireSpace(deps)
  const size = await deps.blobs.put(key, body.pipe(withoutMark()))
  const at = deps.now()
  await blobInsert(deps.db, { key, kind: 'block', size, blocks: 0, sealedAt: at, contentType: contentType ?? null, createdAt: at })
}

/** Makes an object that is appended to. One that is there already is fine, when nothing was sealed. */
export async function createAppendObject(deps: ObjectDeps, key: string, contentType: string | undefined): Promise<void> {
  await requireSpace(deps)
  const made = await blobInsert(deps.db, {
    key,
    kind: 'append',
    size: 0,
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
  const size = await blobs.put(part, body.pipe(withoutMark()))
  for (;;) {
    const blob = await blobGet(db, key)
    if (!blob || blob.kind !== 'append' || blob.sealedAt !== null) {
      await blobs.delete(part)
      throw conflict('The object takes no more blocks')
    }
    const blocks = await blobBlocks(db, key)
    const before = blocks.findIndex((block) => block.requestId.startsWith(`${id} `))
    if (before >= 0) {
      await blobs.delete(part)
      return { offset: blocks.slice(0, before).reduce((sum, block) => sum + block.size, 0), blocks: blocks.length }
    }
    const number = blocks.length + 1
    const placed = await db.transaction().execute((tx) => blobBlockInsert(tx, { blobKey: key, number, requestId: `${id} ${part}`, size }))
    if (placed) return { offset: blob.size, blocks: number }
  }
}

/** Makes one object of the blocks. Sealing twice is fine. */
export async function sealObject({ db, blobs, now }: ObjectDeps, key: string): Promise<void> {
  const blob = await blobGet(db, key)
  if (!blob || blob.kind !== 'append') throw new AppError('not_found', 'There is no such object')
  if (blob.sealedAt !== null) return
  const parts = await partsOf(db, key)
  const size = await blobs.concatenate(key, parts)
  await db.transaction().execute((tx) => blobSeal(tx, key, size, now()))
  for (const part of parts) await blobs.delete(part)
}

async function partsOf(db: Deps['db'], key: string): Promise<string[]> {
  return (await blobBlocks(db, key)).map(({ requestId }) => requestId.split(' ')[1] ?? '')
}

/** The bytes of an object, or of its blocks so far; undefined when there is none. */
export async function readObject(
  { db, blobs }: Pick<Deps, 'db' | 'blobs'>,
  key: string,
  range?: { start: number; end: number },
): Promise<{ size: number; contentType: string | null; sealed: boolean; open: () => AsyncIterable<Buffer> } | undefined> {
  const blob = await blobGet(db, key)
  if (!blob) return undefined
  const isWhole = blob.kind === 'block' || blob.sealedAt !== null
  const parts = isWhole ? [key] : await partsOf(db, key)
  async function* open() {
    for (const part of parts) {
      const stream = await blobs.get(part, isWhole ? range : undefined)
      if (stream) yield* stream as AsyncIterable<Buffer>
    }
  }
  return { size: blob.size, contentType: blob.contentType, sealed: isWhole, open }
}

/** Every block of the runner's logs begins with a byte-order mark (runner-protocol.md 7.3): dropped, or it ends up within the text. */
function withoutMark(): Transform {
  let head: Buffer | undefined = Buffer.alloc(0)
  return new Transform({
    transform(chunk: Buffer, _encoding, done) {
      if (head === undefined) return done(null, chunk)
      head = Buffer.concat([head, chunk])
      if (head.length < 3) return done()
      const rest = stripMark(head)
      head = undefined
      return done(null, rest)
    },
    flush(done) {
      done(null, head === undefined || head.length === 0 ? undefined : stripMark(head))
    },
  })
}

function stripMark(bytes: Buffer): Buffer {
  return bytes.length >= 3 && bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes
}
