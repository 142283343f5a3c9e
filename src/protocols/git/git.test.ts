import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import type { AddressInfo } from 'node:net'
import path from 'node:path'
import { gzipSync } from 'node:zlib'
import { fastify } from 'fastify'
import { expect, test } from 'vitest'
import { makeTestDatabase } from '../../../test/support/database.ts'
import { makeGitClient, type GitClient } from '../../../test/support/git-client.ts'
import { makeTestGit, silentLog } from '../../../test/support/repos.ts'
import type { Deps } from '../../core/deps.ts'
import { createServer } from '../../http/server.ts'
import { hashSecret } from '../../model/secret-text.ts'
import type { Push } from '../../model/push.ts'
import { accountInsert, collaboratorSet } from '../../store/accounts.ts'
import { migrate } from '../../store/migrate.ts'
import { openDatabase } from '../../store/open.ts'
import { pushById, pushesAfter } from '../../store/pushes.ts'
import { formerRepositorySet, repositoryById, repositoryInsert, repositoryUpdate } from '../../store/repositories.ts'
import { tokenInsert } from '../../store/tokens.ts'
import { gitRoom } from './routes.ts'

const TOKENS = { owner: 'ghp_owner', reader: 'ghp_reader', stranger: 'ghp_stranger' }
/** One more of the owner's, that may not push workflows. */
const NARROW = 'ghp_narrow'

/** A listening server with acme/rocket (private) and acme/open (public). */
async function startGitServer() {
  const database = await makeTestDatabase()
  const db = openDatabase(database.config)
  await migrate(db, 1)
  const repos = makeTestGit(100 * 1024 * 1024)
  const { git, dir } = repos
  // The room and its use-cases ask for no more than this.
  const deps = { db, now: Date.now, log: silentLog, git } as unknown as Deps

  const add = async (kind: 'user' | 'organization', login: string) => (await accountInsert(db, { kind, login, createdAt: 1 }))?.id ?? 0
  const acme = await add('organization', 'acme')
  const repository = async (name: string, visibility: 'private' | 'public') =>
    (await repositoryInsert(db, { ownerId: acme, name, description: null, visibility, defaultBranch: 'main', createdAt: 1 })) ?? 0
  const [rocket, open] = [await repository('rocket', 'private'), await repository('open', 'public')]
  for (const [login, token] of Object.entries(TOKENS)) {
    const userId = await add('user', login)
    const rest = { kind: 'personal' as const, userId, assignmentId: null, name: '', expiresAt: null, createdAt: 1 }
    await tokenInsert(db, { hash: hashSecret(token), scopes: ['repo', 'workflow'], ...rest })
    if (login === 'owner') await tokenInsert(db, { hash: hashSecret(NARROW), scopes: ['repo'], ...rest })
    const permission = login === 'owner' ? 'write' : 'read'
    if (login === 'stranger') continue
    for (const repositoryId of [rocket, open]) await collaboratorSet(db, { repositoryId, userId, permission, createdAt: 1 })
  }

  const logger = fastify({ logger: { level: 'silent' } }).log
  const { app } = createServer({
    logger,
    trustedProxies: [],
    tls: undefined,
    onUpgrade: (_request, socket) => socket.destroy(),
  })
  await app.register(gitRoom, { deps })
  await app.listen({ port: 0, host: '127.0.0.1' })
  const { port } = app.server.address() as AddressInfo
  const base = `http://127.0.0.1:${port}`
  return {
    app,
    db,
    deps,
    dir,
    git,
    rocket,
    base,
    /** A clone address with a token in it. */
    url: (token: string, name = 'rocket') => `http://x-access-token:${token}@127.0.0.1:${port}/acme/${name}`,
    pushes: (): Promise<Push[]> => pushesAfter(db, { repositoryId: rocket, id: 0 }, 100),
    async [Symbol.asyncDispose]() {
      app.server.closeAllConnections()
      await app.close()
      await db.destroy()
      await database[Symbol.asyncDispose]()
      repos[Symbol.dispose]()
    },
  }
}
type Server = Awaited<ReturnType<typeof startGitServer>>

/** A work tree `w` with one commit, pushed to main. */
async function pushFirst(server: Server, client: GitClient, name = 'rocket'): Promise<string> {
  await client.git('', 'init', '--quiet', 'w')
  const sha = await client.commit('w', 'first', { 'README.md': '# rocket\n' })
  await client.git('w', 'remote', 'add', 'origin', server.url(TOKENS.owner, name))
  await client.git('w', 'push', '--quiet', 'origin', 'HEAD:main')
  return sha
}

test('what a writer pushes, a reader clones, with and without .git', async () => {
  await using server = await startGitServer()
  using client = makeGitClient()

  const sha = await pushFirst(server, client)
  await client.git('', 'clone', '--quiet', server.url(TOKENS.reader), 'a')
  await client.git('', 'clone', '--quiet', `${server.url(TOKENS.reader)}.git`, 'b')

  expect(await client.git('a', 'rev-parse', 'HEAD')).toBe(sha)
  expect(await client.git('b', 'rev-parse', 'HEAD')).toBe(sha)
  const [push] = await server.pushes()
  expect(push).toMatchObject({ state: 'settled', updates: [{ ref: 'refs/heads/main', after: sha, before: '0'.repeat(40) }] })
  expect((await repositoryById(server.db, server.rocket))?.pushedAt).toBeGreaterThan(1)
})

test('the first branch of an empty repository becomes its default', async () => {
  await using server = await startGitServer()
  using client = makeGitClient()
  await client.git('', 'init', '--quiet', 'w')
  const sha = await client.commit('w', 'first', { a: '1' })

  await client.git('w', 'push', '--quiet', server.url(TOKENS.owner), 'HEAD:trunk')

  expect((await repositoryById(server.db, server.rocket))?.defaultBranch).toBe('trunk')
  await client.git('', 'clone', '--quiet', server.url(TOKENS.reader), 'a')
  expect(await client.git('a', 'rev-parse', 'HEAD')).toBe(sha)
  expect(await client.git('a', 'rev-parse', '--abbrev-ref', 'HEAD')).toBe('trunk')
})

test('checkout fetches one commit by id, shallow, partial, and the header of its token in any case', async () => {
  await using server = await startGitServer()
  using client = makeGitClient()
  const first = await pushFirst(server, client)
  await client.commit('w', 'second', { b: '2' })
  await client.git('w', 'push', '--quiet', 'origin', 'HEAD:main')
  await client.git('', 'init', '--quiet', 'c')
  const basic = Buffer.from(`x-access-token:${TOKENS.reader}`).toString('base64')
  await client.git('c', 'config', `http.${server.base}/.extraheader`, `AUTHORIZATION: basic ${basic}`)
  await client.git('c', 'remote', 'add', 'origin', `${server.base}/acme/rocket`)

  const refspec = `+${first}:refs/remotes/origin/main`
  await client.git('c', '-c', 'protocol.version=2', 'fetch', '--no-tags', '--depth=1', '--filter=blob:none', 'origin', refspec)

  expect(await client.git('c', 'rev-list', '--all')).toBe(first)
  expect(await client.git('c', 'rev-list', '--objects', '--missing=print', first)).toContain('?')
  await client.git('c', 'checkout', '--quiet', first)
})

test('a shallow clone of a branch has its last commit only', async () => {
  await using server = await startGitServer()
  using client = makeGitClient()
  await pushFirst(server, client)
  const second = await client.commit('w', 'second', { b: '2' })
  await client.git('w', 'push', '--quiet', 'origin', 'HEAD:main')

  await client.git('', 'clone', '--quiet', '--depth=1', '--branch=main', server.url(TOKENS.reader), 'a')

  expect(await client.git('a', 'rev-list', 'HEAD')).toBe(second)
})

test('a reader who pushes is told why not, and nothing is recorded', async () => {
  await using server = await startGitServer()
  using client = makeGitClient()
  await pushFirst(server, client)
  await client.commit('w', 'second', {})

  const { code, stderr } = await client.run('w', 'push', server.url(TOKENS.reader), 'HEAD:main')

  expect(code).not.toBe(0)
  expect(stderr).toContain('The token of reader may read this repository, but not push to it.')
  expect(stderr).toContain('403')
  expect(await server.pushes()).toHaveLength(1)
})

test('anonymous readers are asked to sign in, but for public repositories', async () => {
  await using server = await startGitServer()
  using client = makeGitClient()
  await pushFirst(server, client, 'open')
  const ask = (name: string, service = 'git-upload-pack') => fetch(`${server.base}/acme/${name}/info/refs?service=${service}`)

  for (const answer of [await ask('rocket'), await ask('absent'), await ask('open', 'git-receive-pack')]) {
    expect(answer.status).toBe(401)
    expect(answer.headers.get('www-authenticate')).toBe('Basic realm="Fleetfoot"')
  }
  expect((await ask('open')).status).toBe(200)
  await client.git('', 'clone', '--quiet', `${server.base}/acme/open`, 'a')
})

test('a bad token is refused on public repositories too; what may not be seen is not found', async () => {
  await using server = await startGitServer()
  const ask = (name: string, authorization: string) =>
    fetch(`${server.base}/acme/${name}/info/refs?service=git-upload-pack`, { headers: { authorization } })

  const bad = await ask('open', 'Bearer ghp_wrong')
  expect(bad.status).toBe(401)
  expect(await bad.text()).toBe('Bad credentials\n')
  const hidden = await ask('rocket', `token ${TOKENS.stranger}`)
  expect(hidden.status).toBe(404)
  expect(await hidden.text()).toBe('Repository not found.\n')
  expect((await ask('rocket', `Basic ${Buffer.from(`${TOKENS.reader}:x-oauth-basic`).toString('base64')}`)).status).toBe(200)
})

test('refs that are ours cannot be pushed, and nothing of that push is taken', async () => {
  await using server = await startGitServer()
  using client = makeGitClient()
  const sha = await pushFirst(server, client)

  for (const ref of ['refs/pull/1/head', 'refs/fleetfoot/x', 'refs/notes/commits']) {
    const { code, stderr } = await client.run('w', 'push', 'origin', `HEAD:${ref}`)
    expect(code, ref).not.toBe(0)
    expect(stderr).toMatch(/hidden ref|can be pushed|cannot be pushed/)
  }
  const mixed = await client.run('w', 'push', 'origin', 'HEAD:refs/heads/fine', 'HEAD:refs/notes/commits')
  expect(mixed.code).not.toBe(0)
  expect(mixed.stderr).toContain('remote: refs/notes/commits cannot be pushed')
  expect(await server.git.refs(server.rocket)).toEqual([{ name: 'refs/heads/main', sha, commitSha: sha }])
})

test('pull request refs can be fetched, our own cannot be seen', async () => {
  await using server = await startGitServer()
  using client = makeGitClient()
  const sha = await pushFirst(server, client)
  const bare = path.join(server.dir, '0', `${server.rocket}.git`)
  await client.git('', '--git-dir', bare, 'update-ref', 'refs/pull/7/merge', sha)
  await client.git('', '--git-dir', bare, 'update-ref', 'refs/fleetfoot/x', sha)

  const listed = await client.git('w', 'ls-remote', server.url(TOKENS.reader))

  expect(listed).toContain('refs/pull/7/merge')
  expect(listed).not.toContain('refs/fleetfoot')
})

test('branches and tags are made, moved backwards and deleted', async () => {
  await using server = await startGitServer()
  using client = makeGitClient()
  const first = await pushFirst(server, client)
  await client.commit('w', 'second', { b: '2' })
  await client.git('w', 'tag', '--annotate', '--message', 'one', 'v1')

  await client.git('w', 'push', '--quiet', 'origin', 'HEAD:main', 'HEAD:side', 'v1')
  await client.git('w', 'push', '--quiet', '--force', 'origin', `${first}:main`)
  await client.git('w', 'push', '--quiet', 'origin', ':side', ':v1')
  expect((await client.run('w', 'push', 'origin', ':main')).stderr).toContain('refusing to delete the current branch')

  expect((await server.git.refs(server.rocket)).map(({ name, sha }) => [name, sha])).toEqual([['refs/heads/main', first]])
  await expect
    .poll(async () => (await server.pushes()).map(({ state }) => state))
    .toEqual(['settled', 'settled', 'settled', 'settled', 'refused'])
})

test('a push that git refuses is closed, and is not the last one', async () => {
  await using server = await startGitServer()
  using client = makeGitClient()
  const sha = await pushFirst(server, client)
  await client.git('w', 'push', '--quiet', 'origin', 'HEAD:side')

  // A branch cannot lie in the folder of another.
  const { code } = await client.run('w', 'push', 'origin', 'HEAD:refs/heads/side/below')
  expect(code).not.toBe(0)
  await expect.poll(async () => (await server.pushes()).at(-1)?.state).toBe('refused')

  await client.git('w', 'push', '--quiet', 'origin', 'HEAD:other')
  expect(await server.git.resolve(server.rocket, 'other')).toBe(sha)
})

test('a body that breaks off is an error of that push only', async () => {
  await using server = await startGitServer()
  using client = makeGitClient()
  const sha = await pushFirst(server, client)
  const command = `${sha} ${'1'.repeat(40)} refs/heads/main\0 report-status side-band-64k`
  const line = `${(command.length + 4).toString(16).padStart(4, '0')}${command}0000PACK\0\0\0\u0002\0\0\0\u0003abc`
  const send = (body: string, length: number, cut: boolean) =>
    new Promise<string>((resolve) => {
      const headers = {
        authorization: `token ${TOKENS.owner}`,
        'content-type': 'application/x-git-receive-pack-request',
        'content-length': length,
      }
      const request = httpRequest(`${server.base}/acme/rocket/git-receive-pack`, { method: 'POST', headers }, (response) => {
        let text = ''
        response.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
        response.on('close', () => resolve(text))
      })
      request.on('error', () => resolve('broken'))
      request.write(Buffer.from(body, 'latin1'), () => {
        if (cut) request.destroy()
      })
      if (!cut) request.end()
    })

  expect(await send(line, line.length, false)).toContain('unpack')
  expect(await send(line, 100_000, true)).toBe('broken')

  await client.commit('w', 'second', { b: '2' })
  await client.git('w', 'push', '--quiet', 'origin', 'HEAD:main')
  const objects = path.join(server.dir, '0', `${server.rocket}.git`, 'objects')
  await expect.poll(() => readdirSync(objects).filter((name) => name.startsWith('tmp_') || name.startsWith('incoming'))).toEqual([])
})

test('60 MB stream through, and more than is allowed is refused', async () => {
  await using server = await startGitServer()
  using client = makeGitClient()
  await pushFirst(server, client)
  await client.git('w', 'config', 'core.compression', '0')

  await client.commit('w', 'large', { large: randomBytes(60 * 1024 * 1024) })
  const began = process.memoryUsage().rss
  await client.git('w', 'push', '--quiet', 'origin', 'HEAD:main')
  expect(process.memoryUsage().rss - began).toBeLessThan(50 * 1024 * 1024)

  await client.commit('w', 'larger', { larger: randomBytes(101 * 1024 * 1024) })
  const { code, stderr } = await client.run('w', 'push', 'origin', 'HEAD:main')
  expect(code).not.toBe(0)
  expect(stderr).toContain('exceeds maximum allowed size')
})

test('of two pushes to one branch one wins; two branches do not mind each other', async () => {
  await using server = await startGitServer()
  using client = makeGitClient()
  await pushFirst(server, client)
  for (const name of ['a', 'b']) {
    await client.git('', 'clone', '--quiet', server.url(TOKENS.owner), name)
    await client.commit(name, name, { [name]: name })
  }

  const same = await Promise.all(['a', 'b'].map((name) => client.run(name, 'push', 'origin', 'HEAD:main')))
  expect(same.filter(({ code }) => code === 0)).toHaveLength(1)
  const different = await Promise.all(['a', 'b'].map((name) => client.run(name, 'push', 'origin', `HEAD:${name}`)))
  expect(different.map(({ code }) => code)).toEqual([0, 0])

  await expect.poll(async () => (await server.pushes()).filter(({ state }) => state === 'received')).toEqual([])
  const settled = (await server.pushes()).filter(({ state }) => state === 'settled')
  expect(settled.flatMap(({ updates }) => updates.map(({ ref }) => ref)).sort()).toEqual([
    'refs/heads/a',
    'refs/heads/b',
    'refs/heads/main',
    'refs/heads/main',
  ])
})

test('paths that lead elsewhere are not found', async () => {
  await using server = await startGitServer()
  const ask = async (suffix: string, init: RequestInit = {}) => {
    const headers = { authorization: `token ${TOKENS.owner}`, ...(init.headers as Record<string, string>) }
    return (await fetch(`${server.base}${suffix}`, { ...init, headers })).status
  }

  expect(await ask('/acme/..%2f../info/refs?service=git-upload-pack')).toBe(404)
  expect(await ask('/acme/rocket%00/info/refs?service=git-upload-pack')).toBe(404)
  expect(await ask('/%2e%2e%2f/rocket/info/refs?service=git-upload-pack')).toBe(404)
  expect(await ask('/acme/rocket/info/refs')).toBe(404)
  expect(await ask('/acme/rocket/HEAD')).toBe(404)
  expect(await ask('/acme/rocket/objects/info/packs')).toBe(404)
  expect(await ask('/acme/rocket/info/refs?service=git-evil')).toBe(403)
  const post = { method: 'POST', headers: { 'content-type': 'text/plain' }, body: '0000' }
  expect(await ask('/acme/rocket/git-upload-pack', post)).toBe(415)
  expect(await ask('/acme/rocket/git-receive-pack', post)).toBe(415)
})

test('when the database is away the answer is 503', async () => {
  await using server = await startGitServer()
  await server.db.destroy()

  const headers = { authorization: `token ${TOKENS.owner}` }
  const answer = await fetch(`${server.base}/acme/rocket/info/refs?service=git-upload-pack`, { headers })

  expect(answer.status).toBe(503)
})

test('a push is not lost when it cannot be recorded or settled', async () => {
  await using server = await startGitServer()
  using client = makeGitClient()
  const sha = await pushFirst(server, client)
  const { git } = server.deps
  const head = git.head.bind(git)

  git.head = () => Promise.reject(new Error('away'))
  const outcome = await client.run('w', 'push', 'origin', 'HEAD:later')
  git.head = head

  expect(outcome.code).toBe(0)
  expect(outcome.stderr).toContain('remote: Your commits are stored; their workflow runs will follow.')
  const push = (await server.pushes()).at(-1)
  expect(push).toMatchObject({ state: 'received', updates: [{ ref: 'refs/heads/later', after: sha }] })
  expect(await pushById(server.db, push?.id ?? 0)).toEqual(push)
})

test('a renamed repository answers to its former name', async () => {
  await using server = await startGitServer()
  using client = makeGitClient()
  const sha = await pushFirst(server, client)
  await repositoryUpdate(server.db, server.rocket, { name: 'falcon', updatedAt: 2 })
  const { owner } = (await repositoryById(server.db, server.rocket)) ?? { owner: { id: 0 } }
  await formerRepositorySet(server.db, { ownerId: owner.id, name: 'rocket', repositoryId: server.rocket })

  expect(await client.git('w', 'ls-remote', 'origin', 'main')).toContain(sha)
  expect((await fetch(`${server.base}/acme/rocket/info/refs?service=git-upload-pack`)).status).toBe(401)
})

test('compressed requests and large ones of known length are understood', async () => {
  await using server = await startGitServer()
  using client = makeGitClient()
  await pushFirst(server, client)
  const large = await client.commit('w', 'large', { large: randomBytes(3 * 1024 * 1024) })
  await client.git('w', '-c', 'http.postBuffer=10000000', 'push', '--quiet', 'origin', 'HEAD:main')

  const answer = await fetch(`${server.base}/acme/rocket/git-upload-pack`, {
    method: 'POST',
    headers: {
      authorization: `bearer ${TOKENS.reader}`,
      'content-type': 'application/x-git-upload-pack-request',
      'content-encoding': 'gzip',
      'git-protocol': 'version=2',
    },
    body: gzipSync('0014command=ls-refs\n00010009peel\n0000'),
  })

  expect(answer.headers.get('content-type')).toBe('application/x-git-upload-pack-result')
  expect(await answer.text()).toContain(`${large} refs/heads/main`)
})

test('a client that hangs up ends git', async () => {
  await using server = await startGitServer()
  using client = makeGitClient()
  await pushFirst(server, client)
  await client.git('w', 'config', 'core.compression', '0')
  const sha = await client.commit('w', 'large', { large: randomBytes(20 * 1024 * 1024) })
  await client.git('w', 'push', '--quiet', 'origin', 'HEAD:main')
  const started: ChildProcess[] = []
  const { git } = server.deps
  const startBackend = git.startBackend.bind(git)
  git.startBackend = async (...args) => {
    const child = await startBackend(...args)
    started.push(child)
    return child
  }

  const want = `want ${sha} side-band-64k ofs-delta\n`
  const body = `${(want.length + 4).toString(16).padStart(4, '0')}${want}00000009done\n`
  const headers = { authorization: `token ${TOKENS.reader}`, 'content-type': 'application/x-git-upload-pack-request' }
  await new Promise<void>((resolve, reject) => {
    const request = httpRequest(`${server.base}/acme/rocket/git-upload-pack`, { method: 'POST', headers }, (response) => {
      response.once('data', () => {
        request.destroy()
        resolve()
      })
    })
    request.once('error', reject)
    request.end(body)
  })

  expect(started).toHaveLength(1)
  await expect.poll(() => started[0]?.signalCode).toBe('SIGTERM')
  await expect.poll(() => started[0]?.stdout?.closed).toBe(true)
})

const JOB = {
  runId: 1,
  attemptId: 1,
  key: 'build',
  name: 'build',
  position: 0,
  conclusion: null,
  problem: null,
  lineId: null,
  labels: '[]',
  groupName: null,
  queuedAt: 1,
  runnerId: 1,
  runnerName: null,
  runnerGroupId: null,
  runnerGroupName: null,
  timeoutMs: 1,
  continueOnError: 0,
  outputs: null,
  cancelledAt: null,
  cancelReason: null,
  createdAt: 1,
  startedAt: 1,
  completedAt: null,
}

test("a job's token reads its own repository and pushes to none", async () => {
  await using server = await startGitServer()
  using client = makeGitClient()
  const sha = await pushFirst(server, client)
  const job = {
    ...JOB,
    status: 'in_progress',
    assignmentId: 1,
    repositoryId: server.rocket,
  } as const
  const { id: jobId } = await server.db.insertInto('job').values(job).returning('id').executeTakeFirstOrThrow()
  const ids = { requestId: 'r', sessionId: 's', planId: 'p', timelineId: 't', jobGuid: 'g' }
  const times = { givenAt: 1, acquiredAt: 1, renewedAt: 1, lastSignAt: 1, cancelSentAt: null, completedAt: null }
  await server.db
    .insertInto('assignment')
    .values({ id: 1, jobId, runnerId: 1, state: 'running', ...ids, ...times })
    .execute()
  const rest = { userId: null, name: '', scopes: [], expiresAt: null, createdAt: 1 }
  await tokenInsert(server.db, { kind: 'job', assignmentId: 1, hash: hashSecret('ghs_job'), ...rest })

  expect(await client.git('w', 'ls-remote', server.url('ghs_job'), 'main')).toContain(sha)
  const pushed = await client.run('w', 'push', server.url('ghs_job'), 'HEAD:other')
  expect(pushed.code).not.toBe(0)
  expect(pushed.stderr).toContain('This token may read this repository, but not push to it.')
  await server.db.updateTable('job').set({ status: 'completed' }).execute()
  expect((await client.run('w', 'ls-remote', server.url('ghs_job'))).stderr).toContain('Authentication failed')
})

const CI = '.github/workflows/ci.yml'
const refusal = (ref: string, file = CI) =>
  `remote: ${ref}: refusing to allow a Personal Access Token to create or update workflow \`${file}\` without \`workflow\` scope`

test('a token without the scope `workflow` neither makes nor changes workflow files, on no branch and no tag', async () => {
  await using server = await startGitServer()
  using client = makeGitClient()
  await pushFirst(server, client)
  const push = (token: string, ...refs: string[]) => client.run('w', 'push', server.url(token), ...refs)

  await client.commit('w', 'workflow', { [CI]: 'on: push\n' })
  const made = await push(NARROW, 'HEAD:main')
  const tagged = await push(NARROW, 'HEAD:refs/tags/v1')
  await client.git('w', 'push', '--quiet', 'origin', 'HEAD:main')
  await client.commit('w', 'changed', { [CI]: 'on: [push]\n', 'src/a': '1' })
  const changed = await push(NARROW, 'HEAD:main', 'HEAD:refs/heads/other')

  expect([made.code, made.stderr]).toEqual([1, expect.stringContaining(refusal('refs/heads/main'))])
  expect([tagged.code, tagged.stderr]).toEqual([1, expect.stringContaining(refusal('refs/tags/v1'))])
  expect([changed.code, changed.stderr]).toEqual([1, expect.stringContaining(refusal('refs/heads/other'))])
  expect((await server.git.refs(server.rocket)).map(({ name }) => name)).toEqual(['refs/heads/main'])
})

test('without the scope `workflow`, all else is pushed: other files, workflows that a branch has, and their end', async () => {
  await using server = await startGitServer()
  using client = makeGitClient()
  await pushFirst(server, client)
  await client.commit('w', 'workflow', { [CI]: 'on: push\n' })
  await client.git('w', 'push', '--quiet', 'origin', 'HEAD:main')
  const push = (...refs: string[]) => client.run('w', 'push', server.url(NARROW), ...refs)

  await client.commit('w', 'code', { 'src/a': '1', '.github/workflows.md': 'x' })
  const code = await push('HEAD:main')
  const branch = await push('HEAD:refs/heads/copy', 'HEAD:refs/tags/v1')
  await client.git('w', 'mv', CI, '.github/workflows/moved.yml')
  await client.commit('w', 'moved', {})
  const moved = await push('HEAD:main')
  await client.git('w', 'rm', '--quiet', '.github/workflows/moved.yml')
  await client.commit('w', 'deleted', {})
  const deleted = await push('HEAD:main')
  const gone = await push(':refs/heads/copy')
  await client.git('w', 'tag', '--annotate', '--message', 'x', 'file', 'HEAD:src/a')
  const file = await push('refs/tags/file')

  expect([code.code, branch.code, deleted.code, gone.code, file.code]).toEqual([0, 0, 0, 0, 0])
  expect([moved.code, moved.stderr]).toEqual([1, expect.stringContaining(refusal('refs/heads/main', '.github/workflows/moved.yml'))])
})
