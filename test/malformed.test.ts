import { sign } from 'node:crypto'
import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { clientAssertion } from '../src/runner/oauth.ts'
import { privateKeyOf } from '../src/runner/key.ts'
import { actionsClient } from './support/actions-client.ts'
import { BAD_BODIES, BAD_SEGMENTS, BAD_VALUES, picker, spoiltDeep, type Pick } from './support/malformed.ts'
import { queueRun, oneJob } from './support/queue.ts'
import { startServer, type TestServer } from './support/start-server.ts'
import { wireRunner, type JobMessageBody, type WireRunner } from './support/wire-runner.ts'

/*
 * A thousand malformed requests: most are right but for one place and carry good credentials, the rest are noise on the socket. None may be
 * answered with a 5xx or change anything; afterwards every list reads as before and a job runs.
 */

const REQUESTS = 1000

interface Template {
  method: string
  path: string
  authorization?: string
  body?: Record<string, unknown> | string | Buffer
  contentType?: string
  headers?: Record<string, string>
  /** Signs this claim set as the runner would: a claim is then a place to spoil, and the signature stays good. */
  assertion?: { credentials: WireRunner['config']; claims: Record<string, unknown> }
}

const BAD_HEADERS: Record<string, string>[] = [
  { Accept: 'text/html' },
  { 'X-GitHub-Api-Version': 'yesterday' },
  { 'Content-Type': '/;;;=' },
  { 'If-None-Match': '"'.repeat(3000) },
  { Authorization: 'Basic ====' },
  { Authorization: 'Bearer a.b.c' },
  { Authorization: 'token ' },
  { Authorization: `token ${'x'.repeat(5000)}` },
  { Authorization: 'RemoteAuth x' },
  { Authorization: 'Negotiate abc' },
  { 'Last-Event-ID': '-5' },
  { Range: 'bytes=9-1' },
  { 'Content-Encoding': 'gzip' },
  { Host: 'a b c' },
]

test('a thousand malformed requests: no 5xx, nothing changed, a job runs afterwards', async () => {
  await using server = await startServer({ times: { pollHeld: 50 }, background: true })
  await server.organization('acme')
  const repository = await server.repository('acme', 'rocket')
  const runner = await wireRunner(server, 'acme')
  await runner.connect()
  await queueRun(server, repository, oneJob())
  const done = await runner.takeJob()
  await runner.complete(done)
  await queueRun(server, repository, oneJob())
  const job = await runner.takeJob()
  await server.organization('elsewhere')
  const pushed = await server.repository('elsewhere', 'pushed')
  const head = await server.push(server.adminToken, pushed, { 'README.md': 'pushed to by the test' })
  const templates = [...templatesOf(server, runner, job), ...(await finerTemplates(server, runner, { job, done, head }))]
  const before = await state(server, pushed.id)
  const pick = picker(20_261_124)

  const failures: string[] = []
  const statuses = new Map<number, number>()
  let spoiltInOnePlace = 0
  const requests = Array.from({ length: REQUESTS }, (_, index) => {
    const template = pick(templates)
    if (index % 5 === 4) return { template, spoil: 'noise' as const }
    spoiltInOnePlace++
    return { template, spoil: pick(placesOf(template)) }
  })
  for (const { template, spoil } of requests) {
    const request = spoilt(template, spoil, pick)
    const status = await send(server, request)
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
    if (status >= 500)
      failures.push(
        `${status} ${request.method} ${request.path} ${String(isFields(request.body) ? JSON.stringify(request.body) : request.body).slice(0, 300)} (${spoil})`,
      )
  }

  expect(failures).toEqual([])
  expect(spoiltInOnePlace).toBeGreaterThan(REQUESTS / 2)
  // A spoilt place that is not looked at, as an unknown query, leaves a good request: most are refused.
  const refused = [...statuses].filter(([status]) => status >= 400).reduce((sum, [, count]) => sum + count, 0)
  expect(refused).toBeGreaterThan(REQUESTS / 2)
  expect(await state(server, pushed.id)).toEqual(before)

  expect((await runner.renew(job)).status).toBe(200)
  expect((await runner.complete(job)).status).toBe(204)
  await queueRun(server, repository, oneJob())
  const next = await runner.takeJob()
  await runner.complete(next)
  const runs = await actionsClient(server.admin, 'acme/rocket').runs()
  expect(runs.map(({ conclusion }) => conclusion)).toEqual(['success', 'success', 'success'])
}, 120_000)

test('reports and ends of a running job, spoilt at any depth: refused and the job runs on, or taken and it is over', async () => {
  await using server = await startServer({ times: { pollHeld: 50 } })
  await server.organization('acme')
  const repository = await server.repository('acme', 'rocket')
  const runner = await wireRunner(server, 'acme')
  await runner.connect()
  const pick = picker(1124)

  const statuses = new Set<number>()
  for (let jobs = 0; jobs < 60; jobs++) {
    await queueRun(server, repository, oneJob())
    const job = await runner.takeJob()
    for (let ended = false; !ended;) {
      const update = { ...updateOf(job), change_order: Date.now() }
      const updated = await runner.jobCall(job, UPDATE_STEPS, spoiltDeep(update, pick))
      const completed = await runner.jobCall(job, '/_run/completejob', spoiltDeep(completionOf(job), pick))
      for (const { status } of [updated, completed]) statuses.add(status)
      ended = completed.status === 204
      if (!ended) expect((await runner.renew(job)).status).toBe(200)
    }
    expect((await server.admin('GET', `/repos/acme/rocket/actions/jobs/${jobs + 1}`)).status).toBe(200)
    expect((await server.admin('GET', `/repos/acme/rocket/check-runs/${jobs + 1}/annotations`)).status).toBe(200)
  }

  expect([...statuses].toSorted((a, b) => a - b)).toEqual([200, 204, 400, 403, 422])
  const runs = await actionsClient(server.admin, 'acme/rocket').runs()
  expect(runs.every(({ status }) => status === 'completed')).toBe(true)
}, 120_000)

const UPDATE_STEPS = '/twirp/github.actions.results.api.v1.WorkflowStepUpdateService/WorkflowStepsUpdate'

/** What the runner says of one step in mid-job. */
function updateOf(job: JobMessageBody) {
  return {
    workflow_run_backend_id: job.plan.planId,
    workflow_job_run_backend_id: job.jobId,
    change_order: 1,
    steps: [
      {
        external_id: job.steps[0]?.id,
        number: 1,
        name: 'Run',
        status: 3,
        started_at: '2026-01-01T00:00:00.000Z',
        completed_at: '2026-01-01T00:00:01.000Z',
        conclusion: 2,
      },
    ],
  }
}

/** The end of a job as the runner reports it. */
function completionOf(job: JobMessageBody) {
  return {
    planId: job.plan.planId,
    jobId: job.jobId,
    conclusion: 'failed',
    outputs: { a: { value: 'b', isSecret: false } },
    stepResults: [
      {
        external_id: job.steps[0]?.id,
        number: 1,
        name: 'Run',
        status: 'completed',
        conclusion: 'failed',
        started_at: '2026-01-01T00:00:00Z',
        completed_at: '2026-01-01T00:00:01Z',
        annotations: [
          {
            level: 'warning',
            message: 'm',
            title: 't',
            path: 'a.ts',
            startLine: 1,
            endLine: 2,
            startColumn: 1,
            endColumn: 1,
            stepNumber: 1,
          },
        ],
      },
    ],
    annotations: [{ level: 'failure', message: 'm', path: 'a.ts', startLine: 1, endLine: 2, startColumn: 1, endColumn: 1 }],
    environmentUrl: 'https://example.com',
    billingOwnerId: '1',
  }
}

/** Where a request of this kind can be spoilt; what is its own counts more than the path and the headers that all have. */
function placesOf({ path, body, assertion }: Template): string[] {
  const own = assertion
    ? ['claim', 'claim', 'claim', 'claim', 'bytes']
    : Buffer.isBuffer(body)
      ? ['bytes', 'bytes', 'bytes']
      : typeof body === 'object'
        ? ['field', 'field', 'field', 'body', 'type']
        : body
          ? ['body', 'bytes']
          : []
  return ['segment', 'query', 'header', ...(path.includes('?') ? ['parameter'] : []), ...own]
}

/** Good requests that change nothing of what is compared: reads, refusals by state, repeats. */
function templatesOf(server: TestServer, runner: WireRunner, job: JobMessageBody): Template[] {
  const admin = `token ${server.adminToken}`
  const bearer = `Bearer ${runner.token}`
  const jobToken = `Bearer ${job.resources.endpoints[0]?.authorization.parameters.AccessToken}`
  const ids = { workflow_run_backend_id: job.plan.planId, workflow_job_run_backend_id: job.jobId }
  const step = { ...ids, step_backend_id: job.steps[0]?.id }
  const reads = [
    '/api/v3/orgs/acme/actions/runners',
    `/api/v3/orgs/acme/actions/runners/${runner.id}`,
    '/api/v3/orgs/acme/actions/runners/downloads',
    '/api/v3/orgs/acme/actions/runner-groups/1',
    '/api/v3/enterprises/fleetfoot/actions/runners',
    '/api/v3/repos/acme/rocket/actions/runners',
    '/api/v3/repos/acme/rocket/actions/runs',
    '/api/v3/repos/acme/rocket/actions/runs/1',
    '/api/v3/repos/acme/rocket/actions/runs/1/jobs',
    '/api/v3/repos/acme/rocket/actions/jobs/1',
    '/api/v3/repos/acme/rocket/actions/jobs/1/logs',
    '/api/v3/repos/acme/rocket/check-runs/1/annotations',
    '/api/v3/repos/acme/rocket/actions/workflows/1',
    '/api/v3/repos/acme/rocket/actions/workflows/ci.yml/runs',
    '/api/v3/repos/acme/rocket',
    '/api/v3/repos/acme/rocket/contents/README.md',
    '/api/v3/repos/acme/rocket/branches/main',
    '/api/v3/repos/acme/rocket/commits/main',
    '/api/v3/repos/acme/rocket/tarball/main',
    '/api/v3/users/admin',
    '/api/v3/orgs/acme/members',
    '/acme/rocket/info/refs?service=git-upload-pack',
    '/_packages/actions-runner-linux-x64-2.336.0.tar.gz',
    '/_blobs/jobs/1-log?sp=r&se=99999999999&sig=x',
  ].map((path): Template => ({ method: 'GET', path, authorization: admin }))
  const assertion = {
    method: 'POST',
    path: '/_oauth/token',
    contentType: 'application/x-www-form-urlencoded',
    body: 'grant_type=client_credentials&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion=a.b.c',
  }
  return [
    ...reads,
    assertion,
    // Refused for what they are about, after everything else of them was found good.
    {
      method: 'POST',
      path: '/api/v3/orgs/acme/actions/runners/generate-jitconfig',
      authorization: admin,
      body: { name: runner.config.agentName, runner_group_id: 999_999, labels: ['x'], work_folder: '_work' },
    },
    {
      method: 'POST',
      path: '/api/v3/repos/acme/rocket/actions/workflows/ci.yml/dispatches',
      authorization: admin,
      body: { ref: 'absent', inputs: { a: 'b' } },
    },
    { method: 'POST', path: '/api/v3/admin/users', authorization: admin, body: { login: 'admin', email: 'a@example.com' } },
    { method: 'POST', path: '/api/v3/admin/organizations', authorization: admin, body: { login: 'acme', admin: 'admin' } },
    { method: 'POST', path: '/api/v3/orgs/acme/repos', authorization: admin, body: { name: 'rocket', private: true } },
    { method: 'PUT', path: '/api/v3/orgs/acme/memberships/nobody-there', authorization: admin, body: { role: 'member' } },
    {
      method: 'POST',
      path: '/api/v3/actions/runner-registration',
      authorization: 'RemoteAuth absent',
      body: { url: `${server.url}/acme`, runner_event: 'register' },
    },
    {
      method: 'POST',
      path: '/acme/_broker/session',
      authorization: bearer,
      body: { sessionId: 'x', ownerName: 'x', agent: { version: '2.336.0' } },
    },
    { method: 'GET', path: '/acme/_broker/message?sessionId=x&status=Busy', authorization: bearer },
    { method: 'POST', path: '/acme/_broker/acknowledge', authorization: bearer, body: { runnerRequestId: 'x' } },
    { method: 'POST', path: '/_run/acquirejob', authorization: bearer, body: { jobMessageId: 'absent', runnerOS: 'Linux' } },
    { method: 'POST', path: '/_run/renewjob', authorization: jobToken, body: { planId: job.plan.planId, jobId: job.jobId } },
    {
      method: 'POST',
      path: UPDATE_STEPS,
      authorization: jobToken,
      body: { ...ids, change_order: 0, steps: [] },
    },
    { method: 'POST', path: '/twirp/results.services.receiver.Receiver/GetStepLogsSignedBlobURL', authorization: jobToken, body: step },
    { method: 'POST', path: '/twirp/results.services.receiver.Receiver/GetStepSummarySignedBlobURL', authorization: jobToken, body: step },
    {
      method: 'POST',
      path: '/twirp/results.services.receiver.Receiver/CreateStepLogsMetadata',
      authorization: jobToken,
      body: { ...step, line_count: 5, uploaded_at: '2026-01-01T00:00:00Z' },
    },
    {
      method: 'POST',
      path: `/actions/build/${job.plan.planId}/jobs/${job.jobId}/runnerresolve/actions`,
      authorization: jobToken,
      body: { actions: [{ action: 'acme/absent', version: 'v1', path: '' }] },
    },
    { method: 'PUT', path: '/_blobs/jobs/1-log?sp=rw&se=99999999999&sig=x', body: 'bytes', contentType: 'application/octet-stream' },
    {
      method: 'POST',
      path: '/acme/rocket/git-upload-pack',
      authorization: admin,
      body: '0000',
      contentType: 'application/x-git-upload-pack-request',
    },
    { method: 'POST', path: '/api/graphql', authorization: admin, body: { query: '{viewer{login}}' } },
  ]
}

/**
 * Requests that only good credentials of the exact kind get into: the end of a job, a push, uploads to signed addresses, a client assertion with
 * the runner's own signature. What they change when a spoilt place is not looked at is not compared: the log of a step, the refs of elsewhere/pushed.
 */
async function finerTemplates(
  server: TestServer,
  runner: WireRunner,
  { job, done, head }: { job: JobMessageBody; done: JobMessageBody; head: string },
): Promise<Template[]> {
  const bearer = (message: JobMessageBody) => `Bearer ${message.resources.endpoints[0]?.authorization.parameters.AccessToken}`
  // Appended to by blocks, and put whole: an object is one or the other.
  const addressOf = async (kind: 'Logs' | 'Summary') => {
    const answer = await runner.jobCall(job, `/twirp/results.services.receiver.Receiver/GetStep${kind}SignedBlobURL`, {
      workflow_run_backend_id: job.plan.planId,
      workflow_job_run_backend_id: job.jobId,
      step_backend_id: job.steps[0]?.id,
    })
    const { logs_url, summary_url } = (await answer.json()) as Record<string, string>
    const { pathname, search } = new URL(logs_url ?? summary_url ?? '')
    return pathname + search
  }
  const put = (path: string, blob: 'AppendBlob' | 'BlockBlob', body: string): Template => ({
    method: 'PUT',
    path,
    body: Buffer.from(body),
    contentType: 'application/octet-stream',
    headers: { 'x-ms-blob-type': blob, 'x-ms-version': '2023-11-03', 'x-ms-client-request-id': 'x' },
  })
  const log = await addressOf('Logs')
  const summary = await addressOf('Summary')
  const claims = JSON.parse(
    Buffer.from((await clientAssertion(runner.config, Date.now())).split('.')[1] ?? '', 'base64url').toString(),
  ) as Record<string, unknown>
  // Refused by git for its old value, after the hooks and the pack were found good.
  const command = `${head} ${head.replaceAll(/[0-9a-f]/g, '1')} refs/heads/absent\0report-status side-band-64k agent=git/2.39.5`
  const line = (text: string) => (text.length + 4).toString(16).padStart(4, '0') + text
  return [
    // The running job is completed in another's name; the finished one a second time.
    ...[{ ...completionOf(job), jobId: done.jobId }, completionOf(done), completionOf(done)].map((body, index): Template => ({
      method: 'POST',
      path: '/_run/completejob',
      authorization: bearer(index === 0 ? job : done),
      body,
    })),
    {
      method: 'POST',
      path: '/elsewhere/pushed/git-receive-pack',
      authorization: `token ${server.adminToken}`,
      body: Buffer.from(`${line(command)}0000PACK\0\0\0\x02\0\0\0\0`, 'latin1'),
      contentType: 'application/x-git-receive-pack-request',
    },
    put(log, 'AppendBlob', ''),
    put(`${log}&comp=appendblock`, 'AppendBlob', 'a line\n'),
    put(summary, 'BlockBlob', '# A summary\n'),
    {
      method: 'POST',
      path: '/_oauth/token',
      contentType: 'application/x-www-form-urlencoded',
      assertion: { credentials: runner.config, claims },
    },
    {
      method: 'POST',
      path: '/_oauth/token',
      contentType: 'application/x-www-form-urlencoded',
      assertion: { credentials: runner.config, claims },
    },
  ]
}

/** The form of a token request around claims that the runner's key signed. */
function signedForm({ credentials, claims }: NonNullable<Template['assertion']>): string {
  const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const text = `${part({ typ: 'JWT', alg: 'RS256' })}.${part(claims)}`
  const signature = sign('sha256', Buffer.from(text), privateKeyOf(credentials.key)).toString('base64url')
  return new URLSearchParams({
    grant_type: 'client_credentials',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: `${text}.${signature}`,
  }).toString()
}

interface SentRequest extends Template {
  headers: Record<string, string>
}

function spoilt(template: Template, place: string, pick: Pick): SentRequest {
  const request: SentRequest = {
    ...template,
    headers: { ...template.headers },
    ...(template.assertion && { body: signedForm(template.assertion) }),
  }
  if (place === 'segment') {
    const [path = '', query] = template.path.split('?')
    const segments = path.split('/')
    const from = path.startsWith('/api/v3') ? 3 : 1
    const at = from + Math.floor((segments.length - from) * 0.999 * pick([0.1, 0.4, 0.7, 1]))
    segments[Math.min(at, segments.length - 1)] = pick(BAD_SEGMENTS)
    request.path = segments.join('/') + (query === undefined ? '' : `?${query}`)
  } else if (place === 'query') {
    const value = pick(BAD_SEGMENTS)
    request.path += `${template.path.includes('?') ? '&' : '?'}${pick(['per_page', 'page', 'name', 'status', 'created', 'filter', 'sessionId', 'service', 'comp', '__proto__', 'ref'])}=${value}`
  } else if (place === 'parameter') {
    const [path = '', query = ''] = template.path.split('?')
    const parameters = query.split('&')
    const at = Math.floor(parameters.length * 0.999 * pick([0.1, 0.4, 0.7, 1]))
    const name = (parameters[at] ?? '').split('=')[0]
    parameters[at] = pick(['', `${name}=`, `${name}=${pick(BAD_SEGMENTS)}`, `${name}[]=1`])
    request.path = `${path}?${parameters.join('&')}`
  } else if (place === 'claim' && template.assertion) {
    const { credentials, claims } = template.assertion
    const name = pick(Object.keys(claims))
    const kept = { ...claims, jti: String(pick([1, 2, 3, 4, 5, 6, 7, 8])), [name]: pick(BAD_VALUES) }
    request.body = signedForm({ credentials, claims: kept })
  } else if (place === 'bytes') {
    const good = template.assertion ? Buffer.from(signedForm(template.assertion)) : Buffer.from(template.body as string | Buffer)
    const at = Math.floor(good.length * pick([0, 0.02, 0.1, 0.3, 0.5, 0.9, 0.99]))
    request.body = pick([
      good.subarray(0, at),
      Buffer.concat([good.subarray(0, at), Buffer.from([pick([0, 10, 48, 70, 255])]), good.subarray(at + 1)]),
      Buffer.concat([good.subarray(0, at), good]),
      Buffer.concat([good, good]),
    ])
  } else if (place === 'header') request.headers = { ...template.headers, ...pick(BAD_HEADERS) }
  else if (place === 'field' && isFields(template.body)) {
    const key = pick(Object.keys(template.body))
    request.body = { ...template.body, [key]: pick(BAD_VALUES) }
  } else if (place === 'type' && isFields(template.body)) {
    const keys = Object.keys(template.body)
    request.body = Object.fromEntries(Object.entries(template.body).filter(([key]) => key !== pick(keys)))
  } else if (place === 'body') request.body = pick(BAD_BODIES)
  else if (place === 'noise') {
    request.method = pick(['GET', 'POST', 'PUT', 'PATCH', 'DELETE', 'OPTIONS', 'HEAD', 'PROPFIND'])
    // What noise could really delete or cancel is not there.
    request.path = template.path
      .replace(/runners\/\d+/, 'runners/999999')
      .replace(/^\/api\/v3\/repos\/acme\/rocket$/, '/api/v3/repos/acme/absent')
      .replace('/_broker/session', '/_broker/sessions')
    request.body = pick(BAD_BODIES)
  }
  return request
}

function isFields(body: Template['body']): body is Record<string, unknown> {
  return typeof body === 'object' && !Buffer.isBuffer(body)
}

/** On a socket of its own, so that bytes that no client library would send get through; 0 for a closed connection without an answer. */
function send(server: TestServer, { method, path, headers, authorization, contentType, body }: SentRequest): Promise<number> {
  const { hostname, port } = new URL(server.url)
  const text = body === undefined || method === 'GET' ? '' : isFields(body) ? JSON.stringify(body) : body
  const all: Record<string, string> = {
    Host: `${hostname}:${port}`,
    'User-Agent': 'malformed',
    Connection: 'close',
    ...(authorization !== undefined && { Authorization: authorization }),
    ...(text.length > 0 && { 'Content-Type': contentType ?? 'application/json' }),
    'Content-Length': String(Buffer.byteLength(text)),
    ...headers,
  }
  const head = `${method} ${encodeURI(path).replaceAll('%25', '%')} HTTP/1.1\r\n${Object.entries(all)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')}\r\n`
  return new Promise((resolve) => {
    let answer = ''
    const socket = connect(Number(port), hostname, () => socket.write(Buffer.concat([Buffer.from(head), Buffer.from(text)])))
    socket.setTimeout(20_000, () => socket.destroy())
    socket.on('data', (chunk) => {
      answer += chunk.toString('latin1')
      // A stream of events has no end of its own.
      if (answer.includes('text/event-stream')) socket.destroy()
    })
    socket.on('error', () => {})
    socket.on('close', () => resolve(Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0)))
  })
}

/** Everything that clients can list, and how many rows there are of what they cannot. */
async function state(server: TestServer, pushedId: number): Promise<unknown> {
  const lists = [
    '/orgs/acme/actions/runners',
    '/orgs/acme/repos',
    '/orgs/acme/members',
    '/organizations',
    '/repos/acme/rocket/actions/runs',
    '/repos/acme/rocket/actions/workflows',
    '/repos/acme/rocket/actions/runs/1/jobs',
    '/user/repos',
  ]
  const read = await Promise.all(lists.map(async (list) => (await server.admin('GET', list)).json()))
  const { db } = server.deps
  const counts: Record<string, number> = {}
  for (const table of [
    'account',
    'repository',
    'membership',
    'collaborator',
    'token',
    'runner',
    'job',
    'assignment',
    'run',
    'registrationToken',
  ] as const) {
    counts[table] = (
      await db
        .selectFrom(table)
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .executeTakeFirstOrThrow()
    ).count
  }
  const pushes = await db.selectFrom('push').select('id').where('repositoryId', '!=', pushedId).execute()
  return { read, counts, pushes }
}
