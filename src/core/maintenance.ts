import { systemActor } from '../model/access.ts'
import { blobBlocks, blobDelete, chunksDelete, jobsWithSpareChunks } from '../store/logs.ts'
import { eventsForget } from '../store/events.ts'
import { runnerById, runnersAbandoned, runnersForget } from '../store/runners.ts'
import { blobsOfRun, repositoriesPushedSince, runDelete, runsExpired } from '../store/retention.ts'
import { runsStalled } from '../store/runs.ts'
import { pushesForget } from '../store/pushes.ts'
import { expiredDelete } from '../store/tokens.ts'
import type { Deps } from './deps.ts'
import { removeRunner } from './runners/runners.ts'
import { advanceRun } from './runs/advance-run.ts'

const BATCH = 200
const HOUR_MS = 60 * 60_000
/** A run that nothing moved for this long was left by a death between two steps. */
const STALLED_MS = 10_000
/** Live lines stay this long after the job, for followers that reconnect. */
const CHUNKS_KEPT_MS = HOUR_MS

/** Takes up runs that a dying node left between two steps. */
export async function advanceStalledRuns(deps: Pick<Deps, 'db' | 'now' | 'signals' | 'log' | 'evaluator' | 'addresses'>): Promise<string> {
  const stalled = await runsStalled(deps.db, deps.now() - STALLED_MS, BATCH)
  for (const runId of stalled) await advanceRun(deps, runId)
  return `${stalled.length} runs`
}

/** Removes runners that never came back: after 14 days, ephemeral ones after one (rest-api.md 4.2). */
export async function removeAbandonedRunners(deps: Pick<Deps, 'db' | 'now' | 'times' | 'signals'>): Promise<string> {
  const { db, now, times } = deps
  const before = { lasting: now() - times.runnerRemoved, ephemeral: now() - times.ephemeralRunnerRemoved }
  let removed = 0
  for (const id of await runnersAbandoned(db, before, BATCH)) {
    const runner = await runnerById(db, id)
    if (runner && (await removeRunner(deps, systemActor, runner))) removed++
  }
  await runnersForget(db, now() - times.ephemeralRunnerRemoved)
  return `${removed} runners`
}

/** Deletes live lines of jobs whose uploaded log is there, tokens that have expired, and events and pushes that are older than runs are kept. */
export async function pruneSpares({ db, now, retentionMs }: Pick<Deps, 'db' | 'now' | 'retentionMs'>): Promise<string> {
  const jobs = await jobsWithSpareChunks(db, now() - CHUNKS_KEPT_MS, BATCH)
  for (const jobId of jobs) await chunksDelete(db, jobId)
  await expiredDelete(db, now())
  await eventsForget(db, now() - retentionMs)
  await pushesForget(db, now() - retentionMs)
  return `${jobs.length} logs`
}

/** Deletes what is older than FLEETFOOT_RETENTION_DAYS: first the objects of a run, then its rows, so that a death in between loses track of none. */
export async function expireRuns({ db, now, blobs, retentionMs }: Pick<Deps, 'db' | 'now' | 'blobs' | 'retentionMs'>): Promise<string> {
  const expired = await runsExpired(db, now() - retentionMs, BATCH)
  for (const runId of expired) {
    for (const key of await blobsOfRun(db, runId)) {
      for (const { part } of await blobBlocks(db, key)) await blobs.delete(part)
      await blobs.delete(key)
      await blobDelete(db, key)
    }
    await db.transaction().execute((tx) => runDelete(tx, runId))
  }
  return `${expired.length} runs`
}

/** Packs the loose objects of repositories that were pushed to: git's own tidying is off while it receives. */
export async function tidyRepositories({ db, now, git }: Pick<Deps, 'db' | 'now' | 'git'>, everyMs: number): Promise<string> {
  const ids = await repositoriesPushedSince(db, now() - everyMs, BATCH)
  for (const id of ids) await git.tidy(id)
  return `${ids.length} repositories`
}
