import { generateKeyPairSync, randomBytes, randomUUID } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { deriveKeys, type Keys } from '../../src/core/access/keys.ts'
import { signToken } from '../../src/core/access/signed-token.ts'
import type { Deps } from '../../src/core/deps.ts'
import { openGit } from '../../src/core/repos/git.ts'
import { createRepository } from '../../src/core/repos/repositories.ts'
import { knownScopes, systemActor, type ScopeRef } from '../../src/model/access.ts'
import type { Account, Repository } from '../../src/model/account.ts'
import { hashSecret, newPersonalToken } from '../../src/model/secret-text.ts'
import { accountInsert, enterpriseEnsure, membershipSet } from '../../src/store/accounts.ts'
import { migrate } from '../../src/store/migrate.ts'
import { openDatabase, type DatabaseConfig, type Db } from '../../src/store/open.ts'
import { runnerGroupEnsureDefault } from '../../src/store/runner-groups.ts'
import { tokenInsert } from '../../src/store/tokens.ts'

/** A data folder with an organization, its owner and an empty repository; a server is started on it afterwards. */
export interface State extends AsyncDisposable {
  folder: string
  database: DatabaseConfig
  secretKey: string
  keys: Keys
  /** Of the owner of `acme`. */
  token: string
  acme: Account
  repository: Repository
}

export interface SeedOptions {
  /** SQLite in the folder unless given. */
  database?: DatabaseConfig
  more?: (db: Db, state: Pick<State, 'acme' | 'repository'>) => Promise<void>
}

const silentLog = { debug() {}, info() {}, warn() {}, error() {} }

export async function makeState(options: SeedOptions = {}): Promise<State> {
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-bench-'))
  const reposDir = path.join(folder, 'repos')
  mkdirSync(reposDir)
  const secret = randomBytes(32)
  const database = options.database ?? { kind: 'sqlite', file: path.join(folder, 'fleetfoot.sqlite'), sync: 'normal' }
  const db = openDatabase(database)
  const now = Date.now()
  try {
    await migrate(db, now)
    await enterpriseEnsure(db, 'fleetfoot', now)
    const acme = await accountInsert(db, { kind: 'organization', login: 'acme', createdAt: now })
    const mona = await accountInsert(db, { kind: 'user', login: 'mona', createdAt: now })
    if (!acme || !mona) throw new Error('the database is not empty')
    await membershipSet(db, { organizationId: acme.id, userId: mona.id, role: 'owner', createdAt: now })
    await runnerGroupEnsureDefault(db, { kind: 'organization', id: acme.id }, now)
    const token = newPersonalToken()
    const row = { kind: 'personal' as const, userId: mona.id, assignmentId: null, name: 'bench', scopes: [...knownScopes] }
    await tokenInsert(db, { ...row, expiresAt: null, createdAt: now, hash: hashSecret(token) })

    const git = openGit({ dir: reposDir, log: silentLog })
    const deps = { db, git, log: silentLog, now: () => now } as unknown as Deps
    const repository = await createRepository(deps, systemActor, { owner: 'acme', name: 'rocket', visibility: 'private' })
    await options.more?.(db, { acme, repository })
    return {
      folder,
      database,
      secretKey: secret.toString('base64'),
      keys: deriveKeys(secret),
      token,
      acme,
      repository,
      async [Symbol.asyncDispose]() {
        rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
      },
    }
  } finally {
    await db.destroy()
  }
}

export interface SeededRunner {
  id: number
  sessionId: string
}

const BATCH = 500

/** Runners that share a key, each with a session, as if they had registered and connected. */
export async function seedRunners(
  db: Db,
  scope: ScopeRef,
  { count, prefix, labels }: { count: number; prefix: string; labels: (index: number) => string[] },
): Promise<SeededRunner[]> {
  const now = Date.now()
  const group = await db.selectFrom('runnerGroup').select('id').where('ownerId', '=', scope.id).executeTakeFirst()
  const { n = '', e = '' } = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ format: 'jwk' })
  const names = new Set(Array.from({ length: count }, (_, index) => labels(index)).flat())
  const ids = await labelIds(db, [...names])
  const made: SeededRunner[] = []
  await db.transaction().execute(async (tx) => {
    for (let begin = 0; begin < count; begin += BATCH) {
      const batch = Array.from({ length: Math.min(BATCH, count - begin) }, (_, offset) => begin + offset)
      const rows = await tx
        .insertInto('runner')
        .values(
          batch.map((index) => ({
            scopeKind: scope.kind,
            scopeId: scope.id,
            groupId: group?.id ?? null,
            name: `${prefix}-${index}`,
            nameKey: `${prefix}-${index}`,
            labels: JSON.stringify(labels(index).map((name) => ({ id: ids.get(name), name, type: 'custom' }))),
            os: 'linux',
            version: '2.336.0',
            ephemeral: 0,
            updatesDisabled: 1,
            clientId: randomUUID(),
            credentialVersion: 1,
            publicKey: JSON.stringify({ n, e }),
            createdAt: now,
            lastSeenAt: now,
            deletedAt: null,
          })),
        )
        .returning('id')
        .execute()
      const sessions = rows.map(({ id }) => ({
        runnerId: id,
        sessionId: randomUUID(),
        ownerName: 'bench',
        createdAt: now,
        lastPollAt: now,
      }))
      await tx.insertInto('runnerSession').values(sessions).execute()
      const labelRows = rows.flatMap(({ id }, at) => labels(batch[at] ?? 0).map((nameKey) => ({ runnerId: id, nameKey })))
      for (let i = 0; i < labelRows.length; i += 10_000) {
        await tx
          .insertInto('runnerLabel')
          .values(labelRows.slice(i, i + 10_000))
          .execute()
      }
      made.push(...sessions.map(({ runnerId, sessionId }) => ({ id: runnerId, sessionId })))
    }
  })
  return made
}

/** Runner groups of an owner, numbered after the Default one, and the runners spread over all of them. */
export async function seedGroups(db: Db, owner: ScopeRef, { count, runners }: { count: number; runners: SeededRunner[] }): Promise<void> {
  if (owner.kind === 'repository') throw new Error('repositories have no groups')
  const ownerKind = owner.kind
  const now = Date.now()
  await db.transaction().execute(async (tx) => {
    const ids: number[] = []
    for (let begin = 0; begin < count; begin += BATCH) {
      const rows = Array.from({ length: Math.min(BATCH, count - begin) }, (_, offset) => ({
        ownerKind,
        ownerId: owner.id,
        number: begin + offset + 2,
        name: `group-${begin + offset}`,
        nameKey: `group-${begin + offset}`,
        visibility: 'all',
        allowsPublicRepositories: 0,
        createdAt: now,
        updatedAt: now,
      }))
      ids.push(...(await tx.insertInto('runnerGroup').values(rows).returning('id').execute()).map(({ id }) => id))
    }
    for (const [index, { id }] of runners.entries()) {
      await tx
        .updateTable('runner')
        .set({ groupId: ids[index % ids.length] ?? null })
        .where('id', '=', id)
        .execute()
    }
  })
}

async function labelIds(db: Db, names: string[]): Promise<Map<string, number>> {
  for (let i = 0; i < names.length; i += BATCH) {
    await db
      .insertInto('label')
      .values(names.slice(i, i + BATCH).map((nameKey) => ({ nameKey })))
      .onConflict((c) => c.doNothing())
      .execute()
  }
  return new Map((await db.selectFrom('label').select(['id', 'nameKey']).execute()).map(({ id, nameKey }) => [nameKey, id]))
}

/** The access token that a seeded runner would have got for its assertion. */
export function runnerAccessToken(keys: Keys, runnerId: number): string {
  const issuedAt = Math.floor(Date.now() / 1000)
  return signToken(keys.runnerToken, { iat: issuedAt, exp: issuedAt + 3600, jti: randomUUID(), rid: runnerId, ver: 1 })
}

/** Jobs in line: `count` of them, spread over lines of `repositories` × `labelSets`. The queue is as pushes would have left it. */
export async function seedQueue(
  db: Db,
  { acme, repository }: Pick<State, 'acme' | 'repository'>,
  { count, repositories, labelSets }: { count: number; repositories: number; labelSets: string[][] },
): Promise<void> {
  const now = Date.now() - count
  await db.transaction().execute(async (tx) => {
    const repositoryIds = [repository.id]
    for (let i = 1; i < repositories; i++) {
      const row = { ownerId: acme.id, name: `r-${i}`, nameKey: `r-${i}`, description: null, visibility: 'private' as const }
      const more = { defaultBranch: 'main', runNumbers: '{}', createdAt: now, updatedAt: now, pushedAt: null }
      const { id } = await tx
        .insertInto('repository')
        .values({ ...row, ...more })
        .returning('id')
        .executeTakeFirstOrThrow()
      repositoryIds.push(id)
    }
    const places = repositoryIds.flatMap((repositoryId) => labelSets.map((labels) => ({ repositoryId, labels })))
    const lines: number[] = []
    for (let begin = 0; begin < places.length; begin += BATCH) {
      const rows = places.slice(begin, begin + BATCH).map(({ repositoryId, labels }, offset) => ({
        key: JSON.stringify([repositoryId, null, labels]),
        repositoryId,
        ownerId: acme.id,
        isPublic: 0,
        groupName: null,
        labels: JSON.stringify(labels),
        rarestLabel: labels.at(-1) ?? '',
        headQueuedAt: now + begin + offset,
        headTurn: begin + offset + 1,
        headWide: begin + offset + 1,
        lastTurn: begin + offset + 1,
        lastWide: begin + offset + 1,
      }))
      lines.push(...(await tx.insertInto('line').values(rows).returning('id').execute()).map(({ id }) => id))
    }
    for (let begin = 0; begin < count; begin += BATCH) {
      const rows = Array.from({ length: Math.min(BATCH, count - begin) }, (_, offset) => {
        const index = begin + offset
        const place = places[index % places.length]
        return {
          runId: 1,
          attemptId: 1,
          repositoryId: place?.repositoryId ?? 0,
          key: `j${index}`,
          name: `j${index}`,
          position: index,
          status: 'queued' as const,
          conclusion: null,
          problem: null,
          lineId: lines[index % lines.length] ?? null,
          labels: JSON.stringify(place?.labels),
          groupName: null,
          queuedAt: now + index,
          turn: index + 1,
          wideTurn: index + 1,
          assignmentId: null,
          runnerId: null,
          runnerName: null,
          runnerGroupId: null,
          runnerGroupName: null,
          timeoutMs: 3_600_000,
          continueOnError: 0,
          outputs: null,
          cancelledAt: null,
          cancelReason: null,
          createdAt: now,
          startedAt: null,
          completedAt: null,
        }
      })
      await tx.insertInto('job').values(rows).execute()
    }
  })
}
