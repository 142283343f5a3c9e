import { queueCounts } from '../store/jobs.ts'
import { settingGet } from '../store/task-leases.ts'
import { MIN_FREE_SHARE } from './logs/objects.ts'
import type { Deps } from './deps.ts'

/** What keeps this node from serving, one line each; empty when it can. */
export async function troubles({ db, blobs }: Pick<Deps, 'db' | 'blobs'>): Promise<string[]> {
  const found: string[] = []
  await settingGet(db, 'key-check').catch(() => found.push('the database cannot be reached'))
  const free = await blobs.freeShare().catch(() => undefined)
  if (free === undefined) found.push('the blob folder cannot be reached')
  else if (free < MIN_FREE_SHARE) found.push(`the disk is nearly full: ${Math.round(free * 1000) / 10} % free`)
  return found
}

export async function queueNumbers({ db }: Pick<Deps, 'db'>): Promise<{ status: string; count: number }[]> {
  return queueCounts(db)
}
