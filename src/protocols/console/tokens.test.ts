import { describe, expect, test } from 'vitest'
import { startServer } from '../../../test/support/start-server.ts'
import type { Repository } from '../../model/account.ts'

const MONAS = '/api/fleetfoot/users/mona/tokens'
const HOUR_MS = 60 * 60_000

test('a token is shown once, works with its scopes and ends when it is deleted', async () => {
  await using server = await startServer()
  const mona = await server.user('mona', { scopes: ['user', 'repo'] })

  const made = await mona.call('POST', MONAS, { name: ' ci ', scopes: ['repo', 'repo'] })
  const token = (await made.json()) as { id: number; token: string }
  expect([made.status, token]).toMatchObject([201, { kind: 'personal', name: 'ci', scopes: ['repo'], expires_at: null }])
  expect((await server.call(token.token)('GET', '/user')).headers.get('x-oauth-scopes')).toBe('repo')

  const listed = (await (await mona.call('GET', MONAS)).json()) as { id: number }[]
  expect(listed.map(({ id }) => id)).toContain(token.id)
  expect(JSON.stringify(listed)).not.toContain(token.token)

  expect((await mona.call('DELETE', `${MONAS}/${token.id}`)).status).toBe(204)
  expect((await server.call(token.token)('GET', '/user')).status).toBe(401)
  expect((await mona.call('DELETE', `${MONAS}/${token.id}`)).status).toBe(404)
})

test('a token ends when it expires', async () => {
  const start = Math.floor(Date.now() / 1000) * 1000
  let at = start
  await using server = await startServer({ now: () => at })

  const made = await server.admin('POST', '/api/fleetfoot/users/admin/tokens', {
    name: 'short',
    scopes: [],
    // The same instant in another zone.
    expires_at: new Date(start + 2 * HOUR_MS).toISOString().replace('Z', '+01:00'),
  })

  const { token, expires_at } = (await made.json()) as { token: string; expires_at: string }
  const end = new Date(start + HOUR_MS).toISOString().slice(0, 19)
  expect(expires_at).toBe(`${end}Z`)
  const self = await server.call(token)('GET', '/user')
  expect(self.headers.get('github-authentication-token-expiration')).toBe(`${end.replace('T', ' ')} UTC`)
  at += HOUR_MS
  expect((await server.call(token)('GET', '/user')).status).toBe(401)
})

test('who may manage tokens', async () => {
  await using server = await startServer()
  const mona = await server.user('mona')
  const weak = await server.user('mona', { scopes: ['repo', 'read:user'] })
  const eve = await server.user('eve')
  const weakAdmin = await server.user('root', { siteAdmin: true, scopes: ['user'] })
  const late = await server.user('mona', { expiresAt: Date.now() - 1 })

  const cases = [
    [server.call(undefined), 401],
    [late.call, 401],
    [weak.call, 403],
    [eve.call, 404],
    [weakAdmin.call, 404],
    [mona.call, 201],
    [server.admin, 201],
  ] as const
  for (const [index, [call, status]] of cases.entries()) {
    const made = await call('POST', MONAS, { name: 'x', scopes: [] })
    const listed = await call('GET', MONAS)
    expect({ index, made: made.status, listed: listed.status }).toEqual({ index, made: status, listed: status === 201 ? 200 : status })
  }
  expect((await server.admin('GET', '/api/fleetfoot/users/nobody/tokens')).status).toBe(404)
})

test('a token cannot make one that may more or lives longer, unless a site administrator asks', async () => {
  await using server = await startServer()
  const expiresAt = Date.now() + HOUR_MS
  const mona = await server.user('mona', { scopes: ['user', 'public_repo'], expiresAt })
  const make = async (body: object, call = mona.call) => (await call('POST', MONAS, { name: 'x', ...body })).status
  const soon = new Date(expiresAt - 60_000).toISOString()

  expect(await make({ scopes: ['read:user', 'public_repo'], expires_at: soon })).toBe(201)
  expect(await make({ scopes: ['repo'], expires_at: soon })).toBe(403)
  expect(await make({ scopes: ['user'] })).toBe(403)
  expect(await make({ scopes: ['user'], expires_at: new Date(expiresAt + HOUR_MS).toISOString() })).toBe(403)
  expect(await make({ scopes: ['repo', 'admin:org'] }, server.admin)).toBe(201)
})

test('a token needs a name, scopes that exist and a time to come', async () => {
  await using server = await startServer()
  await server.user('mona')

  for (const body of [
    {},
    { name: 'x' },
    { scopes: [] },
    { name: '', scopes: [] },
    { name: '  ', scopes: [] },
    { name: 'a\nb', scopes: [] },
    { name: 'x'.repeat(101), scopes: [] },
    { name: 'x', scopes: ['everything'] },
    { name: 'x', scopes: 'repo' },
    { name: 'x', scopes: [], expires_at: 'tomorrow' },
    { name: 'x', scopes: [], expires_at: '2020-01-01T00:00:00Z' },
    { name: 'x', scopes: [], expires_at: '2999-13-01' },
    { name: 'x', scopes: [], expires_at: 4_000_000_000 },
  ]) {
    const answer = await server.admin('POST', MONAS, body)
    expect({ body, status: answer.status }).toEqual({ body, status: 422 })
    expect(await answer.json()).toMatchObject({ message: expect.any(String), documentation_url: expect.any(String), status: '422' })
  }
  expect((await server.admin('POST', MONAS, '{')).status).toBe(400)
})

test('the administrator’s token is not deleted here', async () => {
  await using server = await startServer()
  const path = '/api/fleetfoot/users/admin/tokens'
  const [token] = (await (await server.admin('GET', path)).json()) as { id: number; kind: string }[]

  expect(token).toMatchObject({ kind: 'admin' })
  expect((await server.admin('DELETE', `${path}/${token?.id}`)).status).toBe(403)
  for (const id of ['0', 'x', '1e3', '99999999999999999999']) expect((await server.admin('DELETE', `${path}/${id}`)).status).toBe(404)
})

describe('fine-grained tokens', () => {
  const WHOLE = ['user', 'repo', 'workflow', 'delete_repo', 'admin:org', 'admin:org_hook', 'admin:repo_hook']

  async function start() {
    const server = await startServer()
    const mona = await server.user('mona', { scopes: WHOLE })
    await server.user('eve')
    await server.organization('acme', { mona: 'member' })
    await server.organization('other', { mona: 'owner' })
    const rocket = await server.repository('acme', 'rocket')
    await server.collaborator(rocket, 'mona', 'admin')
    await server.repository('acme', 'site')
    await server.repository('acme', 'open', 'public')
    await server.repository('other', 'elsewhere')
    const make = async (body: object) => {
      const made = await mona.call('POST', MONAS, { name: 'fine', ...body })
      const token = (await made.json()) as { token: string }
      return { status: made.status, body: token, call: server.call(token.token) }
    }
    return { server, mona, make }
  }

  test('one opens what it was given of one account, as far as its user may', async () => {
    const { server, make } = await start()
    await using _ = server
    const permissions = { administration: 'write', actions: 'read', organization_self_hosted_runners: 'write', members: 'read' }
    const made = await make({ permissions, resource_owner: 'acme' })
    const ask = async (method: string, path: string, body?: object) => {
      const answer = await made.call(method, path, body)
      const { message } = answer.status < 400 ? { message: undefined } : ((await answer.json()) as { message: string })
      return [answer.status, message]
    }
    const refusal = 'Resource not accessible by personal access token'

    expect(made.body).toMatchObject({
      kind: 'fine_grained',
      scopes: [],
      resource_owner: 'acme',
      permissions: { metadata: 'read', ...permissions },
    })
    expect(made.body.token).toMatch(/^github_pat_/)
    expect(await ask('GET', '/user')).toEqual([200, undefined])
    expect(await ask('POST', '/repos/acme/rocket/actions/runners/registration-token')).toEqual([201, undefined])
    // Its user is a reader there, and no owner of the organization.
    expect(await ask('POST', '/repos/acme/site/actions/runners/registration-token')).toEqual([403, 'Must have admin rights to Repository.'])
    expect(await ask('GET', '/orgs/acme/actions/runners')).toEqual([403, 'Must have admin rights to Repository.'])
    expect(await ask('GET', '/orgs/acme/members')).toEqual([200, undefined])
    // Not given, or not of this account.
    expect(await ask('GET', '/repos/acme/rocket/contents/README.md')).toEqual([403, refusal])
    expect(await ask('GET', '/repos/other/elsewhere')).toEqual([404, 'Not Found'])
    expect(await ask('GET', '/orgs/other/actions/runners')).toEqual([403, refusal])
    expect(await ask('GET', MONAS)).toEqual([403, refusal])
    expect(await ask('POST', '/user/repos', { name: 'own' })).toEqual([403, 'You cannot create a repository for another user.'])

    const names = async (path: string) =>
      ((await (await made.call('GET', path)).json()) as { name?: string; login?: string }[]).map((o) => o.name ?? o.login ?? '')
    expect((await names('/orgs/acme/repos')).toSorted()).toEqual(['open', 'rocket', 'site'])
    expect((await names('/user/repos')).toSorted()).toEqual(['open', 'rocket', 'site'])
    expect(await names('/orgs/other/repos')).toEqual([])
    expect(await names('/user/orgs')).toEqual(['acme'])
    const headers = (await made.call('GET', '/user/orgs')).headers
    expect([headers.get('x-accepted-github-permissions'), headers.get('x-oauth-scopes')]).toEqual(['members=read', null])
  })

  test('one for certain repositories reaches these, and what is public', async () => {
    const { server, mona, make } = await start()
    await using _ = server
    const made = await make({ permissions: { contents: 'write' }, resource_owner: 'acme', repositories: ['rocket'] })
    const status = async (name: string) => (await made.call('GET', `/repos/acme/${name}`)).status
    const repositories = (await (await made.call('GET', '/user/repos')).json()) as { name: string }[]
    const visible = (await (await made.call('GET', '/orgs/acme/repos')).json()) as { name: string }[]

    expect([await status('rocket'), await status('site'), await status('open')]).toEqual([200, 404, 200])
    expect(repositories.map(({ name }) => name)).toEqual(['rocket'])
    expect(visible.map(({ name }) => name).toSorted()).toEqual(['open', 'rocket'])
    expect((await made.call('POST', '/orgs/acme/repos', { name: 'new' })).status).toBe(403)
    const listed = (await (await mona.call('GET', MONAS)).json()) as object[]
    expect(listed.at(-1)).toMatchObject({ kind: 'fine_grained', resource_owner: 'acme', repositories: ['rocket'] })
  })

  test('one for its own account tells nothing of what its user has elsewhere', async () => {
    const { server, make } = await start()
    await using _ = server
    const made = await make({ permissions: { contents: 'read' } })
    for (const path of [
      '/user/repos',
      '/users/mona/repos?type=all',
      '/users/mona/repos?type=member',
      '/orgs/other/repos',
      '/users/mona/orgs',
    ]) {
      const answer = await made.call('GET', path)
      const hidden = ((await answer.json()) as { visibility?: string }[]).filter(({ visibility }) => visibility !== 'public')
      expect({ path, hidden }).toEqual({ path, hidden: [] })
    }
    expect((await made.call('GET', '/user/orgs')).status).toBe(403)
  })

  test('one pushes by its permissions', async () => {
    const { server, make } = await start()
    await using _ = server
    const rocket = (await server.deps.db.selectFrom('repository').select('id').where('name', '=', 'rocket').executeTakeFirstOrThrow()).id
    const repository = { id: rocket, name: 'rocket', owner: { login: 'acme' } } as Repository
    const text = async (permissions: object) => (await make({ permissions, resource_owner: 'acme' })).body.token

    await server.push(await text({ contents: 'write' }), repository, { a: '1' })
    await expect(server.push(await text({ contents: 'read' }), repository, { a: '2' })).rejects.toThrow('may read this repository')
    await expect(server.push(await text({ contents: 'write' }), repository, { '.github/workflows/a.yml': 'on: push\n' })).rejects.toThrow(
      'refusing to allow a Personal Access Token to create or update workflow `.github/workflows/a.yml` without `workflows` permission',
    )
    await server.push(await text({ contents: 'write', workflows: 'write' }), repository, { '.github/workflows/a.yml': 'on: push\n' })
  })

  test('one is made for what its user has, by who could do as much', async () => {
    const { server, make } = await start()
    await using _ = server
    for (const body of [
      { permissions: { flying: 'read' } },
      { permissions: { actions: 'admin' } },
      { permissions: [] },
      { permissions: {}, scopes: ['repo'] },
      { scopes: ['repo'], resource_owner: 'acme' },
      { scopes: ['repo'], repositories: ['rocket'] },
      { permissions: {}, resource_owner: 'eve' },
      { permissions: {}, resource_owner: 'nobody' },
      { permissions: {}, resource_owner: 'acme', repositories: ['absent'] },
      { permissions: {}, resource_owner: 'acme', repositories: Array.from({ length: 51 }, () => 'rocket') },
      { permissions: {}, expires_at: '2020-01-01T00:00:00Z' },
    ])
      expect({ body, status: (await make(body)).status }).toEqual({ body, status: 422 })

    const weak = await server.user('mona', { scopes: WHOLE.filter((scope) => scope !== 'workflow') })
    expect((await weak.call('POST', MONAS, { name: 'x', permissions: {} })).status).toBe(403)
    const short = await server.user('mona', { scopes: WHOLE, expiresAt: Date.now() + HOUR_MS })
    expect((await short.call('POST', MONAS, { name: 'x', permissions: {} })).status).toBe(403)
    expect((await server.admin('POST', MONAS, { name: 'x', permissions: {}, resource_owner: 'acme' })).status).toBe(201)
    // A fine-grained token makes none.
    const fine = await make({ permissions: { contents: 'read' } })
    expect((await fine.call('POST', MONAS, { name: 'x', permissions: {} })).status).toBe(403)
  })
})
