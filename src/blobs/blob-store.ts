import type { Readable } from 'node:stream'

/** Object storage. Keys are ours: lower-case letters, digits, `-`, `.` and `/`; an object appears whole or not at all. */
export interface BlobStore {
  /** Writes an object from a stream and answers its size. An object of that key is replaced at once, never seen half. */
  put(key: string, body: Readable | Buffer): Promise<number>
  /** Bytes of an object, or of a part (`end` is inclusive); undefined when there is none. */
  get(key: string, range?: { start: number; end: number }): Promise<Readable | undefined>
  size(key: string): Promise<number | undefined>
  /** Makes one object of several, in order, and answers its size. */
  concatenate(key: string, parts: string[]): Promise<number>
  delete(key: string): Promise<void>
  /** Objects below a folder, in no order: for sweeps. */
  list(folder: string): AsyncIterable<StoredObject>
  /** Free share of the space, 0 to 1. */
  freeShare(): Promise<number>
}

export interface StoredObject {
  key: string
  size: number
  writtenAt: number
}
