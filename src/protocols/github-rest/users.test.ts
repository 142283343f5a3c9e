import { expect, test } from 'vitest'
import { fits } from '../../../test/support/fits.ts'
import { startServer } from '../../../test/support/start-server.ts'

test('users see their own private fields with the scope for it', async () => {
  await using server = await startServer()
  await fits('enterprise-admin/create-user', 201, server.admin('POST', '/admin/users', { login: 'mona', email: 'mona@example.com' }))
  const mona = await server.user('mona', { scopes: ['user'] })
  const plain = await server.user('mona', { scopes: ['repo'] })

  expect(await fits('users/get-authenticated', 200, mona.call('GET', '/user'))).toMatchObject({
    login: 'mona',
    email: 'mona@example.com',
    total_private_repos: 0,
  })
  const shown = await fits('users/get-authenticated', 200, plain.call('GET', '/user'))
  expect(shown).toMatchObject({ login: 'mona', email: null })
  expect(shown).not.toHaveProperty('total_private_repos')
  await fits('users/get-authenticated', 401, server.call(undefined)('GET', '/user'))
})

test('anybody finds users and organizations by login, in any case of letters', async () => {
  await using server = await startServer()
  const { account } = await server.user('mona')
  await server.organization('acme')
  const anybody = server.call(undefined)

  expect(await fits('users/get-by-username', 200, anybody('GET', '/users/Mona'))).toMatchObject({
    login: 'mona',
    type: 'User',
    url: `${server.url}/api/v3/users/mona`,
    html_url: `${server.url}/mona`,
  })
  expect(await fits('users/get-by-username', 200, anybody('GET', '/users/acme'))).toMatchObject({ type: 'Organization' })
  expect(await fits('users/get-by-username', 200, anybody('GET', `/user/${account.id}`))).toMatchObject({ login: 'mona' })
  for (const path of ['/users/nobody', '/users/%00', '/users/%ff', '/user/0', '/user/x', '/users/a%2Fb', '/users/']) {
    expect({ path, status: (await anybody('GET', path)).status }).toEqual({ path, status: path === '/users/%ff' ? 400 : 404 })
  }
})

test('addresses in answers are those by which the client came', async () => {
  await using server = await startServer()
  const port = new URL(server.url).port

  const answer = await fetch(`http://localhost:${port}/api/v3/users/admin`, { headers: { 'User-Agent': 'test' } })

  expect(await answer.json()).toMatchObject({ url: `http://localhost:${port}/api/v3/users/admin` })
})

test('memberships of others are not told', async () => {
  await using server = await startServer()
  const mona = await server.user('mona')
  const eve = await server.user('eve')
  await server.organization('acme', { mona: 'member' })
  const seen = async (call: typeof mona.call) => (await fits('orgs/list-for-user', 200, call('GET', '/users/mona/orgs'))).length

  expect([await seen(mona.call), await seen(server.admin), await seen(eve.call), await seen(server.call(undefined))]).toEqual([1, 1, 0, 0])
  expect((await eve.call('GET', '/users/acme/orgs')).status).toBe(404)
  expect((await mona.call('GET', '/user/memberships/orgs/acme')).status).toBe(200)
  expect((await eve.call('GET', '/user/memberships/orgs/acme')).status).toBe(404)
  const weak = await server.user('mona', { scopes: ['repo'] })
  expect((await weak.call('GET', '/user/orgs')).status).toBe(403)
  expect((await server.call(undefined)('GET', '/user/orgs')).status).toBe(401)
})

test('a user makes repositories, private ones with the scope for it', async () => {
  await using server = await startServer()
  const mona = await server.user('mona')
  const weak = await server.user('mona', { scopes: ['public_repo'] })
  const make = (call: typeof mona.call, body: unknown) => call('POST', '/user/repos', body)

  const made = await make(mona.call, { name: 'Rocket', private: true, description: 'flies', homepage: 'ignored' })
  expect(made.headers.get('location')).toBe(`${server.url}/api/v3/repos/mona/Rocket`)
  expect(await fits('repos/create-for-authenticated-user', 201, made)).toMatchObject({
    full_name: 'mona/Rocket',
    private: true,
    visibility: 'private',
    description: 'flies',
    default_branch: 'main',
    permissions: { admin: true, push: true, pull: true },
  })
  await fits('repos/create-for-authenticated-user', 403, make(weak.call, { name: 'other', private: true }))
  await fits('repos/create-for-authenticated-user', 201, make(weak.call, { name: 'other' }))
  await fits('repos/create-for-authenticated-user', 401, make(server.call(undefined), { name: 'third' }))
  const taken = await fits('repos/create-for-authenticated-user', 422, make(mona.call, { name: 'rocket' }))
  expect(taken).toMatchObject({ message: 'Repository creation failed.', errors: [{ field: 'name' }] })
  for (const body of [
    {},
    { name: '' },
    { name: 'a b' },
    { name: '..' },
    { name: 'x.git' },
    { name: 'x'.repeat(101) },
    { name: 'ü' },
    { name: 7 },
    { name: 'ok', private: 'yes' },
    { name: 'ok', visibility: 'secret' },
    { name: 'ok', description: 'a\nb' },
    { name: 'ok', description: 'x'.repeat(351) },
    { name: 'ok', auto_init: 1 },
  ]) {
    await fits('repos/create-for-authenticated-user', 422, make(mona.call, body))
  }
})

test('the lists of repositories are paged and show what the token may see', async () => {
  await using server = await startServer()
  const mona = await server.user('mona')
  const weak = await server.user('mona', { scopes: [] })
  await server.organization('acme', { mona: 'member' })
  await server.repository('acme', 'rocket')
  await server.repository('mona', 'notes')
  await server.repository('mona', 'site', 'public')
  const names = async (operation: string, answer: Promise<Response>) =>
    ((await fits(operation, 200, answer)) as { full_name: string }[]).map(({ full_name }) => full_name)
  const own = 'repos/list-for-authenticated-user'

  expect(await names(own, mona.call('GET', '/user/repos'))).toEqual(['acme/rocket', 'mona/notes', 'mona/site'])
  expect(await names(own, weak.call('GET', '/user/repos'))).toEqual(['mona/site'])
  const page = await mona.call('GET', '/user/repos?per_page=2&page=2')
  expect(page.headers.get('link')).toContain(`<${server.url}/api/v3/user/repos?per_page=2&page=1>; rel="prev"`)
  expect(await names(own, Promise.resolve(page))).toEqual(['mona/site'])
  expect(await names('repos/list-for-user', server.call(undefined)('GET', '/users/mona/repos'))).toEqual(['mona/site'])
  const link = (await mona.call('GET', '/users/mona/repos?per_page=1')).headers.get('link') ?? ''
  const next = /<([^>]+)>; rel="next"/.exec(link)?.[1] ?? ''
  expect(await names('repos/list-for-user', mona.call('GET', new URL(next).pathname + new URL(next).search))).toEqual(['mona/site'])
})
