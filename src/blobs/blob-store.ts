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
  /** What is below a folder, in no order: for sweeps. Unlike `get`, it also shows what is being written, or was when its node died. */
  list(folder: string): AsyncIterable<StoredObject>
  /** Removes folders below this one that are empty and were not written to since `before`, where the storage has such a thing. */
  removeEmptyFolders(folder: string, before: number): Promise<void>
  /** Free share of the space, 0 to 1. */
  freeShare(): Promise<number>
}

export interface StoredObject {
  key: string
  size: number
  writtenAt: number
}
