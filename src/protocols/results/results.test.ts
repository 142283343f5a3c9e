import { expect, test } from 'vitest'
import { put, runningJob, sdk } from '../../../test/support/running-job.ts'
import { startServer } from '../../../test/support/start-server.ts'

const [FIRST, SECOND] = ['0f0e0d0c-0000-4000-8000-000000000001', '0f0e0d0c-0000-4000-8000-000000000002']

interface StepBody {
  name: string
  status: string
  conclusion: string | null
  number: number
}

async function stepsOf({ server, repository, id }: Awaited<ReturnType<typeof runningJob>>) {
  const { steps } = (await (await server.admin('GET', `/repos/acme/${repository.name}/actions/jobs/${id}`)).json()) as { steps: StepBody[] }
  return steps.map(({ number, name, status, conclusion }) => [number, name, status, conclusion])
}

test('what steps wrote as their summaries is read as Markdown, never as a page, by who may read the job', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  const path = `/repos/acme/${job.repository.name}/actions/jobs/${job.id}/summary`
  expect((await server.admin('GET', path)).status).toBe(404)
  for (const [index, text] of ['# One', '<script>2</script>'].entries()) {
    const stepId = `0f0e0d0c-0000-4000-8000-00000000000${index + 1}`
    await sdk.put(await job.summaryUrl(stepId), text)
    await job.results('CreateStepSummaryMetadata', { step_backend_id: stepId, size: text.length, uploaded_at: new Date().toISOString() })
  }

  const answer = await server.admin('GET', path)
  expect(await answer.text()).toBe('# One\n<script>2</script>\n')
  expect(answer.headers.get('content-type')).toBe('text/markdown; charset=utf-8')
  expect(answer.headers.get('content-security-policy')).toContain('sandbox')
  const { token } = await server.user('eve')
  expect((await server.call(token)('GET', path)).status).toBe(404)
})

test('step states are merged in their order; an update that is older than what is known is ignored', async () => {
  await using server = await startServer()
  const job = await runningJob(server)

  const answer = await job.updateSteps(2, [{ external_id: FIRST, number: 1, name: 'Set up job', status: 6, conclusion: 2 }])
  await job.updateSteps(3, [{ external_id: SECOND, number: 2, name: 'Run make', status: 3 }])
  await job.updateSteps(1, [{ external_id: FIRST, number: 1, name: 'Set up job', status: 3 }])
  await job.updateSteps(3, [{ external_id: SECOND, number: 2, name: 'Run make', status: 5 }])

  expect(answer.status).toBe(200)
  expect(await answer.json()).toEqual({ ok: true })
  expect(await stepsOf(job)).toEqual([
    [1, 'Set up job', 'completed', 'success'],
    [2, 'Run make', 'in_progress', null],
  ])
})

test('updates after the end change nothing, and are no failure to the runner', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  await job.updateSteps(1, [{ external_id: FIRST, number: 1, name: 'Set up job', status: 6, conclusion: 2 }])
  await job.runner.complete(job.message, 'succeeded', { stepResults: null as never })

  const late = await job.updateSteps(9, [{ external_id: FIRST, number: 1, name: 'Set up job', status: 6, conclusion: 3 }])

  expect(late.status).toBe(200)
  expect(await stepsOf(job)).toEqual([[1, 'Set up job', 'completed', 'success']])
})

const RECEIVER = ['GetStepLogsSignedBlobURL', 'GetJobLogsSignedBlobURL', 'GetJobDiagLogsSignedBlobURL', 'GetStepSummarySignedBlobURL']
const DONE = ['CreateStepLogsMetadata', 'CreateJobLogsMetadata', 'CreateStepSummaryMetadata']
const UPDATE = '/twirp/github.actions.results.api.v1.WorkflowStepUpdateService/WorkflowStepsUpdate'

test.each([...RECEIVER, ...DONE, UPDATE])('%s with the token of one job and the ids of another is refused', async (call) => {
  await using server = await startServer()
  const [mine, other] = [await runningJob(server), await runningJob(server)]
  const body = {
    step_backend_id: FIRST,
    line_count: 1,
    size: 1,
    change_order: 1,
    steps: [{ external_id: FIRST, number: 1, name: 'forged', status: 3 }],
  }

  const answers = [
    await mine.results(call, { ...body, ...other.ids }),
    await mine.results(call, { ...body, workflow_run_backend_id: other.ids.workflow_run_backend_id }),
    await mine.results(call, { ...body, workflow_job_run_backend_id: other.ids.workflow_job_run_backend_id }),
  ]

  expect(answers.map(({ status }) => status)).toEqual([403, 403, 403])
  expect(await answers[0]?.json()).toEqual({ code: 'permission_denied', msg: 'The token is for another job' })
  expect(await stepsOf(other)).toEqual([])
})

test("a runner's token, a user's, a forged and an ended one open nothing", async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  const [head, body, signature = ''] = job.token.split('.')
  const tokens = [
    job.runner.token,
    server.adminToken,
    `${head}.${body}.${signature.replace(/^./, (c) => (c === 'A' ? 'B' : 'A'))}`,
    `${head}.${body}.`,
    '',
    'x',
  ]
  const ask = (token: string) =>
    fetch(`${server.url}/twirp/results.services.receiver.Receiver/GetJobLogsSignedBlobURL`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${token}`, 'Content-Type': 'application/json' },
      body: JSON.stringify(job.ids),
    })

  const statuses = []
  for (const token of tokens) statuses.push((await ask(token)).status)

  expect(statuses).toEqual(tokens.map(() => 401))
  expect((await ask(job.token)).status).toBe(200)
})

test('addresses for one log all point to the same object, last a day and say which protocol to use', async () => {
  await using server = await startServer()
  const job = await runningJob(server)

  const answers: { logs_url: string }[] = []
  for (let i = 0; i < 2; i++)
    answers.push((await (await job.results('GetStepLogsSignedBlobURL', { step_backend_id: FIRST })).json()) as { logs_url: string })

  const [first, second] = answers.map(({ logs_url }) => new URL(logs_url))
  expect(answers[0]).toMatchObject({ blob_storage_type: 'BLOB_STORAGE_TYPE_AZURE', soft_size_limit: 0 })
  expect(first?.pathname).toBe(second?.pathname)
  expect(first?.pathname.split('/').filter(Boolean).length).toBeGreaterThanOrEqual(3)
  expect(Number(first?.searchParams.get('se')) * 1000 - Date.now()).toBeGreaterThan(23 * 60 * 60_000)
})

test('a summary is announced, put and finished; one that was never put is no summary', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  const address = (await (await job.results('GetStepSummarySignedBlobURL', { step_backend_id: FIRST })).json()) as {
    summary_url: string
    soft_size_limit: number
  }
  const markdown = '# Built\n\nall *good*\n'

  const stored = await put(address.summary_url, { headers: { 'x-ms-blob-type': 'BlockBlob' }, body: markdown })
  const done = await job.results('CreateStepSummaryMetadata', {
    step_backend_id: FIRST,
    size: markdown.length,
    uploaded_at: '2026-07-21T10:00:04.100Z',
  })
  const never = await job.results('CreateStepSummaryMetadata', {
    step_backend_id: SECOND,
    size: 5,
    uploaded_at: '2026-07-21T10:00:04.100Z',
  })

  expect(address.soft_size_limit).toBe(1024 * 1024)
  expect([stored.status, done.status, never.status]).toEqual([201, 200, 422])
  expect(await done.json()).toEqual({ ok: true })
  expect(await (await fetch(address.summary_url)).text()).toBe(markdown)
})

test('a step id that is no GUID names no object', async () => {
  await using server = await startServer()
  const job = await runningJob(server)

  const answer = await job.results('GetStepLogsSignedBlobURL', { step_backend_id: '../../fleetfoot' })

  expect(answer.status).toBe(422)
  expect(await answer.json()).toMatchObject({ code: 'invalid_argument' })
})

test('the end of a log that was never uploaded is accepted: the runner says so also when its upload failed', async () => {
  await using server = await startServer()
  const job = await runningJob(server)

  const answer = await job.logDone(FIRST, 57)

  expect(answer.status).toBe(200)
  expect(await answer.json()).toEqual({ ok: true })
})

test('NUL in what a job printed is taken out of steps, annotations and outputs: its runner would lose the job over a refusal', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  const step = { external_id: FIRST, number: 1, name: 'a\0b', status: 'completed', conclusion: 'succeeded' }

  const updated = await job.updateSteps(1, [{ external_id: FIRST, number: 1, name: 'a\0b' }])
  const completed = await job.runner.complete(job.message, 'succeeded', {
    stepResults: [{ ...step, annotations: [{ level: 'failure', message: 'x\0y' }] }],
    outputs: { o: { value: '1\0' } },
  })

  expect([updated.status, completed.status]).toEqual([200, 204])
  expect(await stepsOf(job)).toEqual([[1, 'ab', 'completed', 'success']])
})
