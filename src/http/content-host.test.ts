import { request } from 'node:http'
import { Readable } from 'node:stream'
import { expect, test } from 'vitest'
import { runningJob, stamped } from '../../test/support/running-job.ts'
import { startServer, type TestServer } from '../../test/support/start-server.ts'
import { addRunnerPackage } from '../core/runners/runner-packages.ts'
import { knownScopes, type Actor } from '../model/access.ts'

const CONTENT = 'http://content.example'
const STEP = '0b9bd5a4-2b8c-4b6a-9a0a-1f0d6d1b7a11'
const admin: Actor = {
  kind: 'user',
  userId: 1,
  login: 'admin',
  siteAdmin: true,
  token: { kind: 'admin', scopes: [...knownScopes], expiresAt: null },
}

interface Asked {
  method?: string
  headers?: Record<string, string>
  body?: string
  host?: string
}

/** Asks our server for an address of any host, as a proxy hands it on. */
function ask(server: TestServer, url: string, { method = 'GET', headers = {}, body, host }: Asked = {}) {
  const { pathname, search, host: own } = new URL(url)
  return new Promise<{ status: number; text: string }>((resolve, reject) => {
    const sent = request(server.url + pathname + search, { method, headers: { ...headers, Host: host ?? own } }, (answer) => {
      let text = ''
      answer.on('data', (chunk: Buffer) => (text += chunk.toString()))
      answer.on('end', () => resolve({ status: answer.statusCode ?? 0, text }))
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

test('all that jobs write and download has its address on the content host, and is served there', async () => {
  await using server = await startServer({ config: { contentUrl: CONTENT } })
  const job = await runningJob(server)
  const action = await server.repository('acme', 'action', 'public')
  await server.push(server.adminToken, action, { 'action.yml': 'name: x\n' })
  const filename = 'actions-runner-linux-x64-2.336.0.tar.gz'
  await addRunnerPackage(server.deps, admin, { filename, body: Readable.from([Buffer.from('package')]) })
  const redirected = async (path: string) => (await server.admin('GET', path)).headers.get('location') ?? ''
  const json = async <T>(answer: Promise<Response>) => (await (await answer).json()) as T

  const logUrl = await job.logUrl()
  const { summary_url: summaryUrl } = await json<{ summary_url: string }>(
    job.results('GetStepSummarySignedBlobURL', { step_backend_id: STEP }),
  )
  const uploaded = await ask(server, logUrl, { method: 'PUT', headers: { 'x-ms-blob-type': 'BlockBlob' }, body: stamped(['hello']) })
  await job.logDone(undefined, 1)
  const { actions } = await json<{ actions: Record<string, { tar_url: string; zip_url: string }> }>(
    job.results(`/actions/build/${job.message.plan.planId}/jobs/${job.message.jobId}/runnerresolve/actions`, {
      actions: [{ action: 'acme/action', version: 'main' }],
    }),
  )
  await job.runner.complete(job.message)
  const runs = `/repos/acme/${job.repository.name}/actions`
  const packages = await json<{ filename: string; download_url: string }[]>(server.admin('GET', `${runs}/runners/downloads`))
  const downloads = [
    await redirected(`${runs}/jobs/${job.id}/logs`),
    await redirected(`${runs}/runs/${job.runId}/logs`),
    await redirected('/repos/acme/action/tarball/main'),
    ...Object.values(actions).flatMap(({ tar_url: tar, zip_url: zip }) => [tar, zip]),
    packages.find((entry) => entry.filename === filename)?.download_url ?? '',
  ]

  expect(uploaded.status).toBe(201)
  expect([logUrl, summaryUrl, ...downloads].map((url) => new URL(url).origin)).toEqual(Array.from({ length: 8 }, () => CONTENT))
  const answers = await Promise.all(downloads.map((url) => ask(server, url)))
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 200])
  expect(answers[0]?.text).toBe(stamped(['hello']))
})

test('the content host has nothing but content; our own address still has it too', async () => {
  await using server = await startServer({ config: { contentUrl: CONTENT } })
  await server.organization('acme')
  const repository = await server.repository('acme', 'rocket', 'public')
  await server.push(server.adminToken, repository, { a: '1' })
  const headers = { Authorization: `token ${server.adminToken}`, 'User-Agent': 'test' }
  const archive = (await server.admin('GET', '/repos/acme/rocket/tarball/main')).headers.get('location') ?? ''

  const paths = [
    '/api/v3/user',
    '/api/v3/repos/acme/rocket',
    '/api/fleetfoot/runner-packages',
    '/acme/rocket/info/refs?service=git-upload-pack',
  ]
  for (const path of [...paths, '/healthz', '/', '/nothing']) {
    for (const host of ['content.example', 'CONTENT.example:80']) {
      expect({ path, status: (await ask(server, CONTENT + path, { headers, host })).status }).toEqual({ path, status: 404 })
    }
  }
  for (const path of paths)
    expect({ path, status: (await ask(server, server.url + path, { headers })).status }).toEqual({ path, status: 200 })
  expect((await ask(server, archive, { host: new URL(server.url).host })).status).toBe(200)
})
