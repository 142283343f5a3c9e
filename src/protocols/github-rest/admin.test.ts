import { expect, test } from 'vitest'
import { fits } from '../../../test/support/fits.ts'
import { startServer } from '../../../test/support/start-server.ts'

const CREATE_USER = 'enterprise-admin/create-user'
const CREATE_ORG = 'enterprise-admin/create-org'
const IMPERSONATE = 'enterprise-admin/create-impersonation-o-auth-token'

test('only site administrators with the scope administer, and others do not learn that they could', async () => {
  await using server = await startServer()
  const root = await server.user('root', { siteAdmin: true })
  const weak = await server.user('weak', { siteAdmin: true, scopes: ['repo', 'admin:org'] })
  const mona = await server.user('mona')
  const late = await server.user('late', { siteAdmin: true, expiresAt: Date.now() - 1 })
  const calls: [string, string, unknown][] = [
    ['POST', '/admin/users', { login: 'new-user' }],
    ['POST', '/admin/organizations', { login: 'new-org', admin: 'mona' }],
    ['POST', '/admin/users/mona/authorizations', { scopes: ['repo'] }],
    ['DELETE', '/admin/users/mona/authorizations', undefined],
    ['PUT', '/users/mona/site_admin', undefined],
    ['DELETE', '/users/mona/site_admin', undefined],
  ]

  const statuses = async (call: (typeof mona)['call']) => {
    const seen: number[] = []
    for (const [method, path, body] of calls) seen.push((await call(method, path, body)).status)
    return seen
  }

  expect(await statuses(server.call(undefined))).toEqual(calls.map(() => 401))
  expect(await statuses(server.call('ghp_nothing'))).toEqual(calls.map(() => 401))
  expect(await statuses(late.call)).toEqual(calls.map(() => 401))
  expect(await statuses(mona.call)).toEqual(calls.map(() => 404))
  expect(await statuses(weak.call)).toEqual(calls.map(() => 403))
  expect(await statuses(root.call)).toEqual([201, 201, 201, 204, 204, 204])
})

test('a user is made, unless the login is taken, reserved or no login', async () => {
  await using server = await startServer()
  const { admin } = server

  const made = await fits(CREATE_USER, 201, admin('POST', '/admin/users', { login: 'mona', email: 'mona@example.com' }))
  expect(made).toMatchObject({ login: 'mona', type: 'User', site_admin: false })

  const taken = await fits(CREATE_USER, 422, admin('POST', '/admin/users', { login: 'MONA' }))
  expect(taken.errors).toMatchObject([{ code: 'already_exists', field: 'login' }])
  const bad = [
    {},
    { login: 'api' },
    { login: 'Orgs' },
    { login: '-x' },
    { login: 'a--b' },
    { login: 'a_b' },
    { login: '_x' },
    { login: '' },
    { login: 'x'.repeat(40) },
    { login: 'x'.repeat(500) },
    { login: 7 },
    { login: 'new', email: 'no address' },
    { login: 'new', suspended: 'yes' },
    { login: 'nü' },
  ]
  for (const body of bad) await fits(CREATE_USER, 422, admin('POST', '/admin/users', body))
})

test('a body that is no JSON object is refused as such', async () => {
  await using server = await startServer()
  const { admin } = server

  const cases: [string, number, string][] = [
    ['{', 400, 'Problems parsing JSON'],
    ['[]', 400, 'Body should be a JSON object'],
    ['7', 400, 'Body should be a JSON object'],
    ['{"login":"a\\u0000b"}', 400, 'Problems parsing JSON'],
    ['', 422, 'Invalid request.\n\n"login" wasn\'t supplied.'],
  ]
  for (const [body, status, message] of cases) {
    const answer = await admin('POST', '/admin/users', body)
    expect({ status: answer.status, ...((await answer.json()) as object) }).toMatchObject({ message, status: String(status) })
  }
})

test('a suspended user is made, and tokens of it are refused', async () => {
  await using server = await startServer()
  await fits(CREATE_USER, 201, server.admin('POST', '/admin/users', { login: 'mona', suspended: true }))

  const { token } = await fits(IMPERSONATE, 201, server.admin('POST', '/admin/users/mona/authorizations', { scopes: ['repo'] }))

  expect((await server.call(token)('GET', '/user')).status).toBe(401)
})

test('an organization is made with its owner and its Default runner group', async () => {
  await using server = await startServer()
  const { admin } = server
  const mona = await server.user('mona')

  const made = await fits(CREATE_ORG, 201, admin('POST', '/admin/organizations', { login: 'acme', admin: 'Mona', profile_name: 'Acme' }))
  expect(made).toMatchObject({ login: 'acme' })

  const membership = await fits('orgs/get-membership-for-user', 200, mona.call('GET', '/orgs/acme/memberships/mona'))
  expect(membership).toMatchObject({ role: 'admin', state: 'active' })
  const groups = (await (await mona.call('GET', '/orgs/acme/actions/runner-groups')).json()) as { runner_groups: unknown[] }
  expect(groups.runner_groups).toMatchObject([
    { id: 1, name: 'Default', inherited: false },
    { name: 'Default', inherited: true },
  ])
  const events = await server.deps.db.selectFrom('event').select('kind').where('subjectKind', '=', 'organization').execute()
  expect(events).toEqual([{ kind: 'organization.created' }])
})

test('an organization needs a login of its own and a user as administrator', async () => {
  await using server = await startServer()
  const { admin } = server
  await server.user('mona')
  await server.organization('acme')

  for (const body of [
    { login: 'mona', admin: 'mona' },
    { login: 'ACME', admin: 'mona' },
    { login: 'users', admin: 'mona' },
    { login: 'new', admin: 'nobody' },
    { login: 'new', admin: 'acme' },
    { login: 'new' },
    { admin: 'mona' },
  ]) {
    await fits(CREATE_ORG, 422, admin('POST', '/admin/organizations', body))
  }
})

test('a user has one impersonation token: asked for again, it is another and the former ends', async () => {
  await using server = await startServer()
  const { admin } = server
  await server.user('mona')
  const make = (scopes: unknown) => admin('POST', '/admin/users/mona/authorizations', { scopes })

  const first = await fits(IMPERSONATE, 201, make(['repo']))
  const second = await fits(IMPERSONATE, 200, make(['read:org', 'repo']))

  expect(second).toMatchObject({ id: first.id, scopes: ['read:org', 'repo'], token_last_eight: second.token.slice(-8) })
  expect((await server.call(first.token)('GET', '/user')).status).toBe(401)
  const self = await server.call(second.token)('GET', '/user')
  expect(self.headers.get('x-oauth-scopes')).toBe('read:org, repo')
  expect(await self.json()).toMatchObject({ login: 'mona' })

  expect((await admin('DELETE', '/admin/users/mona/authorizations')).status).toBe(204)
  expect((await server.call(second.token)('GET', '/user')).status).toBe(401)
  expect((await admin('DELETE', '/admin/users/mona/authorizations')).status).toBe(404)
})

test('two that ask for the impersonation token at once get one that works', async () => {
  await using server = await startServer()
  await server.user('mona')

  const answers = await Promise.all(
    Array.from({ length: 8 }, () => server.admin('POST', '/admin/users/mona/authorizations', { scopes: ['repo'] })),
  )

  expect(answers.filter(({ status }) => status === 201)).toHaveLength(1)
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(7)
  const rows = await server.deps.db.selectFrom('token').select('id').where('kind', '=', 'impersonation').execute()
  expect(rows).toHaveLength(1)
})

test('impersonation asks for scopes that exist and a user that does', async () => {
  await using server = await startServer()
  const { admin } = server
  await server.user('mona')
  await server.organization('acme')

  for (const scopes of [undefined, 'repo', ['nothing'], [7], ['__proto__'], [null]]) {
    await fits(IMPERSONATE, 422, admin('POST', '/admin/users/mona/authorizations', { scopes }))
  }
  for (const login of ['nobody', 'acme', '%00', 'x'.repeat(499)]) {
    await fits(IMPERSONATE, 404, admin('POST', `/admin/users/${login}/authorizations`, { scopes: [] }))
  }
})

test('a site administrator is made and unmade, but neither by themselves nor the one of the configuration', async () => {
  await using server = await startServer()
  const { admin } = server
  const mona = await server.user('mona')
  await server.organization('acme')

  expect((await admin('PUT', '/users/mona/site_admin')).status).toBe(204)
  expect((await admin('PUT', '/users/mona/site_admin')).status).toBe(204)
  expect((await mona.call('POST', '/admin/users', { login: 'hubot' })).status).toBe(201)
  await fits('enterprise-admin/demote-site-administrator', 403, mona.call('DELETE', '/users/mona/site_admin'))
  await fits('enterprise-admin/demote-site-administrator', 403, mona.call('DELETE', '/users/admin/site_admin'))
  expect((await admin('DELETE', '/users/mona/site_admin')).status).toBe(204)
  expect((await mona.call('POST', '/admin/users', { login: 'other' })).status).toBe(404)
  for (const login of ['nobody', 'acme']) expect((await admin('PUT', `/users/${login}/site_admin`)).status).toBe(404)
})
