import { spawn, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import { createServer, type AddressInfo } from 'node:net'
import { DatabaseSync } from 'node:sqlite'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { makeRepository, pushFiles } from '../../test/support/actions-client.ts'
import { makeCertificate } from '../../test/support/certificate.ts'
import { eventually } from '../../test/support/eventually.ts'
import { follow } from '../../test/support/live-feed.ts'
import { put, stamped } from '../../test/support/running-job.ts'
import { makeServerProcess } from '../../test/support/server-process.ts'
import { freePort } from '../../test/support/start-server.ts'
import { wireRunner } from '../../test/support/wire-runner.ts'
import { lockSqlite } from '../store/sqlite.ts'

const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-serve-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Starts the server and waits for its end. */
function serve(env: Record<string, string>): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const dataDir = mkdtempSync(path.join(folder, 'data-'))
  return new Promise((resolve) => {
    const child = spawn('bin/fleetfoot', ['serve'], {
      env: { PATH: process.env['PATH'], FLEETFOOT_LISTEN: '127.0.0.1:0', FLEETFOOT_DATA_DIR: dataDir, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: 15_000,
    })
    let [stdout, stderr] = ['', '']
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    child.on('close', (code) => resolve({ code, stdout, stderr }))
  })
}

const key = () => randomBytes(32).toString('base64')

test('a second server on one SQLite database does not start, and says why', async () => {
  const dataDir = mkdtempSync(path.join(folder, 'data-'))
  using _held = lockSqlite(path.join(dataDir, 'fleetfoot.sqlite'), 0)
  const { code, stderr } = await serve({ FLEETFOOT_DATA_DIR: dataDir })
  expect(code).toBe(2)
  expect(stderr).toMatch(/^fleetfoot: .*fleetfoot\.sqlite is in use by another server: stop that one, or use PostgreSQL for several\n$/)
})

describe('a start that cannot go on is one line on standard error, names the variable and exits with 2', () => {
  const file = path.join(folder, 'file')
  writeFileSync(file, '')
  const certificate = makeCertificate(folder, 'one')
  const other = makeCertificate(folder, 'other')

  test.each<[string, Record<string, string>, RegExp]>([
    [
      'an unwritable folder',
      { FLEETFOOT_DATA_DIR: path.join(file, 'data') },
      /FLEETFOOT_DATA_DIR: cannot make .* \(ENOTDIR\): name a writable folder/,
    ],
    ['a folder where none can be made', { FLEETFOOT_DATA_DIR: '/proc/fleetfoot/data' }, /FLEETFOOT_DATA_DIR: cannot make .*\/proc/],
    ['an unwritable repository folder', { FLEETFOOT_REPOS_DIR: path.join(file, 'repos') }, /FLEETFOOT_REPOS_DIR: cannot make/],
    ['a bad address of its own', { FLEETFOOT_URL: 'fleetfoot' }, /FLEETFOOT_URL: 'fleetfoot' is no address/],
    ['an address with a path', { FLEETFOOT_URL: 'https://example.com/fleet' }, /FLEETFOOT_URL: .* must be the root of a host/],
    ['a bad address to listen on', { FLEETFOOT_LISTEN: '127.0.0.1:99999' }, /FLEETFOOT_LISTEN: '127.0.0.1:99999' is no address/],
    ['an address that is not of this machine', { FLEETFOOT_LISTEN: '192.0.2.1:8080' }, /FLEETFOOT_LISTEN: 192\.0\.2\.1:8080/],
    [
      'a place for webhooks that is none',
      { FLEETFOOT_WEBHOOK_ALLOW: 'private,10.0.0.0/99' },
      /FLEETFOOT_WEBHOOK_ALLOW: '10\.0\.0\.0\/99' is no network/,
    ],
    ['no number of retries', { FLEETFOOT_WEBHOOK_RETRIES: '-1' }, /FLEETFOOT_WEBHOOK_RETRIES: '-1' is no whole number from 0 to 20/],
    ['s3://', { FLEETFOOT_BLOBS_URL: 's3://bucket' }, /FLEETFOOT_BLOBS_URL: s3:\/\/ is not offered/],
    ['a certificate without its key', { FLEETFOOT_TLS_CERT: certificate.cert }, /FLEETFOOT_TLS_CERT is set without FLEETFOOT_TLS_KEY/],
    [
      'a certificate that is not there',
      { FLEETFOOT_TLS_CERT: '/nowhere', FLEETFOOT_TLS_KEY: certificate.key },
      /FLEETFOOT_TLS_CERT: there is no file/,
    ],
    [
      'a key of another certificate',
      { FLEETFOOT_TLS_CERT: certificate.cert, FLEETFOOT_TLS_KEY: other.key },
      /FLEETFOOT_TLS_CERT: .* do not go together/,
    ],
    ['a key of another length', { FLEETFOOT_SECRET_KEY: randomBytes(16).toString('base64') }, /FLEETFOOT_SECRET_KEY: must be 32 bytes/],
    ['an unknown variable', { FLEETFOOT_DATADIR: '/x' }, /FLEETFOOT_DATADIR: there is no such variable/],
    [
      'a secret file that is not there',
      { FLEETFOOT_SECRET_KEY_FILE: '/nowhere' },
      /FLEETFOOT_SECRET_KEY_FILE: cannot read \/nowhere \(ENOENT\)/,
    ],
    ['a rate limit that is none', { FLEETFOOT_RATE_LIMIT: 'much' }, /FLEETFOOT_RATE_LIMIT: /],
    ['a database of another kind', { FLEETFOOT_DATABASE_URL: 'mysql://x' }, /FLEETFOOT_DATABASE_URL: only postgres:/],
    ['PostgreSQL without a key', { FLEETFOOT_DATABASE_URL: 'postgres://127.0.0.1:1/x' }, /FLEETFOOT_SECRET_KEY: required with PostgreSQL/],
    [
      'PostgreSQL that refuses',
      { FLEETFOOT_DATABASE_URL: 'postgres://u:hunter2@localhost:1/x', FLEETFOOT_SECRET_KEY: key() },
      /FLEETFOOT_DATABASE_URL: the database cannot be used: connect ECONNREFUSED/,
    ],
    [
      'PostgreSQL on no host',
      { FLEETFOOT_DATABASE_URL: 'postgres://u:hunter2@nowhere.invalid/x', FLEETFOOT_SECRET_KEY: key() },
      /FLEETFOOT_DATABASE_URL: the database cannot be used: getaddrinfo/,
    ],
  ])('%s', async (_name, env, expected) => {
    const { code, stdout, stderr } = await serve(env)

    expect(stderr).toMatch(expected)
    expect(stderr.trimEnd().split('\n')).toHaveLength(1)
    expect(stderr).not.toContain('hunter2')
    expect(stdout).toBe('')
    expect(code).toBe(2)
  })

  test('a port in use', async () => {
    const taken = createServer()
    await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve))
    const { port } = taken.address() as AddressInfo

    const { code, stderr } = await serve({ FLEETFOOT_LISTEN: `127.0.0.1:${port}` })

    taken.close()
    expect(stderr).toBe(`fleetfoot: FLEETFOOT_LISTEN: 127.0.0.1:${port} is in use: stop what listens there or choose another port\n`)
    expect(code).toBe(2)
  })

  test('a file where the database should be', async () => {
    const dataDir = path.join(folder, 'spoilt')
    mkdirSync(dataDir)
    writeFileSync(path.join(dataDir, 'fleetfoot.sqlite'), 'this is no database, it is a text of some length')

    const { code, stderr } = await serve({ FLEETFOOT_DATA_DIR: dataDir })

    expect(stderr).toMatch(/^fleetfoot: FLEETFOOT_DATA_DIR: the database in it cannot be used: file is not a database\n$/)
    expect(code).toBe(2)
  })

  test('a secret key that is not the one of the database', async () => {
    await using server = await makeServerProcess()
    await server.start()
    await server.stop()

    const { code, stderr } = await serve({ FLEETFOOT_DATA_DIR: server.dataDir, FLEETFOOT_SECRET_KEY: key() })

    expect(stderr).toMatch(/^fleetfoot: FLEETFOOT_SECRET_KEY: is not the one that this database was made with[^\n]*\n$/)
    expect(code).toBe(2)
  })
})

test('a server stops when a later version changes the database in a way that it does not know', async () => {
  await using server = await makeServerProcess()
  await server.start()
  const database = new DatabaseSync(path.join(server.dataDir, 'fleetfoot.sqlite'), { timeout: 5000 })
  database.exec(`insert into "migration" values ('9998-harmless', 0, 1)`)
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200)
  database.exec(`insert into "migration" values ('9999-of-tomorrow', 1, 1)`)
  database.close()

  expect(await server.end()).toBe(2)
  expect(server.output()).toContain('the database is of a later version (9999-of-tomorrow)')
  const { stderr } = await serve({ FLEETFOOT_DATA_DIR: server.dataDir })
  expect(stderr).toMatch(/^fleetfoot: the database is of a later version/)
})

test('SIGTERM ends polls with 202, followers and feeds, finishes an upload, and exits with 0 in seconds; a second start goes on', async () => {
  await using server = await makeServerProcess()
  await server.start()
  await makeRepository(server.admin, 'acme', 'rocket')
  const asServer = {
    ...server,
    registrationToken: async (scope: string) =>
      ((await (await server.admin('POST', `${scope}/actions/runners/registration-token`)).json()) as { token: string }).token,
  }
  const [runner, idle] = [await wireRunner(asServer, 'acme/rocket'), await wireRunner(asServer, 'acme/rocket')]
  await pushFiles(server.url, server.adminToken, 'acme/rocket', {
    '.github/workflows/ci.yml': 'on: push\njobs:\n  a: {runs-on: self-hosted, steps: [{run: echo hi}]}\n',
  })
  await runner.connect()
  const message = await runner.takeJob()
  const job = { server, repository: { name: 'rocket' }, id: 1 } as never
  const follower = await follow(job)
  const token = message.resources.endpoints[0]?.authorization.parameters.AccessToken ?? ''
  const feed = new WebSocket(message.resources.endpoints[0]?.data['FeedStreamUrl'] ?? '', { headers: { Authorization: `Bearer ${token}` } })
  const feedClosed = new Promise((resolve) => feed.once('close', resolve))
  await new Promise((resolve) => feed.once('open', resolve))
  feed.on('error', () => {})
  feed.send(JSON.stringify({ value: ['said just before'], stepId: '0f0e0d0c-0000-4000-8000-000000000001', startLine: 1, count: 1 }))
  const ids = { workflow_run_backend_id: message.plan.planId, workflow_job_run_backend_id: message.jobId }
  const { logs_url } = (await (
    await runner.jobCall(message, '/twirp/results.services.receiver.Receiver/GetJobLogsSignedBlobURL', ids)
  ).json()) as { logs_url: string }
  await idle.connect()
  const open = idle.pollRaw()
  const busy = runner.pollRaw('Busy')
  const body = stamped(['uploaded while stopping'])
  let finishUpload = () => {}
  const upload = new Promise<number | undefined>((resolve, reject) => {
    const sent = httpRequest(
      logs_url,
      { method: 'PUT', headers: { 'content-length': String(body.length), 'x-ms-blob-type': 'BlockBlob' } },
      (answer) => {
        answer.resume()
        resolve(answer.statusCode)
      },
    )
    sent.on('error', reject)
    sent.write(body.slice(0, 10))
    finishUpload = () => sent.end(body.slice(10))
  })
  await eventually(async () => expect(await (await fetch(`${server.url}/metrics`)).text()).toContain('fleetfoot_waiting_polls 1'))

  const began = Date.now()
  const stopped = server.stop()
  const polls = await Promise.all([open, busy])
  finishUpload()

  expect(polls.map(({ status }) => status)).toEqual([202, 202])
  expect(await upload).toBe(201)
  await Promise.all([follower.ended, feedClosed])
  expect(await stopped).toBe(0)
  expect(Date.now() - began).toBeLessThan(4000)
  await server.start()
  await runner.jobCall(message, '/twirp/results.services.receiver.Receiver/CreateJobLogsMetadata', { ...ids, line_count: 1 })
  await using again = await follow(job)
  await eventually(() => expect(again.lines()).toEqual(['said just before']))
  await runner.complete(message)
  const redirect = await server.admin('GET', '/repos/acme/rocket/actions/jobs/1/logs')
  expect(await (await fetch(redirect.headers.get('location') ?? '')).text()).toBe(body)
  expect((await put(logs_url, { body: 'x' })).status).toBe(201)
  expect(await server.stop()).toBe(0)
})

test('a runner that asks again at once does not keep the server from stopping', async () => {
  await using server = await makeServerProcess()
  await server.start()
  const over = new AbortController()
  const asking = Array.from({ length: 20 }, async () => {
    while (!over.signal.aborted) await server.admin('GET', '/user').catch(() => over.abort())
  })

  const began = Date.now()
  const code = await server.stop()

  over.abort()
  await Promise.all(asking)
  expect(code).toBe(0)
  expect(Date.now() - began).toBeLessThan(4000)
})

test('a listening socket of systemd is served, and clients that came before the start wait', async () => {
  const port = await freePort()
  const listening = createServer()
  await new Promise<void>((resolve) => listening.listen(port, '127.0.0.1', resolve))
  // The descriptor that the child inherits as its fourth.
  const { fd } = (listening as unknown as { _handle: { fd: number } })['_handle']
  const dataDir = mkdtempSync(path.join(folder, 'activated-'))
  const child: ChildProcess = spawn('/bin/sh', ['-c', 'LISTEN_PID=$$ LISTEN_FDS=1 exec bin/fleetfoot serve'], {
    env: { PATH: process.env['PATH'], FLEETFOOT_DATA_DIR: dataDir, FLEETFOOT_URL: `http://127.0.0.1:${port}` },
    stdio: ['ignore', 'pipe', 'inherit', fd],
  })
  const ended = new Promise<number | null>((resolve) => child.on('close', resolve))

  // Whoever holds the socket does not accept: its own process only listens for the child.
  listening.close()
  const answer = await eventually(() => fetch(`http://127.0.0.1:${port}/readyz`))

  expect(answer.status).toBe(200)
  child.kill('SIGTERM')
  expect(await ended).toBe(0)
})
