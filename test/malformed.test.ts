import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { actionsClient } from './support/actions-client.ts'
import { queueRun, oneJob } from './support/queue.ts'
import { startServer, type TestServer } from './support/start-server.ts'
import { wireRunner, type JobMessageBody, type WireRunner } from './support/wire-runner.ts'

/*
 * A thousand malformed requests: most are right but for one place and carry good credentials, the rest are noise on the socket. None may be
 * answered with a 5xx or change anything; afterwards every list reads as before and a job runs.
 */

const REQUESTS = 1000

/** The same sequence in every run: a failure can be run again. */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return state / 2_147_483_648
  }
}

interface Template {
  method: string
  path: string
  authorization?: string
  body?: Record<string, unknown> | string
  contentType?: string
}

const BAD_SEGMENTS = [
  '%00',
  '..%2f..%2f..%2fetc%2fpasswd',
  '%2e%2e',
  '-1',
  '0',
  '99999999999999999999',
  'NaN',
  '1e3',
  '%ff%fe',
  'x'.repeat(400),
  "';drop table run;--",
  '%0d%0aX: y',
  '\u{1F600}',
  'null',
  '[]',
  '*',
]
const BAD_VALUES: unknown[] = [
  null,
  -1,
  1e300,
  0.5,
  '',
  '\0',
  'x'.repeat(5000),
  [],
  {},
  [[[[]]]],
  { a: { b: {} } },
  true,
  '\uD800',
  [null],
  ['\0'],
  9_007_199_254_740_992,
  '../../etc',
  ['x', 'x'],
  [1, 2],
  { $ne: 1 },
]
const BAD_BODIES = [
  '{',
  '[]',
  '"text"',
  'null',
  '12',
  '{"a":',
  '{"a":1,}',
  '\uFEFF{',
  '{"__proto__":{"x":1}}',
  `${'['.repeat(5000)}${']'.repeat(5000)}`,
  `{"a":${'{"a":'.repeat(3000)}1${'}'.repeat(3000)}}`,
  '{"a":"\\ud800"}',
  '<xml/>',
  'a=b&c=d',
  '{"a":1e999}',
]
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
  const job = await runner.takeJob()
  const templates = templatesOf(server, runner, job)
  const before = await state(server)
  const draw = random(20_261_124)
  const pick = <T>(items: readonly T[]): T => items[Math.floor(draw() * items.length)] as T

  const failures: string[] = []
  const statuses = new Map<number, number>()
  let spoiltInOnePlace = 0
  const requests = Array.from({ length: REQUESTS }, (_, index) => {
    const template = pick(templates)
    if (index % 5 === 4) return { template, spoil: 'noise' as const }
    spoiltInOnePlace++
    const places = [
      'segment',
      'query',
      'header',
      ...(typeof template.body === 'object' ? ['field', 'field', 'field', 'body', 'type'] : template.body ? ['body'] : []),
    ]
    return { template, spoil: pick(places) }
  })
  for (const { template, spoil } of requests) {
    const request = spoilt(template, spoil, pick)
    const status = await send(server, request)
    statuses.set(status, (statuses.get(status) ?? 0) + 1)
    if (status >= 500)
      failures.push(`${status} ${request.method} ${request.path} ${JSON.stringify(request.body)?.slice(0, 200)} (${spoil})`)
  }

  expect(failures).toEqual([])
  expect(spoiltInOnePlace).toBeGreaterThan(REQUESTS / 2)
  // A spoilt place that is not looked at, as an unknown query, leaves a good request: most are refused.
  const refused = [...statuses].filter(([status]) => status >= 400).reduce((sum, [, count]) => sum + count, 0)
  expect(refused).toBeGreaterThan(REQUESTS / 2)
  expect(await state(server)).toEqual(before)

  expect((await runner.renew(job)).status).toBe(200)
  expect((await runner.complete(job)).status).toBe(204)
  await queueRun(server, repository, oneJob())
  const next = await runner.takeJob()
  await runner.complete(next)
  const runs = await actionsClient(server.admin, 'acme/rocket').runs()
  expect(runs.map(({ conclusion }) => conclusion)).toEqual(['success', 'success'])
}, 120_000)

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
      body: { name: runner.config.agentName, runner_group_id: 1, labels: ['x'], work_folder: '_work' },
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
      path: '/twirp/github.actions.results.api.v1.WorkflowStepUpdateService/WorkflowStepsUpdate',
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

interface SentRequest extends Template {
  headers: Record<string, string>
}

function spoilt(template: Template, place: string, pick: <T>(items: readonly T[]) => T): SentRequest {
  const request: SentRequest = { ...template, headers: {} }
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
  } else if (place === 'header') request.headers = pick(BAD_HEADERS)
  else if (place === 'field' && typeof template.body === 'object') {
    const key = pick(Object.keys(template.body))
    request.body = { ...template.body, [key]: pick(BAD_VALUES) }
  } else if (place === 'type' && typeof template.body === 'object') {
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

/** On a socket of its own, so that bytes that no client library would send get through; 0 for a closed connection without an answer. */
function send(server: TestServer, { method, path, headers, authorization, contentType, body }: SentRequest): Promise<number> {
  const { hostname, port } = new URL(server.url)
  const text = body === undefined || method === 'GET' ? '' : typeof body === 'string' ? body : JSON.stringify(body)
  const all: Record<string, string> = {
    Host: `${hostname}:${port}`,
    'User-Agent': 'malformed',
    Connection: 'close',
    ...(authorization !== undefined && { Authorization: authorization }),
    ...(text !== '' && { 'Content-Type': contentType ?? 'application/json' }),
    'Content-Length': String(Buffer.byteLength(text)),
    ...headers,
  }
  const head = `${method} ${encodeURI(path).replaceAll('%25', '%')} HTTP/1.1\r\n${Object.entries(all)
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join('')}\r\n`
  return new Promise((resolve) => {
    let answer = ''
    const socket = connect(Number(port), hostname, () => socket.write(head + text))
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
async function state(server: TestServer): Promise<unknown> {
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
    'push',
    'registrationToken',
  ] as const) {
    counts[table] = (
      await db
        .selectFrom(table)
        .select((eb) => eb.fn.countAll<number>().as('count'))
        .executeTakeFirstOrThrow()
    ).count
  }
  return { read, counts }
}
