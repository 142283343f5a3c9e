import { randomBytes } from 'node:crypto'
import { createReadStream, createWriteStream } from 'node:fs'
import { mkdir, open, rename, rm, stat, statfs } from 'node:fs/promises'
import path from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import type { BlobStore } from './blob-store.ts'

const SPACE_KNOWN_MS = 1000

/** Objects as files in a folder. A file is written beside its place and renamed into it. */
export class DiskBlobStore implements BlobStore {
  readonly #folder: string
  readonly #made = new Set<string>()
  #space: { share: Promise<number>; at: number } | undefined

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
      for (const part of parts) await pipeline(createReadStream(this.#file(part)), target, { end: false })
      await new Promise<void>((resolve, reject) => {
        target.on('error', reject)
        target.end(resolve)
      })
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

  /** Asked of the disk once a second at most: every upload wants to know. */
  freeShare(): Promise<number> {
    const at = performance.now()
    if (!this.#space || at - this.#space.at >= SPACE_KNOWN_MS) this.#space = { share: this.#freeShare(), at }
    return this.#space.share
  }

  async #freeShare(): Promise<number> {
    const { bavail, blocks } = await statfs(this.#folder)
    return blocks === 0 ? 1 : bavail / blocks
  }

  #file(key: string): string {
    if (!/^[a-z0-9][a-z0-9._-]*(?:\/[a-z0-9][a-z0-9._-]*)*$/.test(key) || key.includes('..')) throw new Error(`no blob key: ${key}`)
    return path.join(this.#folder, key)
  }

  async #temporary(file: string): Promise<string> {
    const folder = path.dirname(file)
    if (!this.#made.has(folder)) {
      await mkdir(folder, { recursive: true })
      if (this.#made.size > 10_000) this.#made.clear()
      this.#made.add(folder)
    }
    return `${file}.${randomBytes(6).toString('hex')}.tmp`
  }
}
