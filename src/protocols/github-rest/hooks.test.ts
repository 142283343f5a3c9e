import { Webhooks } from '@octokit/webhooks'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { fits } from '../../../test/support/fits.ts'
import { makeGitClient } from '../../../test/support/git-client.ts'
import { startHookReceiver } from '../../../test/support/hook-receiver.ts'
import { sendHooks } from '../../../test/support/hooks.ts'
import { oneJob, queueRun } from '../../../test/support/queue.ts'
import { startServer, type Caller, type TestServer } from '../../../test/support/start-server.ts'
import { wireRunner } from '../../../test/support/wire-runner.ts'
import { payloadViolations } from '../../../test/support/webhook-description.ts'

/** Verifies as receivers do. */
const hush = new Webhooks({ secret: 'hush' })

let server: TestServer
let admin: Caller
beforeAll(async () => {
  server = await startServer()
  admin = server.admin
  await server.organization('acme')
})
afterAll(async () => server[Symbol.asyncDispose]())

let made = 0
/** A repository, a receiver and a webhook of the one at the other. */
async function repositoryHook(input: Record<string, unknown> = {}, config: Record<string, unknown> = {}) {
  const receiver = await startHookReceiver()
  const repository = await server.repository('acme', `hooked-${++made}`)
  const hooks = `/repos/acme/${repository.name}/hooks`
  const hook = await fits(
    'repos/create-webhook',
    201,
    admin('POST', hooks, { config: { url: receiver.url, content_type: 'json', ...config }, ...input }),
  )
  return { receiver, repository, hooks, hook, at: `${hooks}/${hook.id}`, [Symbol.asyncDispose]: () => receiver[Symbol.asyncDispose]() }
}

describe('a webhook of a repository', () => {
  test('is made, shown, changed and deleted', async () => {
    await using made = await repositoryHook({ events: ['push', 'workflow_job'] }, { secret: 'hush', insecure_ssl: 1 })
    const { hook, hooks, at } = made

    expect(hook).toMatchObject({
      type: 'Repository',
      name: 'web',
      active: true,
      events: ['push', 'workflow_job'],
      config: { url: made.receiver.url, content_type: 'json', insecure_ssl: '1', secret: '********' },
      last_response: { code: null, status: 'unused', message: null },
    })
    expect(hook.test_url).toBe(`${hook.url}/test`)
    expect(await fits('repos/list-webhooks', 200, admin('GET', hooks))).toEqual([hook])
    expect(await fits('repos/get-webhook', 200, admin('GET', at))).toEqual(hook)

    const changed = await fits(
      'repos/update-webhook',
      200,
      admin('PATCH', at, { add_events: ['workflow_run'], remove_events: ['push'], active: false }),
    )
    expect(changed).toMatchObject({ active: false, events: ['workflow_job', 'workflow_run'], config: { secret: '********' } })
    const config = await fits('repos/update-webhook-config-for-repo', 200, admin('PATCH', `${at}/config`, { content_type: 'form' }))
    expect(config).toEqual({ url: made.receiver.url, content_type: 'form', insecure_ssl: '1', secret: '********' })
    expect(await fits('repos/get-webhook-config-for-repo', 200, admin('GET', `${at}/config`))).toEqual(config)
    // The whole configuration without a secret takes the secret away.
    const replaced = await fits('repos/update-webhook', 200, admin('PATCH', at, { config: { url: made.receiver.url } }))
    expect(replaced.config).toEqual({ url: made.receiver.url, content_type: 'form', insecure_ssl: '0' })

    await fits('repos/delete-webhook', 204, admin('DELETE', at))
    await fits('repos/get-webhook', 404, admin('GET', at))
    expect(await fits('repos/list-webhooks', 200, admin('GET', hooks))).toEqual([])
  })

  test('is refused with a bad address, event or name, and when there is such a one', async () => {
    await using made = await repositoryHook()
    const { hooks, receiver } = made
    const refused = async (body: unknown) => (await fits('repos/create-webhook', 422, admin('POST', hooks, body))).errors?.[0]?.message

    expect(await refused({})).toBe('url cannot be blank')
    expect(await refused({ config: { url: 'ftp://example.com' } })).toMatch(/http or https/)
    expect(await refused({ config: { url: 'http://example.com' }, events: ['nothing'] })).toMatch(/not known/)
    expect(await refused({ name: 'email', config: { url: 'http://example.com' } })).toBe('name must be web')
    expect(await refused({ config: { url: receiver.url } })).toBe('Hook already exists on this repository')
    expect(await refused({ config: { url: receiver.url }, events: ['*'] })).toBe('Hook already exists on this repository')
    await fits('repos/create-webhook', 201, admin('POST', hooks, { config: { url: receiver.url }, events: ['workflow_job'] }))
  })

  test('is pinged when it is made and when asked, signed over the exact bytes', async () => {
    await using made = await repositoryHook({}, { secret: 'hush' })
    const { receiver, hook, at, repository } = made
    await fits('repos/ping-webhook', 204, admin('POST', `${at}/pings`))
    await sendHooks(server)

    const [ping, second] = receiver.of('ping')
    expect(receiver.received).toHaveLength(2)
    expect(second?.headers['x-github-delivery']).not.toBe(ping?.headers['x-github-delivery'])
    expect(payloadViolations('ping', ping?.payload)).toEqual([])
    expect(ping?.payload).toMatchObject({ hook_id: hook.id, hook: { type: 'Repository', config: { secret: '********' } } })
    expect(ping?.payload.repository.full_name).toBe(`acme/${repository.name}`)
    expect(ping?.headers).toMatchObject({
      accept: '*/*',
      'content-type': 'application/json',
      'x-github-event': 'ping',
      'x-github-hook-id': String(hook.id),
      'x-github-hook-installation-target-id': String(repository.id),
      'x-github-hook-installation-target-type': 'repository',
    })
    expect(ping?.headers['user-agent']).toMatch(/^GitHub-Hookshot\//)
    expect(ping?.headers['x-hub-signature']).toMatch(/^sha1=[0-9a-f]{40}$/)
    expect(await hush.verify(ping?.body ?? '', String(ping?.headers['x-hub-signature-256']))).toBe(true)
    const after = await fits('repos/get-webhook', 200, admin('GET', at))
    expect(after.last_response).toEqual({ code: 200, status: 'active', message: 'OK' })
  })

  test('sends forms, signed as they are encoded, and without a secret no signature', async () => {
    await using signed = await repositoryHook({}, { secret: 'hush', content_type: 'form' })
    await using plain = await repositoryHook({}, { content_type: 'form' })
    await sendHooks(server)

    const [form] = signed.receiver.received
    expect(form?.body).toMatch(/^payload=%7B/)
    expect(form?.payload.hook_id).toBe(signed.hook.id)
    expect(await hush.verify(form?.body ?? '', String(form?.headers['x-hub-signature-256']))).toBe(true)
    expect(plain.receiver.received[0]?.headers['x-hub-signature-256']).toBeUndefined()
  })

  test('keeps its secret encrypted', async () => {
    await using made = await repositoryHook({}, { secret: 'hush-hush-hush' })

    const row = await server.deps.db.selectFrom('hook').selectAll().where('id', '=', made.hook.id).executeTakeFirstOrThrow()
    expect(JSON.stringify(row)).not.toContain('hush-hush-hush')
    expect(Buffer.from(row.secret ?? '', 'base64').toString('latin1')).not.toContain('hush')
  })
})

describe('what happens is told', () => {
  test('of a job and its run, as it was at each moment', async () => {
    await using receiver = await startHookReceiver()
    const organization = await server.organization('globex')
    await admin('POST', '/orgs/globex/hooks', { name: 'web', config: { url: receiver.url, content_type: 'json' }, events: ['*'] })
    const repository = await server.repository('globex', 'rocket')
    const { token } = await server.user('ada', { siteAdmin: true })
    await server.push(token, repository, {
      '.github/workflows/ci.yml': 'on: push\njobs: {a: {runs-on: [self-hosted, GPU], steps: [{run: echo}]}}',
    })
    const runner = await wireRunner(server, 'globex/rocket', { labels: ['gpu'] })
    await runner.connect()
    await runner.complete(await runner.takeJob())

    // Nothing was told until now: the job has long ended, and each message still says what was then.
    await sendHooks(server)

    const seen = receiver.received.map(({ headers, payload }) => [headers['x-github-event'], payload.action].filter(Boolean).join('.'))
    expect(seen.toSorted()).toEqual(
      [
        'check_run.completed',
        'check_run.created',
        'ping',
        'push',
        'workflow_job.completed',
        'workflow_job.in_progress',
        'workflow_job.queued',
        'workflow_run.completed',
        'workflow_run.in_progress',
        'workflow_run.requested',
      ].toSorted(),
    )
    for (const { headers, payload } of receiver.received) {
      expect({ payload: payload.action, violations: payloadViolations(String(headers['x-github-event']), payload) }).toEqual({
        payload: payload.action,
        violations: [],
      })
      expect(payload.organization.login).toBe('globex')
      expect(payload.enterprise.slug).toBe('fleetfoot')
      expect(headers).toMatchObject({ 'x-github-hook-installation-target-type': 'organization' })
      expect(headers['x-github-hook-installation-target-id']).toBe(String(organization.id))
      if (payload.hook === undefined) expect(payload.sender.login).toBe('ada')
    }
    const jobs = receiver.of('workflow_job').map(({ payload }) => payload.workflow_job)
    expect(jobs[0]).toMatchObject({ status: 'queued', conclusion: null, runner_id: null, runner_name: null, completed_at: null, steps: [] })
    expect(jobs[0].labels).toEqual(['self-hosted', 'GPU'])
    expect(jobs[1]).toMatchObject({ status: 'in_progress', conclusion: null, runner_id: runner.id, completed_at: null })
    expect(jobs[1].steps).toMatchObject([{ name: 'Set up job', status: 'in_progress' }])
    expect(jobs[2]).toMatchObject({ status: 'completed', conclusion: 'success', runner_id: runner.id })
    const runs = receiver.of('workflow_run').map(({ payload }) => [payload.workflow_run.status, payload.workflow_run.conclusion])
    expect(runs).toEqual([
      ['queued', null],
      ['in_progress', null],
      ['completed', 'success'],
    ])
    const [push] = receiver.of('push')
    expect(push?.payload).toMatchObject({ ref: 'refs/heads/main', created: true, deleted: false, pusher: { name: 'ada' } })
    expect(push?.payload.commits).toHaveLength(1)
  })

  test('to those alone that hear of the event', async () => {
    await using jobs = await repositoryHook({ events: ['workflow_job'] })
    await using pushes = await repositoryHook({ events: ['push'] })
    await using idle = await startHookReceiver()
    await admin('POST', jobs.hooks, { config: { url: idle.url, content_type: 'json' }, events: ['workflow_job'], active: false })
    await sendHooks(server)
    jobs.receiver.received.length = 0
    idle.received.length = 0

    await server.push(server.adminToken, jobs.repository, {
      '.github/workflows/ci.yml': 'on: push\njobs: {a: {runs-on: x, steps: [{run: echo}]}}',
    })
    await sendHooks(server)

    expect(jobs.receiver.received.map(({ payload }) => payload.action)).toEqual(['queued'])
    expect(pushes.receiver.of('push')).toEqual([])
    expect(idle.received).toEqual([])
  })

  test('of a branch that is deleted, and of the latest push again for a test', async () => {
    await using made = await repositoryHook()
    const { receiver, at, repository } = made
    await server.push(server.adminToken, repository, { a: '1' })
    await sendHooks(server)
    await fits('repos/test-push-webhook', 204, admin('POST', `${at}/tests`))
    await sendHooks(server)

    const [push, again] = receiver.of('push')
    expect(again?.payload.head_commit.id).toBe(push?.payload.head_commit.id)
    expect(payloadViolations('push', again?.payload)).toEqual([])

    using git = makeGitClient()
    const remote = `http://x:${server.adminToken}@${new URL(server.url).host}/acme/${repository.name}`
    await git.git('.', 'clone', '--quiet', remote, 'work')
    await git.git('work', 'push', '--quiet', 'origin', 'HEAD:refs/heads/old')
    await git.git('work', 'push', '--quiet', 'origin', ':refs/heads/old')
    await sendHooks(server)
    const deletion = receiver.of('push').at(-1)?.payload
    expect(deletion).toMatchObject({ ref: 'refs/heads/old', deleted: true, head_commit: null, commits: [] })
    expect(payloadViolations('push', deletion)).toEqual([])
  })

  test('again as queued, when a runner took the job and did nothing', async () => {
    await using made = await repositoryHook({ events: ['workflow_job'] })
    const { receiver, repository } = made
    const runner = await wireRunner(server, `acme/${repository.name}`)
    await runner.connect()
    await queueRun(server, repository, oneJob())
    const message = await runner.poll()
    await runner.acquire(message?.body['runner_request_id'] ?? '')
    // A poll without a renewal: no worker has begun, and the job goes back to its line and out again.
    const again = await runner.poll()
    await sendHooks(server)

    expect(again?.body['runner_request_id']).toBeDefined()
    expect(receiver.of('workflow_job').map(({ payload }) => payload.action)).toEqual(['queued', 'in_progress', 'queued'])
    expect(receiver.received.at(-1)?.payload.workflow_job).toMatchObject({ status: 'queued', runner_id: null, runner_name: null })
  })
})

describe('deliveries', () => {
  test('are listed newest first, page by page, shown whole, and made again with the same id', async () => {
    await using made = await repositoryHook({}, { secret: 'hush' })
    const { receiver, at } = made
    for (let i = 0; i < 2; i++) await admin('POST', `${at}/pings`)
    expect(await fits('repos/list-webhook-deliveries', 200, admin('GET', `${at}/deliveries`))).toEqual([])
    await sendHooks(server)

    const first = await admin('GET', `${at}/deliveries?per_page=2`)
    const link = /<([^>]+)>; rel="next"/.exec(first.headers.get('link') ?? '')?.[1] ?? ''
    const [newest, middle] = await fits('repos/list-webhook-deliveries', 200, first)
    const rest = await fits('repos/list-webhook-deliveries', 200, admin('GET', new URL(link).pathname + new URL(link).search))
    expect(rest).toHaveLength(1)
    expect(newest.id).toBeGreaterThan(middle.id)
    expect(newest).toMatchObject({ event: 'ping', action: null, status: 'OK', status_code: 200, redelivery: false })

    const whole = await fits('repos/get-webhook-delivery', 200, admin('GET', `${at}/deliveries/${newest.id}`))
    expect(whole.request.headers['X-GitHub-Delivery']).toBe(newest.guid)
    expect(whole.request.payload.hook_id).toBe(made.hook.id)
    expect(whole.response).toMatchObject({ payload: 'heard' })
    expect(whole.response.headers['X-Receiver']).toBe('test')

    receiver.answer = 500
    expect(await fits('repos/redeliver-webhook-delivery', 202, admin('POST', `${at}/deliveries/${newest.id}/attempts`))).toEqual({})
    await sendHooks(server)
    expect(receiver.received.at(-1)?.headers['x-github-delivery']).toBe(newest.guid)
    const failures = await fits('repos/list-webhook-deliveries', 200, admin('GET', `${at}/deliveries?status=failure`))
    expect(failures).toMatchObject([{ guid: newest.guid, redelivery: true, status_code: 500, status: 'Invalid HTTP Response: 500' }])
    expect(await fits('repos/list-webhook-deliveries', 200, admin('GET', `${at}/deliveries?status=success`))).toHaveLength(3)

    await fits('repos/get-webhook-delivery', 404, admin('GET', `${at}/deliveries/999999`))
    await fits('repos/list-webhook-deliveries', 400, admin('GET', `${at}/deliveries?cursor=x`))
    await fits('repos/list-webhook-deliveries', 422, admin('GET', `${at}/deliveries?status=weird`))
  })
})

describe.each([
  { kind: 'organization', path: '/orgs/acme', type: 'Organization', target: 'organization', update: 'orgs/update-webhook-config-for-org' },
  { kind: 'enterprise', path: '/enterprises/fleetfoot', type: 'Business', target: 'business', update: undefined },
  { kind: 'server', path: '/admin', type: 'Global', target: 'business', update: undefined },
])('webhooks of the $kind', ({ kind, path, type, target, update }) => {
  const operation = (verb: string) =>
    kind === 'organization'
      ? `orgs/${verb}`
      : kind === 'server' && !verb.includes('deliver')
        ? `enterprise-admin/${verb.replace('webhook', 'global-webhook')}`
        : 'ours'

  test('are made, shown, changed, pinged and deleted, and hear of all their repositories', async () => {
    await using receiver = await startHookReceiver()
    const hooks = `${path}/hooks`
    const body = { name: 'web', config: { url: receiver.url, content_type: 'json', secret: 'hush' }, events: ['workflow_job'] }
    const hook = await fits(operation('create-webhook'), 201, admin('POST', hooks, body))
    expect(hook).toMatchObject({
      type,
      name: 'web',
      active: true,
      events: ['workflow_job'],
      config: { secret: '********', insecure_ssl: '0' },
    })
    expect(hook.last_response).toBeUndefined()
    expect(new URL(hook.ping_url).pathname).toBe(`/api/v3${hooks}/${hook.id}/pings`)
    expect(await fits(operation('list-webhooks'), 200, admin('GET', hooks))).toEqual([hook])
    expect(await fits(operation('get-webhook'), 200, admin('GET', `${hooks}/${hook.id}`))).toEqual(hook)
    // What was read is written back: the stars change no secret.
    await fits(operation('update-webhook'), 200, admin('PATCH', `${hooks}/${hook.id}`, { config: hook.config, active: true }))
    const config = await fits(update ?? 'ours', 200, admin('PATCH', `${hooks}/${hook.id}/config`, { insecure_ssl: '0' }))
    expect(config).toMatchObject({ url: receiver.url, secret: '********' })
    await fits(operation('ping-webhook'), 204, admin('POST', `${hooks}/${hook.id}/pings`))

    const repository = await server.repository('acme', `of-${kind}`)
    await queueRun(server, repository, oneJob())
    await sendHooks(server)

    expect(receiver.of('ping')).toHaveLength(2)
    const [message] = receiver.of('workflow_job')
    expect(message?.payload.repository.full_name).toBe(`acme/of-${kind}`)
    expect(message?.headers['x-github-hook-installation-target-type']).toBe(target)
    expect(await hush.verify(message?.body ?? '', String(message?.headers['x-hub-signature-256']))).toBe(true)
    const [delivery] = await fits(operation('list-webhook-deliveries'), 200, admin('GET', `${hooks}/${hook.id}/deliveries`))
    expect(delivery).toMatchObject({ event: 'workflow_job', action: 'queued', repository_id: repository.id })
    await fits(operation('get-webhook-delivery'), 200, admin('GET', `${hooks}/${hook.id}/deliveries/${delivery.id}`))
    await fits(operation('redeliver-webhook-delivery'), 202, admin('POST', `${hooks}/${hook.id}/deliveries/${delivery.id}/attempts`))

    await fits(operation('delete-webhook'), 204, admin('DELETE', `${hooks}/${hook.id}`))
    await fits(operation('get-webhook'), 404, admin('GET', `${hooks}/${hook.id}`))
  })

  test('ask for a name and an address, and are not those of another place', async () => {
    const { status } = await admin('POST', `${path}/hooks`, { config: { url: 'http://example.com' } })
    expect(status).toBe(422)
    await using made = await repositoryHook()
    expect((await admin('GET', `${path}/hooks/${made.hook.id}`)).status).toBe(404)
    expect((await admin('DELETE', `${path}/hooks/${made.hook.id}`)).status).toBe(404)
  })
})

test("a user's repository is not the enterprise's, and its webhook goes with it", async () => {
  await using receiver = await startHookReceiver()
  await using own = await startHookReceiver()
  const { id } = (await (
    await admin('POST', '/enterprises/fleetfoot/hooks', { name: 'web', config: { url: receiver.url, content_type: 'json' }, events: ['*'] })
  ).json()) as { id: number }
  await server.user('mona')
  const repository = await server.repository('mona', 'own')
  await admin('POST', '/repos/mona/own/hooks', { config: { url: own.url, content_type: 'json' }, events: ['workflow_job'] })
  await queueRun(server, repository, oneJob())
  await sendHooks(server)

  expect(receiver.of('workflow_job')).toEqual([])
  const [message] = own.of('workflow_job')
  expect(message?.payload.organization ?? message?.payload.enterprise).toBeUndefined()
  expect(payloadViolations('workflow_job', message?.payload)).toEqual([])
  await admin('DELETE', `/enterprises/fleetfoot/hooks/${id}`)
  await admin('DELETE', '/repos/mona/own')
  const left = await server.deps.db
    .selectFrom('hook')
    .select('id')
    .where('ownerId', '=', repository.id)
    .where('deletedAt', 'is', null)
    .execute()
  expect(left).toEqual([])
})

test('no more than twenty webhooks of a place hear of one event, and none is made twice at once', async () => {
  const repository = await server.repository('acme', 'crowded')
  const hooks = `/repos/acme/${repository.name}/hooks`
  const add = async (url: string) => (await admin('POST', hooks, { config: { url } })).status
  const twins = await Promise.all([add('http://example.com/twin'), add('http://example.com/twin')])
  expect(twins.toSorted()).toEqual([201, 422])

  for (let i = 1; i < 20; i++) expect(await add(`http://example.com/${i}`)).toBe(201)

  expect(await add('http://example.com/more')).toBe(422)
  const listed = await admin('GET', `${hooks}?per_page=5&page=2`)
  expect((await fits('repos/list-webhooks', 200, listed)).length).toBe(5)
  expect(listed.headers.get('link')).toContain(`/repositories/${repository.id}/hooks?per_page=5&page=3`)
})
