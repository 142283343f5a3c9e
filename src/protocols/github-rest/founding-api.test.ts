import { Octokit } from 'octokit'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { oneJob, queueRun } from '../../../test/support/queue.ts'
import { startServer, type TestServer } from '../../../test/support/start-server.ts'
import { wireRunner, type WireRunner } from '../../../test/support/wire-runner.ts'
import { validateAnswer } from '../../../test/support/github-description.ts'

/*
 * The founding document: six operations at three scopes, through raw HTTP and through octokit, each answer against GitHub's own description
 * of GitHub Enterprise Server 3.19.
 */

const SCOPES = [
  { kind: 'enterprise', path: '/enterprises/fleetfoot', at: 'enterprises/fleetfoot', prefix: 'enterprise-admin', suffix: 'for-enterprise' },
  { kind: 'organization', path: '/orgs/acme', at: 'acme', prefix: 'actions', suffix: 'for-org' },
  { kind: 'repository', path: '/repos/acme/rocket', at: 'acme/rocket', prefix: 'actions', suffix: 'for-repo' },
] as const

describe.each(SCOPES)('at the scope of an $kind', ({ kind, path, at, prefix, suffix }) => {
  let server: TestServer
  let runner: WireRunner
  const operation = (verb: string) => `${prefix}/${verb}-${suffix}`
  const remove = { enterprise: 'from-enterprise', organization: 'from-org', repository: 'from-repo' }[kind]

  beforeAll(async () => {
    server = await startServer({ times: { pollHeld: 100 } })
    await server.organization('acme')
    await server.repository('acme', 'rocket')
    runner = await wireRunner(server, at, { name: 'box-2', labels: ['gpu'] })
    await wireRunner(server, at, { name: 'Box-1', ephemeral: true })
    await wireRunner(server, at, { name: 'box-3' })
  })
  afterAll(async () => server[Symbol.asyncDispose]())

  const ask = async (method: string, target: string, operationId: string, headers: Record<string, string> = {}) => {
    const answer = await server.call(server.adminToken)(method, path + target, undefined, headers)
    const text = await answer.text()
    const body: unknown = text === '' ? undefined : JSON.parse(text)
    expect(validateAnswer({ operationId, status: answer.status, body, headers: answer.headers })).toEqual([])
    return { status: answer.status, headers: answer.headers, body: body as never }
  }

  test('lists runners by name, with every field, page by page', async () => {
    const whole = await ask('GET', '/actions/runners', operation('list-self-hosted-runners'))
    expect(whole.status).toBe(200)
    const { total_count, runners } = whole.body as { total_count: number; runners: Record<string, unknown>[] }
    expect(total_count).toBe(3)
    expect(runners.map(({ name }) => name)).toEqual(['Box-1', 'box-2', 'box-3'])
    expect(Object.keys(runners[1] ?? {})).toEqual([
      'id',
      'name',
      'os',
      'status',
      'busy',
      'ephemeral',
      'version',
      'runner_group_id',
      'labels',
    ])
    expect(runners[1]).toMatchObject({
      os: 'linux',
      status: 'offline',
      busy: false,
      ephemeral: false,
      version: '2.336.0',
      runner_group_id: 1,
    })
    expect(runners[1]?.['labels']).toMatchObject([
      { name: 'self-hosted', type: 'read-only' },
      { name: 'Linux', type: 'read-only' },
      { name: 'X64', type: 'read-only' },
      { name: 'gpu', type: 'custom' },
    ])
    expect(whole.headers.get('link')).toBeNull()

    const middle = await ask('GET', '/actions/runners?per_page=1&page=2', operation('list-self-hosted-runners'))
    expect((middle.body as { runners: unknown[] }).runners).toMatchObject([{ name: 'box-2' }])
    const link = middle.headers.get('link') ?? ''
    expect([...link.matchAll(/rel="(\w+)"/g)].map(([, rel]) => rel)).toEqual(['prev', 'next', 'last', 'first'])
    const next = /<([^>]+)>; rel="next"/.exec(link)?.[1] ?? ''
    const followed = await fetch(next, { headers: { Authorization: `token ${server.adminToken}`, 'User-Agent': 'test' } })
    expect(await followed.json()).toMatchObject({ total_count: 3, runners: [{ name: 'box-3' }] })
    if (kind !== 'enterprise') expect(next).toMatch(/\/(?:organizations|repositories)\/\d+\/actions\/runners/)

    for (const query of ['per_page=0', 'per_page=-1&page=-5', 'per_page=1000', 'per_page=x&page=y', 'page=0']) {
      expect(
        ((await ask('GET', `/actions/runners?${query}`, operation('list-self-hosted-runners'))).body as { runners: unknown[] }).runners,
      ).toHaveLength(3)
    }
    const past = await ask('GET', '/actions/runners?page=99', operation('list-self-hosted-runners'))
    expect(past.body).toEqual({ total_count: 3, runners: [] })
  })

  test('finds a runner by its whole name', async () => {
    const named = async (name: string) =>
      ((await ask('GET', `/actions/runners?name=${name}`, operation('list-self-hosted-runners'))).body as { total_count: number })
        .total_count
    expect([await named('box-2'), await named('box'), await named('BOX-2'), await named('%25')]).toEqual([1, 0, 1, 0])
  })

  test('gets one runner, and none that is not there or of another scope', async () => {
    expect((await ask('GET', `/actions/runners/${runner.id}`, operation('get-self-hosted-runner'))).body).toMatchObject({
      id: runner.id,
      name: 'box-2',
    })
    for (const id of ['999999', '0', '-1', 'abc', '1.5', '99999999999999999999', '%00']) {
      expect((await ask('GET', `/actions/runners/${id}`, operation('get-self-hosted-runner'))).status).toBe(404)
    }
    const elsewhere = SCOPES.find((scope) => scope.kind !== kind)
    expect((await server.admin('GET', `${elsewhere?.path}/actions/runners/${runner.id}`)).status).toBe(404)
  })

  test('tells whether a runner is online and busy, and does not delete a busy one', async () => {
    await runner.connect()
    expect((await ask('GET', `/actions/runners/${runner.id}`, operation('get-self-hosted-runner'))).body).toMatchObject({
      status: 'online',
      busy: false,
    })
    const repository = await server.deps.db.selectFrom('repository').select('id').executeTakeFirstOrThrow()
    const { repositoryById } = await import('../../store/repositories.ts')
    const found = await repositoryById(server.deps.db, repository.id)
    if (!found) throw new Error('no repository')
    await queueRun(server, found, oneJob('gpu'))
    const job = await runner.takeJob()
    expect((await ask('GET', `/actions/runners/${runner.id}`, operation('get-self-hosted-runner'))).body).toMatchObject({
      status: 'online',
      busy: true,
    })

    const refused = await ask('DELETE', `/actions/runners/${runner.id}`, `${prefix}/delete-self-hosted-runner-${remove}`)
    expect(refused.status).toBe(422)
    expect(refused.body).toMatchObject({ message: 'Bad request - Runner "box-2" is still running a job"' })
    await runner.complete(job)
    await runner.disconnect()
    expect((await ask('GET', `/actions/runners/${runner.id}`, operation('get-self-hosted-runner'))).body).toMatchObject({
      status: 'offline',
      busy: false,
    })
  })

  test('lists the runner applications', async () => {
    const { body } = await ask('GET', '/actions/runners/downloads', operation('list-runner-applications'))
    const found = body as { os: string; architecture: string; download_url: string; filename: string }[]
    expect(found.map(({ os, architecture }) => `${os}/${architecture}`)).toEqual([
      'osx/x64',
      'linux/x64',
      'linux/arm',
      'win/x64',
      'linux/arm64',
      'osx/arm64',
      'win/arm64',
    ])
    expect(found[1]?.filename).toBe('actions-runner-linux-x64-2.336.0.tar.gz')
    expect(found[3]?.filename).toMatch(/\.zip$/)
  })

  test.each(['registration-token', 'remove-token'])('makes a %s: two keys, 29 characters, one hour', async (segment) => {
    const { status, body } = await ask('POST', `/actions/runners/${segment}`, operation(`create-${segment}`))
    expect(status).toBe(201)
    const { token, expires_at } = body as { token: string; expires_at: string }
    expect(Object.keys(body)).toEqual(['token', 'expires_at'])
    expect(token).toMatch(/^[A-Z2-7]{29}$/)
    expect(expires_at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d$/)
    expect(Math.round((Date.parse(expires_at) - Date.now()) / 60_000)).toBe(60)
    const kept = await server.deps.db.selectFrom('registrationToken').select('hash').execute()
    expect(JSON.stringify(kept)).not.toContain(token)
  })

  test('deletes a runner once', async () => {
    const operationId = `${prefix}/delete-self-hosted-runner-${remove}`
    const gone = await wireRunner(server, at, { name: 'gone' })
    const answer = await ask('DELETE', `/actions/runners/${gone.id}`, operationId)
    expect([answer.status, answer.headers.get('content-type')]).toEqual([204, null])
    expect((await ask('DELETE', `/actions/runners/${gone.id}`, operationId)).status).toBe(404)
    expect((await ask('GET', `/actions/runners/${gone.id}`, operation('get-self-hosted-runner'))).status).toBe(404)
  })

  test('answers in the version that is asked for, and no other', async () => {
    const version = (value: string) => ({ 'X-GitHub-Api-Version': value })
    const list = (headers: Record<string, string>) => server.call(server.adminToken)('GET', `${path}/actions/runners`, undefined, headers)
    expect((await list({})).headers.get('x-github-api-version-selected')).toBe('2022-11-28')
    expect((await list(version('2026-03-10'))).headers.get('x-github-api-version-selected')).toBe('2026-03-10')
    const unknown = await list(version('2021-01-01'))
    expect([unknown.status, await unknown.json()]).toMatchObject([400, { message: expect.stringContaining('is not a supported version') }])
    expect((await list({ Accept: 'text/html' })).status).toBe(415)
    expect((await list({ Accept: 'application/vnd.github.v3+json' })).status).toBe(200)
  })

  test('repeats nothing that the client has', async () => {
    const list = (headers: Record<string, string> = {}) =>
      server.call(server.adminToken)('GET', `${path}/actions/runners`, undefined, headers)
    const etag = (await list()).headers.get('etag') ?? ''
    const again = await list({ 'If-None-Match': `W/${etag}` })
    expect([again.status, await again.text(), again.headers.get('content-type')]).toEqual([304, '', null])
  })

  test('does its part for octokit', async () => {
    const octokit = new Octokit({ auth: server.adminToken, baseUrl: `${server.url}/api/v3`, log: silent })
    const parameters = { enterprise: 'fleetfoot', org: 'acme', owner: 'acme', repo: 'rocket' }
    const route = path
      .replace('fleetfoot', '{enterprise}')
      .replace('/orgs/acme', '/orgs/{org}')
      .replace('/repos/acme/rocket', '/repos/{owner}/{repo}')

    const all = await octokit.paginate<{ name: string }>(`GET ${route}/actions/runners`, { ...parameters, per_page: 1 })
    expect(all.map(({ name }) => name)).toEqual(['Box-1', 'box-2', 'box-3'])
    const one = await octokit.request(`GET ${route}/actions/runners/{runner_id}`, { ...parameters, runner_id: runner.id })
    expect(one.data).toMatchObject({ name: 'box-2' })
    expect((await octokit.request(`GET ${route}/actions/runners/downloads`, parameters)).data).toHaveLength(7)
    expect((await octokit.request(`POST ${route}/actions/runners/registration-token`, parameters)).status).toBe(201)
    expect((await octokit.request(`POST ${route}/actions/runners/remove-token`, parameters)).status).toBe(201)
    const jit = await octokit.request(`POST ${route}/actions/runners/generate-jitconfig`, {
      ...parameters,
      name: 'jit',
      runner_group_id: 1,
      labels: ['x'],
    })
    const made = jit.data as { runner: { id: number }; encoded_jit_config: string }
    expect(made.runner).toMatchObject({
      os: 'unknown',
      status: 'offline',
      ephemeral: true,
      version: null,
      labels: [{ name: 'x', type: 'read-only' }],
    })
    const files = JSON.parse(Buffer.from(made.encoded_jit_config, 'base64').toString()) as Record<string, string>
    expect(Object.keys(files)).toEqual(['.runner', '.credentials', '.credentials_rsaparams'])
    await expect(
      octokit.request(`POST ${route}/actions/runners/generate-jitconfig`, {
        ...parameters,
        name: 'JIT',
        runner_group_id: 1,
        labels: ['x'],
        request: { retries: 0 },
      }),
    ).rejects.toMatchObject({ status: 409, message: expect.stringContaining('Already exists') })
    expect(
      (await octokit.request(`DELETE ${route}/actions/runners/{runner_id}`, { ...parameters, runner_id: made.runner.id })).status,
    ).toBe(204)
  })
})

const silent = { debug() {}, info() {}, warn() {}, error() {} }

test('clients that label bodies oddly are understood', async () => {
  await using server = await startServer()
  await server.organization('acme')
  for (const type of ['application/json', 'text/plain', 'application/vnd.github.v3+json', 'application/x-www-form-urlencoded']) {
    const answer = await fetch(`${server.url}/api/v3/orgs/acme/actions/runners/registration-token`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${server.adminToken}`, 'User-Agent': 'odd', 'Content-Type': type },
    })
    expect([type, answer.status]).toEqual([type, 201])
  }
  const labelled = await fetch(`${server.url}/api/v3/orgs/acme/actions/runners/generate-jitconfig`, {
    method: 'POST',
    headers: {
      Authorization: `basic ${Buffer.from(`github:${server.adminToken}`).toString('base64')}`,
      'User-Agent': 'curl',
      'Content-Type': 'application/x-www-form-urlencoded',
    },
    body: JSON.stringify({ name: 'a', runner_group_id: 1, labels: ['x'] }),
  })
  expect(labelled.status).toBe(201)
})
