import { blobKeysKnown } from '../store/logs.ts'
import { runnerPackageList } from '../store/runners.ts'
import type { Deps } from './deps.ts'

/**
 * An object is written before the row that names it, so a young one without a row may be on its way. Addresses to write to are good for
 * half of this (`times.signedUrl`): what is older and unnamed was left by a death.
 */
const LEFT_MS = 48 * 60 * 60_000
const BATCH = 200

/**
 * Removes what a process that died in the middle of its work left in the folders: half-written objects, objects that no row names,
 * repositories half made or half removed, packs of pushes that were cut off. Only by age and by rows, so any node may do it while
 * others write. Archives have a sweep of their own (`repos/archive-cache.ts`).
 */
export async function sweepOrphans(
  { db, blobs, git, now }: Pick<Deps, 'db' | 'blobs' | 'git' | 'now'>,
  abort: AbortSignal = new AbortController().signal,
): Promise<string> {
  const before = now() - LEFT_MS
  const left = async function* (folder: string) {
    for await (const { key, writtenAt } of blobs.list(folder)) if (writtenAt < before) yield key
  }
  let removed = 0
  const remove = async (key: string) => {
    await blobs.delete(key)
    removed++
  }

  for await (const keys of inBatches(left('jobs'))) {
    abort.throwIfAborted()
    const known = await blobKeysKnown(db, keys)
    for (const key of keys) if (!known.has(key)) await remove(key)
  }
  await blobs.removeEmptyFolders('jobs', before)
  const packages = new Set((await runnerPackageList(db)).map(({ blobKey }) => blobKey))
  for await (const key of left('packages')) if (!packages.has(key)) await remove(key)
  return `${removed} objects, ${await git.sweep(before)} folders`
}

async function* inBatches(keys: AsyncIterable<string>): AsyncIterable<string[]> {
  let batch: string[] = []
  for await (const key of keys) {
    batch.push(key)
    if (batch.length < BATCH) continue
    yield batch
    batch = []
  }
  if (batch.length > 0) yield batch
}
