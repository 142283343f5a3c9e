import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { pino, type Logger } from 'pino'
import { startApp, type RunningApp } from '../../src/app.ts'
import type { Config } from '../../src/config/config.ts'
import { createRepository } from '../../src/core/repos/repositories.ts'
import { knownScopes, type Actor } from '../../src/model/access.ts'
import type { Account, Repository } from '../../src/model/account.ts'
import { hashSecret, newPersonalToken } from '../../src/model/secret-text.ts'
import { parseAllowedTargets } from '../../src/model/allowed-targets.ts'
import { defaultTimes, type Times } from '../../src/model/times.ts'
import { accountByLogin, accountInsert, collaboratorSet, membershipSet } from '../../src/store/accounts.ts'
import { runnerGroupEnsureDefault } from '../../src/store/runner-groups.ts'
import { tokenInsert } from '../../src/store/tokens.ts'
import { makeGitClient, type GitClient } from './git-client.ts'
import { makeTestDatabase } from './database.ts'
import { judgeByDescription } from './github-description.ts'
import { judgeByOwnDescription } from './own-description.ts'

export type Caller = (method: string, path: string, body?: unknown, headers?: Record<string, string>) => Promise<Response>

/** The whole product on a free port with a folder of its own; what a test needs to be there is made directly. */
export interface TestServer extends AsyncDisposable {
  url: string
  running: RunningApp
  deps: RunningApp['deps']
  adminToken: string
  dataDir: string
  config: Config
  /** Calls `/api/v3…` (or another absolute path) with a token; without one anonymously. */
  call(token: string | undefined): Caller
  admin: Caller
  /** A user and a token with these scopes (all when not given). */
  user(
    login: string,
    options?: { scopes?: string[]; siteAdmin?: boolean; expiresAt?: number },
  ): Promise<{ account: Account; token: string; call: Caller }>
  organization(login: string, members?: Record<string, 'owner' | 'member'>): Promise<Account>
  repository(owner: string, name: string, visibility?: Repository['visibility']): Promise<Repository>
  collaborator(repository: Repository, login: string, permission: 'read' | 'triage' | 'write' | 'maintain' | 'admin'): Promise<void>
  /** A client with a clone of nothing: commits and pushes to a repository of this server. */
  push(
    token: string,
    repository: Repository,
    files: Record<string, string | Buffer>,
    options?: { branch?: string; message?: string },
  ): Promise<string>
  registrationToken(scope: string, token?: string): Promise<string>
}

export interface StartOptions {
  times?: Partial<Times>
  now?: () => number
  background?: boolean
  config?: Partial<Config>
  logLevel?: string
  logger?: Logger
  keyPoolSize?: number
}

export async function startServer(options: StartOptions = {}): Promise<TestServer> {
  const dataDir = mkdtempSync(path.join(tmpdir(), 'fleetfoot-server-'))
  const database = await makeTestDatabase({ migrated: true })
  const port = await freePort()
  const ownUrl = `http://127.0.0.1:${port}`
  const adminToken = newPersonalToken()
  const config: Config = {
    listen: [{ host: '127.0.0.1', port }],
    url: ownUrl,
    jobServerUrl: `http://fleetfoot.ghe.localhost:${port}`,
    dataDir,
    database: database.config,
    blobsDir: path.join(dataDir, 'blobs'),
    reposDir: path.join(dataDir, 'repos'),
    enterprise: 'fleetfoot',
    trustedProxies: [],
    contentUrl: undefined,
    rateLimit: undefined,
    retentionMs: 90 * 24 * 60 * 60_000,
    webhooks: { allowed: parseAllowedTargets('127.0.0.1'), retries: 5 },
    tls: undefined,
    times: { ...defaultTimes, ...options.times },
    secrets: { key: randomBytes(32), adminToken, adminTokenFile: undefined },
    ...options.config,
  }
  mkdirSync(config.blobsDir, { recursive: true })
  mkdirSync(config.reposDir, { recursive: true })
  const running: RunningApp = await startApp(config, {
    logger: options.logger ?? pino({ level: options.logLevel ?? process.env['TEST_LOG'] ?? 'silent' }),
    judgeAnswer: (answer) => [...judgeByDescription(answer), ...judgeByOwnDescription(running.routes, answer)],
    background: options.background ?? false,
    keyPoolSize: options.keyPoolSize ?? 0,
    ...(options.now && { now: options.now }),
  })
  const { deps } = running
  const { url } = config
  const { db, now } = deps
  const clients: GitClient[] = []

  const call =
    (token: string | undefined): Caller =>
    (method, target, body, headers = {}) =>
      fetch(new URL(target.startsWith('/api/') || target.startsWith('/_') ? target : `/api/v3${target}`, url), {
        method,
        redirect: 'manual',
        headers: {
          'User-Agent': 'fleetfoot-test',
          ...(token !== undefined && { Authorization: `token ${token}` }),
          ...(body !== undefined && { 'Content-Type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
      })
  const named = async (login: string) => {
    const account = await accountByLogin(db, login)
    if (!account) throw new Error(`there is no ${login}`)
    return account
  }

  return {
    url,
    running,
    deps,
    adminToken,
    dataDir,
    config,
    call,
    admin: call(adminToken),
    async user(login, { scopes = [...knownScopes], siteAdmin = false, expiresAt } = {}) {
      const account =
        (await accountInsert(db, { kind: 'user', login, createdAt: now(), ...(siteAdmin && { siteAdminAt: now() }) })) ??
        (await named(login))
      const token = newPersonalToken()
      await tokenInsert(db, {
        kind: 'personal',
        userId: account.id,
        assignmentId: null,
        name: 'test',
        scopes,
        expiresAt: expiresAt ?? null,
        createdAt: now(),
        hash: hashSecret(token),
      })
      return { account, token, call: call(token) }
    },
    async organization(login, members = {}) {
      const account = await accountInsert(db, { kind: 'organization', login, createdAt: now() })
      if (!account) throw new Error(`${login} is taken`)
      await runnerGroupEnsureDefault(db, { kind: 'organization', id: account.id }, now())
      for (const [member, role] of Object.entries(members)) {
        await membershipSet(db, { organizationId: account.id, userId: (await named(member)).id, role, createdAt: now() })
      }
      return account
    },
    async repository(owner, name, visibility = 'private') {
      const admin = await named('admin')
      const actor: Actor = {
        kind: 'user',
        userId: admin.id,
        login: 'admin',
        siteAdmin: true,
        token: { kind: 'admin', scopes: [...knownScopes], expiresAt: null },
      }
      return createRepository(deps, actor, { owner, name, visibility })
    },
    async collaborator(repository, login, permission) {
      await collaboratorSet(db, { repositoryId: repository.id, userId: (await named(login)).id, permission, createdAt: now() })
    },
    async push(token, repository, files, { branch = 'main', message = 'change' } = {}) {
      const client = makeGitClient()
      clients.push(client)
      const remote = `http://x-access-token:${token}@${new URL(url).host}/${repository.owner.login}/${repository.name}`
      const cloned = await client.run('.', 'clone', '--quiet', '--branch', branch, remote, 'work')
      if (cloned.code !== 0) {
        await client.git('.', 'init', '--quiet', '--initial-branch', branch, 'work')
        await client.git('work', 'remote', 'add', 'origin', remote)
      }
      await client.commit('work', message, files)
      const { stderr, code } = await client.run('work', 'push', 'origin', `HEAD:refs/heads/${branch}`)
      if (code !== 0) throw new Error(`push failed: ${stderr}`)
      return stderr
    },
    async registrationToken(scope, token = adminToken) {
      const response = await call(token)('POST', `${scope}/actions/runners/registration-token`)
      return ((await response.json()) as { token: string }).token
    },
    async [Symbol.asyncDispose]() {
      await running[Symbol.asyncDispose]()
      for (const client of clients) client[Symbol.dispose]()
      await database[Symbol.asyncDispose]()
      rmSync(dataDir, { recursive: true, force: true })
    },
  }
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
