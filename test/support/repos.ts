import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import type { UserActor } from '../../src/model/access.ts'
import { DiskBlobStore } from '../../src/blobs/disk-blob-store.ts'
import type { Deps } from '../../src/core/deps.ts'
import { ArchiveCache } from '../../src/core/repos/archive-cache.ts'
import { openGit, type Git } from '../../src/core/repos/git.ts'
import { accountInsert, membershipSet } from '../../src/store/accounts.ts'
import { migrate } from '../../src/store/migrate.ts'
import { openDatabase } from '../../src/store/open.ts'
import { makeTestDatabase } from './database.ts'

export const silentLog = { debug() {}, info() {}, warn() {}, error() {} }

/** Bare repositories in a temporary folder. */
export function makeTestGit(maxPushBytes?: number): { git: Git; dir: string } & Disposable {
  const dir = mkdtempSync(path.join(tmpdir(), 'fleetfoot-repos-'))
  const git = openGit({ dir, log: silentLog, ...(maxPushBytes === undefined ? {} : { maxPushBytes }) })
  return {
    git,
    dir,
    [Symbol.dispose]() {
      rmSync(dir, { recursive: true, force: true })
    },
  }
}

/** What use-cases of repositories need, on a real database, with the organization acme. */
export async function makeRepoDeps() {
  const database = await makeTestDatabase({ migrated: true })
  const db = openDatabase(database.config)
  await migrate(db, 1)
  const repos = makeTestGit()
  const clock = { at: 1000 }
  // The use-cases of repositories ask for no more than this.
  const blobs = new DiskBlobStore(path.join(repos.dir, 'blobs'))
  const archives = new ArchiveCache({ git: repos.git, blobs, log: silentLog })
  const deps = { db, git: repos.git, blobs, archives, log: silentLog, now: () => clock.at } as unknown as Deps
  const acme = await accountInsert(db, { kind: 'organization', login: 'acme', createdAt: 1 })

  return {
    deps,
    db,
    git: repos.git,
    dir: repos.dir,
    clock,
    /** A user with a token of these scopes, and a role in acme. */
    async user(login: string, options: { role?: 'owner' | 'member'; scopes?: string[]; siteAdmin?: boolean } = {}): Promise<UserActor> {
      const { role, scopes = ['repo', 'delete_repo'], siteAdmin = false } = options
      const account = await accountInsert(db, { kind: 'user', login, createdAt: 1, ...(siteAdmin ? { siteAdminAt: 1 } : {}) })
      if (!account || !acme) throw new Error(`${login} is taken`)
      if (role) await membershipSet(db, { organizationId: acme.id, userId: account.id, role, createdAt: 1 })
      return { kind: 'user', userId: account.id, login, siteAdmin, token: { kind: 'personal', scopes, expiresAt: null } }
    },
    async [Symbol.asyncDispose]() {
      await db.destroy()
      await database[Symbol.asyncDispose]()
      repos[Symbol.dispose]()
    },
  }
}
