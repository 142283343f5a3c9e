import { copyFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:https'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { connect } from 'node:tls'
import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { makeCertificate } from '../support/certificate.ts'
import { eventually } from '../support/eventually.ts'
import { makeGitClient } from '../support/git-client.ts'
import { queueRun, oneJob } from '../support/queue.ts'
import { freePort, startServer } from '../support/start-server.ts'
import { makeJobToken } from '../../src/core/jobs/job-tokens.ts'
import { chunksAfter } from '../../src/store/logs.ts'
import { assignmentInsert, claimHeads, jobById, jobClaim, jobUpdate } from '../../src/store/jobs.ts'

test('with a certificate everything is https: REST, git and the live feed; one that is renewed on disk counts for new connections', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-tls-'))
  using _folder = { [Symbol.dispose]: () => rmSync(folder, { recursive: true }) }
  const first = makeCertificate(folder, 'first')
  const [certFile, keyFile] = [path.join(folder, 'cert.pem'), path.join(folder, 'key.pem')]
  copyFileSync(first.cert, certFile)
  copyFileSync(first.key, keyFile)
  const port = await freePort()
  const url = `https://localhost:${port}`
  await using server = await startServer({ config: { tls: { certFile, keyFile }, url, listen: [{ host: '127.0.0.1', port }] } })
  await server.organization('acme')
  const repository = await server.repository('acme', 'rocket')
  const ca = readFileSync(first.cert)

  const rest = await get(`${url}/api/v3/repos/acme/rocket`, ca, server.adminToken)
  expect(rest).toMatchObject({ status: 200, body: { url: `${url}/api/v3/repos/acme/rocket` } })

  using git = makeGitClient()
  await git.git('.', 'init', '--quiet', 'work')
  await git.commit('work', 'change', { 'README.md': 'hello' })
  const remote = `https://x:${server.adminToken}@localhost:${port}/acme/rocket`
  const pushed = await git.run('work', '-c', `http.sslCAInfo=${first.cert}`, 'push', remote, 'HEAD:refs/heads/main')
  expect(pushed).toMatchObject({ code: 0 })

  await queueRun(server, repository, oneJob())
  const job = await get(`${url}/api/v3/repos/acme/rocket/actions/runs`, ca, server.adminToken)
  expect(job.body).toMatchObject({ workflow_runs: [{ url: expect.stringContaining(url) as string }] })
  await feedOver(server, url.replace('https', 'wss'), ca)

  const second = makeCertificate(folder, 'second')
  copyFileSync(second.key, keyFile)
  copyFileSync(second.cert, certFile)
  await eventually(async () => expect(await subjectOf(port)).toBe('second'))
  expect((await get(`${url}/api/v3/user`, readFileSync(second.cert), server.adminToken)).status).toBe(200)
})

function get(url: string, ca: Buffer, token: string): Promise<{ status: number | undefined; body: unknown }> {
  return new Promise((resolve, reject) => {
    const headers = { Authorization: `token ${token}`, 'User-Agent': 'test' }
    const sent = request(url, { ca, headers, agent: false }, (answer) => {
      let text = ''
      answer.on('data', (chunk: Buffer) => (text += chunk.toString()))
      answer.on('end', () => resolve({ status: answer.statusCode, body: JSON.parse(text) }))
    })
    sent.on('error', reject)
    sent.end()
  })
}

/** The name on the certificate that a new connection is shown. */
function subjectOf(port: number): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => {
      const name = socket.getPeerCertificate().subject.CN
      socket.destroy()
      resolve(typeof name === 'string' ? name : undefined)
    })
    socket.on('error', reject)
  })
}

async function feedOver(server: Awaited<ReturnType<typeof startServer>>, base: string, ca: Buffer): Promise<void> {
  const { db, now } = server.deps
  const runner = { scope: { kind: 'enterprise', id: 1 }, group: undefined, labels: new Set(['self-hosted']) } as const
  const heads = (await claimHeads(db, runner)) ?? []
  const columns = { runnerId: 1, runnerName: 'r', runnerGroupId: 1, runnerGroupName: 'Default' }
  const claimed = await db.transaction().execute((tx) => jobClaim(tx, runner, heads, columns))
  const given = claimed === 'stale' ? undefined : claimed?.job
  if (!given) throw new Error('no job')
  const jobGuid = '0f0e0d0c-0000-4000-8000-000000000009'
  const assignment = await assignmentInsert(db, {
    requestId: 'r',
    jobId: given.id,
    runnerId: 1,
    sessionId: 's',
    planId: jobGuid,
    timelineId: jobGuid,
    jobGuid,
    givenAt: now(),
  })
  if (!assignment) throw new Error('no assignment')
  await jobUpdate(db, given.id, ['assigned'], { assignmentId: assignment.id })
  const job = await jobById(db, given.id)
  const run = { id: given.runId, ref: 'refs/heads/main', latestAttempt: 1, repositoryId: given.repositoryId }
  const token = makeJobToken(server.deps, assignment, job ?? given, run as never)
  const ws = new WebSocket(`${base}/_feed/${jobGuid}`, { ca, headers: { Authorization: `Bearer ${token}` } })
  await new Promise((resolve, reject) => ws.once('open', resolve).once('error', reject))
  ws.send(JSON.stringify({ value: ['over TLS'], stepId: jobGuid, startLine: 1, count: 1 }))
  await eventually(async () => expect((await chunksAfter(db, given.id, 0, 1))[0]?.lines).toEqual(['over TLS']))
  ws.terminate()
}
