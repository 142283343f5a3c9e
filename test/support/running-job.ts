import type { Repository } from '../../src/model/account.ts'
import { queueRun, oneJob } from './queue.ts'
import type { TestServer } from './start-server.ts'
import { wireRunner, type JobMessageBody, type WireRunner } from './wire-runner.ts'

/** A job in the hands of a runner that a test moves call by call. */
export interface RunningJob {
  server: TestServer
  repository: Repository
  runner: WireRunner
  message: JobMessageBody
  /** The job's number in the REST API. */
  id: number
  runId: number
  token: string
  /** The ids that every call of the results service names. */
  ids: { workflow_run_backend_id: string; workflow_job_run_backend_id: string }
  /** Calls the results receiver, or with a leading `/` any path, with the job's token. */
  results(call: string, body?: object): Promise<Response>
  /** The address to upload a step's log to, or the job's. */
  logUrl(stepId?: string): Promise<string>
  /** The address to upload a step's summary to. */
  summaryUrl(stepId: string): Promise<string>
  /** Says that a log is whole. */
  logDone(stepId: string | undefined, lineCount: number): Promise<Response>
  updateSteps(
    changeOrder: number,
    steps: { external_id: string; number: number; name: string; status?: number; conclusion?: number }[],
  ): Promise<Response>
  /** The log as whoever downloads it reads it. */
  log(): Promise<string>
}

const RECEIVER = '/twirp/results.services.receiver.Receiver/'

/** Queues a run of one job in acme/rocket, and has a runner take it. Call it again on the same server for one more. */
export async function runningJob(server: TestServer, text = oneJob()): Promise<RunningJob> {
  if (!(await server.admin('GET', '/orgs/acme').then(({ status }) => status === 200))) await server.organization('acme')
  const name = `rocket-${Math.random().toString(36).slice(2, 8)}`
  const repository = await server.repository('acme', name)
  const run = await queueRun(server, repository, text)
  const runner = await wireRunner(server, `acme/${name}`)
  await runner.connect()
  const message = await runner.takeJob()
  const listed = (await (await server.admin('GET', `/repos/acme/${name}/actions/runs/${run.id}/jobs`)).json()) as {
    jobs: { id: number; status: string }[]
  }
  const id = listed.jobs.find(({ status }) => status === 'in_progress')?.id ?? 0
  const ids = { workflow_run_backend_id: message.plan.planId, workflow_job_run_backend_id: message.jobId }
  const job: RunningJob = {
    server,
    repository,
    runner,
    message,
    id,
    runId: run.id,
    token: message.resources.endpoints[0]?.authorization.parameters.AccessToken ?? '',
    ids,
    results: (call, body = {}) => runner.jobCall(message, call.startsWith('/') ? call : RECEIVER + call, { ...ids, ...body }),
    async logUrl(stepId) {
      const answer =
        stepId === undefined
          ? await job.results('GetJobLogsSignedBlobURL')
          : await job.results('GetStepLogsSignedBlobURL', { step_backend_id: stepId })
      if (answer.status !== 200) throw new Error(`no address: ${answer.status} ${await answer.text()}`)
      return ((await answer.json()) as { logs_url: string }).logs_url
    },
    async summaryUrl(stepId) {
      const answer = await job.results('GetStepSummarySignedBlobURL', { step_backend_id: stepId })
      return ((await answer.json()) as { summary_url: string }).summary_url
    },
    logDone: (stepId, lineCount) =>
      stepId === undefined
        ? job.results('CreateJobLogsMetadata', { line_count: lineCount, uploaded_at: new Date().toISOString() })
        : job.results('CreateStepLogsMetadata', { step_backend_id: stepId, line_count: lineCount, uploaded_at: new Date().toISOString() }),
    updateSteps: (changeOrder, steps) =>
      job.results('/twirp/github.actions.results.api.v1.WorkflowStepUpdateService/WorkflowStepsUpdate', {
        change_order: changeOrder,
        steps: steps.map((step) => ({ status: 3, conclusion: 0, started_at: null, completed_at: null, ...step })),
      }),
    async log() {
      const redirect = await server.admin('GET', `/repos/acme/${name}/actions/jobs/${id}/logs`)
      if (redirect.status !== 302) throw new Error(`no log: ${redirect.status}`)
      return (await fetch(redirect.headers.get('location') ?? '')).text()
    },
  }
  return job
}

/** Lines as the runner writes them into its logs. */
export function stamped(lines: string[]): string {
  return lines.map((line) => `2026-07-21T10:00:01.1234567Z ${line}\n`).join('')
}

/** The mark that each block of the runner's logs begins with. */
export const MARK = '\uFEFF'

export interface PutOptions {
  headers?: Record<string, string>
  /** Added to the address, as the runner does: `comp=seal`. */
  query?: string
  body?: string | Buffer
}

/** One PUT to a signed address. */
export function put(url: string, { headers = {}, query, body }: PutOptions = {}): Promise<Response> {
  const address = query === undefined ? url : `${url}&${query}`
  return fetch(address, { method: 'PUT', headers, body: body === undefined ? '' : typeof body === 'string' ? body : new Uint8Array(body) })
}

const SDK = { 'x-ms-version': '2023-01-03', Accept: 'application/xml', 'x-ms-return-client-request-id': 'true' }
const clientId = () => ({ 'x-ms-client-request-id': crypto.randomUUID() })

/** The calls of Azure's SDK that the runner makes, with the headers that were seen. */
export const sdk = {
  put: (url: string, body: string | Buffer) =>
    put(url, {
      headers: {
        ...SDK,
        ...clientId(),
        'x-ms-blob-type': 'BlockBlob',
        'x-ms-blob-content-type': 'text/plain',
        'If-None-Match': '*',
        'Content-Type': 'application/octet-stream',
      },
      body,
    }),
  create: (url: string) =>
    put(url, {
      headers: { ...SDK, ...clientId(), 'x-ms-blob-type': 'AppendBlob', 'x-ms-blob-content-type': 'text/plain', 'If-None-Match': '*' },
    }),
  append: (url: string, body: string | Buffer, requestId: string = crypto.randomUUID()) =>
    put(url, {
      query: 'comp=appendblock',
      headers: { ...SDK, 'x-ms-client-request-id': requestId, 'Content-Type': 'application/octet-stream' },
      body,
    }),
  seal: (url: string) => put(url, { query: 'comp=seal', headers: { ...SDK, ...clientId() } }),
}
