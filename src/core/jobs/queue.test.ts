import { expect, test } from 'vitest'
import { actionsClient } from '../../../test/support/actions-client.ts'
import { eventually } from '../../../test/support/eventually.ts'
import { oneJob, queueRun } from '../../../test/support/queue.ts'
import { startServer, type StartOptions } from '../../../test/support/start-server.ts'
import { wireRunner, type JobMessageBody } from '../../../test/support/wire-runner.ts'
import { beatPulse, endCancelledJobs, endJobLeases, endOverdueJobs, endStaleQueued } from './reconcile-jobs.ts'
import { backgroundTasks } from '../../background/tasks.ts'
import { repositoryByName } from '../../store/repositories.ts'
import { runnerById } from '../../store/runners.ts'
import { removeAbandonedRunners } from '../maintenance.ts'
import { openSession } from '../runners/sessions.ts'

const SECOND = 1000
const MINUTE = 60 * SECOND

/** A server whose clock the test moves. */
async function startClocked(options: StartOptions = {}) {
  const clock = { ahead: 0 }
  const server = await startServer({ ...options, now: () => Date.now() + clock.ahead })
  await server.organization('acme')
  const repository = await server.repository('acme', 'rocket')
  const actions = actionsClient(server.admin, 'acme/rocket')
  const runners = async (scope = '/orgs/acme') =>
    ((await (await server.admin('GET', `${scope}/actions/runners`)).json()) as { runners: { id: number; status: string; busy: boolean }[] })
      .runners
  const job = async (runId: number, index = 0) => (await actions.jobs(runId))[index]
  return {
    server,
    repository,
    actions,
    runners,
    job,
    clock,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
    },
  }
}

test('a runner is online with its session, busy with its job, offline when the session ends or it falls silent', async () => {
  await using t = await startClocked({ times: { pollHeld: 100 } })
  const runner = await wireRunner(t.server, 'acme')
  expect(await t.runners()).toMatchObject([{ status: 'offline', busy: false }])

  await runner.connect()
  expect(await t.runners()).toMatchObject([{ status: 'online', busy: false }])

  await queueRun(t.server, t.repository, oneJob())
  const given = await runner.poll()
  expect(await t.runners()).toMatchObject([{ status: 'online', busy: true }])
  await runner.acquire(given?.body['runner_request_id'] ?? '')

  t.clock.ahead += 60 * SECOND
  expect(await t.runners()).toMatchObject([{ status: 'online', busy: true }])
  t.clock.ahead += 30 * SECOND
  expect(await t.runners()).toMatchObject([{ status: 'offline', busy: true }])

  await runner.poll('Busy')
  expect(await t.runners()).toMatchObject([{ status: 'online', busy: true }])
  await runner.disconnect()
  expect(await t.runners()).toMatchObject([{ status: 'offline', busy: true }])
})

test('a poll waits for a job and is answered as soon as there is one', async () => {
  await using t = await startClocked()
  const runner = await wireRunner(t.server, 'acme')
  await runner.connect()
  const waiting = runner.poll()
  await eventually(() => expect(t.server.deps.dispatcher.waiting).toBe(1))

  await queueRun(t.server, t.repository, oneJob())

  expect(await waiting).toMatchObject({ messageType: 'RunnerJobRequest', body: { should_acknowledge: false } })
  expect(t.server.deps.dispatcher.waiting).toBe(0)
})

test('a poll that nobody waits for any more takes no job', async () => {
  await using t = await startClocked()
  const [gone, here] = [await wireRunner(t.server, 'acme'), await wireRunner(t.server, 'acme')]
  await gone.connect()
  await here.connect()
  const hangUp = new AbortController()
  const lost = gone.poll('Online', hangUp.signal).catch(() => 'hung up')
  await eventually(() => expect(t.server.deps.dispatcher.waiting).toBe(1))
  hangUp.abort()
  expect(await lost).toBe('hung up')
  await eventually(() => expect(t.server.deps.dispatcher.waiting).toBe(0))

  await queueRun(t.server, t.repository, oneJob())

  expect(await here.poll()).toMatchObject({ messageType: 'RunnerJobRequest' })
})

test('a job that was given and not acquired is given again to the same poll, and goes back in line after a minute', async () => {
  await using t = await startClocked()
  const [slow, other] = [await wireRunner(t.server, 'acme'), await wireRunner(t.server, 'acme')]
  await slow.connect()
  await other.connect()
  const run = await queueRun(t.server, t.repository, oneJob())

  const first = await slow.poll()
  const again = await slow.poll()
  expect(again?.body['runner_request_id']).toBe(first?.body['runner_request_id'])
  expect(await t.job(run.id)).toMatchObject({ status: 'queued', waiting_reason: expect.stringContaining('about to start it') })

  t.clock.ahead += 61 * SECOND
  expect(await endJobLeases(t.server.deps)).toBe('1 ended')

  expect(await other.poll()).toMatchObject({ messageType: 'RunnerJobRequest' })
  expect((await slow.acquire(first?.body['runner_request_id'] ?? '')).status).toBe(404)
})

test('a job that was acquired and never renewed goes back in line at the next idle poll of its runner', async () => {
  await using t = await startClocked()
  const runner = await wireRunner(t.server, 'acme')
  await runner.connect()
  await queueRun(t.server, t.repository, oneJob())
  const first = await runner.poll()
  expect((await runner.acquire(first?.body['runner_request_id'] ?? '')).status).toBe(200)

  const second = await runner.poll()

  expect(second?.body['runner_request_id']).not.toBe(first?.body['runner_request_id'])
  expect((await runner.acquire(first?.body['runner_request_id'] ?? '')).status).toBe(404)
  expect((await runner.acquire(second?.body['runner_request_id'] ?? '')).status).toBe(200)
})

test('acquiring twice gives the same message; another runner, or another request, gets none', async () => {
  await using t = await startClocked()
  const [runner, thief] = [await wireRunner(t.server, 'acme'), await wireRunner(t.server, 'acme')]
  await runner.connect()
  await queueRun(t.server, t.repository, oneJob())
  const request = (await runner.poll())?.body['runner_request_id'] ?? ''

  const [one, two] = [await (await runner.acquire(request)).json(), await (await runner.acquire(request)).json()]

  expect(two).toEqual(one)
  const stolen = await thief.acquire(request)
  expect(stolen.status).toBe(404)
  expect(await stolen.json()).toMatchObject({ source: 'actions-run-service', statusCode: 404 })
  expect((await runner.acquire('no-such-request')).status).toBe(404)
})

test('a running job whose runner falls silent fails with the reason, and its ephemeral runner is gone', async () => {
  await using t = await startClocked()
  const runner = await wireRunner(t.server, 'acme', { ephemeral: true })
  await runner.connect()
  const run = await queueRun(t.server, t.repository, oneJob())
  const job = await runner.takeJob()

  t.clock.ahead += 60 * SECOND
  expect(await endJobLeases(t.server.deps)).toBe('0 ended')
  expect((await runner.renew(job)).status).toBe(200)
  t.clock.ahead += 60 * SECOND
  expect(await endJobLeases(t.server.deps)).toBe('0 ended')
  t.clock.ahead += 30 * SECOND
  expect(await endJobLeases(t.server.deps)).toBe('1 ended')

  expect(await t.job(run.id)).toMatchObject({
    status: 'completed',
    conclusion: 'failure',
    problem: expect.stringContaining('The self-hosted runner lost communication'),
  })
  expect(await t.runners()).toEqual([])
  // The late report of a worker that lived on is accepted and changes nothing.
  expect((await runner.complete(job)).status).toBe(204)
  expect(await t.job(run.id)).toMatchObject({ conclusion: 'failure' })
})

test('time in which no node served does not count against a lease', async () => {
  await using t = await startClocked()
  const runner = await wireRunner(t.server, 'acme')
  await runner.connect()
  const run = await queueRun(t.server, t.repository, oneJob())
  await runner.takeJob()
  await beatPulse(t.server.deps)

  t.clock.ahead += 10 * MINUTE
  expect(await beatPulse(t.server.deps)).toBeGreaterThan(9 * MINUTE)

  expect(await endJobLeases(t.server.deps)).toBe('0 ended')
  expect(await t.runners()).toMatchObject([{ status: 'online', busy: true }])
  expect(await t.job(run.id)).toMatchObject({ status: 'in_progress' })
})

test('a runner with an unfinished job is never sent a second, whatever its polls say', async () => {
  await using t = await startClocked({ times: { pollHeld: 200 } })
  const runner = await wireRunner(t.server, 'acme')
  await runner.connect()
  const run = await queueRun(t.server, t.repository, oneJob())
  await queueRun(t.server, t.repository, oneJob())
  await runner.takeJob()

  expect(await runner.poll('Busy')).toBeUndefined()
  expect((await runner.session()).status).toBe(409)

  // An idle poll in the session of a running job means that the job ended without a report (runner-protocol.md 8.2).
  expect(await runner.poll('Online')).toMatchObject({ messageType: 'RunnerJobRequest' })
  expect(await t.job(run.id)).toMatchObject({ status: 'completed', conclusion: 'failure' })
})

test('a second session is refused while the first polls, and replaces it when that fell silent', async () => {
  await using t = await startClocked()
  const runner = await wireRunner(t.server, 'acme')
  await runner.connect()

  const refused = await runner.session()
  expect(refused.status).toBe(409)
  expect(await refused.json()).toMatchObject({ source: 'actions-broker-listener', statusCode: 409 })

  t.clock.ahead += 61 * SECOND
  expect((await runner.session()).status).toBe(200)
  const old = await runner.pollRaw()
  expect(await old.json()).toMatchObject({ errorKind: 'RunnerSessionInvalid' })
})

test('a job in line is cancelled at once, one on a runner by a message, one that nobody answers for by the clock', async () => {
  await using t = await startClocked()
  const runner = await wireRunner(t.server, 'acme')
  await runner.connect()
  const first = await queueRun(t.server, t.repository, oneJob())
  const second = await queueRun(t.server, t.repository, oneJob())
  const job = await runner.takeJob()
  const cancel = (id: number) => t.server.admin('POST', `/repos/acme/rocket/actions/runs/${id}/cancel`)

  expect((await cancel(second.id)).status).toBe(202)
  expect(await t.job(second.id)).toMatchObject({ status: 'completed', conclusion: 'cancelled' })
  expect((await cancel(second.id)).status).toBe(409)

  const poll = runner.poll('Busy')
  expect((await cancel(first.id)).status).toBe(202)
  expect(await poll).toMatchObject({ messageType: 'JobCancellation', body: { jobId: job.jobId, timeout: '00:05:00' } })
  t.clock.ahead += 4.5 * MINUTE
  expect((await runner.renew(job)).status).toBe(200)
  expect(await endCancelledJobs(t.server.deps)).toBe('0 ended')
  t.clock.ahead += 2 * MINUTE
  expect(await endCancelledJobs(t.server.deps)).toBe('1 ended')
  expect(await t.job(first.id)).toMatchObject({ status: 'completed', conclusion: 'cancelled' })
  expect((await t.actions.runs()).map(({ conclusion }) => conclusion)).toEqual(['cancelled', 'cancelled'])
})

test('a cancel that comes before the first renewal waits for it', async () => {
  await using t = await startClocked({ times: { pollHeld: 300 } })
  const runner = await wireRunner(t.server, 'acme')
  await runner.connect()
  const run = await queueRun(t.server, t.repository, oneJob())
  const given = await runner.poll()
  const job = (await (await runner.acquire(given?.body['runner_request_id'] ?? '')).json()) as Parameters<typeof runner.renew>[0]

  await t.server.admin('POST', `/repos/acme/rocket/actions/runs/${run.id}/cancel`)
  expect(await runner.poll('Busy')).toBeUndefined()

  const poll = runner.poll('Busy')
  await runner.renew(job)
  expect(await poll).toMatchObject({ messageType: 'JobCancellation' })
  expect((await runner.complete(job, 'canceled')).status).toBe(204)
  expect(await t.job(run.id)).toMatchObject({ conclusion: 'cancelled' })
})

test('a runner of the enterprise gets no job of a repository that a user made for themselves', async () => {
  await using t = await startClocked({ times: { pollHeld: 100 } })
  const { token } = await t.server.user('eve')
  expect((await t.server.call(token)('POST', '/user/repos', { name: 'mine', private: true })).status).toBe(201)
  const own = await repositoryByName(t.server.deps.db, 'eve', 'mine')
  if (!own) throw new Error('there is no repository')
  const runner = await wireRunner(t.server, 'enterprises/fleetfoot')
  await runner.connect()
  const run = await queueRun(t.server, own, oneJob())

  expect(await runner.poll()).toBeUndefined()
  const [job] = await actionsClient(t.server.admin, 'eve/mine').jobs(run.id)
  expect(job).toMatchObject({
    status: 'queued',
    waiting_reason: 'no runner is registered for this repository, its organization or the enterprise',
  })
  await queueRun(t.server, t.repository, oneJob())
  expect(await runner.poll()).toBeDefined()
})

test('what was heard since an outage ended stays where it is, and a process that stood still moves leases before it judges them', async () => {
  await using t = await startClocked({ times: { pollHeld: 100 } })
  const runner = await wireRunner(t.server, 'acme')
  await runner.connect()
  const run = await queueRun(t.server, t.repository, oneJob())
  const message = await runner.takeJob()
  await beatPulse(t.server.deps)
  t.clock.ahead += 95 * SECOND
  await backgroundTasks(t.server.deps)
    .find(({ name }) => name === 'end-job-leases')
    ?.run(new AbortController().signal)
  expect(await t.job(run.id)).toMatchObject({ status: 'in_progress' })

  await beatPulse(t.server.deps)
  t.clock.ahead += 120 * SECOND
  await runner.renew(message)
  await runner.poll('Busy')
  await beatPulse(t.server.deps)
  // Pulses go on, the runner does not.
  for (let i = 0; i < 18; i++) {
    t.clock.ahead += 5 * SECOND
    await beatPulse(t.server.deps)
  }
  await endJobLeases(t.server.deps)
  expect(await t.job(run.id)).toMatchObject({ status: 'completed', conclusion: 'failure' })
  expect(await t.runners()).toMatchObject([{ status: 'offline' }])
})

test('a second session is refused on another node while the first polls, also when other calls were heard in between', async () => {
  await using t = await startClocked({ times: { pollHeld: 100 } })
  const runner = await wireRunner(t.server, 'acme')
  await runner.connect()
  await queueRun(t.server, t.repository, oneJob())
  const given = await runner.poll()
  t.clock.ahead += 50 * SECOND
  const message = (await (await runner.acquire(given?.body['runner_request_id'] ?? '')).json()) as JobMessageBody
  await runner.renew(message)
  await runner.poll('Busy')
  t.clock.ahead += 50 * SECOND

  const [{ id } = { id: 0 }] = await t.runners()
  const row = await runnerById(t.server.deps.db, id)
  if (!row) throw new Error('there is no runner')
  const again = openSession(t.server.deps, row, { ownerName: 'another machine', version: '2.336.0', hasOpenPoll: false })
  await expect(again).rejects.toThrow('already exists')
})

test('a job that is cancelled before its first renewal and never renewed ends as cancelled, and no other runner gets it', async () => {
  await using t = await startClocked({ times: { pollHeld: 100 } })
  const runner = await wireRunner(t.server, 'acme')
  await runner.connect()
  const run = await queueRun(t.server, t.repository, oneJob())
  const given = await runner.poll()
  await runner.acquire(given?.body['runner_request_id'] ?? '')
  await t.server.admin('POST', `/repos/acme/rocket/actions/runs/${run.id}/cancel`)

  t.clock.ahead += 90 * SECOND
  await endJobLeases(t.server.deps)

  expect(await t.job(run.id)).toMatchObject({ status: 'completed', conclusion: 'cancelled' })
  expect((await t.actions.runs())[0]).toMatchObject({ status: 'completed', conclusion: 'cancelled' })
  const other = await wireRunner(t.server, 'acme')
  await other.connect()
  expect(await other.poll()).toBeUndefined()
})

test('a runner whose job went back in line is told so at its renewal, and its completion is accepted and changes nothing', async () => {
  await using t = await startClocked({ times: { pollHeld: 100 } })
  const runner = await wireRunner(t.server, 'acme')
  await runner.connect()
  const run = await queueRun(t.server, t.repository, oneJob())
  const given = await runner.poll()
  const message = (await (await runner.acquire(given?.body['runner_request_id'] ?? '')).json()) as JobMessageBody
  t.clock.ahead += 90 * SECOND
  await endJobLeases(t.server.deps)

  const renewed = await runner.renew(message)
  expect(renewed.status).toBe(404)
  expect(await renewed.json()).toMatchObject({ source: 'actions-run-service', statusCode: 404 })
  expect((await runner.complete(message)).status).toBe(204)
  expect(await t.job(run.id)).toMatchObject({ status: 'queued' })
})

test('the token of one job neither renews nor completes another', async () => {
  await using t = await startClocked({ times: { pollHeld: 100 } })
  const jobs = []
  for (let i = 0; i < 2; i++) {
    const runner = await wireRunner(t.server, 'acme')
    await runner.connect()
    await queueRun(t.server, t.repository, oneJob())
    jobs.push({ runner, message: await runner.takeJob() })
  }
  const [own, other] = jobs
  if (!own || !other) throw new Error('no jobs')
  const foreign = { ...own.message, plan: other.message.plan, jobId: other.message.jobId }

  expect((await own.runner.renew(foreign)).status).toBe(403)
  expect((await own.runner.complete(foreign)).status).toBe(403)
  expect(
    (await t.server.admin('GET', '/repos/acme/rocket/actions/runs?status=in_progress').then((answer) => answer.json())) as object,
  ).toMatchObject({
    total_count: 2,
  })
})

test('cancel-timeout-minutes is what the runner is told, and what the server waits for before it ends the job itself', async () => {
  await using t = await startClocked({ times: { pollHeld: 100 } })
  const runner = await wireRunner(t.server, 'acme')
  await runner.connect()
  const run = await queueRun(t.server, t.repository, oneJob('self-hosted', '    cancel-timeout-minutes: 12\n'))
  const message = await runner.takeJob()
  await t.server.admin('POST', `/repos/acme/rocket/actions/runs/${run.id}/cancel`)
  expect((await runner.poll('Busy'))?.body).toMatchObject({ timeout: '00:12:00' })

  const wait = async (minutes: number) => {
    t.clock.ahead += minutes * MINUTE
    await runner.renew(message)
    await endCancelledJobs(t.server.deps)
  }
  await wait(12)
  expect(await t.job(run.id)).toMatchObject({ status: 'in_progress' })
  await wait(1)
  expect(await t.job(run.id)).toMatchObject({ status: 'completed', conclusion: 'cancelled' })
})

test('timeout-minutes reaches the runner as a cancel and says so', async () => {
  await using t = await startClocked()
  const runner = await wireRunner(t.server, 'acme')
  await runner.connect()
  const run = await queueRun(t.server, t.repository, oneJob('self-hosted', '    timeout-minutes: 2\n'))
  const job = await runner.takeJob()

  t.clock.ahead += 90 * SECOND
  expect(await endOverdueJobs(t.server.deps)).toBe('0 overdue')
  t.clock.ahead += 40 * SECOND
  expect(await endOverdueJobs(t.server.deps)).toBe('1 overdue')

  expect(await runner.poll('Busy')).toMatchObject({ messageType: 'JobCancellation' })
  await runner.complete(job, 'canceled')
  expect(await t.job(run.id)).toMatchObject({
    conclusion: 'cancelled',
    problem: 'The job has exceeded the maximum execution time of 2 minutes.',
  })
})

test('a job that waits longer than a day fails', async () => {
  await using t = await startClocked()
  const run = await queueRun(t.server, t.repository, oneJob('gpu'))
  t.clock.ahead += 25 * 60 * MINUTE

  expect(await endStaleQueued(t.server.deps)).toBe('1 ended')

  expect(await t.job(run.id)).toMatchObject({ conclusion: 'failure', problem: expect.stringContaining('24 hours') })
  expect((await t.actions.runs())[0]).toMatchObject({ conclusion: 'failure' })
})

test('an ephemeral runner has one job: then it is gone and told so', async () => {
  await using t = await startClocked()
  const runner = await wireRunner(t.server, 'acme', { ephemeral: true })
  await runner.connect()
  await queueRun(t.server, t.repository, oneJob())
  await queueRun(t.server, t.repository, oneJob())
  const job = await runner.takeJob()

  await runner.complete(job)

  expect(await t.runners()).toEqual([])
  const told = await runner.pollRaw()
  expect(told.status).toBe(404)
  expect(await told.json()).toMatchObject({ source: 'actions-broker-listener', errorKind: 'RunnerNotFound' })
  expect((await runner.disconnect()).status).toBe(204)
  expect((await runner.renew(job)).status).toBe(200)
})

test('runners that never come back are removed: ephemeral ones after a day, others after fourteen', async () => {
  await using t = await startClocked()
  await wireRunner(t.server, 'acme', { name: 'lasting' })
  await wireRunner(t.server, 'acme', { name: 'once', ephemeral: true })

  t.clock.ahead += 25 * 60 * MINUTE
  expect(await removeAbandonedRunners(t.server.deps)).toBe('1 runners')
  t.clock.ahead += 14 * 24 * 60 * MINUTE
  expect(await removeAbandonedRunners(t.server.deps)).toBe('1 runners')
  expect(await t.runners()).toEqual([])
})

test('the GITHUB_TOKEN of a job reads its own repository and dies with the job', async () => {
  await using t = await startClocked()
  await t.server.repository('acme', 'secret')
  const runner = await wireRunner(t.server, 'acme')
  await runner.connect()
  await queueRun(t.server, t.repository, oneJob())
  const job = await runner.takeJob()
  const token = job.variables['system.github.token']?.value ?? ''
  const status = async (path: string, method = 'GET') => (await t.server.call(token)(method, path)).status

  expect(token).toMatch(/^ghs_/)
  expect(await status('/repos/acme/rocket/actions/runs')).toBe(403)
  expect(await status('/repos/acme/rocket/actions/runners')).toBe(403)
  expect(await status('/repos/acme/secret/actions/runs')).toBe(404)
  expect(await status('/orgs/acme/actions/runners/registration-token', 'POST')).toBe(403)

  await runner.complete(job)
  expect(await status('/repos/acme/rocket/actions/runs')).toBe(401)
})

test('the first report of a job wins', async () => {
  await using t = await startClocked()
  const runner = await wireRunner(t.server, 'acme')
  await runner.connect()
  const run = await queueRun(t.server, t.repository, oneJob())
  const job = await runner.takeJob()

  expect(
    (
      await runner.complete(job, 'succeeded', {
        stepResults: [{ external_id: job.steps[0]?.id, number: 1, name: 'Run echo hi', status: 'completed', conclusion: 'succeeded' }],
      })
    ).status,
  ).toBe(204)
  expect((await runner.complete(job, 'failed', {})).status).toBe(204)

  expect(await t.job(run.id)).toMatchObject({ conclusion: 'success', steps: [{ name: 'Run echo hi', conclusion: 'success' }] })
})

test.each([
  ['no runner at all', [], 'self-hosted', 'no runner is registered for this repository, its organization or the enterprise'],
  ['a label that nobody has', [{ labels: ['cpu'] }], 'gpu', 'no runner has the label gpu'],
  ['labels that no one runner has', [{ labels: ['cpu'] }, { labels: ['gpu'] }], '[cpu, gpu]', 'no runner has all of the labels cpu, gpu'],
  ['two runners that are away', [{ labels: ['gpu'] }, { labels: ['gpu'] }], 'gpu', '2 runners match, both offline'],
  ['three runners that are away', [{}, {}, {}], 'self-hosted', '3 runners match, all offline'],
])('a job that waits says why: %s', async (_case, runners, labels, reason) => {
  await using t = await startClocked()
  for (const options of runners) await wireRunner(t.server, 'acme', options)

  const run = await queueRun(t.server, t.repository, oneJob(labels))

  expect(await t.job(run.id)).toMatchObject({ status: 'queued', waiting_reason: reason, waiting_since: expect.stringMatching(/Z$/) })
})

test('a job that waits says why: runners that are busy, and needs', async () => {
  await using t = await startClocked()
  for (const name of ['one', 'two']) {
    const runner = await wireRunner(t.server, 'acme', { name })
    await runner.connect()
    await queueRun(t.server, t.repository, oneJob())
    await runner.takeJob()
  }

  const run = await queueRun(
    t.server,
    t.repository,
    `${oneJob()}  b:\n    needs: a\n    runs-on: self-hosted\n    steps: [{run: echo b}]\n`,
  )

  expect(await t.job(run.id)).toMatchObject({ waiting_reason: '2 runners match, both busy' })
  expect(await t.job(run.id, 1)).toMatchObject({ status: 'pending', waiting_reason: 'waits for job a' })
})

test('a group that does not allow public repositories keeps their jobs, and says so', async () => {
  await using t = await startClocked({ times: { pollHeld: 100 } })
  const open = await t.server.repository('acme', 'open', 'public')
  const runner = await wireRunner(t.server, 'acme')
  await runner.connect()
  const run = await queueRun(t.server, open, oneJob())

  expect(await runner.poll()).toBeUndefined()
  const [job] = await actionsClient(t.server.admin, 'acme/open').jobs(run.id)
  expect(job?.waiting_reason).toBe('1 runner matches, but the runner group Default does not allow public repositories')

  const group = '/orgs/acme/actions/runner-groups/1'
  expect((await t.server.admin('PATCH', group, { allows_public_repositories: true })).status).toBe(200)
  expect(await runner.poll()).toMatchObject({ messageType: 'RunnerJobRequest' })
})

test('runners of the enterprise, of an organization and of a repository serve its jobs, those of others do not', async () => {
  await using t = await startClocked({ times: { pollHeld: 100 } })
  await t.server.organization('other')
  await t.server.repository('other', 'rocket')
  const foreign = [await wireRunner(t.server, 'other'), await wireRunner(t.server, 'other/rocket')]
  const own = [
    await wireRunner(t.server, 'acme'),
    await wireRunner(t.server, 'acme/rocket'),
    await wireRunner(t.server, 'enterprises/fleetfoot'),
  ]
  for (const runner of [...foreign, ...own]) await runner.connect()
  for (let i = 0; i < 3; i++) await queueRun(t.server, t.repository, oneJob())

  for (const runner of foreign) expect(await runner.poll()).toBeUndefined()
  for (const runner of own) expect(await runner.poll()).toMatchObject({ messageType: 'RunnerJobRequest' })
})

test('many runners and many jobs: each job is given once', async () => {
  await using t = await startClocked()
  const runners = await Promise.all(
    Array.from({ length: 20 }, (_, index) => wireRunner(t.server, 'acme', { name: `r${index}`, labels: index % 2 ? ['a'] : ['b'] })),
  )
  for (const runner of runners) await runner.connect()
  const polls = runners.map((runner) => runner.poll())
  await eventually(() => expect(t.server.deps.dispatcher.waiting).toBe(20))

  await Promise.all(Array.from({ length: 20 }, (_, index) => queueRun(t.server, t.repository, oneJob(index % 2 ? 'a' : 'b'))))

  const messages = await Promise.all(polls)
  expect(new Set(messages.map((message) => message?.body['runner_request_id'])).size).toBe(20)
  const jobs = await t.server.deps.db.selectFrom('assignment').select('jobId').distinct().execute()
  expect(jobs).toHaveLength(20)
})
