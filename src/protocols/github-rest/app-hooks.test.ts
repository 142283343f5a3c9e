import { Webhooks } from '@octokit/webhooks'
import { expect, test } from 'vitest'
import { fanOutEvents } from '../../core/hooks/fan-out.ts'
import { createHook } from '../../core/hooks/hooks.ts'
import { asApp, installApp, installationToken, type TestApp } from '../../../test/support/apps.ts'
import { fits } from '../../../test/support/fits.ts'
import { startHookReceiver, type HookReceiver } from '../../../test/support/hook-receiver.ts'
import { sendHooks } from '../../../test/support/hooks.ts'
import { oneJob, queueRun } from '../../../test/support/queue.ts'
import { startServer } from '../../../test/support/start-server.ts'
import { payloadViolations } from '../../../test/support/webhook-description.ts'

/** An App with a webhook at a receiver, in an organization with two repositories. */
async function start(permissions: Record<string, string>, events: string[]) {
  const server = await startServer()
  const receiver = await startHookReceiver()
  await server.organization('acme')
  const rocket = await server.repository('acme', 'rocket')
  const site = await server.repository('acme', 'site')
  const body = { name: 'Fleet', owner: 'acme', permissions, events, hook_url: receiver.url }
  const app = (await (await server.admin('POST', '/api/fleetfoot/apps', body)).json()) as TestApp
  return {
    server,
    receiver,
    rocket,
    site,
    app,
    call: asApp(server, app),
    async [Symbol.asyncDispose]() {
      await receiver[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

/** What it heard of repositories. */
const heard = ({ received }: HookReceiver) =>
  received.filter(({ headers }) => !/^(ping|installation.*)$/.test(String(headers['x-github-event'])))

test('an App is pinged when its webhook is made, written with it', async () => {
  await using at = await start({ actions: 'read' }, ['workflow_job'])
  const { server, receiver, app } = at
  await sendHooks(server)
  const [ping, ...more] = receiver.of('ping')
  expect(more).toEqual([])
  expect(payloadViolations('ping', ping?.payload)).toEqual([])
  if (!ping) throw new Error('there was no ping')
  const { hook, sender, enterprise } = ping.payload
  expect(hook).toMatchObject({ type: 'App', app_id: app.id, config: { url: receiver.url, secret: '********' } })
  expect([sender.login, enterprise, hook.url]).toEqual(['admin', undefined, undefined])
  expect(new URL(hook.deliveries_url).pathname).toBe('/api/v3/app/hook/deliveries')

  const change = (body: object) => server.admin('PATCH', '/api/fleetfoot/apps/fleet', body)
  await change({ hook_url: `${receiver.url}/there` })
  await sendHooks(server)
  expect(receiver.of('ping')).toHaveLength(1)
  await change({ hook_url: null })
  await change({ hook_url: receiver.url })
  await sendHooks(server)
  expect(receiver.of('ping')).toHaveLength(2)
})

test('an App is told what befalls its installations, after that too', async () => {
  await using at = await start({ actions: 'read' }, [])
  const { server, receiver, rocket, app, call } = at
  const id = await installApp(server, app, 'acme', ['rocket'])
  await installApp(server, app, 'acme', ['rocket'])
  await call('PUT', `/app/installations/${id}/suspended`)
  await call('DELETE', `/app/installations/${id}/suspended`)
  await server.admin('DELETE', '/api/fleetfoot/apps/fleet/installations/acme')
  await sendHooks(server)

  const events = receiver.of('installation').map(({ payload }) => payload)
  expect(events.map(({ action, sender }) => [action, sender.login])).toEqual([
    ['created', 'admin'],
    ['suspend', 'fleet[bot]'],
    ['unsuspend', 'fleet[bot]'],
    ['deleted', 'admin'],
  ])
  const reached = { id: rocket.id, name: 'rocket', full_name: 'acme/rocket', private: true }
  for (const { installation, repositories } of events) {
    expect(installation).toMatchObject({ id, app_slug: 'fleet', account: { login: 'acme' } })
    expect(repositories).toMatchObject([reached])
  }
  for (const payload of events) {
    expect(payloadViolations('installation', payload)).toEqual([])
  }
  expect(events.map(({ installation }) => installation.suspended_at !== null)).toEqual([false, true, false, false])
  const [{ id: last }] = await fits('apps/list-webhook-deliveries', 200, call('GET', '/app/hook/deliveries'))
  const whole = await fits('apps/get-webhook-delivery', 200, call('GET', `/app/hook/deliveries/${last}`))
  expect(whole).toMatchObject({ installation_id: id, request: { payload: { action: 'deleted' } } })
})

test('an App is told of repositories that it gains and loses, and of permissions that it is given; of lost ones it hears no more', async () => {
  await using at = await start({ actions: 'read' }, ['workflow_job'])
  const { server, receiver, rocket, site, app, call } = at
  const id = await installApp(server, app, 'acme', ['rocket'])
  await queueRun(server, rocket, oneJob())
  await sendHooks(server)
  const [told] = await fits('apps/list-webhook-deliveries', 200, call('GET', '/app/hook/deliveries'))
  expect(told).toMatchObject({ event: 'workflow_job' })
  await queueRun(server, rocket, oneJob())
  await fanOutEvents(server.deps)

  await installApp(server, app, 'acme', ['site'])
  const change = (body: object) => server.admin('PATCH', '/api/fleetfoot/apps/fleet', body)
  await change({ permissions: { actions: 'read', checks: 'read' } })
  await server.admin('POST', '/api/fleetfoot/apps/fleet/installations', { account: 'acme', repository_selection: 'all' })
  await server.admin('POST', '/api/fleetfoot/apps/fleet/installations', { account: 'acme', repository_selection: 'all' })
  await sendHooks(server)

  expect(receiver.of('workflow_job')).toHaveLength(1)
  const lost = `/app/hook/deliveries/${told.id}`
  expect((await call('GET', lost)).status).toBe(200)
  await installApp(server, app, 'acme', ['site'])
  expect([(await call('GET', lost)).status, (await call('POST', `${lost}/attempts`)).status]).toEqual([404, 404])
  await sendHooks(server)
  const events = receiver.received.filter(({ headers }) => String(headers['x-github-event']).startsWith('installation'))
  const ids = (list: { id: number }[] = []) => list.map((each) => each.id)
  expect(
    events.map(({ payload }) => [
      payload.action,
      payload.repository_selection ?? payload.installation.repository_selection,
      ids(payload.repositories_added),
      ids(payload.repositories_removed),
    ]),
  ).toEqual([
    ['created', 'selected', [], []],
    ['added', 'selected', [site.id], []],
    ['removed', 'selected', [], [rocket.id]],
    ['new_permissions_accepted', 'all', [], []],
    ['added', 'all', [rocket.id], []],
    ['removed', 'selected', [], [rocket.id]],
  ])
  for (const { headers, payload } of events) {
    expect(payload.installation).toMatchObject({ id })
    expect(payload.sender.login).toBe('admin')
    expect(payloadViolations(String(headers['x-github-event']), payload)).toEqual([])
  }
})

test('an App whose installation is for selected repositories is told of one that it makes', async () => {
  await using at = await start({ administration: 'write' }, [])
  const { server, receiver, app } = at
  const token = await installationToken(server, app, await installApp(server, app, 'acme', ['rocket']))
  const made = await server.call(token)('POST', '/orgs/acme/repos', { name: 'own', private: true })
  expect(made.status).toBe(201)
  await sendHooks(server)

  const [told] = receiver.of('installation_repositories')
  expect(told?.payload).toMatchObject({ action: 'added', repositories_added: [{ full_name: 'acme/own' }], sender: { login: 'fleet[bot]' } })
  expect(payloadViolations('installation_repositories', told?.payload)).toEqual([])
})

test('a delivery that is made while its repository is being taken from the selection is not sent', async () => {
  await using at = await start({ actions: 'read' }, ['workflow_job'])
  const { server, receiver, rocket, app } = at
  await installApp(server, app, 'acme', ['rocket'])
  await queueRun(server, rocket, oneJob())
  const { webhooks } = server.deps
  let narrowed: Promise<unknown> | undefined
  const present: typeof webhooks.present = (...told) => {
    narrowed ??= installApp(server, app, 'acme', ['site'])
    return webhooks.present(...told)
  }
  await fanOutEvents({ ...server.deps, webhooks: { ...webhooks, present } })
  await narrowed
  await sendHooks(server)
  expect(receiver.of('workflow_job')).toEqual([])
})

test('a webhook whose ping cannot be written is not made', async () => {
  await using server = await startServer()
  const present = () => {
    throw new Error('died here')
  }
  const deps = { ...server.deps, webhooks: { ...server.deps.webhooks, present } }
  const actor = { kind: 'system' } as const
  const { id } = await server.repository('admin', 'rocket')
  const place = { kind: 'repository', repository: { id } } as const
  await expect(createHook(deps, actor, place, { config: { url: 'http://a.example' } })).rejects.toThrow('died here')
  expect(await server.deps.db.selectFrom('hook').select('id').execute()).toEqual([])
})

test('a ping that an App asks for is sent by its bot', async () => {
  await using at = await start({ repository_hooks: 'write' }, [])
  await using other = await startHookReceiver()
  const { server, app } = at
  const call = server.call(await installationToken(server, app, await installApp(server, app, 'acme')))
  const made = await call('POST', '/api/v3/repos/acme/rocket/hooks', { config: { url: other.url } })
  const { id } = (await made.json()) as { id: number }
  await call('POST', `/api/v3/repos/acme/rocket/hooks/${id}/pings`)
  await sendHooks(server)
  expect(other.of('ping').map(({ payload }) => payload.sender.login)).toEqual(['fleet[bot]', 'fleet[bot]'])
})

test('a webhook of an App that is inactive stays so at another address, and sends nothing that was waiting', async () => {
  await using at = await start({ actions: 'read' }, ['workflow_job'])
  const { server, receiver, rocket, app } = at
  await installApp(server, app, 'acme')
  const change = (body: object) => server.admin('PATCH', '/api/fleetfoot/apps/fleet', body)
  await queueRun(server, rocket, oneJob())
  await fanOutEvents(server.deps)
  expect((await change({ hook_active: false })).status).toBe(200)
  await change({ hook_url: `${receiver.url}/there` })
  await queueRun(server, rocket, oneJob())
  await sendHooks(server)
  expect(heard(receiver)).toEqual([])
  await change({ hook_active: true })
  await queueRun(server, rocket, oneJob())
  await sendHooks(server)
  expect(heard(receiver).map(({ path }) => path)).toEqual(['/hook/there'])
})

test('an App hears of the repositories that its installation reaches, what its permissions let it see, signed', async () => {
  await using at = await start({ actions: 'read' }, ['workflow_job', 'check_run', 'push'])
  const { server, receiver, rocket, site, app } = at
  const id = await installApp(server, app, 'acme', ['rocket'])
  await queueRun(server, rocket, oneJob())
  await queueRun(server, site, oneJob())
  await server.push(server.adminToken, rocket, { a: '1' })
  await sendHooks(server)

  expect(heard(receiver).map(({ headers, payload }) => [headers['x-github-event'], payload.action, payload.repository.name])).toEqual([
    ['workflow_job', 'queued', 'rocket'],
  ])
  const [first] = heard(receiver)
  expect(first?.payload.installation).toMatchObject({ id })
  expect(first?.headers).toMatchObject({
    'x-github-hook-installation-target-type': 'integration',
    'x-github-hook-installation-target-id': String(app.id),
  })
  const secret = String((app as { webhook_secret?: string }).webhook_secret)
  expect(await new Webhooks({ secret }).verify(first?.body ?? '', String(first?.headers['x-hub-signature-256']))).toBe(true)
  const stored = await server.deps.db.selectFrom('hook').select('secret').executeTakeFirstOrThrow()
  expect(stored.secret).not.toContain(secret)
})

test('an App hears nothing while it is suspended, where it is not installed, and when it is gone', async () => {
  await using at = await start({ actions: 'read' }, ['workflow_job'])
  const { server, receiver, rocket, app, call } = at
  await sendHooks(server)
  const told = async () => {
    const before = heard(receiver).length
    await queueRun(server, rocket, oneJob())
    await sendHooks(server)
    return heard(receiver).length - before
  }

  expect(await told()).toBe(0)
  const id = await installApp(server, app, 'acme')
  expect(await told()).toBe(1)
  await call('PUT', `/app/installations/${id}/suspended`)
  expect(await told()).toBe(0)
  await call('DELETE', `/app/installations/${id}/suspended`)
  expect(await told()).toBe(1)
  expect((await server.admin('PATCH', '/api/fleetfoot/apps/fleet', { events: ['workflow_run'] })).status).toBe(200)
  await told()
  expect(receiver.received.at(-1)?.headers['x-github-event']).toBe('workflow_run')
  expect((await server.admin('DELETE', '/api/fleetfoot/apps/fleet')).status).toBe(204)
  expect(await told()).toBe(0)
})

test('what waits for an App is not sent once its installation is suspended or gone, nor read or sent again', async () => {
  await using at = await start({ actions: 'read' }, ['workflow_job'])
  const { server, receiver, rocket, app, call } = at
  const id = await installApp(server, app, 'acme')
  const wait = async () => {
    await queueRun(server, rocket, oneJob())
    await fanOutEvents(server.deps)
  }
  const sent = async () => {
    await sendHooks(server)
    return receiver.of('workflow_job').length
  }

  await wait()
  expect(await sent()).toBe(1)
  const [told] = await fits('apps/list-webhook-deliveries', 200, call('GET', '/app/hook/deliveries'))
  expect(told).toMatchObject({ event: 'workflow_job', installation_id: id })
  const delivery = `/app/hook/deliveries/${told.id}`
  const statuses = async () => [(await call('GET', delivery)).status, (await call('POST', `${delivery}/attempts`)).status]

  await wait()
  await call('PUT', `/app/installations/${id}/suspended`)
  expect(await statuses()).toEqual([404, 404])
  await call('DELETE', `/app/installations/${id}/suspended`)
  expect(await sent()).toBe(1)
  expect(await statuses()).toEqual([200, 202])
  await call('DELETE', `/app/installations/${id}`)
  expect(await statuses()).toEqual([404, 404])
  await installApp(server, app, 'acme')
  expect(await statuses()).toEqual([404, 404])
  expect(await sent()).toBe(1)
})

test('a delivery that is made while its installation is being suspended is not sent', async () => {
  await using at = await start({ actions: 'read' }, ['workflow_job'])
  const { server, receiver, rocket, app, call } = at
  const id = await installApp(server, app, 'acme')
  await queueRun(server, rocket, oneJob())
  const { webhooks } = server.deps
  let suspended: Promise<unknown> | undefined
  const present: typeof webhooks.present = (...told) => {
    suspended ??= call('PUT', `/app/installations/${id}/suspended`)
    return webhooks.present(...told)
  }
  await fanOutEvents({ ...server.deps, webhooks: { ...webhooks, present } })
  await suspended
  await sendHooks(server)
  expect(receiver.of('workflow_job')).toEqual([])
})

test('an App sees and changes its webhook, and has a delivery sent again', async () => {
  await using at = await start({ actions: 'read' }, ['workflow_job'])
  await using other = await startHookReceiver()
  const { server, receiver, rocket, app, call } = at
  await installApp(server, app, 'acme')
  await queueRun(server, rocket, oneJob())
  await sendHooks(server)

  const config = { url: receiver.url, content_type: 'json', insecure_ssl: '0', secret: '********' }
  expect(await fits('apps/get-webhook-config-for-app', 200, call('GET', '/app/hook/config'))).toEqual(config)
  const [delivery] = await fits('apps/list-webhook-deliveries', 200, call('GET', '/app/hook/deliveries'))
  expect(delivery).toMatchObject({ event: 'workflow_job', action: 'queued', status: 'OK', status_code: 200, redelivery: false })
  const whole = await fits('apps/get-webhook-delivery', 200, call('GET', `/app/hook/deliveries/${delivery.id}`))
  expect(whole.request.payload).toMatchObject({ action: 'queued' })

  const changed = await fits(
    'apps/update-webhook-config-for-app',
    200,
    call('PATCH', '/app/hook/config', { url: other.url, secret: 'hush' }),
  )
  expect(changed).toEqual({ ...config, url: other.url })
  await fits('apps/redeliver-webhook-delivery', 202, call('POST', `/app/hook/deliveries/${delivery.id}/attempts`))
  await sendHooks(server)
  const [again] = other.received
  expect(again?.headers['x-github-delivery']).toBe(delivery.guid)
  expect(await new Webhooks({ secret: 'hush' }).verify(again?.body ?? '', String(again?.headers['x-hub-signature-256']))).toBe(true)

  for (const path of ['/app/hook/deliveries/999999', '/app/hook/deliveries/x']) expect((await call('GET', path)).status).toBe(404)
  await server.admin('PATCH', '/api/fleetfoot/apps/fleet', { hook_url: null })
  expect((await call('GET', '/app/hook/config')).status).toBe(404)
  expect((await call('PATCH', '/app/hook/config', { url: other.url })).status).toBe(404)
})
