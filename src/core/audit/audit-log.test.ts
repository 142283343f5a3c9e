import { expect, test } from 'vitest'
import { installApp, installationToken, makeApp } from '../../../test/support/apps.ts'
import { startServer } from '../../../test/support/start-server.ts'
import { wireRunner } from '../../../test/support/wire-runner.ts'

interface Entry {
  action: string
  actor: string
  actor_ip: string
  org: string | null
  repo: string | null
  user_agent: string
  request_id: string
  data: Record<string, unknown>
}

async function startAudited() {
  const server = await startServer()
  await server.organization('acme')
  await server.organization('other')
  await server.repository('acme', 'rocket')
  const ada = await server.user('ada')
  await server.admin('PUT', '/orgs/acme/memberships/ada', { role: 'admin' })
  const log = async (query = '', place = '/orgs/acme') => {
    const answer = await ada.call('GET', `${place}/audit-log${query}`)
    return { status: answer.status, link: answer.headers.get('link'), entries: (await answer.json()) as Entry[] }
  }
  return { server, ada, log, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}

test('who did what to which runner, group, token, rule, webhook and repository, from where', async () => {
  await using t = await startAudited()
  const { server, ada } = t
  const runner = await wireRunner(server, 'acme', { name: 'box', token: await server.registrationToken('/orgs/acme', ada.token) })
  await ada.call('POST', `/orgs/acme/actions/runners/${runner.id}/labels`, { labels: ['gpu'] })
  const { id } = (await (await ada.call('POST', '/orgs/acme/actions/runner-groups', { name: 'big' })).json()) as { id: number }
  await ada.call('PATCH', `/orgs/acme/actions/runner-groups/${id}`, { allows_public_repositories: true })
  await ada.call('DELETE', `/orgs/acme/actions/runner-groups/${id}`)
  await ada.call('POST', '/api/fleetfoot/orgs/acme/queue/rules', { name: 'r', priority: 1 })
  await ada.call('PUT', `/api/fleetfoot/orgs/acme/queue/pauses/runners/${runner.id}`, { reason: 'disk' })
  await ada.call('PUT', '/repos/acme/rocket/collaborators/admin', { permission: 'push' })
  await ada.call('POST', '/orgs/acme/hooks', { name: 'web', config: { url: 'https://example.com/' } })
  await ada.call('PATCH', '/repos/acme/rocket', { description: 'fast' })
  await ada.call('DELETE', `/orgs/acme/actions/runners/${runner.id}`)
  await server.admin('DELETE', '/repos/acme/rocket')

  const { entries } = await t.log('?per_page=100')
  expect(entries.map(({ action, actor }) => `${action} ${actor}`).toReversed()).toEqual([
    'repo.create admin',
    'membership.set admin',
    'org.create_runner_registration_token ada',
    'org.create_runner_registration_token admin',
    'org.register_self_hosted_runner ada',
    'org.self_hosted_runner_labels_updated ada',
    'org.runner_group_created ada',
    'org.runner_group_updated ada',
    'org.runner_group_removed ada',
    'queue_rule.created ada',
    'pause.started ada',
    'repo.add_member ada',
    'hook.create ada',
    'repo.update ada',
    'org.remove_self_hosted_runner ada',
    'repo.destroy admin',
  ])
  const made = entries.find(({ action }) => action === 'org.runner_group_created')
  expect(made).toMatchObject({ actor_ip: '127.0.0.1', user_agent: 'fleetfoot-test', org: 'acme', data: { name: 'big' } })
  expect(made?.request_id).toMatch(/^[0-9A-F]{4}:/)
  expect(JSON.stringify(entries)).not.toMatch(/ghp_|secret/)

  expect((await t.log('', '/orgs/other')).status).toBe(404)
  expect((await t.log('', '/enterprises/fleetfoot')).status).toBe(404)
  const everything = (await (await server.admin('GET', '/enterprises/fleetfoot/audit-log?per_page=100')).json()) as Entry[]
  expect(everything.length).toBe(entries.length)
  const reader = await server.user('ada', { scopes: ['read:audit_log'] })
  expect((await reader.call('GET', '/orgs/acme/audit-log')).status).toBe(200)
  expect((await reader.call('GET', '/orgs/acme/actions/runners')).status).toBe(403)
})

test('an organization finds in its log what befell its Apps, their tokens, and tokens for what it owns', async () => {
  await using t = await startAudited()
  const { server } = t
  const app = await makeApp(server, { actions: 'read' }, { owner: 'acme' })
  await server.admin('PATCH', '/api/fleetfoot/apps/fleet', { permissions: { actions: 'write' } })
  const key = (await (await server.admin('POST', '/api/fleetfoot/apps/fleet/keys')).json()) as { id: number }
  await server.admin('DELETE', `/api/fleetfoot/apps/fleet/keys/${key.id}`)
  const token = await installationToken(server, app, await installApp(server, app, 'acme'))
  await server.call(token)('DELETE', '/installation/token')
  const fine = { name: 'for acme', permissions: { actions: 'read' }, resource_owner: 'acme' }
  const made = (await (await t.server.admin('POST', '/api/fleetfoot/users/ada/tokens', fine)).json()) as { id: number }
  await server.admin('DELETE', `/api/fleetfoot/users/ada/tokens/${made.id}`)
  await server.admin('POST', '/api/fleetfoot/users/ada/tokens', { name: 'own', scopes: [] })
  await makeApp(server, {}, { owner: 'ada', name: 'Of Ada' })
  await server.admin('DELETE', '/api/fleetfoot/apps/fleet')

  const { entries } = await t.log('?per_page=100&phrase=created:%3E2000-01-01')
  const about = entries.filter(({ action }) => /^(app|token|integration)/.test(action)).toReversed()
  expect(about.map(({ action, org }) => [action, org])).toEqual(
    [
      'app.created',
      'app.updated',
      'app.key_created',
      'app.key_deleted',
      'integration_installation.create',
      'token.created',
      'token.deleted',
      'token.created',
      'token.deleted',
      'integration_installation.destroy',
      'app.deleted',
    ].map((action) => [action, 'acme']),
  )
  const tokens = about.filter(({ action }) => action.startsWith('token')).map(({ data }) => data)
  const name = expect.stringMatching(/^installation \d+$/) as string
  const ofUser = { login: 'ada', name: 'for acme' }
  expect(tokens).toMatchObject([{ app: 'fleet', name }, { name }, ofUser, ofUser])
  expect((await t.log('?order=asc&phrase=actor:fleet[bot]')).entries.map(({ action, actor }) => [action, actor])).toEqual([
    ['token.created', 'fleet[bot]'],
    ['token.deleted', 'fleet[bot]'],
  ])
  const everything = (await (await server.admin('GET', '/enterprises/fleetfoot/audit-log?per_page=100')).json()) as Entry[]
  const elsewhere = everything.filter(({ action, org }) => org === null && /^(app|token)/.test(action))
  expect(elsewhere.map(({ action, data }) => [action, data['slug'] ?? data['name']])).toEqual([
    ['app.created', 'of-ada'],
    ['token.created', 'own'],
  ])
})

test('entries about a webhook tell where it sends and sent, and that its secret changed, but no secret', async () => {
  await using t = await startAudited()
  const config = { url: 'https://mona:pass%40@example.com/a?token=abc', secret: 'first secret', content_type: 'json' }
  const made = await t.ada.call('POST', '/repos/acme/rocket/hooks', { config, events: ['push'] })
  const hook = `/repos/acme/rocket/hooks/${((await made.json()) as { id: number }).id}`
  const other = { url: 'https://evil.example/', secret: 'second secret', content_type: 'json', insecure_ssl: '1' }
  await t.ada.call('PATCH', hook, { config: other })
  await t.ada.call('PATCH', hook, { active: false })
  await t.ada.call('DELETE', hook)
  const app = { name: 'Told', owner: 'acme', permissions: {}, events: [], hook_url: 'https://app.example/old' }
  await t.server.admin('POST', '/api/fleetfoot/apps', app)
  await t.server.admin('PATCH', '/api/fleetfoot/apps/told', { hook_url: 'https://app.example/new' })

  const { entries } = await t.log('?per_page=100')
  const data = (action: string) => entries.filter((entry) => entry.action === action).map((entry) => entry.data)
  const before = { url: 'https://example.com/a?token=***', contentType: 'json', insecureSsl: false, active: true }
  const after = { url: 'https://evil.example/', contentType: 'json', insecureSsl: true }
  expect(data('hook.create')).toMatchObject([{ ...before, events: ['push'], hasSecret: true }])
  expect(data('hook.config_changed')).toMatchObject([
    { from: { ...after, active: true }, to: { ...after, active: false }, secretChanged: false },
    { from: before, to: after, secretChanged: true },
  ])
  expect(data('hook.destroy')).toMatchObject([after])
  expect(data('app.created')).toMatchObject([{ hook: { url: 'https://app.example/old' } }])
  expect(data('app.updated')).toMatchObject([
    { from: { hook: { url: 'https://app.example/old' } }, to: { hook: { url: 'https://app.example/new' } } },
  ])
  expect(JSON.stringify(entries)).not.toMatch(/first secret|second secret|pass|abc|mona/)
})

test('entries are asked for by phrase, paged by cursor both ways, and exported whole', async () => {
  await using t = await startAudited()
  for (const name of ['a', 'b', 'c', 'd', 'e']) await t.ada.call('POST', '/orgs/acme/actions/runner-groups', { name })
  const names = ({ entries }: { entries: Entry[] }) => entries.map(({ data }) => data['name'])
  const phrase = 'phrase=action:org.runner_group_*%20actor:ada'

  expect(names(await t.log(`?${phrase}`))).toEqual(['e', 'd', 'c', 'b', 'a'])
  expect(names(await t.log(`?${phrase}&order=asc`))).toEqual(['a', 'b', 'c', 'd', 'e'])
  expect((await t.log('?phrase=actor:admin')).entries.map(({ action }) => action)).toEqual(['membership.set', 'repo.create'])
  expect(names(await t.log('?phrase=runner_group%20created:%3E%3D2999-01-01'))).toEqual([])
  expect((await t.log('?phrase=runner_group%20created:2020-01-01..2999-01-01')).entries.length).toBe(5)
  expect((await t.log('?phrase=repo:acme/rocket')).entries.map(({ action }) => action)).toEqual(['repo.create'])

  const first = await t.log(`?${phrase}&per_page=2`)
  const follow = async (link: string | null, rel: string) => {
    const url = new RegExp(`<([^>]+)>; rel="${rel}"`).exec(link ?? '')?.[1] ?? ''
    return t.log(new URL(url).search)
  }
  expect(first.link).not.toContain('prev')
  const second = await follow(first.link, 'next')
  expect([names(first), names(second)]).toEqual([
    ['e', 'd'],
    ['c', 'b'],
  ])
  const third = await follow(second.link, 'next')
  expect(third.link).not.toContain('next')
  expect(names(third)).toEqual(['a'])
  expect(names(await follow(third.link, 'prev'))).toEqual(['c', 'b'])
  expect((await t.log('?after=x')).status).toBe(400)

  const lines = (await (await t.ada.call('GET', '/api/fleetfoot/orgs/acme/audit-log/export?phrase=runner_group')).text())
    .trimEnd()
    .split('\n')
  expect(lines.map((line) => (JSON.parse(line) as { data: { name: string } }).data.name)).toEqual(['a', 'b', 'c', 'd', 'e'])
  await t.ada.call('POST', '/orgs/acme/actions/runner-groups', { name: 'with "quotes", and a comma' })
  const csv = await (await t.server.admin('GET', '/api/fleetfoot/enterprises/fleetfoot/audit-log/export?format=csv')).text()
  expect(csv.split('\r\n')[0]).toBe('id,at,action,actor,actor_id,actor_ip,org,repo,subject,subject_id,request_id,data')
  expect(csv).toContain('""with \\""quotes\\"", and a comma""')
  expect((await t.ada.call('GET', '/api/fleetfoot/enterprises/fleetfoot/audit-log/export')).status).toBe(404)
})

test('a phrase has categories, alternatives, what is not wanted, and operations; what it cannot have is refused', async () => {
  await using t = await startAudited()
  await t.ada.call('POST', '/orgs/acme/actions/runner-groups', { name: 'a' })
  const hook = { config: { url: 'https://example.com/' } }
  const made = await t.ada.call('POST', '/repos/acme/rocket/hooks', hook)
  await t.server.admin('DELETE', `/repos/acme/rocket/hooks/${((await made.json()) as { id: number }).id}`)
  const search = async (phrase: string) => {
    const { status, entries } = await t.log(`?order=asc&phrase=${encodeURIComponent(phrase)}`)
    return status === 200 ? entries.map(({ action }) => action) : [status, (entries as unknown as { message: string }).message]
  }
  const [created, set, group, hooked, unhooked] = [
    'repo.create',
    'membership.set',
    'org.runner_group_created',
    'hook.create',
    'hook.destroy',
  ]

  expect(await search('')).toEqual([created, set, group, hooked, unhooked])
  expect(await search('action:hook')).toEqual([hooked, unhooked])
  expect(await search('action:hook.create action:repo')).toEqual([created, hooked])
  expect(await search('action:hook action:*_created')).toEqual([group, hooked, unhooked])
  expect(await search('action:org_*')).toEqual([])
  expect(await search('-actor:admin')).toEqual([group, hooked])
  expect(await search('-actor:admin -action:hook')).toEqual([group])
  expect(await search('action:hook actor:ADA')).toEqual([hooked])
  expect(await search('-repo:acme/rocket')).toEqual([set, group])
  expect(await search('operation:create')).toEqual([created, group, hooked])
  expect(await search('operation:remove operation:modify')).toEqual([set, unhooked])
  expect(await search('-operation:create')).toEqual([set, unhooked])
  expect(await search('operation:access')).toEqual([])
  expect(await search('create -group "repo"')).toEqual([created])
  expect(await search('org:acme -created:>2020-01-01')).toEqual([])
  expect((await search('org:nobody')).length).toBe(0)
  expect(await search('country:DE')).toEqual([422, expect.stringContaining('action:, actor:, repo:, org:, operation:, created:')])
  expect(await search('operation:explode')).toEqual([422, expect.stringContaining('create, remove, modify')])
  expect(await search('created:soon')).toEqual([422, expect.stringContaining('2026-01-31')])
  for (const value of ['%00', 'actor:%00', 'repo:a/%00', 'repo:%25', 'action:%5C', 'created:99999999-01-01', 'created:-271821-04-20..']) {
    expect((await t.log(`?phrase=${value}`)).status).toBeLessThan(500)
  }
  const [first] = (await t.log('?order=asc')).entries as (Entry & { operation_type: string })[]
  expect(first?.operation_type).toBe('create')
})

test('entries keep the names of then; a former name, a new one and that of what is gone find them', async () => {
  await using t = await startAudited()
  const { db } = t.server.deps
  const search = async (phrase: string) =>
    (await t.log(`?order=asc&phrase=${encodeURIComponent(phrase)}`)).entries.map(({ action, repo }) => `${action} ${repo}`)
  const old = await db.selectFrom('auditEntry').selectAll().orderBy('id').executeTakeFirstOrThrow()
  // As entries of a version before this are.
  const { id: _id, ...entry } = { ...old, action: 'repo.update', organizationLogin: null, repositoryName: null }
  await db.insertInto('auditEntry').values(entry).execute()
  await t.ada.call('PATCH', '/repos/acme/rocket', { name: 'comet' })

  const all = ['repo.create acme/rocket', 'repo.update acme/comet', 'repo.update acme/comet']
  expect(await search('repo:acme/rocket')).toEqual(all)
  expect(await search('repo:ACME/Comet')).toEqual(all)
  await t.server.repository('acme', 'rocket')
  expect(await search('repo:acme/rocket')).toEqual(['repo.create acme/rocket', 'repo.create acme/rocket'])
  await t.server.admin('DELETE', '/repos/acme/comet')
  expect(await search('repo:acme/comet')).toEqual(['repo.update acme/comet', 'repo.destroy acme/comet'])
  const own = (await (await t.server.admin('GET', '/enterprises/fleetfoot/audit-log?phrase=org:acme%20repo:acme/comet')).json()) as Entry[]
  expect(own.length).toBe(2)
})

test('the database itself keeps what was written', async () => {
  await using t = await startAudited()
  const { db } = t.server.deps
  await expect(db.updateTable('auditEntry').set({ action: 'nothing' }).execute()).rejects.toThrow('append-only')
  await expect(db.deleteFrom('auditEntry').execute()).rejects.toThrow('append-only')
  expect((await t.log()).entries.length).toBeGreaterThan(0)
})
