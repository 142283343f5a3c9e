import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { actionsClient } from '../../../test/support/actions-client.ts'
import { validateAnswer } from '../../../test/support/github-description.ts'
import { startHookReceiver } from '../../../test/support/hook-receiver.ts'
import { sendHooks } from '../../../test/support/hooks.ts'
import { oneJob, queueRun } from '../../../test/support/queue.ts'
import { startServer, type TestServer } from '../../../test/support/start-server.ts'
import { wireRunner } from '../../../test/support/wire-runner.ts'
import type { Repository } from '../../model/account.ts'

/* Labels, runner groups and policies: each answer against GitHub's description, each restriction by jobs that run or do not. */

type Body = Record<string, unknown>

function asking(server: TestServer, scope: string) {
  return async (method: string, target: string, operationId: string, body?: unknown, headers: Record<string, string> = {}) => {
    const answer = await server.admin(method, scope + target, body, headers)
    const text = await answer.text()
    const parsed = (text === '' ? undefined : JSON.parse(text)) as Body
    expect(validateAnswer({ operationId, status: answer.status, body: parsed, headers: answer.headers })).toEqual([])
    return { status: answer.status, body: parsed, headers: answer.headers }
  }
}

describe.each([
  { scope: '/enterprises/fleetfoot', at: 'enterprises/fleetfoot', prefix: 'enterprise-admin', suffix: 'enterprise' },
  { scope: '/orgs/acme', at: 'acme', prefix: 'actions', suffix: 'org' },
  { scope: '/repos/acme/rocket', at: 'acme/rocket', prefix: 'actions', suffix: 'repo' },
])('labels at $scope', ({ scope, at, prefix, suffix }) => {
  let server: TestServer
  let labels: string
  let ask: ReturnType<typeof asking>
  const names = ({ body }: { body: Body }) =>
    (body['labels'] as { name: string; type: string }[]).map(({ name, type }) => `${name} ${type}`)
  const SYSTEM = ['self-hosted read-only', 'Linux read-only', 'X64 read-only']

  beforeAll(async () => {
    server = await startServer()
    await server.organization('acme')
    await server.repository('acme', 'rocket')
    const runner = await wireRunner(server, at, { labels: ['gpu'] })
    labels = `/actions/runners/${runner.id}/labels`
    ask = asking(server, scope)
  })
  afterAll(async () => server[Symbol.asyncDispose]())

  test('are listed, added, replaced and removed; each answer is all that are left', async () => {
    const listed = await ask('GET', labels, `${prefix}/list-labels-for-self-hosted-runner-for-${suffix}`)
    expect(listed.body['total_count']).toBe(4)
    expect(names(listed)).toEqual([...SYSTEM, 'gpu custom'])

    const add = `${prefix}/add-custom-labels-to-self-hosted-runner-for-${suffix}`
    expect(names(await ask('POST', labels, add, { labels: ['GPU', 'linux', 'A100', 'with space'] }))).toEqual([
      ...SYSTEM,
      'gpu custom',
      'A100 custom',
      'with space custom',
    ])

    const remove = `${prefix}/remove-custom-label-from-self-hosted-runner-for-${suffix}`
    expect(names(await ask('DELETE', `${labels}/with%20space`, remove))).toEqual([...SYSTEM, 'gpu custom', 'A100 custom'])
    expect((await ask('DELETE', `${labels}/absent`, remove)).status).toBe(404)
    expect(await ask('DELETE', `${labels}/LINUX`, remove)).toMatchObject({
      status: 422,
      body: { message: expect.stringContaining('read-only') },
    })

    const set = `${prefix}/set-custom-labels-for-self-hosted-runner-for-${suffix}`
    expect(names(await ask('PUT', labels, set, { labels: ['one', 'X64'] }))).toEqual([...SYSTEM, 'one custom'])
    expect(names(await ask('PUT', labels, set, { labels: [] }))).toEqual(SYSTEM)
    await ask('POST', labels, add, { labels: ['again'] })
    const clear = `${prefix}/remove-all-custom-labels-from-self-hosted-runner-for-${suffix}`
    expect(names(await ask('DELETE', labels, clear))).toEqual(SYSTEM)
  })

  test('are refused when they are none', async () => {
    const add = `${prefix}/add-custom-labels-to-self-hosted-runner-for-${suffix}`
    for (const bad of [{}, { labels: 'gpu' }, { labels: [] }, { labels: [''] }, { labels: [7] }, { labels: ['x'.repeat(257)] }]) {
      expect((await ask('POST', labels, add, bad)).status).toBe(422)
    }
    expect((await ask('POST', '/actions/runners/999999/labels', add, { labels: ['x'] })).status).toBe(404)
  })
})

test('a job that waits for a label starts when a runner gets it, within the poll that is open', async () => {
  await using server = await startServer({ times: { pollHeld: 30_000 } })
  await server.organization('acme')
  const repository = await server.repository('acme', 'rocket')
  const runner = await wireRunner(server, 'acme')
  await runner.connect()
  const run = await queueRun(server, repository, oneJob().replace('self-hosted', '[self-hosted, gpu]'))
  const polled = runner.poll()
  expect((await actionsClient(server.admin, 'acme/rocket').jobs(run.id))[0]?.waiting_reason).toBe('no runner has the label gpu')

  await server.admin('POST', `/orgs/acme/actions/runners/${runner.id}/labels`, { labels: ['GPU'] })

  expect(await polled).toMatchObject({ messageType: 'RunnerJobRequest' })
})

describe.each([
  { kind: 'enterprise', scope: '/enterprises/fleetfoot', at: 'enterprises/fleetfoot', prefix: 'enterprise-admin', suffix: 'enterprise' },
  { kind: 'organization', scope: '/orgs/acme', at: 'acme', prefix: 'actions', suffix: 'org' },
])('groups of an $kind', ({ kind, scope, at, prefix, suffix }) => {
  let server: TestServer
  let ask: ReturnType<typeof asking>
  let rocket: Repository
  let acmeId = 0
  const isEnterprise = kind === 'enterprise'
  const groups = '/actions/runner-groups'
  const operation = (verb: string, word = 'for') => `${prefix}/${verb}-${word}-${suffix}`
  const access = (verb: string) =>
    isEnterprise
      ? `enterprise-admin/${verb}-org-access-to-self-hosted-runner-group-in-enterprise`
      : `actions/${verb}-repo-access-to-self-hosted-runner-group-in-org`
  const targets = isEnterprise ? 'organizations' : 'repositories'
  const idsKey = isEnterprise ? 'selected_organization_ids' : 'selected_repository_ids'

  beforeAll(async () => {
    server = await startServer()
    acmeId = (await server.organization('acme')).id
    rocket = await server.repository('acme', 'rocket')
    await server.repository('acme', 'other')
    ask = asking(server, scope)
  })
  afterAll(async () => server[Symbol.asyncDispose]())
  const create = (body: object) => ask('POST', groups, operation('create-self-hosted-runner-group'), body)

  test('live: made, read with the same ETag, changed, opened, filled, deleted', async () => {
    const target = isEnterprise ? acmeId : rocket.id
    const runner = await wireRunner(server, at)
    const made = await create({ name: 'Big boxes', visibility: 'selected', [idsKey]: [target], runners: [runner.id] })
    expect(made.status).toBe(201)
    const id = Number(made.body['id'])
    const own = `${groups}/${id}`
    expect(made.body).toMatchObject({
      name: 'Big boxes',
      visibility: 'selected',
      default: false,
      allows_public_repositories: false,
      restricted_to_workflows: false,
      selected_workflows: [],
      [`selected_${targets}_url`]: expect.stringContaining(`/actions/runner-groups/${id}/${targets}`),
    })
    const read = await ask('GET', own, operation('get-self-hosted-runner-group'))
    expect(read.body).toEqual(made.body)
    expect(read.headers.get('etag')).toBe(made.headers.get('etag'))
    const unchanged = await server.admin('GET', scope + own, undefined, { 'If-None-Match': read.headers.get('etag') ?? '' })
    expect(unchanged.status).toBe(304)
    expect((await server.admin('GET', `${scope}/actions/runner_groups/${id}`)).status).toBe(200)

    const members = await ask('GET', `${own}/runners`, operation('list-self-hosted-runners-in-group'))
    expect(members.body).toMatchObject({ total_count: 1, runners: [{ id: runner.id, runner_group_id: id }] })
    const open = await ask('GET', `${own}/${targets}`, access('list'))
    expect(open.body).toMatchObject({ total_count: 1, [targets]: [{ id: target }] })
    expect((await ask('DELETE', `${own}/${targets}/${target}`, access('remove'))).status).toBe(204)
    expect((await ask('PUT', `${own}/${targets}/${target}`, access('add'))).status).toBe(204)
    expect((await ask('PUT', `${own}/${targets}/999999`, access('add'))).status).toBe(404)
    expect((await ask('PUT', `${own}/${targets}`, access('set'), { [idsKey]: [] })).status).toBe(204)
    expect((await ask('GET', `${own}/${targets}`, access('list'))).body['total_count']).toBe(0)
    expect((await ask('PUT', `${own}/${targets}`, access('set'), { [idsKey]: [999_999] })).status).toBe(422)

    const update = operation('update-self-hosted-runner-group')
    const changed = await ask('PATCH', own, update, { name: 'Bigger', visibility: 'all', allows_public_repositories: true })
    expect(changed.body).toMatchObject({ id, name: 'Bigger', visibility: 'all', allows_public_repositories: true })
    expect(changed.body).not.toHaveProperty(`selected_${targets}_url`)
    // Terraform lists and sets at any visibility; adding one needs `selected`.
    expect((await ask('GET', `${own}/${targets}`, access('list'))).body).toMatchObject({ total_count: 0 })
    expect((await ask('PUT', `${own}/${targets}`, access('set'), { [idsKey]: [] })).status).toBe(204)
    expect((await server.admin('PUT', `${scope}${own}/${targets}/${target}`)).status).toBe(409)

    expect((await ask('DELETE', `${own}/runners/${runner.id}`, operation('remove-self-hosted-runner-from-group'))).status).toBe(204)
    expect((await ask('PUT', `${own}/runners/${runner.id}`, operation('add-self-hosted-runner-to-group'))).status).toBe(204)
    expect((await ask('PUT', `${own}/runners`, operation('set-self-hosted-runners-in-group'), { runners: [] })).status).toBe(204)
    expect((await ask('PUT', `${own}/runners`, operation('set-self-hosted-runners-in-group'), { runners: [runner.id] })).status).toBe(204)
    expect((await ask('DELETE', own, operation('delete-self-hosted-runner-group', 'from'))).status).toBe(204)
    expect((await ask('GET', own, operation('get-self-hosted-runner-group'))).status).toBe(404)
    const [left] = ((await (await server.admin('GET', `${scope}/actions/runners`)).json()) as { runners: Body[] }).runners
    expect(left).toMatchObject({ id: runner.id, runner_group_id: 1 })
  })

  test('have names of their own; the Default one stays as it is', async () => {
    await create({ name: 'taken' })
    expect(await create({ name: 'TAKEN' })).toMatchObject({ status: 409, body: { message: expect.stringContaining('already exists') } })
    const other = await create({ name: 'other' })
    const rename = await server.admin('PATCH', `${scope}${groups}/${String(other.body['id'])}`, { name: 'Taken' })
    expect(rename.status).toBe(409)
    for (const bad of [
      {},
      { name: '' },
      { name: 7 },
      { name: 'x', visibility: 'some' },
      { name: 'x', runners: [999_999] },
      { name: 'x', [idsKey]: [0] },
    ])
      expect((await create(bad)).status).toBe(422)
    for (const workflow of ['x', 'acme/rocket/ci.yml', 'acme/absent/ci.yml@main'])
      expect((await create({ name: 'x', restricted_to_workflows: true, selected_workflows: [workflow] })).status).toBe(422)
    expect((await server.admin('PATCH', `${scope}${groups}/1`, { name: 'Else' })).status).toBe(422)
    expect((await server.admin('DELETE', `${scope}${groups}/1`)).status).toBe(422)
  })

  test('are listed by name, page by page, all or those that somebody may use', async () => {
    for (const name of ['a', 'b', 'c']) await create({ name: `page-${name}`, visibility: 'selected' })
    const list = operation('list-self-hosted-runner-groups')
    const all = (await ask('GET', groups, list)).body['runner_groups'] as { name: string }[]
    const names = all.map(({ name }) => name).filter((name) => name.startsWith('page-') || name === 'Default')
    expect(names.slice(0, 4)).toEqual(['Default', 'page-a', 'page-b', 'page-c'])
    const second = await ask('GET', `${groups}?per_page=2&page=2`, list)
    expect(second.body['runner_groups']).toHaveLength(2)
    expect(second.headers.get('link')).toContain('rel="prev"')
    const filter = isEnterprise ? 'visible_to_organization=ACME' : 'visible_to_repository=rocket'
    const visible = (await ask('GET', `${groups}?${filter}`, list)).body['runner_groups'] as { name: string }[]
    expect(visible.map(({ name }) => name)).not.toContain('page-a')
    expect(visible.map(({ name }) => name)).toContain('Default')
  })
})

async function startFleet() {
  const server = await startServer({ times: { pollHeld: 60 } })
  await server.organization('acme')
  const rocket = await server.repository('acme', 'rocket')
  const other = await server.repository('acme', 'other')
  const waiting = async (repository: string, runId: number) =>
    (await actionsClient(server.admin, `acme/${repository}`).jobs(runId))[0]?.waiting_reason
  const group = async (scope: string, body: object) => {
    const answer = await server.admin('POST', `${scope}/actions/runner-groups`, body)
    expect(answer.status).toBe(201)
    return ((await answer.json()) as { id: number }).id
  }
  return { server, rocket, other, waiting, group, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}

test('a group that is open to selected repositories runs their jobs only, and the other says why it waits', async () => {
  await using t = await startFleet()
  const runner = await wireRunner(t.server, 'acme')
  await runner.connect()
  const id = await t.group('/orgs/acme', {
    name: 'gpu',
    visibility: 'selected',
    selected_repository_ids: [t.rocket.id],
    runners: [runner.id],
  })
  const closed = await queueRun(t.server, t.other, oneJob())

  expect(await runner.poll()).toBeUndefined()
  expect(await t.waiting('other', closed.id)).toBe('1 runner matches, but the runner group gpu does not serve this repository')

  await queueRun(t.server, t.rocket, oneJob())
  await runner.complete(await runner.takeJob())

  const polled = runner.poll()
  await t.server.admin('PUT', `/orgs/acme/actions/runner-groups/${id}/repositories/${t.other.id}`)
  expect((await polled) ?? (await runner.poll())).toMatchObject({ messageType: 'RunnerJobRequest' })
})

test('a change of the group binds a poll that is open, and one that has not heard of it', async () => {
  await using t = await startFleet()
  const runner = await wireRunner(t.server, 'acme')
  await runner.connect()
  const id = await t.group('/orgs/acme', { name: 'gpu', runners: [runner.id] })
  const polls = [runner.poll()]
  await t.server.deps.db.updateTable('runnerGroup').set({ visibility: 'selected', version: 9 }).where('name', '=', 'gpu').execute()
  const run = await queueRun(t.server, t.rocket, oneJob())

  expect(await Promise.all(polls)).toEqual([undefined])
  expect(await t.waiting('rocket', run.id)).toContain('the runner group gpu does not serve this repository')
  await t.server.admin('PUT', `/orgs/acme/actions/runner-groups/${id}/repositories`, { selected_repository_ids: [t.rocket.id] })
  expect(await runner.poll()).toMatchObject({ messageType: 'RunnerJobRequest' })
})

test('a group for one workflow runs that workflow on that ref, also under the name that its repository has now', async () => {
  await using t = await startFleet()
  const runner = await wireRunner(t.server, 'acme')
  await runner.connect()
  const restricted = { name: 'release', restricted_to_workflows: true, runners: [runner.id] }
  const id = await t.group('/orgs/acme', { ...restricted, selected_workflows: ['acme/rocket/.github/workflows/ci.yml@refs/tags/v1'] })
  const run = await queueRun(t.server, t.rocket, oneJob())
  expect(await runner.poll()).toBeUndefined()
  expect(await t.waiting('rocket', run.id)).toBe(
    '1 runner matches, but the runner group release does not run the workflow .github/workflows/ci.yml@refs/heads/main',
  )

  const change = (ref: string) =>
    t.server.admin('PATCH', `/orgs/acme/actions/runner-groups/${id}`, {
      selected_workflows: [`acme/rocket/.github/workflows/ci.yml@${ref}`],
    })
  await change('2'.repeat(40))
  expect(await runner.poll()).toBeUndefined()
  await change('1'.repeat(40))
  await runner.complete(await runner.takeJob())

  await change('main')
  await t.server.admin('PATCH', '/repos/acme/rocket', { name: 'renamed' })
  await queueRun(t.server, t.rocket, oneJob())
  expect(await runner.poll()).toMatchObject({ messageType: 'RunnerJobRequest' })
})

test('runs-on names a group: its runners take the job, the others do not', async () => {
  await using t = await startFleet()
  const plain = await wireRunner(t.server, 'acme')
  const boxed = await wireRunner(t.server, 'acme')
  await plain.connect()
  await boxed.connect()
  await t.group('/orgs/acme', { name: 'Big Boxes', runners: [boxed.id] })
  const run = await queueRun(t.server, t.rocket, oneJob().replace('runs-on: self-hosted', 'runs-on: {group: big boxes}'))

  expect(await plain.poll()).toBeUndefined()
  expect(await t.waiting('rocket', run.id)).toContain('1 runner matches')
  await boxed.takeJob()
  const [job] = await actionsClient(t.server.admin, 'acme/rocket')
    .get<{ jobs: Record<string, unknown>[] }>(`/actions/runs/${run.id}/jobs`)
    .then(({ jobs }) => jobs)
  expect(job).toMatchObject({ runner_group_name: 'Big Boxes' })
})

test('a group of the enterprise is inherited by the organizations that it is open to, each may narrow it and no more', async () => {
  await using t = await startFleet()
  const { server } = t
  const acme = ((await (await server.admin('GET', '/orgs/acme')).json()) as { id: number }).id
  const globex = (await server.organization('globex')).id
  const foreign = await server.repository('globex', 'site')
  const runner = await wireRunner(server, 'enterprises/fleetfoot')
  await runner.connect()
  await t.group('/enterprises/fleetfoot', {
    name: 'shared',
    visibility: 'selected',
    selected_organization_ids: [acme],
    runners: [runner.id],
  })
  const listOf = async (org: string) => {
    const answer = await server.admin('GET', `/orgs/${org}/actions/runner-groups`)
    const body = (await answer.json()) as { runner_groups: { id: number; name: string; inherited: boolean; default: boolean }[] }
    expect(validateAnswer({ operationId: 'actions/list-self-hosted-runner-groups-for-org', status: 200, body })).toEqual([])
    return body.runner_groups
  }
  expect((await listOf('acme')).map(({ name, inherited }) => [name, inherited])).toEqual([
    ['Default', false],
    ['Default', true],
    ['shared', true],
  ])
  expect((await listOf('globex')).map(({ name }) => name)).toEqual(['Default', 'Default'])
  expect((await listOf('acme')).filter((group) => group.default)).toHaveLength(1)

  const inherited = (await listOf('acme')).find(({ name }) => name === 'shared')?.id
  const path = `/orgs/acme/actions/runner-groups/${inherited}`
  await queueRun(server, foreign, oneJob())
  expect(await runner.poll()).toBeUndefined()
  await queueRun(server, t.rocket, oneJob())
  await runner.complete(await runner.takeJob())

  for (const [method, target, body] of [
    ['DELETE', path, undefined],
    ['PATCH', path, { name: 'mine' }],
    ['PUT', `${path}/runners`, { runners: [] }],
    ['PUT', `${path}/runners/${runner.id}`, undefined],
  ] as const)
    expect((await server.admin(method, target, body)).status).toBe(403)
  expect((await server.admin('GET', `${path}/runners`)).status).toBe(200)

  expect((await server.admin('PATCH', path, { visibility: 'selected' })).status).toBe(200)
  const run = await queueRun(server, t.rocket, oneJob())
  expect(await runner.poll()).toBeUndefined()
  expect(await t.waiting('rocket', run.id)).toBe('1 runner matches, but the runner group shared does not serve this repository')
  expect((await server.admin('PUT', `${path}/repositories/${t.rocket.id}`)).status).toBe(204)
  expect(await runner.poll()).toMatchObject({ messageType: 'RunnerJobRequest' })
  expect(globex).toBeGreaterThan(0)
})

test('a group of the enterprise shows by the number that it has where one asks', async () => {
  await using t = await startFleet()
  const { server } = t
  await using receiver = await startHookReceiver()
  await server.admin('POST', '/orgs/acme/hooks', { name: 'web', config: { url: receiver.url }, events: ['workflow_job'] })
  await t.group('/orgs/acme', { name: 'own' })
  const shared = await t.group('/enterprises/fleetfoot', { name: 'shared' })
  const plain = await wireRunner(server, 'enterprises/fleetfoot', { labels: ['plain'] })
  const moved = await wireRunner(server, 'enterprises/fleetfoot', { labels: ['moved'] })
  await server.admin('PUT', `/enterprises/fleetfoot/actions/runner-groups/${shared}/runners/${moved.id}`)
  const own = await wireRunner(server, 'acme', { labels: ['own'] })
  const shown: Record<string, unknown> = {}
  // Before anybody has listed the groups: a job gives an inherited one its number.
  for (const [label, runner] of [
    ['plain', plain],
    ['moved', moved],
    ['own', own],
  ] as const) {
    await runner.connect()
    const run = await queueRun(server, t.rocket, oneJob(label))
    const taken = await runner.takeJob()
    await runner.complete(taken)
    const { jobs } = await actionsClient(server.admin, 'acme/rocket').get<{ jobs: Body[] }>(`/actions/runs/${run.id}/jobs`)
    shown[label] = jobs[0]?.['runner_group_id']
  }
  await sendHooks(server)

  const listed = (await (await server.admin('GET', '/orgs/acme/actions/runner-groups')).json()) as {
    runner_groups: { id: number; name: string; inherited: boolean }[]
  }
  const numberOf = (name: string, isInherited: boolean) =>
    listed.runner_groups.find((group) => group.name === name && group.inherited === isInherited)?.id
  const numbers = { plain: numberOf('Default', true), moved: numberOf('shared', true), own: numberOf('Default', false) }
  expect(new Set(Object.values(numbers)).size).toBe(3)
  expect(shown).toEqual(numbers)
  const told = receiver.of('workflow_job').map(({ payload: { action, workflow_job: job } }) => [action, job.labels[0], job.runner_group_id])
  for (const action of ['in_progress', 'completed'])
    expect(Object.fromEntries(told.filter((each) => each[0] === action).map((each) => each.slice(1)))).toEqual(numbers)
  expect(told.filter((each) => each[0] === 'queued').map((each) => each[2])).toEqual([null, null, null])

  const groupOf = async (target: string) =>
    ((await (await server.admin('GET', target)).json()) as { runners: { runner_group_id: number }[] }).runners
      .map((r) => r.runner_group_id)
      .sort((a, b) => a - b)
  expect(await groupOf(`/orgs/acme/actions/runner-groups/${numbers.moved}/runners`)).toEqual([numbers.moved])
  expect(await groupOf(`/enterprises/fleetfoot/actions/runner-groups/${shared}/runners`)).toEqual([shared])
  expect(await groupOf('/enterprises/fleetfoot/actions/runners')).toEqual([1, shared])
})

test('who may have repository-level runners: all, selected or none, and the enterprise can forbid it to all', async () => {
  await using t = await startFleet()
  const { server } = t
  const ask = asking(server, '')
  const policy = '/orgs/acme/actions/permissions/self-hosted-runners'
  const get = 'actions/get-self-hosted-runners-permissions-organization'
  const set = 'actions/set-self-hosted-runners-permissions-organization'
  const mayRegister = async (repository: string) =>
    (await server.admin('POST', `/repos/acme/${repository}/actions/runners/registration-token`)).status
  expect((await ask('GET', policy, get)).body).toEqual({ enabled_repositories: 'all' })
  expect(await mayRegister('rocket')).toBe(201)
  const earlier = await server.registrationToken('/repos/acme/rocket')

  expect((await ask('PUT', policy, set, { enabled_repositories: 'selected' })).status).toBe(204)
  expect((await ask('GET', policy, get)).body).toMatchObject({
    enabled_repositories: 'selected',
    selected_repositories_url: expect.any(String),
  })
  expect(await mayRegister('rocket')).toBe(403)
  const jit = { name: 'j', runner_group_id: 1, labels: ['x'] }
  expect((await server.admin('POST', '/repos/acme/rocket/actions/runners/generate-jitconfig', jit)).status).toBe(403)
  await expect(wireRunner(server, 'acme/rocket', { token: earlier })).rejects.toThrow()

  const add = 'actions/enable-selected-repository-self-hosted-runners-organization'
  expect((await ask('PUT', `${policy}/repositories/${t.rocket.id}`, add)).status).toBe(204)
  expect([await mayRegister('rocket'), await mayRegister('other')]).toEqual([201, 403])
  const list = await ask('GET', `${policy}/repositories`, 'actions/list-selected-repositories-self-hosted-runners-organization')
  expect(list.body).toMatchObject({ total_count: 1, repositories: [{ id: t.rocket.id }] })
  const replace = 'actions/set-selected-repositories-self-hosted-runners-organization'
  expect((await ask('PUT', `${policy}/repositories`, replace, { selected_repository_ids: [t.other.id] })).status).toBe(204)
  expect([await mayRegister('rocket'), await mayRegister('other')]).toEqual([403, 201])
  const remove = 'actions/disable-selected-repository-self-hosted-runners-organization'
  expect((await ask('DELETE', `${policy}/repositories/${t.other.id}`, remove)).status).toBe(204)
  expect((await ask('PUT', policy, set, { enabled_repositories: 'some' })).status).toBe(422)

  await ask('PUT', policy, set, { enabled_repositories: 'all' })
  expect((await server.admin('PUT', `${policy}/repositories/${t.rocket.id}`)).status).toBe(409)
  const whole = '/enterprises/fleetfoot/actions/permissions/self-hosted-runners'
  const forbid = 'enterprise-admin/set-self-hosted-runners-permissions'
  expect((await ask('PUT', whole, forbid, { disable_self_hosted_runners_for_all_orgs: true })).status).toBe(204)
  const all = await ask('GET', whole, 'enterprise-admin/get-self-hosted-runners-permissions')
  expect(all.body).toEqual({ disable_self_hosted_runners_for_all_orgs: true })
  expect(await mayRegister('rocket')).toBe(403)
  expect((await ask('PUT', policy, set, { enabled_repositories: 'all' })).status).toBe(409)
  expect((await server.admin('POST', '/orgs/acme/actions/runners/registration-token')).status).toBe(201)
})
