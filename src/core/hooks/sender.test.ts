import { mkdtempDisposableSync, readFileSync } from 'node:fs'
import type { ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import { createServer as createRawServer, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { makeCertificate } from '../../../test/support/certificate.ts'
import { eventually } from '../../../test/support/eventually.ts'
import { startHookReceiver, type HookReceiver } from '../../../test/support/hook-receiver.ts'
import { sendHooks } from '../../../test/support/hooks.ts'
import { oneJob, queueRun } from '../../../test/support/queue.ts'
import { startServer, type TestServer } from '../../../test/support/start-server.ts'
import { wireRunner } from '../../../test/support/wire-runner.ts'
import { parseAllowedTargets, publicTargetsOnly } from '../../model/allowed-targets.ts'
import { deliveriesDue, deliveryAttempted } from '../../store/hook-deliveries.ts'
import { laneClaim, laneKeep } from '../../store/hooks.ts'
import { cancelRun } from '../runs/runs.ts'
import { systemActor } from '../../model/access.ts'
import { expireDeliveries } from './deliveries.ts'
import { fanOutEvents } from './fan-out.ts'
import { post } from './post.ts'
import { HookSender } from './sender.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND
const DAY = 24 * 60 * MINUTE

/** A server whose clock the test moves, with a repository. */
async function hookedServer(options: Parameters<typeof startServer>[0] = {}) {
  const clock = { at: Date.now() }
  const server = await startServer({ now: () => clock.at, ...options })
  await server.organization('acme')
  const repository = await server.repository('acme', 'rocket')
  return { server, clock, repository, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}

async function addHook(
  server: TestServer,
  receiver: Pick<HookReceiver, 'url'>,
  events = ['workflow_job'],
  more: object = {},
): Promise<number> {
  const body = { config: { url: receiver.url, content_type: 'json', ...more }, events }
  const answer = await server.admin('POST', '/repos/acme/rocket/hooks', body)
  if (answer.status !== 201) throw new Error(await answer.text())
  return ((await answer.json()) as { id: number }).id
}

interface Listed {
  id: number
  status: string
  status_code: number
  event: string
  action: string | null
}
interface Shown extends Listed {
  attempts_made: { at: string; status: string; status_code: number; duration: number }[]
}
const iso = (at: number) => new Date(at).toISOString().replace(/\.\d+Z/, 'Z')
const deliveriesOf = async (server: TestServer, id: number) =>
  (await (await server.admin('GET', `/repos/acme/rocket/hooks/${id}/deliveries`)).json()) as Listed[]

const told = (receiver: HookReceiver) => receiver.of('workflow_job').map(({ payload }) => [payload.workflow_job.id, payload.action])

describe('a delivery that fails', () => {
  test('is tried again with growing waits and the same id, then given up', async () => {
    await using it = await hookedServer()
    const { server, clock } = it
    await using receiver = await startHookReceiver()
    receiver.answer = 503
    const id = await addHook(server, receiver)
    const waits: number[] = []

    for (let seconds = 0; seconds < 3 * 60 * 60; seconds += 10) {
      const before = receiver.received.length
      await sendHooks(server)
      if (receiver.received.length > before) waits.push(seconds)
      clock.at += 10 * SECOND
    }

    expect(waits).toEqual([0, 10, 70, 370, 1270, 3670])
    expect(new Set(receiver.received.map(({ headers }) => headers['x-github-delivery'])).size).toBe(1)
    expect(await deliveriesOf(server, id)).toMatchObject([{ status: 'Invalid HTTP Response: 503', status_code: 503 }])
  })

  test('is one item of the list that tells of its tries, which go with it', async () => {
    await using it = await hookedServer()
    const { server, clock } = it
    await using receiver = await startHookReceiver()
    const id = await addHook(server, receiver)
    await sendHooks(server)
    const [fine] = await deliveriesOf(server, id)
    expect(fine).toMatchObject({ attempts: 1, next_attempt_at: null })
    const show = async (one?: Listed) =>
      (await (await server.admin('GET', `/repos/acme/rocket/hooks/${id}/deliveries/${one?.id}`)).json()) as Shown
    expect(await show(fine)).toMatchObject({ attempts_made: [{ status: 'OK', status_code: 200 }] })

    receiver.answer = 503
    await server.admin('POST', `/repos/acme/rocket/hooks/${id}/pings`)
    const began = clock.at
    await sendHooks(server)
    const [waiting] = await deliveriesOf(server, id)
    expect(waiting).toMatchObject({ attempts: 1, next_attempt_at: iso(began + 10 * SECOND) })
    clock.at += 10 * SECOND
    receiver.answer = 200
    await sendHooks(server)

    const listed = await deliveriesOf(server, id)
    expect(listed).toHaveLength(2)
    expect(listed[0]).toMatchObject({ status_code: 200, attempts: 2, next_attempt_at: null })
    expect((await show(listed[0])).attempts_made).toMatchObject([
      { at: iso(began), status: 'Invalid HTTP Response: 503', status_code: 503 },
      { at: iso(began + 10 * SECOND), status: 'OK', status_code: 200 },
    ])
    clock.at += 31 * DAY
    await expireDeliveries(server.deps)
    expect(await server.deps.db.selectFrom('hookAttempt').select('id').execute()).toEqual([])
  })

  test('is not tried again where the operator wants it as on GitHub', async () => {
    await using it = await hookedServer({ config: { webhooks: { allowed: parseAllowedTargets('127.0.0.1'), retries: 0 } } })
    const { server, clock } = it
    await using receiver = await startHookReceiver()
    receiver.answer = 500
    await addHook(server, receiver)
    await sendHooks(server)
    clock.at += DAY
    await sendHooks(server)

    expect(receiver.received).toHaveLength(1)
  })

  test('holds back what comes later of its job, and nothing of others', async () => {
    await using it = await hookedServer()
    const { server, clock, repository } = it
    await using receiver = await startHookReceiver()
    await addHook(server, receiver)
    const runner = await wireRunner(server, 'acme/rocket')
    await runner.connect()
    await queueRun(server, repository, oneJob())
    await sendHooks(server)
    const [first] = told(receiver)[0] ?? []
    receiver.answer = (response, { payload }) => response.writeHead(payload.workflow_job?.id === first ? 500 : 200).end()

    const message = await runner.takeJob()
    await sendHooks(server)
    await runner.complete(message)
    await queueRun(server, repository, oneJob())
    await sendHooks(server)
    receiver.answer = 200
    clock.at += 10 * SECOND
    await sendHooks(server)

    const second = (first as number) + 1
    expect(told(receiver)).toEqual([
      [first, 'queued'],
      [first, 'in_progress'],
      [second, 'queued'],
      [first, 'in_progress'],
      [first, 'completed'],
    ])
  })

  test('ends when the webhook is made inactive, and goes with a deleted one', async () => {
    await using it = await hookedServer()
    const { server, clock } = it
    await using receiver = await startHookReceiver()
    receiver.answer = 500
    const id = await addHook(server, receiver)
    await sendHooks(server)
    await server.admin('PATCH', `/repos/acme/rocket/hooks/${id}`, { active: false })
    clock.at += MINUTE
    await sendHooks(server)
    expect(receiver.received).toHaveLength(1)

    await server.admin('DELETE', `/repos/acme/rocket/hooks/${id}`)
    await expireDeliveries(server.deps)
    expect(await server.deps.db.selectFrom('hookDelivery').select('id').execute()).toEqual([])
    expect(await server.deps.db.selectFrom('hook').select('id').execute()).toEqual([])
  })
})

describe('a receiver', () => {
  test('that is slow or dead holds up nobody else', async () => {
    await using it = await hookedServer()
    const { server, repository } = it
    await using silent = await startHookReceiver()
    silent.answer = () => {}
    await using receiver = await startHookReceiver()
    await using sender = new HookSender(server.deps)
    await addHook(server, silent)
    sender.start()
    await addHook(server, receiver)
    await eventually(() => expect(silent.received).toHaveLength(1))

    await queueRun(server, repository, oneJob())
    await fanOutEvents(server.deps)

    await eventually(() => expect(told(receiver)).toHaveLength(1), { withinMs: 5000 })
    expect(silent.received).toHaveLength(1)
  })

  test('of one account get eight requests at once at most, and keep no other account waiting', async () => {
    await using it = await hookedServer()
    const { server } = it
    await server.organization('other')
    await server.repository('other', 'boat')
    await using silent = await startHookReceiver()
    silent.answer = () => {}
    await using receiver = await startHookReceiver()
    for (let i = 0; i < 12; i++) await addHook(server, { url: `${silent.url}/${i}` })
    await using sender = new HookSender(server.deps)
    sender.start()
    sender.look()
    await eventually(() => expect(silent.received).toHaveLength(8))

    const body = { config: { url: receiver.url, content_type: 'json' }, events: ['push'] }
    expect((await server.admin('POST', '/repos/other/boat/hooks', body)).status).toBe(201)
    await eventually(() => expect(receiver.of('ping')).toHaveLength(1), { withinMs: 5000 })

    expect(silent.received).toHaveLength(8)
  })

  test('that gives no answer is asked less and less often, until somebody asks for it', async () => {
    await using it = await hookedServer()
    const { server, clock } = it
    await using gone = await startHookReceiver()
    await gone[Symbol.asyncDispose]()
    const id = await addHook(server, gone)
    const tries: number[] = []
    for (let i = 0; i < 30; i++) await server.admin('POST', `/repos/acme/rocket/hooks/${id}/pings`)
    for (let seconds = 0; seconds < 200; seconds++) {
      const before = (await deliveriesOf(server, id)).length
      await sendHooks(server)
      if ((await deliveriesOf(server, id)).length > before) tries.push(seconds)
      clock.at += SECOND
    }
    expect(tries).toEqual([0, 1, 3, 7, 15, 31, 63, 123, 183])
    await server.admin('POST', `/repos/acme/rocket/hooks/${id}/pings`)
    await sendHooks(server)

    const [shown] = await deliveriesOf(server, id)
    expect(shown).toMatchObject({ status_code: 0, status: 'failed to connect to host: ECONNREFUSED' })
    expect(await deliveriesOf(server, id)).toHaveLength(8 + tries.length)
    const hook = (await (await server.admin('GET', `/repos/acme/rocket/hooks/${id}`)).json()) as { last_response: unknown }
    expect(hook.last_response).toMatchObject({ code: 0, status: 'connection_error' })
  })

  test('that is back gets what happens since within a minute, though what it missed is tried again later', async () => {
    await using it = await hookedServer()
    const { server, clock, repository } = it
    await using receiver = await startHookReceiver()
    const unheard = (response: ServerResponse) => void response.destroy()
    receiver.answer = unheard
    await addHook(server, receiver)
    for (const wait of [10 * SECOND, MINUTE, 5 * MINUTE, 15 * MINUTE]) {
      await sendHooks(server)
      clock.at += wait
    }
    await sendHooks(server)
    expect(receiver.received).toHaveLength(5)
    receiver.answer = 200

    await queueRun(server, repository, oneJob())
    await sendHooks(server)
    expect(told(receiver)).toEqual([])
    clock.at += MINUTE
    await sendHooks(server)

    expect(told(receiver)).toHaveLength(1)
    expect(receiver.of('ping')).toHaveLength(5)
  })

  test('is not followed to where it redirects', async () => {
    await using it = await hookedServer()
    await using other = await startHookReceiver()
    await using receiver = await startHookReceiver()
    receiver.answer = (response) => response.writeHead(307, { Location: other.url }).end()
    const id = await addHook(it.server, receiver)
    await sendHooks(it.server)

    expect(other.received).toEqual([])
    expect(await deliveriesOf(it.server, id)).toMatchObject([{ status_code: 307 }])
  })

  test('that answers without end, or with bytes that are no text, is heard to a limit', async () => {
    await using it = await hookedServer()
    await using receiver = await startHookReceiver()
    receiver.answer = (response) => {
      response.writeHead(200)
      const more = () => {
        while (response.write(Buffer.alloc(16_384)));
        response.once('drain', more)
      }
      more()
    }
    const id = await addHook(it.server, receiver)
    await sendHooks(it.server)

    const [{ status_code: code } = { status_code: 0 }] = await deliveriesOf(it.server, id)
    expect(code).toBe(200)
    const row = await it.server.deps.db.selectFrom('hookDelivery').select('responseBody').executeTakeFirstOrThrow()
    expect(row.responseBody).toHaveLength(65_536)
  })
})

test('a certificate that nobody vouches for is refused, but where the webhook says so', async () => {
  using folder = mkdtempDisposableSync(path.join(tmpdir(), 'fleetfoot-test-'))
  const { cert, key } = makeCertificate(folder.path, 'receiver')
  const heard: string[] = []
  const server = createServer({ cert: readFileSync(cert), key: readFileSync(key) }, (request, response) => {
    heard.push(request.url ?? '')
    response.end()
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `https://127.0.0.1:${(server.address() as AddressInfo).port}/hook`
  const send = (insecureSsl: boolean) =>
    post({ url, headers: {}, body: Buffer.from('{}'), insecureSsl }, parseAllowedTargets('127.0.0.1'), AbortSignal.timeout(5000))

  expect(await send(false)).toMatchObject({ statusCode: 0, status: 'failed to connect to host: DEPTH_ZERO_SELF_SIGNED_CERT' })
  expect(heard).toEqual([])
  expect(await send(true)).toMatchObject({ statusCode: 200, status: 'OK' })
  await new Promise((resolve) => server.close(resolve))
})

describe('an address', () => {
  test.each([
    'http://127.0.0.1:1',
    'http://localhost:1',
    'http://[::1]:1',
    'http://[::ffff:127.0.0.1]:1',
    'http://2130706433:1',
    'http://0x7f.1:1',
    'http://0:1',
  ])('%s is not asked unless the operator allows it', async (url) => {
    const result = await post(
      { url, headers: {}, body: Buffer.from('{}'), insecureSsl: false },
      publicTargetsOnly,
      AbortSignal.timeout(5000),
    )

    expect(result).toMatchObject({ statusCode: 0, trouble: 'connection_error' })
    expect(result.status).toMatch(/^the address is not of the public internet/)
  })

  test('is asked by its name where that is allowed', async () => {
    await using receiver = await startHookReceiver()
    const url = receiver.url.replace('127.0.0.1', 'localhost')
    const result = await post(
      { url, headers: {}, body: Buffer.from('{}'), insecureSsl: false },
      parseAllowedTargets('localhost,127.0.0.1'),
      AbortSignal.timeout(5000),
    )

    expect(result.statusCode === 200 || result.status.includes('ECONNREFUSED')).toBe(true)
  })

  test('that says nothing is given up in time, names and all', async () => {
    await using silent = await startHookReceiver()
    silent.answer = () => {}
    const said = { url: silent.url, headers: {}, body: Buffer.from('{}'), insecureSsl: false }
    const result = await post(said, parseAllowedTargets('127.0.0.1'), AbortSignal.timeout(60_000), 50)

    expect(result).toMatchObject({ statusCode: 0, status: 'timed out', trouble: 'timeout' })
  })
})

test.each([
  ['HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n', /another protocol/],
  ['HTTP/1.1 101 Switching Protocols\r\n\r\n', /101/],
  ['', /failed to connect/],
])('a receiver that answers %j and no more holds nothing', async (bytes, status) => {
  const sockets: Socket[] = []
  const server = createRawServer((socket) => {
    sockets.push(socket.on('error', () => {}))
    socket.once('data', () => (bytes.includes('Upgrade') ? socket.write(bytes) : socket.end(bytes)))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`
  const said = { url, headers: {}, body: Buffer.from('{}'), insecureSsl: false }
  const result = await post(said, parseAllowedTargets('127.0.0.1'), AbortSignal.timeout(60_000))

  expect(result.status).toMatch(status)
  for (const socket of sockets) socket.destroy()
  await new Promise((resolve) => server.close(resolve))
})

describe('nodes', () => {
  test('that tell events at once make each delivery once, in order', async () => {
    await using it = await hookedServer()
    const { server, repository } = it
    await using receiver = await startHookReceiver()
    await addHook(server, receiver)
    const runs = []
    for (let i = 0; i < 20; i++) runs.push(await queueRun(server, repository, oneJob()))
    for (const { id } of runs) await cancelRun(server.deps, systemActor, { id: repository.id }, id)

    await Promise.all(Array.from({ length: 4 }, () => fanOutEvents(server.deps)))
    await Promise.all(
      Array.from({ length: 3 }, async () => {
        await using sender = new HookSender(server.deps)
        await sender.settle()
      }),
    )

    const byJob = Map.groupBy(told(receiver), ([id]) => id)
    expect(byJob.size).toBe(20)
    for (const messages of byJob.values()) expect(messages.map(([, action]) => action)).toEqual(['queued', 'completed'])
  })

  test('take over the webhooks of one that died, after a while', async () => {
    await using it = await hookedServer()
    const { server, clock } = it
    await using receiver = await startHookReceiver()
    const id = await addHook(server, receiver)
    const { db } = server.deps
    expect((await laneClaim(db, 'dead', clock.at, clock.at + 25 * SECOND))?.lane.hook.id).toBe(id)
    await sendHooks(server)
    expect(receiver.received).toEqual([])

    clock.at += 25 * SECOND
    await sendHooks(server)

    expect(receiver.received).toHaveLength(1)
    const came = { response: { code: 200, status: 'active', message: 'OK' }, troubles: 0 }
    expect(await laneKeep(db, { id, holder: 'dead', until: clock.at + 1 }, came)).toBeUndefined()
  })

  test('that stood still in the middle of a request change nothing of what others made of it', async () => {
    await using it = await hookedServer()
    const { server, clock } = it
    await using receiver = await startHookReceiver()
    const id = await addHook(server, receiver)
    const [held] = await deliveriesDue(server.deps.db, id, clock.at, 1)
    await sendHooks(server)

    const late = { at: clock.at, durationMs: 1, statusCode: 0, status: 'timed out', url: receiver.url, requestHeaders: {} }
    if (held) {
      const attempt = { ...late, responseHeaders: null, responseBody: null, succeeded: false, retryAt: clock.at }
      await deliveryAttempted(server.deps.db, id, held, attempt)
    }
    await sendHooks(server)

    expect(receiver.received).toHaveLength(1)
    expect(await deliveriesOf(server, id)).toMatchObject([{ status: 'OK' }])
  })
})

test('an event whose payload cannot be made keeps none of the others waiting', async () => {
  await using it = await hookedServer()
  const { server, repository } = it
  await using receiver = await startHookReceiver()
  await addHook(server, receiver)
  await queueRun(server, repository, oneJob())
  await queueRun(server, repository, oneJob())
  const { db } = server.deps
  const first = await db.selectFrom('event').select('id').where('kind', '=', 'job.queued').orderBy('id').executeTakeFirstOrThrow()
  await db.updateTable('event').set({ kind: 'job.unheard' }).where('id', '=', first.id).execute()

  await sendHooks(server)

  expect(told(receiver)).toHaveLength(1)
  expect(await db.selectFrom('event').select('hooks').where('id', '=', first.id).executeTakeFirst()).toEqual({ hooks: 2 })
})

test('events are marked only where a webhook is there', async () => {
  await using it = await hookedServer()
  const { server, repository } = it
  await queueRun(server, repository, oneJob())

  const marked = await server.deps.db.selectFrom('event').select('id').where('hooks', 'is not', null).execute()
  expect(marked).toEqual([])
})

test('deliveries are deleted after 30 days', async () => {
  await using it = await hookedServer()
  const { server, clock } = it
  await using receiver = await startHookReceiver()
  const id = await addHook(server, receiver)
  await sendHooks(server)
  clock.at += 29 * DAY
  await expireDeliveries(server.deps)
  expect(await deliveriesOf(server, id)).toHaveLength(1)

  clock.at += 2 * DAY
  await expireDeliveries(server.deps)
  expect(await deliveriesOf(server, id)).toEqual([])
})
