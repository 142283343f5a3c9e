import { expect, test } from 'vitest'
import { fits } from '../../../test/support/fits.ts'
import { startServer, type Caller } from '../../../test/support/start-server.ts'
import { repositoryUpdate } from '../../store/repositories.ts'

/** acme with b (private, pushed last), a (public, changed last) and c (internal, never pushed), made in this order; mona's own d and e. */
async function filled() {
  const server = await startServer()
  const mona = await server.user('mona')
  const acme = await server.organization('acme', { mona: 'member' })
  const b = await server.repository('acme', 'b', 'private')
  const a = await server.repository('acme', 'a', 'public')
  const c = await server.repository('acme', 'c', 'internal')
  await server.repository('mona', 'd', 'private')
  await server.repository('mona', 'e', 'public')
  const at = server.deps.now()
  await repositoryUpdate(server.deps.db, a.id, { pushedAt: at + 1000, updatedAt: at + 9000 })
  await repositoryUpdate(server.deps.db, b.id, { pushedAt: at + 2000, updatedAt: at + 2000 })
  await repositoryUpdate(server.deps.db, c.id, { updatedAt: at + 3000 })
  const names = async (call: Caller, path: string, operation: string) =>
    ((await fits(operation, 200, call('GET', path))) as { name: string }[]).map(({ name }) => name).join('')
  return {
    server,
    acme,
    mona,
    at,
    ofAcme: (query: string, call = mona.call) => names(call, `/orgs/acme/repos?${query}`, 'repos/list-for-org'),
    own: (query: string, call = mona.call) => names(call, `/user/repos?${query}`, 'repos/list-for-authenticated-user'),
    ofMona: (query: string, call: Caller) => names(call, `/users/mona/repos?${query}`, 'repos/list-for-user'),
  }
}

test('an organization lists its repositories newest first, or as asked', async () => {
  const { server, ofAcme } = await filled()
  await using _server = server

  expect(
    await Promise.all(
      [
        '',
        'sort=created',
        'direction=asc',
        'sort=full_name',
        'sort=full_name&direction=desc',
        'sort=updated',
        'sort=pushed',
        'sort=pushed&direction=asc',
      ].map((query) => ofAcme(query)),
    ),
  ).toEqual(['cab', 'cab', 'bac', 'abc', 'cba', 'acb', 'bac', 'cab'])
  expect(await ofAcme('sort=nothing&direction=sideways&type=odd')).toBe('cab')
  expect([await ofAcme('per_page=2'), await ofAcme('per_page=2&page=2')]).toEqual(['ca', 'b'])
})

test('an organization lists repositories of a type, of those that one may see', async () => {
  const { server, acme, mona, ofAcme } = await filled()
  await using _server = server
  const types = ['all', 'public', 'private', 'internal', 'forks', 'sources']
  const anonymous = server.call(undefined)

  expect(await Promise.all(types.map((type) => ofAcme(`type=${type}`)))).toEqual(['cab', 'a', 'cb', 'c', '', 'cab'])
  expect(await Promise.all(types.map((type) => ofAcme(`type=${type}`, anonymous)))).toEqual(['a', 'a', '', '', '', 'a'])
  const page = await mona.call('GET', '/orgs/acme/repos?type=private&sort=pushed&per_page=1')
  expect(page.headers.get('link')).toContain(`/organizations/${acme.id}/repos?type=private&sort=pushed&per_page=1&page=2>; rel="next"`)
})

test('a user lists what is their own, by name or as asked', async () => {
  const { server, mona, at, own } = await filled()
  await using _server = server
  const weak = await server.user('mona', { scopes: [] })
  await server.user('boss')
  await server.collaborator(await server.repository('boss', 'f', 'private'), 'mona', 'read')

  expect(await own('')).toBe('abcfde')
  expect(await own('direction=desc')).toBe('edfcba')
  expect(await own('sort=created')).toBe('fedcab')
  expect(await Promise.all(['owner', 'member', 'public', 'private'].map((type) => own(`type=${type}`)))).toEqual([
    'de',
    'abcf',
    'ae',
    'bcfd',
  ])
  expect(await Promise.all(['public', 'private', 'all'].map((word) => own(`visibility=${word}`)))).toEqual(['ae', 'bcfd', 'abcfde'])
  expect(await own('affiliation=collaborator')).toBe('f')
  expect(await own('affiliation=owner,organization_member&visibility=public')).toBe('ae')
  expect(await own('visibility=private', weak.call)).toBe('c')
  expect(await own(`since=${new Date(at + 2500).toISOString()}&before=${new Date(at + 8000).toISOString()}`)).toBe('c')
  await fits('repos/list-for-authenticated-user', 422, mona.call('GET', '/user/repos?type=all&visibility=public'))
})

test("another user's repositories, and those that they work on, are listed as far as one may see them", async () => {
  const { server, mona, ofMona } = await filled()
  await using _server = server
  const other = await server.user('other')
  await server.collaborator(await server.repository('other', 'f', 'private'), 'mona', 'read')
  await server.collaborator(await server.repository('other', 'g', 'public'), 'mona', 'read')
  const anonymous = server.call(undefined)

  expect(await Promise.all(['', 'type=owner', 'type=member', 'type=all'].map((query) => ofMona(query, anonymous)))).toEqual([
    'e',
    'e',
    'g',
    'eg',
  ])
  expect(await ofMona('type=all', other.call)).toBe('eg')
  expect(await ofMona('type=all&sort=created', mona.call)).toBe('gfedcab')
  expect(await ofMona('direction=desc', mona.call)).toBe('ed')
})
