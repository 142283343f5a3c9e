import { randomBytes } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, open, rename, rm, stat, statfs } from 'node:fs/promises'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { AppError } from '../model/errors.ts'
import type { BlobStore } from './blob-store.ts'

/** Objects as files in a folder. A file is written beside its place and renamed into it. */
export class DiskBlobStore implements BlobStore {
  readonly #folder: string

  constructor(folder: string) {
    this.#folder = folder
  }

  async put(key: string, body: Readable | Buffer): Promise<number> {
    const file = this.#file(key)
    const temporary = await this.#temporary(file)
    try {
      let size: number
      if (Buffer.isBuffer(body)) {
        const handle = await open(temporary, 'w')
        try {
          await handle.writeFile(body)
        } finally {
          await handle.close()
        }
        size = body.length
      } else {
        const target = createWriteStream(temporary)
        await pipeline(body, target)
        size = target.bytesWritten
      }
      await rename(temporary, file)
      return size
    } catch (error) {
      await rm(temporary, { force: true })
      throw error
    }
  }

  async get(key: string, range?: { start: number; end: number }): Promise<Readable | undefined> {
    if ((await this.size(key)) === undefined) return undefined
    return createReadStream(this.#file(key), range ?? {})
  }

  async size(key: string): Promise<number | undefined> {
    try {
      return (await stat(this.#file(key))).size
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw error
    }
  }

  async concatenate(key: string, parts: string[]): Promise<number> {
    const file = this.#file(key)
    const temporary = await this.#temporary(file)
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
  async #temporary(file: string): Promise<string> {
    const folder = path.dirname(file)
    if (!(await isThere(folder))) {
      if (!(await isThere(this.#folder))) throw new AppError('unavailable', 'The blob folder cannot be reached')
      await mkdir(folder, { recursive: true })
    }
    return `${file}.${randomBytes(6).toString('hex')}.tmp`
  }
}

async function isThere(folder: string): Promise<boolean> {
  try {
    await stat(folder)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return false
    throw error
  }
}
