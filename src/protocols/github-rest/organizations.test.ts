import { expect, test } from 'vitest'
import { fits } from '../../../test/support/fits.ts'
import { startServer, type Caller } from '../../../test/support/start-server.ts'

const statusOf = async (answer: Promise<Response>) => (await answer).status

test('an organization shows its name to anybody and its numbers to members', async () => {
  await using server = await startServer()
  const mona = await server.user('mona')
  const eve = await server.user('eve')
  const acme = await server.organization('acme', { mona: 'member' })
  await server.repository('acme', 'open', 'public')
  await server.repository('acme', 'closed')

  for (const call of [server.call(undefined), eve.call]) {
    const shown = await fits('orgs/get', 200, call('GET', '/orgs/ACME'))
    expect(shown).toMatchObject({ login: 'acme', id: acme.id, type: 'Organization', public_repos: 1 })
    expect(shown).not.toHaveProperty('total_private_repos')
  }
  expect(await fits('orgs/get', 200, mona.call('GET', `/organizations/${acme.id}`))).toMatchObject({ total_private_repos: 1 })
  for (const path of ['/orgs/mona', '/orgs/nobody', '/organizations/0', '/organizations/x', '/organizations/99999999999999999999']) {
    await fits('orgs/get', 404, server.admin('GET', path))
  }
})

test('who may do what with memberships', async () => {
  await using server = await startServer()
  const actors: Record<string, Caller> = { anonymous: server.call(undefined), admin: server.admin }
  for (const login of ['owner', 'member', 'stranger']) actors[login] = (await server.user(login)).call
  await server.organization('acme', { owner: 'owner', member: 'member' })
  actors['owner without admin:org'] = (await server.user('owner', { scopes: ['repo', 'read:org'] })).call
  actors['member without read:org'] = (await server.user('member', { scopes: ['repo'] })).call
  actors['owner, expired'] = (await server.user('owner', { expiresAt: Date.now() - 1000 })).call

  const expected: Record<string, number[]> = {
    anonymous: [401, 401, 401, 401],
    'owner, expired': [401, 401, 401, 401],
    stranger: [404, 404, 404, 404],
    'member without read:org': [403, 403, 403, 403],
    member: [200, 200, 403, 403],
    'owner without admin:org': [200, 200, 403, 403],
    owner: [200, 200, 200, 204],
    admin: [200, 200, 200, 204],
  }
  for (const [name, statuses] of Object.entries(expected)) {
    const call = actors[name] as Caller
    const seen = [
      await statusOf(call('GET', '/orgs/acme/members')),
      await statusOf(call('GET', '/orgs/acme/memberships/member')),
      await statusOf(call('PUT', '/orgs/acme/memberships/stranger', { role: 'admin' })),
      await statusOf(call('DELETE', '/orgs/acme/memberships/stranger')),
    ]
    expect({ name, seen }).toEqual({ name, seen: statuses })
  }
})

test('a membership is active at once, and its role can change', async () => {
  await using server = await startServer()
  const owner = await server.user('owner')
  const mona = await server.user('mona')
  await server.organization('acme', { owner: 'owner' })
  const set = (body?: unknown) => fits('orgs/set-membership-for-user', 200, owner.call('PUT', '/orgs/acme/memberships/mona', body))

  expect(await set()).toMatchObject({ role: 'member', state: 'active', organization: { login: 'acme' }, user: { login: 'mona' } })
  expect(await set({ role: 'admin' })).toMatchObject({ role: 'admin' })
  expect(await set({ role: 'member', more: 1 })).toMatchObject({ role: 'member' })

  const own = await fits('orgs/get-membership-for-authenticated-user', 200, mona.call('GET', '/user/memberships/orgs/acme'))
  expect(own).toMatchObject({ role: 'member' })
  const organizations = await fits('orgs/list-for-authenticated-user', 200, mona.call('GET', '/user/orgs'))
  expect(organizations).toMatchObject([{ login: 'acme' }])
})

test('the last owner stays, also when two demote each other', async () => {
  await using server = await startServer()
  const owner = await server.user('owner')
  const other = await server.user('other')
  const acme = await server.organization('acme', { owner: 'owner' })
  const demote = (call: Caller, login: string) => call('PUT', `/orgs/acme/memberships/${login}`, { role: 'member' })

  await fits('orgs/set-membership-for-user', 422, demote(owner.call, 'owner'))
  await fits('orgs/remove-membership-for-user', 403, owner.call('DELETE', '/orgs/acme/memberships/owner'))

  await owner.call('PUT', '/orgs/acme/memberships/other', { role: 'admin' })
  const answers = await Promise.all([demote(owner.call, 'other'), demote(other.call, 'owner')])

  const owners = await server.deps.db
    .selectFrom('membership')
    .select('userId')
    .where('organizationId', '=', acme.id)
    .where('role', '=', 'owner')
    .execute()
  expect(owners).toHaveLength(1)
  expect(answers.filter(({ status }) => status === 200)).toHaveLength(1)
})

test('a membership wants a user that exists and a role that does', async () => {
  await using server = await startServer()
  const { admin } = server
  await server.user('mona')
  await server.organization('acme', { admin: 'owner' })
  await server.organization('other')

  await fits('orgs/set-membership-for-user', 404, admin('PUT', '/orgs/acme/memberships/nobody'))
  await fits('orgs/set-membership-for-user', 422, admin('PUT', '/orgs/acme/memberships/other'))
  for (const role of ['owner', '', 7, null]) {
    await fits('orgs/set-membership-for-user', 422, admin('PUT', '/orgs/acme/memberships/mona', { role }))
  }
  await fits('orgs/get-membership-for-user', 404, admin('GET', '/orgs/acme/memberships/mona'))
  await fits('orgs/remove-membership-for-user', 404, admin('DELETE', '/orgs/acme/memberships/mona'))
})

test('whoever leaves an organization loses what they were given in its repositories', async () => {
  await using server = await startServer()
  const mona = await server.user('mona')
  await server.organization('acme', { mona: 'member' })
  const rocket = await server.repository('acme', 'rocket')
  await server.collaborator(rocket, 'mona', 'admin')
  expect(await statusOf(mona.call('GET', '/repos/acme/rocket'))).toBe(200)

  await server.admin('PUT', '/orgs/acme/memberships/admin', { role: 'admin' })
  await server.admin('DELETE', '/orgs/acme/memberships/mona')

  expect(await statusOf(mona.call('GET', '/repos/acme/rocket'))).toBe(404)
})

test('members are listed by page and role, with links that name the organization by number', async () => {
  await using server = await startServer()
  for (const login of ['ann', 'bob', 'cid']) await server.user(login)
  const acme = await server.organization('acme', { bob: 'owner', ann: 'member', cid: 'member' })
  const list = async (query: string) => {
    const answer = await server.admin('GET', `/orgs/acme/members${query}`)
    const link = answer.headers.get('link')
    const members = (await fits('orgs/list-members', 200, answer)) as { login: string }[]
    return { logins: members.map(({ login }) => login), link }
  }

  const base = `${server.url}/api/v3/organizations/${acme.id}/members`
  expect(await list('')).toEqual({ logins: ['ann', 'bob', 'cid'], link: null })
  expect(await list('?per_page=2')).toEqual({
    logins: ['ann', 'bob'],
    link: `<${base}?per_page=2&page=2>; rel="next", <${base}?per_page=2&page=2>; rel="last"`,
  })
  expect((await list('?role=admin')).logins).toEqual(['bob'])
  expect((await list('?role=member')).logins).toEqual(['ann', 'cid'])
  expect((await list('?per_page=x&page=-1&role=all')).logins).toHaveLength(3)
  expect((await list('?page=99999999999')).logins).toEqual([])
  expect(await statusOf(server.admin('GET', `/organizations/${acme.id}/members?page=2&per_page=2`))).toBe(200)
})

test('organizations are listed in the order in which they were made', async () => {
  await using server = await startServer()
  const made = []
  for (const login of ['cc', 'aa', 'bb']) made.push(await server.organization(login))
  const anybody = server.call(undefined)
  const list = async (query: string) => {
    const answer = await anybody('GET', `/organizations${query}`)
    const link = answer.headers.get('link')
    return { logins: ((await fits('orgs/list', 200, answer)) as { login: string }[]).map(({ login }) => login), link }
  }

  const first = await list('?per_page=2')
  expect(first.logins).toEqual(['cc', 'aa'])
  expect(first.link).toContain(`<${server.url}/api/v3/organizations?per_page=2&since=${made[1]?.id}>; rel="next"`)
  expect(await list(`?since=${made[1]?.id}`)).toEqual({ logins: ['bb'], link: null })
  expect((await list('?since=x&per_page=-5')).logins).toHaveLength(3)
})

test('repositories of an organization are those that the asker may see', async () => {
  await using server = await startServer()
  const member = await server.user('member')
  const stranger = await server.user('stranger')
  const helper = await server.user('helper')
  const acme = await server.organization('acme', { member: 'member' })
  await server.repository('acme', 'a-public', 'public')
  await server.repository('acme', 'b-internal', 'internal')
  const closed = await server.repository('acme', 'c-private')
  await server.collaborator(closed, 'helper', 'read')
  const weak = await server.user('member', { scopes: ['public_repo'] })
  const names = async (call: Caller) =>
    ((await fits('repos/list-for-org', 200, call('GET', '/orgs/acme/repos?sort=full_name'))) as { name: string }[]).map(({ name }) => name)

  expect(await names(server.call(undefined))).toEqual(['a-public'])
  expect(await names(stranger.call)).toEqual(['a-public', 'b-internal'])
  expect(await names(weak.call)).toEqual(['a-public', 'b-internal'])
  expect(await names(helper.call)).toEqual(['a-public', 'b-internal', 'c-private'])
  expect(await names(member.call)).toEqual(['a-public', 'b-internal', 'c-private'])
  const paged = await member.call('GET', '/orgs/acme/repos?per_page=1&page=2&sort=full_name')
  expect(paged.headers.get('link')).toContain(`/organizations/${acme.id}/repos?per_page=1&sort=full_name&page=3>; rel="next"`)
})

test('who may make a repository in an organization', async () => {
  await using server = await startServer()
  const member = await server.user('member')
  const stranger = await server.user('stranger')
  const open = await server.user('member', { scopes: ['public_repo'] })
  const none = await server.user('member', { scopes: ['read:org'] })
  await server.organization('acme', { member: 'member' })
  const make = (call: Caller, body: unknown) => statusOf(call('POST', '/orgs/acme/repos', body))

  expect(await make(server.call(undefined), { name: 'a' })).toBe(401)
  expect(await make(stranger.call, { name: 'a' })).toBe(404)
  expect(await make(none.call, { name: 'a' })).toBe(403)
  expect(await make(open.call, { name: 'a', private: true })).toBe(403)
  expect(await make(open.call, { name: 'a' })).toBe(201)
  expect(await make(member.call, { name: 'b', visibility: 'internal' })).toBe(201)
  expect(await make(server.admin, { name: 'c', private: true })).toBe(201)
  expect(await statusOf(server.admin('POST', '/orgs/member/repos', { name: 'a' }))).toBe(404)
})
