import { expect, test } from 'vitest'
import { fits } from '../../../test/support/fits.ts'
import { startServer, type Caller, type TestServer } from '../../../test/support/start-server.ts'

const statusOf = async (answer: Promise<Response>) => (await answer).status

/** Actors of every kind around the private repository acme/rocket. */
async function actorsOf(server: TestServer): Promise<Record<string, Caller>> {
  const actors: Record<string, Caller> = { anonymous: server.call(undefined), admin: server.admin }
  for (const login of ['owner', 'member', 'stranger', 'reader', 'writer', 'keeper']) actors[login] = (await server.user(login)).call
  await server.organization('acme', { owner: 'owner', member: 'member' })
  const rocket = await server.repository('acme', 'rocket')
  await server.collaborator(rocket, 'reader', 'read')
  await server.collaborator(rocket, 'writer', 'write')
  await server.collaborator(rocket, 'keeper', 'admin')
  actors['keeper without repo'] = (await server.user('keeper', { scopes: ['public_repo', 'delete_repo'] })).call
  actors['keeper without delete_repo'] = (await server.user('keeper', { scopes: ['repo'] })).call
  actors['keeper, expired'] = (await server.user('keeper', { expiresAt: Date.now() - 1000 })).call
  return actors
}

test('who may do what with a private repository', async () => {
  await using server = await startServer()
  const actors = await actorsOf(server)

  const expected: Record<string, number[]> = {
    anonymous: [404, 401, 401, 404, 401],
    'keeper, expired': [401, 401, 401, 401, 401],
    stranger: [404, 404, 404, 404, 404],
    'keeper without repo': [404, 404, 404, 404, 404],
    member: [200, 403, 403, 200, 403],
    reader: [200, 403, 403, 200, 403],
    writer: [200, 403, 403, 200, 403],
    'keeper without delete_repo': [200, 200, 204, 200, 403],
    keeper: [200, 200, 204, 200, 204],
    owner: [200, 200, 204, 200, 204],
    admin: [200, 200, 204, 200, 204],
  }
  for (const [name, statuses] of Object.entries(expected)) {
    const call = actors[name] as Caller
    const seen = [
      await statusOf(call('GET', '/repos/acme/rocket')),
      await statusOf(call('PATCH', '/repos/acme/rocket', { description: name })),
      await statusOf(call('PUT', '/repos/acme/rocket/collaborators/reader', { permission: 'pull' })),
      await statusOf(call('GET', '/repos/acme/rocket/collaborators/reader/permission')),
      await statusOf(call('DELETE', '/repos/acme/rocket')),
    ]
    expect({ name, seen }).toEqual({ name, seen: statuses })
    if (seen.at(-1) !== 204) continue
    const rocket = await server.repository('acme', 'rocket')
    for (const [login, role] of [
      ['reader', 'read'],
      ['writer', 'write'],
      ['keeper', 'admin'],
    ] as const) {
      await server.collaborator(rocket, login, role)
    }
  }
})

test('a repository is shown with all that clients read, by name and by number', async () => {
  await using server = await startServer()
  const mona = await server.user('mona')
  await server.organization('acme', { mona: 'member' })
  const rocket = await server.repository('acme', 'rocket', 'internal')

  const shown = await fits('repos/get', 200, mona.call('GET', '/repos/ACME/Rocket'))

  expect(shown).toMatchObject({
    id: rocket.id,
    full_name: 'acme/rocket',
    private: true,
    visibility: 'internal',
    owner: { login: 'acme', type: 'Organization' },
    organization: { login: 'acme' },
    url: `${server.url}/api/v3/repos/acme/rocket`,
    clone_url: `${server.url}/acme/rocket.git`,
    permissions: { admin: false, maintain: false, push: false, triage: false, pull: true },
  })
  expect(await fits('repos/get', 200, mona.call('GET', `/repositories/${rocket.id}`))).toEqual(shown)
  for (const path of ['/repositories/0', '/repositories/x', '/repositories/1e3', '/repositories/9007199254740993', '/repos/acme/%00']) {
    expect({ path, status: await statusOf(server.admin('GET', path)) }).toEqual({ path, status: 404 })
  }
})

test('a former name leads to the repository for those who may see it, until it is taken again', async () => {
  await using server = await startServer()
  const owner = await server.user('owner')
  const stranger = await server.user('stranger')
  await server.organization('acme', { owner: 'owner' })
  const rocket = await server.repository('acme', 'rocket')
  await fits('repos/update', 200, owner.call('PATCH', '/repos/acme/rocket', { name: 'missile' }))

  const read = await owner.call('GET', '/repos/acme/rocket/actions/runs?per_page=1')
  const write = await owner.call('PATCH', '/repos/acme/rocket', { description: 'x' })

  const address = `${server.url}/api/v3/repositories/${rocket.id}`
  expect(read.status).toBe(301)
  expect(read.headers.get('location')).toBe(`${address}/actions/runs?per_page=1`)
  expect(await read.json()).toMatchObject({ message: 'Moved Permanently', url: `${address}/actions/runs?per_page=1` })
  expect([write.status, write.headers.get('location')]).toEqual([307, address])
  await fits('repos/get', 301, owner.call('GET', '/repos/acme/rocket'))
  await fits('repos/get', 404, stranger.call('GET', '/repos/acme/rocket'))
  await fits('repos/get', 404, server.call(undefined)('GET', '/repos/acme/rocket'))

  await fits('repos/create-in-org', 201, owner.call('POST', '/orgs/acme/repos', { name: 'rocket' }))
  await fits('repos/get', 200, owner.call('GET', '/repos/acme/rocket'))
  await fits('repos/get-branch', 404, owner.call('GET', '/repos/acme/rocket/branches/main'))
})

test('a change of a repository must make sense', async () => {
  await using server = await startServer()
  const { admin } = server
  await server.organization('acme')
  await server.repository('acme', 'rocket')
  await server.repository('acme', 'taken')
  await server.push(server.adminToken, await server.repository('acme', 'full'), { 'a.txt': 'a' })

  for (const body of [
    { name: 'taken' },
    { name: 'a/b' },
    { name: '' },
    { private: 1 },
    { visibility: 'hidden' },
    { default_branch: 'a..b' },
    { default_branch: '' },
  ]) {
    await fits('repos/update', 422, admin('PATCH', '/repos/acme/rocket', body))
  }
  await fits('repos/update', 422, admin('PATCH', '/repos/acme/full', { default_branch: 'other' }))
  expect(await fits('repos/update', 200, admin('PATCH', '/repos/acme/rocket', { default_branch: 'trunk', private: false }))).toMatchObject({
    default_branch: 'trunk',
    visibility: 'public',
  })
  expect(await fits('repos/update', 200, admin('PATCH', '/repos/acme/rocket'))).toMatchObject({ name: 'rocket' })
})

test('collaborators get the role of the word that was sent, at once', async () => {
  await using server = await startServer()
  const { admin } = server
  const mona = await server.user('mona')
  await server.user('owner')
  await server.organization('acme', { owner: 'owner' })
  await server.repository('acme', 'rocket')
  const path = '/repos/acme/rocket/collaborators/mona'
  const permission = async (login = 'mona') => {
    const answer = admin('GET', `/repos/acme/rocket/collaborators/${login}/permission`)
    const body = await fits('repos/get-collaborator-permission-level', 200, answer)
    return [body.permission, body.role_name]
  }

  expect(await permission()).toEqual(['none', 'none'])
  for (const [word, shown] of [
    [undefined, ['write', 'write']],
    ['pull', ['read', 'read']],
    ['triage', ['read', 'triage']],
    ['push', ['write', 'write']],
    ['maintain', ['write', 'maintain']],
    ['admin', ['admin', 'admin']],
  ] as const) {
    const body = word === undefined ? undefined : { permission: word }
    await fits('repos/add-collaborator', 204, admin('PUT', path, body))
    expect(await permission()).toEqual(shown)
  }
  expect(await permission('owner')).toEqual(['admin', 'admin'])
  expect(await permission('admin')).toEqual(['admin', 'admin'])
  expect(await statusOf(mona.call('GET', '/repos/acme/rocket'))).toBe(200)

  await fits('repos/remove-collaborator', 204, admin('DELETE', path))
  await fits('repos/remove-collaborator', 204, admin('DELETE', path))
  expect(await statusOf(mona.call('GET', '/repos/acme/rocket'))).toBe(404)
  await fits('repos/add-collaborator', 422, admin('PUT', path, { permission: 'everything' }))
  await fits('repos/add-collaborator', 422, admin('PUT', path, { permission: 7 }))
  await fits('repos/add-collaborator', 422, admin('PUT', '/repos/acme/rocket/collaborators/acme'))
  await fits('repos/add-collaborator', 404, admin('PUT', '/repos/acme/rocket/collaborators/nobody'))
  await fits('repos/get-collaborator-permission-level', 404, admin('GET', '/repos/acme/rocket/collaborators/nobody/permission'))
})

async function filled(server: TestServer) {
  const mona = await server.user('mona')
  await server.organization('acme', { mona: 'member' })
  const rocket = await server.repository('acme', 'rocket')
  await server.push(
    server.adminToken,
    rocket,
    {
      'README.md': '# rocket\n',
      'src/ü b.txt': 'text\n',
      'big.bin': Buffer.alloc(2 * 1024 * 1024, 7),
      '.github/workflows/ci.yml': 'name: x\n',
    },
    { message: 'First flight' },
  )
  await server.push(server.adminToken, rocket, { 'more.txt': 'more' }, { branch: 'feature/x' })
  const get = (path: string, headers?: Record<string, string>) => mona.call('GET', `/repos/acme/rocket${path}`, undefined, headers)
  return { mona, rocket, get }
}

test('branches, commits and refs are found by their names', async () => {
  await using server = await startServer()
  const { get, mona } = await filled(server)

  const branch = await fits('repos/get-branch', 200, get('/branches/main'))
  expect(branch).toMatchObject({ name: 'main', protected: false, commit: { commit: { message: 'First flight', author: { name: 'Ada' } } } })
  for (const path of ['/branches/feature/x', '/branches/feature%2Fx']) {
    expect(await fits('repos/get-branch', 200, get(path))).toMatchObject({ name: 'feature/x' })
  }
  const { sha } = branch.commit
  for (const name of ['main', 'heads/main', 'refs%2Fheads%2Fmain', sha, sha.slice(0, 8)]) {
    expect(await fits('repos/get-commit', 200, get(`/commits/${name}`))).toMatchObject({ sha, parents: [] })
  }
  expect(await (await get('/commits/main', { Accept: 'application/vnd.github.sha' })).text()).toBe(sha)
  expect(await fits('git/get-ref', 200, get('/git/ref/heads/main'))).toMatchObject({
    ref: 'refs/heads/main',
    object: { type: 'commit', sha },
  })

  await fits('repos/get-branch', 404, get('/branches/nothing'))
  await fits('git/get-ref', 404, get('/git/ref/heads/mai'))
  for (const name of ['nothing', 'a..b', '-x', '%40%7Bupstream%7D', 'main%0A', sha.replace(/./g, 'f'), 'x'.repeat(900)]) {
    await fits('repos/get-commit', 422, get(`/commits/${name}`))
  }
  await server.repository('acme', 'empty')
  await fits('repos/get-commit', 409, mona.call('GET', '/repos/acme/empty/commits/main'))
  await fits('git/get-ref', 409, mona.call('GET', '/repos/acme/empty/git/ref/heads/main'))
  await fits('repos/get-content', 404, mona.call('GET', '/repos/acme/empty/contents/a'))
})

test('files come as base64, as they are, or with their folder', async () => {
  await using server = await startServer()
  const { get } = await filled(server)

  const file = await fits('repos/get-content', 200, get('/contents/README.md'))
  expect(file).toMatchObject({ type: 'file', encoding: 'base64', size: 9, path: 'README.md' })
  expect(Buffer.from(file.content, 'base64').toString()).toBe('# rocket\n')
  const odd = await fits('repos/get-content', 200, get('/contents/src/%C3%BC%20b.txt?ref=main'))
  expect(odd).toMatchObject({ path: 'src/ü b.txt', name: 'ü b.txt' })
  expect(await fits('repos/get-content', 200, get('/contents/big.bin'))).toMatchObject({ encoding: 'none', content: '', size: 2097152 })

  const raw = await get('/contents/README.md', { Accept: 'application/vnd.github.v3.raw' })
  expect(await raw.text()).toBe('# rocket\n')
  expect(raw.headers.get('content-security-policy')).toBe("sandbox; default-src 'none'")
  expect(raw.headers.get('content-disposition')).toBe('attachment')

  for (const path of ['/contents', '/contents/', '/contents?ref=feature/x']) {
    const folder = (await fits('repos/get-content', 200, get(path))) as { name: string; type: string }[]
    expect(folder.map(({ name, type }) => `${type} ${name}`)).toEqual(
      path.includes('feature') ? ['file more.txt'] : ['dir .github', 'file README.md', 'file big.bin', 'dir src'],
    )
  }
  for (const path of [
    '/contents/nothing',
    '/contents/README.md/x',
    '/contents/src/nothing',
    '/contents/README.md?ref=nothing',
    '/contents/README.md?ref=a..b',
    '/contents/%00',
  ]) {
    await fits('repos/get-content', 404, get(path))
  }
  for (const path of ['/contents/a%2F..%2F..%2Fb', '/contents/x%0Ay']) {
    expect([404, 422]).toContain((await get(path)).status)
  }
})

test('an archive comes from a signed address that needs no token', async () => {
  await using server = await startServer()
  const { get } = await filled(server)

  for (const [path, type] of [
    ['/tarball/main', 'gzip'],
    ['/tarball/refs%2Fheads%2Ffeature%2Fx', 'gzip'],
    ['/tarball', 'gzip'],
    ['/zipball/main', 'zip'],
    ['/zipball', 'zip'],
  ] as const) {
    const answer = await get(path)
    expect({ path, status: answer.status }).toEqual({ path, status: 302 })
    const archive = await fetch(answer.headers.get('location') ?? '')
    expect([archive.status, archive.headers.get('content-type')]).toEqual([200, expect.stringContaining(type)])
    expect((await archive.arrayBuffer()).byteLength).toBeGreaterThan(100)
  }
  expect(await statusOf(get('/tarball/nothing'))).toBe(404)
  expect(await statusOf(server.call(undefined)('GET', '/repos/acme/rocket/tarball/main'))).toBe(404)
  expect(await (await get('/hash-algorithm')).json()).toEqual({ hash_algorithm: 'sha1' })
})
