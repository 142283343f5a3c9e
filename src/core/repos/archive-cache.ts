import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import type { StoredObject } from '../../blobs/blob-store.ts'
import { AppError } from '../../model/errors.ts'
import { repositoryById } from '../../store/repositories.ts'
import type { Deps } from '../deps.ts'

export type ArchiveFormat = 'tar.gz' | 'zip'

export interface Archive {
  repositoryId: number
  sha: string
  format: ArchiveFormat
  /** The one folder at its top. */
  folder: string
}

export interface OpenArchive {
  stream: Readable
  /** Undefined for one that is being made while it is read. */
  size: number | undefined
}

const MIB = 1024 * 1024
const HOUR_MS = 60 * 60_000

/** Larger ones are made anew each time: one of them would push out all others. */
const LARGEST = 512 * MIB
/** All that are kept take no more than this, after a sweep. */
const TOTAL = 2048 * MIB
const KEPT_MS = 72 * HOUR_MS
/** A cache takes no room that logs will need: they are refused below half of this (`MIN_FREE_SHARE`). */
const FREE_SHARE = 0.1
/** The runner gives a download up when no answer begins within 100 s: one that takes long is sent while it is made. */
const PATIENCE_MS = 20_000

/**
 * Archives of commits that were asked for lately, kept as objects: every job that uses an action downloads it, and making one costs a
 * process and the compression of all files. A commit never changes, so neither does its archive. Several that ask at once wait for one;
 * two nodes that make the same one write the same object, each whole (`BlobStore.put`). What cannot be kept is made for its reader alone.
 */
export class ArchiveCache implements AsyncDisposable {
  readonly #deps: Pick<Deps, 'git' | 'blobs' | 'log'>
  readonly #making = new Map<string, Promise<void>>()
  readonly #abort = new AbortController()

  constructor(deps: Pick<Deps, 'git' | 'blobs' | 'log'>) {
    this.#deps = deps
  }

  /** Opens an archive. Who may have it is decided before. @throws AppError not_found when the commit is not there */
  async open(archive: Archive, signal: AbortSignal): Promise<OpenArchive> {
    const key = keyOf(archive)
    const kept = await this.#read(key)
    if (kept) return kept
    await within(PATIENCE_MS, this.#make(key, archive))
    const { repositoryId, sha, format, folder } = archive
    return (await this.#read(key)) ?? { stream: await this.#deps.git.archive(repositoryId, sha, format, folder, signal), size: undefined }
  }

  /** Removes all of a repository. */
  async forget(repositoryId: number): Promise<void> {
    for await (const { key } of this.#deps.blobs.list(`archives/${repositoryId}`)) await this.#deps.blobs.delete(key)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#abort.abort()
    await Promise.allSettled(this.#making.values())
  }

  async #read(key: string): Promise<OpenArchive | undefined> {
    const size = await this.#deps.blobs.size(key)
    const stream = size === undefined ? undefined : await this.#deps.blobs.get(key)
    return stream && { stream, size }
  }

  #make(key: string, archive: Archive): Promise<void> {
    const running = this.#making.get(key)
    if (running) return running
    const making = this.#keep(key, archive).finally(() => this.#making.delete(key))
    this.#making.set(key, making)
    return making
  }

  async #keep(key: string, { repositoryId, sha, format, folder }: Archive): Promise<void> {
    const { git, blobs, log } = this.#deps
    try {
      if ((await blobs.freeShare()) < FREE_SHARE) return
      const made = await git.archive(repositoryId, sha, format, folder, this.#abort.signal)
      // Whoever reads it meets the error too; while nobody does, it must not end the process.
      made.on('error', () => {})
      try {
        await blobs.put(key, Readable.from(limited(made), { objectMode: false }))
      } finally {
        made.destroy()
      }
    } catch (error) {
      if (error instanceof AppError && error.kind === 'not_found') throw error
      if (!this.#abort.signal.aborted) log.info({ err: error, repositoryId, sha }, 'an archive was not kept')
    }
  }
}

/** Removes archives that are old, whose repository is gone, and the oldest of those that are too many together. */
export async function sweepArchives({ db, blobs, now }: Pick<Deps, 'db' | 'blobs' | 'now'>): Promise<string> {
  const found: StoredObject[] = []
  for await (const archive of blobs.list('archives')) found.push(archive)
  const isKnown = new Map<string, boolean>()
  let total = 0
  let removed = 0
  for (const { key, size, writtenAt } of found.sort((a, b) => b.writtenAt - a.writtenAt)) {
    const id = key.split('/')[1] ?? ''
    if (!isKnown.has(id)) isKnown.set(id, (await repositoryById(db, Number(id))) !== undefined)
    total += size
    if (writtenAt > now() - KEPT_MS && total <= TOTAL && isKnown.get(id)) continue
    await blobs.delete(key)
    removed++
  }
  await blobs.removeEmptyFolders('archives', now() - KEPT_MS)
  return `${removed} archives`
}

/** The folder stands in it too: it follows the names of repository and owner, which change. */
function keyOf({ repositoryId, sha, format, folder }: Archive): string {
  return `archives/${repositoryId}/${sha}-${createHash('sha256').update(folder).digest('hex').slice(0, 12)}.${format}`
}

async function* limited(stream: Readable): AsyncIterable<Buffer> {
  let size = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    size += chunk.length
    if (size > LARGEST) throw new Error(`it is larger than ${LARGEST / MIB} MiB`)
    yield chunk
  }
}

/** Waits for work, but not longer; it goes on. @throws what the work throws meanwhile */
async function within(ms: number, work: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, ms)
  })
  try {
    await Promise.race([work, late])
  } finally {
    clearTimeout(timer)
  }
}
