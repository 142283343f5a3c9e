import { expect, test } from 'vitest'
import { newKey } from '../../src/runner/key.ts'
import { registerRunner, type RunnerConfig } from '../../src/runner/registration.ts'
import { queueRun } from '../support/queue.ts'
import { configFromJit } from '../../src/runner/config-files.ts'
import type { Repository } from '../../src/model/account.ts'
import { capture, isCall, lacking, Replay, type Answer, type Call, type Entry } from '../support/replay.ts'
import { startServer, type TestServer } from '../support/start-server.ts'

/** What the stub told besides: the runner reads none of it (runner-protocol.md 2.5), or it belongs to services that are not offered. */
const NOT_OURS: Record<string, string[]> = {
  '/actions/runners/register': ['os', 'status', 'busy', 'labels'],
  // Only said back in acquirejob.
  '/_broker/message': ['body.billing_owner_id'],
  '/_run/acquirejob': ['resources.endpoints[].data.CacheServerUrl', 'resources.endpoints[].data.PipelinesServiceUrl'],
}

/** The answer is one that the runner takes for what it was answered then. */
function expectFits({ call, status, body }: Answer): void {
  const { answer, request } = call
  const said = `${call.label}: ${request.method} ${request.url.slice(0, 120)} got ${JSON.stringify(body)?.slice(0, 300)}`
  // Azure's client takes 201 exactly; everything else reads any success alike.
  const isPlain = (code: number) => [200, 201, 204].includes(code) && !request.url.startsWith('/_blob/')
  if (!isPlain(status) || !isPlain(answer?.status ?? 0)) expect(status, said).toBe(answer?.status)
  const told = answer?.body === '' || isCut(answer?.body) ? null : answer?.body
  const extra = Object.entries(NOT_OURS).flatMap(([path, keys]) => (request.url.includes(path) ? keys.map((key) => `${key}: missing`) : []))
  expect(
    lacking(told, body).filter((line) => !extra.includes(line)),
    said,
  ).toEqual([])
}

const isCut = (body: unknown) => typeof body === 'string' && body.startsWith('<json')

async function withAcme(options: Parameters<typeof startServer>[0] = {}) {
  const server = await startServer({ ...options, times: { pollHeld: 500, ...options.times } })
  await server.organization('acme')
  const repository = await server.repository('acme', 'widgets')
  return { server, repository }
}

const calls = (name: string, ...labels: string[]) =>
  capture(name)
    .filter(isCall)
    .filter(({ label }) => labels.length === 0 || labels.includes(label))

async function replayAll(replay: Replay, all: Call[]): Promise<Answer[]> {
  const answers: Answer[] = []
  for (const call of all) {
    const answer = await replay.send(call)
    expectFits(answer)
    answers.push(answer)
  }
  return answers
}

/** The runner that the last answer tells of. */
const idOf = (answers: Answer[]) => (answers.at(-1)?.body as { id: number } | undefined)?.id

test('config.sh of a repository, and its removal', async () => {
  const { server } = await withAcme()
  await using _server = server
  using replay = new Replay({ url: server.url, known: { X: await server.registrationToken('/repos/acme/widgets') } })

  const registered = await replayAll(replay, calls('config-repository'))

  const removal = await server.admin('POST', '/repos/acme/widgets/actions/runners/remove-token')
  const known = { Y: ((await removal.json()) as { token: string }).token, '/runners/42': `/runners/${idOf(registered)}` }
  using removing = new Replay({ url: server.url, known })
  await replayAll(removing, calls('remove'))
  expect(await (await server.admin('GET', '/repos/acme/widgets/actions/runners')).json()).toMatchObject({ total_count: 0 })
})

test('config.sh of an organization and an enterprise, a name that is taken, --replace, a group that is not there', async () => {
  const { server } = await withAcme({ config: { enterprise: 'big' } })
  await using _server = server
  const ofAcme = { X: await server.registrationToken('/orgs/acme') }
  const said = (label: string) => calls('config-organization-enterprise-replace', label)
  const acme = new Replay({ url: server.url, known: ofAcme })
  // The capture's names are made up, and one of them got into this key.
  const keyOf = (label: string) => (said(label).at(-1)?.request.body as { public_key: string } | undefined)?.public_key ?? ''
  const known = { X: await server.registrationToken('/enterprises/big'), [keyOf('ent')]: keyOf('org') }
  const big = new Replay({ url: server.url, known })

  const first = idOf(await replayAll(acme, said('org')))
  await replayAll(big, said('ent'))
  const taken = await replayAll(acme, said('taken'))
  const replacing = new Replay({ url: server.url, known: { ...ofAcme, '"runner_id":43': `"runner_id":${first}` } })
  const second = idOf(await replayAll(replacing, said('replace')))
  // Group 7 is the stub's: there is the default one only, and the runner is told so.
  const [register, ...before] = said('group').toReversed()
  await replayAll(acme, before.toReversed())
  const refused = register && (await acme.send(register))

  expect(taken.at(-1)?.body).toMatchObject({ total_count: 1, runners: [{ name: 'a1' }] })
  expect(second).toBe(first)
  expect([refused?.status, refused?.body]).toEqual([404, expect.objectContaining({ message: expect.any(String) })])
})

test('config.sh that is refused: bad tokens are 404 with a message at once, a name that was taken meanwhile is a conflict', async () => {
  const { server } = await withAcme()
  await using _server = server
  const replay = new Replay({ url: server.url, known: { X: await server.registrationToken('/orgs/acme') } })
  const unknown = new Replay({ url: server.url, known: { X: 'AABBCCDDEEFFGGHHIIJJKKLLMMNN' } })

  await replayAll(replay, calls('config-refused', 'nogroup'))
  await replayAll(unknown, calls('config-refused', 'reg404'))
  // The stub's 401 made the runner ask three times: ours does not (runner-protocol.md 2.2).
  const [call] = calls('config-refused', 'reg401')
  const answer = call && (await unknown.send(call))
  const [again, ...others] = calls('config-refused', 'register422once').toReversed()
  for (const other of others.toReversed()) await replay.send(other)
  const conflict = again && (await replay.send(again))

  expect([answer?.status, answer?.body]).toEqual([404, expect.objectContaining({ message: 'Not Found' })])
  expect([conflict?.status, conflict?.body]).toEqual([409, expect.objectContaining({ message: expect.any(String) })])
})

const NAMED_STEP = 'on: push\njobs:\n  a:\n    runs-on: self-hosted\n    steps:\n      - name: hello\n        run: echo hello\n'

/** Replays what a listening runner said, with a job in line whenever it was given one, and a cancel wherever it heard of one. */
async function live(server: TestServer, repository: Repository, credentials: RunnerConfig, entries: Entry[]): Promise<void> {
  using replay = new Replay({ url: server.url, credentials, known: { [brokerOf(entries)]: credentials.serverUrl } })
  let runId = 0
  /** A poll that the runner will hear of a cancel on, once that much of the capture has passed. */
  let hearing: { atMs: number; answer: Promise<Answer> } | undefined
  const cancelBefore = async (atMs: number) => {
    if (!hearing || atMs < hearing.atMs) return
    await server.admin('POST', `/repos/acme/widgets/actions/runs/${runId}/cancel`)
    const answer = await hearing.answer
    hearing = undefined
    expectFits(answer)
    expect(answer.body).toMatchObject({ messageType: 'JobCancellation' })
  }

  for (const entry of entries) {
    await cancelBefore(entry.atMs)
    if (!isCall(entry)) await replay.feed(entry)
    else if (entry.answer?.status === undefined) replay.hold(entry)
    else if (messageOf(entry) === 'JobCancellation') {
      hearing = { atMs: entry.atMs + (entry.tookMs ?? 0), answer: replay.send(entry) }
    } else {
      const isJob = messageOf(entry) === 'RunnerJobRequest'
      if (isJob) runId = (await queueRun(server, repository, NAMED_STEP)).id
      const answer = await replay.send(entry)
      expectFits(answer)
      if (isJob) expect(answer.body).toMatchObject({ messageType: 'RunnerJobRequest' })
    }
  }
  await cancelBefore(Infinity)
}

function brokerOf(entries: Entry[]): string {
  const session = entries.filter(isCall).find(({ request }) => request.url.endsWith('/session'))
  return session ? `http://${session.request.headers['Host']}${session.request.url.replace(/session$/, '')}` : ''
}

/** The type of the message that a poll was answered with. */
function messageOf({ answer }: Call): string | undefined {
  const body = answer?.body
  return typeof body === 'object' && body !== null && 'messageId' in body
    ? (body as unknown as { messageType: string }).messageType
    : undefined
}

async function registered(server: TestServer) {
  return registerRunner({
    url: `${server.url}/acme/widgets`,
    token: await server.registrationToken('/repos/acme/widgets'),
    name: 'build-01',
    key: await newKey(),
  })
}

interface JobBody {
  id: number
  run_id: number
  status: string
  conclusion: string
  steps: { name: string; conclusion: string }[]
}

/** The jobs of all runs, newest first, and the log of the newest. */
async function jobsOf(server: TestServer): Promise<{ jobs: JobBody[]; log: string }> {
  const base = '/repos/acme/widgets/actions'
  const { workflow_runs: runs } = (await (await server.admin('GET', `${base}/runs`)).json()) as { workflow_runs: { id: number }[] }
  const jobs: JobBody[] = []
  for (const { id } of runs)
    jobs.push(...((await (await server.admin('GET', `${base}/runs/${id}/jobs`)).json()) as { jobs: JobBody[] }).jobs)
  const redirect = await server.admin('GET', `${base}/jobs/${jobs[0]?.id}/logs`)
  return { jobs, log: await (await fetch(redirect.headers.get('location') ?? '')).text() }
}

test('run.sh: a job with a failing step, outputs, annotations and a summary', async () => {
  const { server, repository } = await withAcme()
  await using _server = server

  await live(server, repository, await registered(server), capture('two-jobs'))

  const { jobs, log } = await jobsOf(server)
  expect(jobs).toMatchObject([{ status: 'completed', conclusion: 'failure' }])
  expect(jobs[0]?.steps.map(({ conclusion }) => conclusion)).toContain('failure')
  expect(log).toContain('hello')
  const annotations = await server.admin('GET', `/repos/acme/widgets/check-runs/${jobs[0]?.id}/annotations`)
  expect(await annotations.json()).toEqual(expect.arrayContaining([expect.objectContaining({ title: 'Boom', message: 'bad thing' })]))
})

test('run.sh --jitconfig: the whole life of an ephemeral runner', async () => {
  const { server, repository } = await withAcme()
  await using _server = server
  const made = await server.admin('POST', '/repos/acme/widgets/actions/runners/generate-jitconfig', {
    name: 'ephemeral',
    runner_group_id: 1,
    labels: ['self-hosted'],
  })
  const { encoded_jit_config: encoded } = (await made.json()) as { encoded_jit_config: string }

  await live(server, repository, configFromJit(encoded), capture('jit-ephemeral'))

  const { jobs, log } = await jobsOf(server)
  expect(jobs).toMatchObject([{ status: 'completed', conclusion: 'success' }])
  expect(log).toContain('hi')
  expect(await (await server.admin('GET', '/repos/acme/widgets/actions/runners')).json()).toMatchObject({ total_count: 0 })
})

test('a cancel: in mid-step, with a step that will not end, before the worker has begun', async () => {
  const { server, repository } = await withAcme()
  await using _server = server
  // The stub also cancelled a job that had ended, which we never do.
  const entries = capture('cancel').filter((entry) => entry.label !== 'cancel-afterwards')

  await live(server, repository, await registered(server), entries)

  const { jobs } = await jobsOf(server)
  expect(jobs.map(({ conclusion }) => conclusion)).toEqual(['cancelled', 'cancelled', 'cancelled'])
})

test('logs over 2 MiB come in blocks that are appended and sealed', async () => {
  const { server, repository } = await withAcme()
  await using _server = server
  // What follows in the capture are answers that a stub forced.
  const entries = capture('big-log-sdk').filter((entry) => entry.label === 'boot')

  await live(server, repository, await registered(server), entries)

  const { jobs, log } = await jobsOf(server)
  expect(jobs).toMatchObject([{ status: 'completed', conclusion: 'success' }])
  expect(log.length).toBeGreaterThan(4000)
  expect(log).not.toContain('\uFEFF')
})
