import { expect, test } from 'vitest'
import { fits } from '../../../test/support/fits.ts'
import { startHookReceiver } from '../../../test/support/hook-receiver.ts'
import { sendHooks } from '../../../test/support/hooks.ts'
import { queueRun, oneJob } from '../../../test/support/queue.ts'
import { startServer, type StartOptions } from '../../../test/support/start-server.ts'
import { wireRunner } from '../../../test/support/wire-runner.ts'
import { endLongWaits } from '../../core/queue/fall-back.ts'

async function startWithRepository(options: StartOptions = {}) {
  const server = await startServer(options)
  const { token, call } = await server.user('mona')
  await server.organization('acme', { mona: 'owner' })
  const repository = await server.repository('acme', 'rocket')
  return {
    server,
    token,
    call,
    repository,
    async [Symbol.asyncDispose]() {
      await server[Symbol.asyncDispose]()
    },
  }
}

const DISPATCHABLE = `name: Deploy
run-name: Deploy \${{ inputs.level }} by hand
on:
  workflow_dispatch:
    inputs:
      level: {type: choice, options: [debug, info], default: info}
      dry: {type: boolean, required: true}
  push: {branches: [never]}
jobs:
  deploy:
    name: Deploy at \${{ inputs.level }}
    runs-on: [self-hosted]
    steps: [{run: echo}]
`

test('a workflow is started by hand: on a ref, with inputs that fit, answered by version', async () => {
  await using t = await startWithRepository()
  await t.server.push(t.token, t.repository, { '.github/workflows/deploy.yml': DISPATCHABLE })
  const path = '/repos/acme/rocket/actions/workflows/deploy.yml'
  const dispatch = (body: unknown, headers = {}) => t.call('POST', `${path}/dispatches`, body, headers)

  const listed = await fits('actions/list-repo-workflows', 200, t.call('GET', '/repos/acme/rocket/actions/workflows'))
  expect(listed).toMatchObject({ total_count: 1, workflows: [{ name: 'Deploy', path: '.github/workflows/deploy.yml', state: 'active' }] })
  expect(await fits('actions/get-workflow', 200, t.call('GET', path))).toEqual(listed.workflows[0])

  await fits('actions/create-workflow-dispatch', 204, dispatch({ ref: 'main', inputs: { dry: true } }))
  const details = await fits(
    'actions/create-workflow-dispatch',
    200,
    dispatch({ ref: 'main', inputs: { dry: 'false', level: 'debug' } }, { 'X-GitHub-Api-Version': '2026-03-10' }),
  )
  const run = await fits('actions/get-workflow-run', 200, t.call('GET', new URL(details.run_url).pathname))
  expect(run).toMatchObject({
    event: 'workflow_dispatch',
    display_title: 'Deploy debug by hand',
    run_number: 2,
    head_branch: 'main',
    status: 'queued',
  })
  const { jobs } = await fits('actions/list-jobs-for-workflow-run', 200, t.call('GET', `/repos/acme/rocket/actions/runs/${run.id}/jobs`))
  expect(jobs).toMatchObject([{ name: 'Deploy at debug', status: 'queued', labels: ['self-hosted'] }])

  for (const [body, message] of [
    [{ ref: 'absent', inputs: { dry: true } }, 'No ref found for: absent'],
    [{ ref: 'main' }, "Required input 'dry' not provided"],
    [{ ref: 'main', inputs: { dry: true, x: 1 } }, 'Unexpected inputs provided: ["x"]'],
    [{ ref: 'main', inputs: { dry: 'maybe' } }, "Provided value 'maybe' for input 'dry' must be true or false"],
    [{ ref: 'main', inputs: { dry: true, level: 'loud' } }, "Provided value 'loud' for input 'level' not in the list of allowed values"],
  ] as const) {
    expect(await fits('actions/create-workflow-dispatch', 422, dispatch(body))).toMatchObject({ message })
  }
  expect((await t.call('POST', '/repos/acme/rocket/actions/workflows/absent.yml/dispatches', { ref: 'main' })).status).toBe(404)
})

test('only a workflow with the trigger is started by hand', async () => {
  await using t = await startWithRepository()
  await t.server.push(t.token, t.repository, { '.github/workflows/ci.yml': oneJob() })

  const answer = await t.call('POST', '/repos/acme/rocket/actions/workflows/ci.yml/dispatches', { ref: 'main' })

  expect(await fits('actions/create-workflow-dispatch', 422, answer)).toMatchObject({
    message: "Workflow does not have 'workflow_dispatch' trigger",
  })
})

test('runs are listed newest first, by workflow, and by what filters say', async () => {
  await using t = await startWithRepository()
  await t.server.push(t.token, t.repository, { '.github/workflows/ci.yml': oneJob() })
  await t.server.push(t.token, t.repository, {
    'a.txt': 'a',
    '.github/workflows/other.yml': oneJob().replace('on: push', 'on: {push: {paths: [b.txt]}}'),
  })
  await t.server.push(t.token, t.repository, { 'b.txt': 'b' })
  const list = async (query = '') => {
    const body = await fits('actions/list-workflow-runs-for-repo', 200, t.call('GET', `/repos/acme/rocket/actions/runs${query}`))
    return (body.workflow_runs as { path: string; run_number: number; head_sha: string; check_suite_id: number }[]).map(
      ({ path, run_number }) => `${path.split('/').at(-1)} ${run_number}`,
    )
  }

  expect(await list()).toEqual(['other.yml 1', 'ci.yml 3', 'ci.yml 2', 'ci.yml 1'])
  expect(await list('?per_page=2&page=2')).toEqual(['ci.yml 2', 'ci.yml 1'])
  expect(await list('?status=queued&event=push&branch=main&actor=mona')).toHaveLength(4)
  expect(await list('?status=success')).toEqual([])
  expect(await list('?branch=other')).toEqual([])
  expect(await list('?actor=nobody')).toEqual([])
  expect(await list('?created=%3E%3D2020-01-01')).toHaveLength(4)
  expect(await list('?created=2020-01-01..2020-02-01')).toEqual([])
  const one = await fits('actions/list-workflow-runs', 200, t.call('GET', '/repos/acme/rocket/actions/workflows/other.yml/runs'))
  expect(one.total_count).toBe(1)
  const suite = (one.workflow_runs as { check_suite_id: number }[])[0]?.check_suite_id
  expect(await list(`?check_suite_id=${suite}`)).toEqual(['other.yml 1'])
  expect((await t.call('GET', '/repos/acme/rocket/actions/runs/999999')).status).toBe(404)
})

test('a workflow that cannot be read, or asks for what is not built yet, is a failed run that says where and why', async () => {
  await using t = await startWithRepository()
  const remote = await t.server.push(t.token, t.repository, {
    '.github/workflows/broken.yml': 'on: push\njobs:\n  a:\n    runs-on: x\n    steps:\n      - run: [\n',
    '.github/workflows/matrix.yml':
      'on: push\njobs:\n  a:\n    runs-on: x\n    strategy:\n      matrix: {os: [a, b]}\n    steps:\n      - run: echo\n',
  })

  expect(remote).toContain('matrix.yml has problems')
  const { workflow_runs } = await fits('actions/list-workflow-runs-for-repo', 200, t.call('GET', '/repos/acme/rocket/actions/runs'))
  expect(workflow_runs).toMatchObject([
    {
      path: '.github/workflows/matrix.yml',
      status: 'completed',
      conclusion: 'failure',
      problem: expect.stringMatching(/^line 5, column 5: .*strategy/),
    },
    {
      path: '.github/workflows/broken.yml',
      status: 'completed',
      conclusion: 'failure',
      problem: expect.stringMatching(/^line \d+, column \d+: /),
    },
  ])
})

test('pushes of branches and tags start what their filters say, deletions and skip markers nothing', async () => {
  await using t = await startWithRepository()
  const workflow = oneJob().replace('on: push', "on: {push: {branches: [main, 'release/**'], tags: ['v*']}}")
  await t.server.push(t.token, t.repository, { '.github/workflows/ci.yml': workflow })
  await t.server.push(t.token, t.repository, { 'a.txt': '1' }, { branch: 'other' })
  const remote = await t.server.push(t.token, t.repository, { 'a.txt': '2' }, { message: 'quiet [skip ci]' })
  expect(remote).toContain('no workflow starts')

  const { total_count } = await fits('actions/list-workflow-runs-for-repo', 200, t.call('GET', '/repos/acme/rocket/actions/runs'))
  expect(total_count).toBe(1)
})

test('needs, if and continue-on-error decide which jobs run and how the run ends', async () => {
  await using t = await startWithRepository()
  const runner = await wireRunner(t.server, 'acme')
  await runner.connect()
  const run = await queueRun(
    t.server,
    t.repository,
    `on: push
jobs:
  fails: {runs-on: self-hosted, steps: [{run: x}]}
  may-fail: {runs-on: self-hosted, continue-on-error: true, steps: [{run: x}]}
  after: {needs: fails, runs-on: self-hosted, steps: [{run: x}]}
  rescue: {needs: [fails, after], if: failure(), runs-on: self-hosted, steps: [{run: x}]}
  fine: {needs: may-fail, runs-on: self-hosted, steps: [{run: x}]}
`,
  )
  const states = async () => {
    const { jobs } = await fits('actions/list-jobs-for-workflow-run', 200, t.call('GET', `/repos/acme/rocket/actions/runs/${run.id}/jobs`))
    return Object.fromEntries(
      (jobs as { name: string; status: string; conclusion: string | null }[]).map((job) => [job.name, job.conclusion ?? job.status]),
    )
  }
  expect(await states()).toEqual({ fails: 'queued', 'may-fail': 'queued', after: 'pending', rescue: 'pending', fine: 'pending' })

  await runner.complete(await runner.takeJob(), 'failed')
  expect(await states()).toEqual({ fails: 'failure', 'may-fail': 'queued', after: 'skipped', rescue: 'queued', fine: 'pending' })
  for (const conclusion of ['failed', 'succeeded', 'succeeded']) await runner.complete(await runner.takeJob(), conclusion)

  expect(await states()).toEqual({ fails: 'failure', 'may-fail': 'failure', after: 'skipped', rescue: 'success', fine: 'success' })
  expect(await fits('actions/get-workflow-run', 200, t.call('GET', `/repos/acme/rocket/actions/runs/${run.id}`))).toMatchObject({
    conclusion: 'failure',
  })
})

test('a job that cannot be decided fails with its reason, and the run goes on', async () => {
  await using t = await startWithRepository()
  const run = await queueRun(
    t.server,
    t.repository,
    "on: push\njobs:\n  a:\n    runs-on: ${{ fromJSON('[') }}\n    steps: [{run: x}]\n  b:\n    needs: a\n    if: always()\n    runs-on: self-hosted\n    steps: [{run: x}]\n",
  )

  const { jobs } = await fits('actions/list-jobs-for-workflow-run', 200, t.call('GET', `/repos/acme/rocket/actions/runs/${run.id}/jobs`))

  expect(jobs).toMatchObject([{ status: 'completed', conclusion: 'failure', problem: expect.any(String) }, { status: 'queued' }])
  const annotations = await fits('checks/list-annotations', 200, t.call('GET', `/repos/acme/rocket/check-runs/${jobs[0].id}/annotations`))
  expect(annotations).toMatchObject([{ annotation_level: 'failure', path: '.github/workflows/ci.yml' }])
})

test('a job that ended without a report says why in its annotations, its check run and webhooks', async () => {
  const clock = { ahead: 0 }
  await using t = await startWithRepository({ now: () => Date.now() + clock.ahead })
  await using receiver = await startHookReceiver()
  const hook = { config: { url: receiver.url, content_type: 'json' }, events: ['check_run'] }
  await t.server.admin('POST', '/repos/acme/rocket/hooks', hook)
  await t.server.admin('POST', '/api/fleetfoot/repos/acme/rocket/queue/rules', {
    name: 'r',
    longest_wait_seconds: 60,
    match: { labels: ['gpu'] },
  })
  const late = await queueRun(t.server, t.repository, oneJob('gpu'))
  const more = '  b:\n    needs: a\n    runs-on: self-hosted\n    steps: [{run: x}]\n'
  const cancelled = await queueRun(t.server, t.repository, oneJob() + more)
  clock.ahead = 61_000
  await endLongWaits(t.server.deps)
  const jobsOf = async (run: { id: number }) =>
    ((await (await t.call('GET', `/repos/acme/rocket/actions/runs/${run.id}/jobs`)).json()) as { jobs: { id: number }[] }).jobs
  const [lateJob] = await jobsOf(late)
  const [cancelledJob, pending] = await jobsOf(cancelled)
  const checkRun = (id: number | undefined) => fits('checks/get', 200, t.call('GET', `/repos/acme/rocket/check-runs/${id}`))
  expect(await checkRun(pending?.id)).toMatchObject({ conclusion: null, output: { title: null, summary: null, annotations_count: 0 } })
  await t.call('POST', `/repos/acme/rocket/actions/runs/${cancelled.id}/cancel`)
  await sendHooks(t.server)

  const told = new Map(receiver.of('check_run').map(({ payload }) => [payload.check_run.id, payload.check_run]))
  for (const [job, title, text] of [
    [lateJob, 'The job failed', 'the longest that the queue rule r allows'],
    [cancelledJob, 'The job was cancelled', 'cancelled before it started'],
  ] as const) {
    const path = `/repos/acme/rocket/check-runs/${job?.id}/annotations`
    const message = expect.stringContaining(text) as string
    expect(await fits('checks/list-annotations', 200, t.call('GET', path))).toMatchObject([{ annotation_level: 'failure', title, message }])
    const output = { title, summary: message, annotations_count: 1 }
    expect(await checkRun(job?.id)).toMatchObject({ id: job?.id, status: 'completed', output })
    expect(told.get(job?.id)).toMatchObject({ status: 'completed', output })
  }
  expect((await t.call('GET', '/repos/acme/rocket/check-runs/999999')).status).toBe(404)
})

test('logs are redirects that are good for a minute, and not found while there are none', async () => {
  const clock = { ahead: 0 }
  await using t = await startWithRepository({ now: () => Date.now() + clock.ahead })
  const runner = await wireRunner(t.server, 'acme')
  await runner.connect()
  const run = await queueRun(t.server, t.repository, oneJob())
  const job = await runner.takeJob()
  const { jobs } = await fits('actions/list-jobs-for-workflow-run', 200, t.call('GET', `/repos/acme/rocket/actions/runs/${run.id}/jobs`))
  const logs = `/repos/acme/rocket/actions/jobs/${jobs[0].id}/logs`
  await fits('actions/download-job-logs-for-workflow-run', 404, t.call('GET', logs))

  const ids = { workflow_run_backend_id: job.plan.planId, workflow_job_run_backend_id: job.jobId }
  const receiver = '/twirp/results.services.receiver.Receiver'
  const { logs_url } = (await (await runner.jobCall(job, `${receiver}/GetJobLogsSignedBlobURL`, ids)).json()) as { logs_url: string }
  const put = await fetch(logs_url, {
    method: 'PUT',
    headers: { 'x-ms-blob-type': 'BlockBlob' },
    body: '\uFEFF2026-01-01T00:00:00.0000000Z <script>\n',
  })
  expect(put.status).toBe(201)
  await runner.jobCall(job, `${receiver}/CreateJobLogsMetadata`, { ...ids, line_count: 1 })
  await runner.complete(job)

  const redirect = await t.call('GET', logs)
  const address = redirect.headers.get('location') ?? ''
  await fits('actions/download-job-logs-for-workflow-run', 302, redirect)
  const log = await fetch(address)
  // As bytes: decoding as text would drop a byte-order mark by itself.
  expect(Buffer.from(await log.arrayBuffer()).toString('latin1')).toBe('2026-01-01T00:00:00.0000000Z <script>\n')
  expect([log.headers.get('content-type'), log.headers.get('x-content-type-options'), log.headers.get('content-security-policy')]).toEqual([
    'text/plain; charset=utf-8',
    'nosniff',
    "sandbox; default-src 'none'",
  ])
  expect((await fetch(address.replace('job-', 'run-'))).status).toBe(403)
  clock.ahead = 61_000
  expect((await fetch(address)).status).toBe(403)
  await fits('actions/download-workflow-run-logs', 302, t.call('GET', `/repos/acme/rocket/actions/runs/${run.id}/logs`))
})

test('a run is told to have no artifacts, and one that is not there is not found', async () => {
  await using t = await startWithRepository()
  const run = await queueRun(t.server, t.repository, oneJob())
  const stranger = await t.server.user('stranger')
  const path = `/repos/acme/rocket/actions/runs/${run.id}/artifacts`

  const listed = await fits('actions/list-workflow-run-artifacts', 200, t.call('GET', `${path}?per_page=100`))

  expect(listed).toEqual({ total_count: 0, artifacts: [] })
  expect((await t.call('GET', '/repos/acme/rocket/actions/runs/999/artifacts')).status).toBe(404)
  expect((await stranger.call('GET', path)).status).toBe(404)
})
