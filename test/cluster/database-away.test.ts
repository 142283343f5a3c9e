import { expect, test } from 'vitest'
import type { Db } from '../../src/store/open.ts'
import { startPostgres } from '../../tools/postgres-server.ts'
import { eventually } from '../support/eventually.ts'
import { follow, openFeed } from '../support/live-feed.ts'
import { oneJob, queueRun } from '../support/queue.ts'
import { runningJob, sdk, stamped } from '../support/running-job.ts'
import { startServer } from '../support/start-server.ts'
import { wireRunner } from '../support/wire-runner.ts'

const STEP = '0f0e0d0c-0000-4000-8000-000000000001'

test('a database that goes away: 503 in the form of each room, held polls survive, and work goes on when it is back', async () => {
  const postgres = await startPostgres()
  using _server = { [Symbol.dispose]: () => postgres.stop() }
  await using server = await startServer({ background: true, config: { database: { kind: 'postgres', url: postgres.url } } })
  const job = await runningJob(server)
  const idle = await wireRunner(server, `acme/${job.repository.name}`)
  await idle.connect()
  const uploadUrl = await job.logUrl()
  await using feed = await openFeed(job)
  const held = idle.poll()
  await eventually(() => expect(server.deps.dispatcher.waiting).toBe(1))

  postgres.halt()

  const ready = await fetch(`${server.url}/readyz`)
  expect([ready.status, await ready.text()]).toEqual([503, 'the database cannot be reached\n'])
  expect((await fetch(`${server.url}/healthz`)).status).toBe(200)
  expect((await fetch(`${server.url}/metrics`)).status).toBe(200)
  const rest = await server.admin('GET', '/user')
  expect([rest.status, await rest.json()]).toEqual([
    503,
    { message: 'Service unavailable, try again', documentation_url: expect.any(String) as string, status: '503' },
  ])
  const ofConsole = await server.admin('GET', '/api/fleetfoot/tokens')
  expect(ofConsole.status).toBe(503)
  const poll = await job.runner.pollRaw('Busy')
  expect([poll.status, await poll.json()]).toEqual([
    503,
    { source: 'actions-broker-listener', statusCode: 503, errorMessage: 'Service unavailable, try again' },
  ])
  const renewed = await job.runner.renew(job.message)
  expect([renewed.status, await renewed.json()]).toEqual([
    503,
    { source: 'actions-run-service', statusCode: 503, errorMessage: 'Service unavailable, try again' },
  ])
  const completed = await job.runner.complete(job.message)
  expect(completed.status).toBe(503)
  const twirp = await job.updateSteps(1, [{ external_id: STEP, number: 1, name: 'Set up job' }])
  expect([twirp.status, await twirp.json()]).toEqual([503, { code: 'unavailable', msg: 'Service unavailable, try again' }])
  const launch = await job.results('/actions/build/x/jobs/y/runnerresolve/actions', { actions: [] })
  expect([503, 404]).toContain(launch.status)
  const blob = await sdk.put(uploadUrl, stamped(['one']))
  expect([blob.status, blob.headers.get('x-ms-error-code')]).toEqual([503, 'ServerBusy'])
  const git = await fetch(`${server.url}/acme/${job.repository.name}/info/refs?service=git-upload-pack`, {
    headers: { Authorization: `Basic ${Buffer.from(`x:${server.adminToken}`).toString('base64')}` },
  })
  expect([git.status, await git.text(), git.headers.get('content-type')]).toEqual([
    503,
    'Service unavailable, try again\n',
    'text/plain; charset=utf-8',
  ])
  feed.send(1, ['said while the database was away'])

  postgres.resume()

  await eventually(async () => expect((await fetch(`${server.url}/readyz`)).status).toBe(200))
  await using follower = await follow(job)
  await eventually(() => expect(follower.lines()).toEqual(['said while the database was away']))
  await queueRun(server, job.repository, oneJob())
  expect((await held)?.messageType).toBe('RunnerJobRequest')
  expect((await sdk.put(uploadUrl, stamped(['one']))).status).toBe(201)
  expect((await job.logDone(undefined, 1)).status).toBe(200)
  expect((await job.runner.complete(job.message)).status).toBe(204)
  expect(await job.log()).toBe(stamped(['one']))
  await follower.ended
})

test('nodes hear each other again after their database was away', async () => {
  const postgres = await startPostgres()
  using _server = { [Symbol.dispose]: () => postgres.stop() }
  const database = { kind: 'postgres' as const, url: postgres.url }
  // No sweep: only a signal wakes the poll of the other node.
  await using first = await startServer({ config: { database }, times: { sweepEvery: 600_000 } })
  const { secrets } = first.config
  await using second = await startServer({ config: { database, secrets, reposDir: first.config.reposDir }, times: { sweepEvery: 600_000 } })
  await first.organization('acme')
  const repository = await first.repository('acme', 'rocket')

  postgres.halt()
  await eventually(async () => expect((await fetch(`${second.url}/readyz`)).status).toBe(503))
  postgres.resume()
  await eventually(async () => expect((await fetch(`${second.url}/readyz`)).status).toBe(200))
  await eventually(async () => {
    const { rows } = await listeners(first)
    expect(rows).toBeGreaterThanOrEqual(2)
  })

  const runner = await wireRunner(first, 'acme/rocket')
  await runner.connect()
  const held = runner.poll()
  await eventually(() => expect(first.deps.dispatcher.waiting).toBe(1))
  await queueRun(second, repository, oneJob())

  expect((await held)?.messageType).toBe('RunnerJobRequest')
})

/** How many connections of the database listen. */
async function listeners(server: { deps: { db: Db } }): Promise<{ rows: number }> {
  const { sql } = await import('kysely')
  const { rows } = await sql`select pid from pg_stat_activity where query ilike 'listen %'`.execute(server.deps.db)
  return { rows: rows.length }
}
