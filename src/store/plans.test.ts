import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { mkdtempDisposableSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { Kysely, type CompiledQuery } from 'kysely'
import { expect, test } from 'vitest'
import {
  appByClientId,
  appKeys,
  installationAt,
  installationById,
  installationHasRepository,
  installationsLive,
  installationsReaching,
  installationList,
} from './apps.ts'
import { eventsForHooks, eventsSettleHooks } from './events.ts'
import {
  deliveriesDrop,
  deliveriesDropOfInstallation,
  deliveriesDropUnselected,
  deliveriesDue,
  deliveriesForget,
  deliveriesInsert,
  deliveryAttempted,
  deliveryById,
  deliveryList,
} from './hook-deliveries.ts'
import { hookDue, hookInsert, hooksOfAny, hooksPurge, laneClaim, laneIsDue, laneKeep, laneRelease } from './hooks.ts'
import {
  assignmentOfRunner,
  assignmentsSilent,
  claimHeads,
  jobClaim,
  jobsOnRunners,
  jobsQueuedBefore,
  jobUpdate,
  lineSettle,
} from './jobs.ts'
import { limitsFull, limitsHold, limitsReplace } from './limits.ts'
import { migrate } from './migrate.ts'
import type { Db } from './open.ts'
import { claimChecks } from './pauses.ts'
import { lastPushOf } from './pushes.ts'
import { jobsAhead, queuedPage, recentDurations, runningAsking } from './queue.ts'
import { groupPolicies } from './runner-groups.ts'
import { candidatesFor, runnerById } from './runners.ts'
import type { Schema } from './schema.ts'
import { sqliteDialect } from './sqlite.ts'
import { expiredDelete, tokenByHash, tokenDeleteOfInstallation } from './tokens.ts'

test('no statement of a sign-in, a poll, a claim or a lease reads a whole table', async () => {
  const { count, scans } = await scansOf(async (tx) => {
    await runnerById(tx, 1)
    await assignmentOfRunner(tx, 1)
    const server = { scope: { kind: 'organization', id: 1 }, labels: new Set(['a']), group: undefined } as const
    await claimHeads(tx, server)
    await claimHeads(tx, { ...server, scope: { kind: 'enterprise', id: 1 } })
    await limitsFull(tx, [1, 2])
    await limitsHold(tx, 1, [1, 2])
    await limitsReplace(tx, 1, [2])
    await jobClaim(tx, server, [], { runnerId: 1, runnerName: 'r', runnerGroupId: 1, runnerGroupName: 'Default' })
    await claimChecks(tx, { runnerId: 1, labels: ['a'] })
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
    await installationsReaching(tx, 1, 1)
  })

  expect(count).toBeGreaterThan(8)
  // What is read within a limit is a subquery, which SQLite calls a scan of it.
  expect(scans.filter((scan) => !/^SCAN (?:by_turn|by_rank|2-ROW VALUES CLAUSE)$/.test(scan))).toEqual([])
})

test('no statement of webhooks does, whatever the number of events and deliveries', async () => {
  const { count, scans } = await scansOf(async (tx) => {
    const owner = { kind: 'repository', id: 1 } as const
    const settings = { url: 'http://a', contentType: 'json', insecureSsl: false, events: ['*'], active: true } as const
    const { id } = await hookInsert(tx, owner, { ...settings, events: ['*'] }, null, 1)
    const delivery = {
      event: 'push',
      action: null,
      repositoryId: 1,
      installationId: 1,
      eventId: 1,
      payload: '{}',
      redelivery: false,
      createdAt: 1,
    }
    await deliveriesInsert(tx, [{ ...delivery, hookId: id, guid: 'a', orderKey: 'job 1' }])
    const [event] = await eventsForHooks(tx, 10)
    await eventsSettleHooks(tx, [event?.id ?? 0], 0)
    await hooksOfAny(tx, [owner, { kind: 'global', id: 0 }])
    await hookDue(tx, [id], 1)
    await laneIsDue(tx, 1)
    await laneIsDue(tx, 1, [5])
    await laneClaim(tx, 'node', 1, 2, [5])
    const [due] = await deliveriesDue(tx, id, 1, 10)
    if (!due) throw new Error('nothing is due')
    const attempt = {
      at: 1,
      durationMs: 1,
      statusCode: 500,
      status: '',
      url: '',
      requestHeaders: {},
      responseHeaders: null,
      responseBody: null,
    }
    await deliveryAttempted(tx, id, due, { ...attempt, succeeded: false, retryAt: 5 })
    await laneKeep(tx, { id, holder: 'node', until: 3 }, { response: { code: 200, status: 'active', message: 'OK' }, troubles: 0 })
    await laneRelease(tx, id, 'node', 0)
    await deliveryList(tx, id, { before: 9, succeeded: true, limit: 10 })
    await deliveryById(tx, id, 1)
    await deliveriesDrop(tx, id)
    await deliveriesDropUnselected(tx, 1)
    await deliveriesDropOfInstallation(tx, 1)
    await installationsLive(tx, [1])
    await deliveriesForget(tx, 1, 10)
    await hooksPurge(tx, 10)
    await lastPushOf(tx, 1)
  })

  expect(count).toBeGreaterThan(20)
  expect(scans).toEqual([])
})

test('no statement of a page of the queue does', async () => {
  const { count, scans } = await scansOf(async (tx) => {
    const at = { scopeKind: 'organization', scopeId: 1, groupId: 1 } as const
    const runner = { name: 'a', nameKey: 'a', labels: '[]', os: 'linux', version: '2', ephemeral: 0, updatesDisabled: 0, clientId: 'c' }
    const { id } = await tx
      .insertInto('runner')
      .values({ ...at, ...runner, credentialVersion: 1, publicKey: '{}', createdAt: 1, lastSeenAt: 1, deletedAt: null })
      .returning('id')
      .executeTakeFirstOrThrow()
    await tx
      .insertInto('runnerLabel')
      .values(['a', 'b'].map((nameKey) => ({ runnerId: id, nameKey })))
      .execute()
    const scopes = [{ kind: 'organization', id: 1 } as const]
    await recentDurations(tx, { kind: 'organization', id: 1 }, 200)
    await jobsAhead(tx, { kind: 'organization', id: 1 }, { rarestLabel: 'a', rank: 0, turn: 1, wideTurn: 1 }, { id: 1, queuedAt: 1 }, 1000)
    await queuedPage(tx, { kind: 'organization', id: 1 }, { offset: 0, limit: 30 })
    await groupPolicies(tx, [1, 2])
    await runningAsking(tx, 'a', { kind: 'organization', id: 1 })
    expect((await candidatesFor(tx, scopes, ['a', 'b'], 1000)).matching).toHaveLength(1)
  })

  expect(count).toBeGreaterThan(5)
  // What is counted within a limit is a subquery, which SQLite calls a scan of it.
  expect(scans.filter((scan) => !/^SCAN (?:there|having|ahead|2-ROW VALUES CLAUSE|\(subquery-\d+\))$/.test(scan))).toEqual([])
})

/** How many statements `run` makes, and which of them read a whole table on SQLite. */
async function scansOf(run: (tx: Db) => Promise<void>): Promise<{ count: number; scans: string[] }> {
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
  await db.transaction().execute(run)

  const sqlite = new DatabaseSync(file)
  const scans = queries.flatMap(({ sql, parameters }) =>
    sqlite
      .prepare(`explain query plan ${sql}`)
      .all(...(parameters as SQLInputValue[]))
      .map(({ detail }) => String(detail))
      .filter((detail) => detail.startsWith('SCAN') && !/USING (COVERING )?INDEX|VIRTUAL TABLE/.test(detail)),
  )
  sqlite.close()
  return { count: queries.length, scans }
}
