import type { Db } from './open.ts'

/** Completed runs that nothing changed since `before`, oldest first. */
export async function runsExpired(db: Db, before: number, limit: number): Promise<number[]> {
  const rows = await db
    .selectFrom('run')
    .select('id')
    .where('status', '=', 'completed')
    .where('updatedAt', '<', before)
    .orderBy('id')
    .limit(limit)
    .execute()
  return rows.map(({ id }) => id)
}

/** Keys of everything that the jobs of a run stored, also of hand-outs that went back in line. */
export async function blobsOfRun(db: Db, runId: number): Promise<string[]> {
  const assignments = await db
    .selectFrom('assignment')
    .innerJoin('job', 'job.id', 'assignment.jobId')
    .select('assignment.id')
    .where('job.runId', '=', runId)
    .execute()
  const keys: string[] = []
  for (const { id } of assignments) {
    const rows = await db.selectFrom('blob').select('key').where('key', '>=', `jobs/${id}-`).where('key', '<', `jobs/${id}.`).execute()
    keys.push(...rows.map(({ key }) => key))
  }
  return keys
}

/** Deletes a run with all that belongs to it. Call it in a transaction. */
export async function runDelete(db: Db, runId: number): Promise<void> {
  const jobs = db.selectFrom('job').select('id').where('runId', '=', runId)
  for (const table of ['stepReport', 'annotation', 'stepSummary', 'log', 'logChunk', 'assignment'] as const) {
    await db.deleteFrom(table).where('jobId', 'in', jobs).execute()
  }
  await db.deleteFrom('job').where('runId', '=', runId).execute()
  await db.deleteFrom('runAttempt').where('runId', '=', runId).execute()
  await db.deleteFrom('run').where('id', '=', runId).execute()
}

/** Ids of repositories that had a push since `since`, for the one that tidies them. */
export async function repositoriesPushedSince(db: Db, since: number, limit: number): Promise<number[]> {
  const rows = await db.selectFrom('repository').select('id').where('pushedAt', '>=', since).orderBy('pushedAt').limit(limit).execute()
  return rows.map(({ id }) => id)
}
