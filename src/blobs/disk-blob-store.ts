import { randomBytes } from 'node:crypto'
import { createReadStream, createWriteStream, type Dirent } from 'node:fs'
import { mkdir, open, readdir, rename, rm, rmdir, stat, statfs, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { AppError } from '../model/errors.ts'
import type { BlobStore, StoredObject } from './blob-store.ts'

/** Bodies up to this are held in memory: a log block is some 2 MiB at most, most are a few kilobytes. */
const SMALL = 256 * 1024

/** Objects as files in a folder. A file is written beside its place and renamed into it. */
export class DiskBlobStore implements BlobStore {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  async put(key: string, body: Readable | Buffer): Promise<number> {
    const file = this.#file(key)
    const temporary = temporaryOf(file)
    try {
      const size = await this.#write(temporary, body)
      await rename(temporary, file)
      return size
    } catch (error) {
      await rm(temporary, { force: true })
      throw error
    }
  }

  /** Most objects are the log of one short step: they are written at once. Only what is larger than `SMALL` takes a stream. */
  async #write(temporary: string, body: Readable | Buffer): Promise<number> {
    if (Buffer.isBuffer(body)) return this.#writeWhole(temporary, body)
    const chunks: Buffer[] = []
    let size = 0
    const iterator = body[Symbol.asyncIterator]() as AsyncIterator<Buffer>
    while (size <= SMALL) {
      const { done, value } = await iterator.next()
      if (done) return this.#writeWhole(temporary, chunks.length === 1 && chunks[0] ? chunks[0] : Buffer.concat(chunks))
      chunks.push(value)
      size += value.length
    }
    await this.#makeFolder(temporary)
    const target = createWriteStream(temporary)
    const rest: AsyncIterable<Buffer> = { [Symbol.asyncIterator]: () => iterator }
    await pipeline(async function* () {
      yield* chunks.splice(0)
      yield* rest
    }, target)
    return target.bytesWritten
  }

  async #writeWhole(temporary: string, body: Buffer): Promise<number> {
    try {
      await writeFile(temporary, body)
    } catch (error) {
      if (!isAbsence(error)) throw error
      await this.#makeFolder(temporary)
      await writeFile(temporary, body)
    }
    return body.length
  }

  async get(key: string, range?: { start: number; end: number }): Promise<Readable | undefined> {
    try {
      // Open before it is answered: a sweep that removes the object meanwhile does not cut the reader off.
      return (await open(this.#file(key))).createReadStream(range ?? {})
    } catch (error) {
      if (isAbsence(error)) return undefined
      throw error
    }
  }

  async size(key: string): Promise<number | undefined> {
    try {
      return (await stat(this.#file(key))).size
    } catch (error) {
      if (isAbsence(error)) return undefined
      throw error
    }
  }

  async concatenate(key: string, parts: string[]): Promise<number> {
    const file = this.#file(key)
    const temporary = temporaryOf(file)
    await this.#makeFolder(temporary)
    try {
      const target = createWriteStream(temporary)
      const files = parts.map((part) => this.#file(part))
      await pipeline(async function* () {
        for (const part of files) yield* createReadStream(part)
      }, target)
      await rename(temporary, file)
      return target.bytesWritten
    } catch (error) {
      await rm(temporary, { force: true })
      throw error
    }
  }

  async delete(key: string): Promise<void> {
    await rm(this.#file(key), { force: true })
  }

  async *list(folder: string): AsyncIterable<StoredObject> {
    for await (const name of filesIn(this.#file(folder), folder)) {
      const found = await stat(path.join(this.#folder, name)).catch(absent)
      if (found) yield { key: name, size: found.size, writtenAt: found.mtimeMs }
    }
  }

  async removeEmptyFolders(folder: string, before: number): Promise<void> {
    const top = this.#file(folder)
    for (const entry of await entriesOf(top)) {
      if (!entry.isDirectory()) continue
      const inner = path.join(top, entry.name)
      const found = await stat(inner).catch(absent)
      // A folder that is not empty stays: `rmdir` says so.
      if (found && found.mtimeMs < before) await rmdir(inner).catch(() => {})
    }
  }

  async freeShare(): Promise<number> {
    try {
      const { bavail, blocks } = await statfs(this.#folder)
      return blocks === 0 ? 1 : bavail / blocks
    } catch (error) {
      throw new AppError('unavailable', 'The blob folder cannot be reached', { cause: error })
    }
  }

  #file(key: string): string {
    if (!/^[a-z0-9][a-z0-9._-]*(?:\/[a-z0-9][a-z0-9._-]*)*$/.test(key) || key.includes('..')) throw new Error(`no blob key: ${key}`)
    return path.join(this.#folder, key)
  }

  /** A folder below ours that went away is made again; ours is not: what is mounted there may have gone, and come back. */
  async #makeFolder(file: string): Promise<void> {
    const folder = path.dirname(file)
    if (await isThere(folder)) return
    if (!(await isThere(this.#folder))) throw new AppError('unavailable', 'The blob folder cannot be reached')
    await mkdir(folder, { recursive: true })
  }
}

function temporaryOf(file: string): string {
  return `${file}.${randomBytes(6).toString('hex')}.tmp`
}

/** Files of a folder and those below it, named from `name` on. Other nodes add and remove meanwhile. */
async function* filesIn(folder: string, name: string): AsyncIterable<string> {
  for (const entry of await entriesOf(folder)) {
    const inner = `${name}/${entry.name}`
    if (entry.isDirectory()) yield* filesIn(path.join(folder, entry.name), inner)
    else if (entry.isFile()) yield inner
  }
}

async function entriesOf(folder: string): Promise<Dirent[]> {
  return (await readdir(folder, { withFileTypes: true }).catch(absent)) ?? []
}

function isAbsence(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === 'ENOENT'
}

function absent(error: unknown): undefined {
  if (!isAbsence(error)) throw error
}

async function isThere(folder: string): Promise<boolean> {
  try {
    await stat(folder)
    return true
  } catch (error) {
    if (isAbsence(error)) return false
    throw error
  }
}
