import { expect, test } from 'vitest'
import { startHookReceiver } from '../../../test/support/hook-receiver.ts'
import { sendHooks } from '../../../test/support/hooks.ts'
import { oneJob, queueRun } from '../../../test/support/queue.ts'
import { startServer } from '../../../test/support/start-server.ts'
import { wireRunner } from '../../../test/support/wire-runner.ts'
import { fallBack } from '../queue/fall-back.ts'
import { fanOutEvents } from './fan-out.ts'

async function startHooked() {
  const clock = { at: Date.now() }
  const server = await startServer({ now: () => clock.at })
  await server.organization('acme')
  const repository = await server.repository('acme', 'rocket')
  const receiver = await startHookReceiver()
  const hook = { config: { url: receiver.url, content_type: 'json' }, events: ['workflow_job'] }
  await server.admin('POST', '/repos/acme/rocket/hooks', hook)
  const told = () => receiver.of('workflow_job').map(({ payload }) => [payload.action, payload.workflow_job.labels])
  const steer = async (job: number, change: object) => {
    expect((await server.admin('PATCH', `/api/fleetfoot/orgs/acme/queue/jobs/${job}`, change)).status).toBe(200)
  }
  return {
    clock,
    server,
    repository,
    receiver,
    told,
    steer,
    async [Symbol.asyncDispose]() {
      await receiver[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

test('a job that falls back to other labels is told as queued with them, before it is told as taken', async () => {
  await using t = await startHooked()
  const rule = { name: 'r', fallback: [{ after_seconds: 60, labels: ['self-hosted'] }] }
  expect((await t.server.admin('POST', '/api/fleetfoot/orgs/acme/queue/rules', rule)).status).toBe(201)
  const runner = await wireRunner(t.server, 'acme/rocket')
  await runner.connect()
  await queueRun(t.server, t.repository, oneJob('[self-hosted, gpu]'))
  t.clock.at += 61_000
  await fallBack(t.server.deps)
  await runner.complete(await runner.takeJob())
  await sendHooks(t.server)

  expect(t.told()).toEqual([
    // As it was put in line, whatever it asks for since.
    ['queued', ['self-hosted', 'gpu']],
    ['queued', ['self-hosted']],
    ['in_progress', ['self-hosted']],
    ['completed', ['self-hosted']],
  ])
  const ids = t.receiver.of('workflow_job').map(({ headers }) => headers['x-github-delivery'])
  expect(new Set(ids).size).toBe(4)
})

test('a job that is moved to other labels is told as queued anew; one that changes its place is not', async () => {
  await using t = await startHooked()
  await queueRun(t.server, t.repository, oneJob('[self-hosted, gpu]'))
  await fanOutEvents(t.server.deps)
  const { id } = await t.server.deps.db.selectFrom('job').select('id').executeTakeFirstOrThrow()
  await t.steer(id, { expedite: true })
  await t.steer(id, { priority: 5 })
  await t.steer(id, { labels: ['GPU', 'self-hosted'] })
  await t.steer(id, { labels: ['big'] })
  await t.steer(id, { labels: ['small'] })
  await sendHooks(t.server)

  expect(t.told()).toEqual([
    ['queued', ['self-hosted', 'gpu']],
    ['queued', ['big']],
    ['queued', ['small']],
  ])
})
