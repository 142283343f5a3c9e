import { requestToken } from '../../src/runner/oauth.ts'
import { createHttp } from '../../src/runner/http.ts'
import { newKey } from '../../src/runner/key.ts'
import { registerRunner, type RegistrationOptions, type RunnerConfig } from '../../src/runner/registration.ts'
import type { TestServer } from './start-server.ts'

const key = newKey()

export interface JobMessageBody {
  plan: { planId: string }
  jobId: string
  jobDisplayName: string
  timeline: { id: string }
  resources: { endpoints: { url: string; authorization: { parameters: { AccessToken: string } }; data: Record<string, string> }[] }
  variables: Record<string, { value: string; isSecret?: boolean }>
  steps: { id: string }[]
}

/** One runner, call by call, as a test wants them: nothing is repeated and nothing happens by itself. */
export interface WireRunner {
  config: RunnerConfig
  id: number
  token: string
  session(): Promise<Response>
  /** Opens a session and keeps its id for the polls. */
  connect(): Promise<void>
  disconnect(): Promise<Response>
  /** A poll; `undefined` for "nothing". Cancelled by `signal`. */
  poll(status?: 'Online' | 'Busy', signal?: AbortSignal): Promise<{ messageType: string; body: Record<string, string> } | undefined>
  pollRaw(status?: 'Online' | 'Busy', signal?: AbortSignal): Promise<Response>
  acquire(requestId: string): Promise<Response>
  renew(message: JobMessageBody): Promise<Response>
  complete(message: JobMessageBody, conclusion?: string, extra?: object): Promise<Response>
  /** Polls, acquires and renews: the job is running. */
  takeJob(): Promise<JobMessageBody>
  /** Any call with the job's token. */
  jobCall(message: JobMessageBody, path: string, body: unknown): Promise<Response>
}

/** Registers a runner by the calls of `config.sh`. `at` is what `--url` names below the server: `acme`, `acme/rocket`, `enterprises/fleetfoot`. */
export async function wireRunner(
  server: Pick<TestServer, 'url' | 'registrationToken'>,
  at: string,
  options: Partial<RegistrationOptions> = {},
): Promise<WireRunner> {
  const scope = at.startsWith('enterprises/') ? `/${at}` : at.includes('/') ? `/repos/${at}` : `/orgs/${at}`
  const http = createHttp()
  const config = await registerRunner({
    url: `${server.url}/${at}`,
    token: await server.registrationToken(scope),
    name: `runner-${Math.random().toString(36).slice(2)}`,
    key: await key,
    http,
    ...options,
  })
  const token = await requestToken(http, config)
  let sessionId = ''
  const call = (method: string, url: string, bearer: string, body?: unknown, signal?: AbortSignal) =>
    fetch(url, {
      method,
      headers: { Authorization: `Bearer ${bearer}`, ...(body !== undefined && { 'Content-Type': 'application/json' }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(signal && { signal }),
    })
  const jobToken = (message: JobMessageBody) => message.resources.endpoints[0]?.authorization.parameters.AccessToken ?? ''
  const ids = (message: JobMessageBody) => ({ planId: message.plan.planId, jobId: message.jobId })

  const runner: WireRunner = {
    config,
    id: config.agentId,
    token,
    session: () => call('POST', `${config.serverUrl}session`, token, { sessionId: '', ownerName: 'test', agent: { version: '2.336.0' } }),
    async connect() {
      const opened = await runner.session()
      if (opened.status !== 200) throw new Error(`session: ${opened.status}`)
      sessionId = ((await opened.json()) as { sessionId: string }).sessionId
    },
    disconnect: () => call('DELETE', `${config.serverUrl}session`, token),
    pollRaw: (status = 'Online', signal) =>
      call(
        'GET',
        `${config.serverUrl}message?sessionId=${sessionId}&status=${status}&runnerVersion=2.336.0&os=Linux`,
        token,
        undefined,
        signal,
      ),
    async poll(status = 'Online', signal) {
      const answer = await runner.pollRaw(status, signal)
      if (answer.status === 202) return undefined
      if (answer.status !== 200) throw new Error(`poll: ${answer.status} ${await answer.text()}`)
      const { messageType, body } = (await answer.json()) as { messageType: string; body: string }
      return { messageType, body: JSON.parse(body) as Record<string, string> }
    },
    acquire: (requestId) => call('POST', `${server.url}/_run/acquirejob`, token, { jobMessageId: requestId, runnerOS: 'Linux' }),
    renew: (message) => call('POST', `${server.url}/_run/renewjob`, jobToken(message), ids(message)),
    complete: (message, conclusion = 'succeeded', extra = { stepResults: [] }) =>
      call('POST', `${server.url}/_run/completejob`, jobToken(message), {
        ...ids(message),
        conclusion,
        outputs: {},
        annotations: [],
        ...extra,
      }),
    async takeJob() {
      const message = await runner.poll()
      const acquired = await runner.acquire(message?.body['runner_request_id'] ?? '')
      if (acquired.status !== 200) throw new Error(`acquire: ${acquired.status} ${await acquired.text()}`)
      const job = (await acquired.json()) as JobMessageBody
      const renewed = await runner.renew(job)
      if (renewed.status !== 200) throw new Error(`renew: ${renewed.status}`)
      return job
    },
    jobCall: (message, path, body) => call('POST', server.url + path, jobToken(message), body),
  }
  return runner
}
