import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { mkdtempDisposableSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Kysely, type CompiledQuery } from 'kysely'
import { expect, test } from 'vitest'
import { appByClientId, appKeys, installationAt, installationById, installationHasRepository, installationList } from './apps.ts'
import { assignmentOfRunner, assignmentsSilent, jobClaim, jobsOnRunners, jobsQueuedBefore, jobUpdate, lineSettle } from './jobs.ts'
import { migrate } from './migrate.ts'
import { runnerById } from './runners.ts'
import type { Schema } from './schema.ts'
import { sqliteDialect } from './sqlite.ts'
import { expiredDelete, tokenByHash, tokenDeleteOfInstallation } from './tokens.ts'

test('no statement of a sign-in, a poll, a claim or a lease reads a whole table', async () => {
  using folder = mkdtempDisposableSync(path.join(tmpdir(), 'fleetfoot-test-'))
  const file = path.join(folder.path, 'plans.sqlite')
  const queries: CompiledQuery[] = []
  await using db = new Kysely<Schema>({ dialect: sqliteDialect(file, 'normal'), log: ({ query }) => void queries.push(query) })
  await migrate(db, 1)
  await db
    .insertInto('line')
    .values({ key: 'k', repositoryId: 1, ownerId: 1, isPublic: 0, groupName: null, labels: '["a"]', rarestLabel: 'a', headQueuedAt: 1 })
    .execute()
  queries.length = 0

  // Within a transaction, as Kysely's log hears of those only: others are answered without it.
  await db.transaction().execute(async (tx) => {
    await runnerById(tx, 1)
    await assignmentOfRunner(tx, 1)
    await jobClaim(tx, { scope: { kind: 'organization', id: 1 }, labels: new Set(['a']), group: undefined })
    await lineSettle(tx, 1)
    await jobUpdate(tx, 1, ['queued'], { status: 'assigned' })
    await jobsQueuedBefore(tx, 1, 10)
    await jobsOnRunners(tx, { overdueAt: 1, limit: 10 })
    await assignmentsSilent(tx, 1, 1, 10)
    await tokenByHash(tx, 'hash')
    await tokenDeleteOfInstallation(tx, 1, 1)
    await expiredDelete(tx, 1)
    await appByClientId(tx, 'id')
    await appKeys(tx, 1)
    await installationById(tx, 1)
    await installationAt(tx, 1, 1)
    await installationList(tx, { accountId: 1 }, { offset: 0, limit: 1 })
    await installationHasRepository(tx, 1, 1)
  })

  const sqlite = new DatabaseSync(file)
  const scans = queries.flatMap(({ sql, parameters }) =>
    sqlite
      .prepare(`explain query plan ${sql}`)
      .all(...(parameters as SQLInputValue[]))
      .map(({ detail }) => String(detail))
      .filter((detail) => detail.startsWith('SCAN') && !/USING (COVERING )?INDEX|VIRTUAL TABLE/.test(detail)),
  )
  sqlite.close()
  expect(queries.length).toBeGreaterThan(8)
  expect(scans).toEqual([])
})
