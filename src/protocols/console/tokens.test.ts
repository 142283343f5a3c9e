import { expect, test } from 'vitest'
import { startServer } from '../../../test/support/start-server.ts'

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
