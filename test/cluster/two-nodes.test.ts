import { createServer, request as httpRequest, type Server } from 'node:http'
import { randomBytes } from 'node:crypto'
import { connect } from 'node:net'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, test } from 'vitest'
import { createWorker } from '../../src/runner/job.ts'
import { runListener } from '../../src/runner/listener.ts'
import { registerRunner } from '../../src/runner/registration.ts'
import { actionsClient, makeRepository, pushFiles } from '../support/actions-client.ts'
import { makeTestDatabase } from '../support/database.ts'
import { eventually } from '../support/eventually.ts'
import { makeServerProcess, type ServerProcess } from '../support/server-process.ts'
import { freePort } from '../support/start-server.ts'

/*
 * Two servers over one PostgreSQL and one folder, behind one address. The proxy sends to a node whose /readyz is 200, `message` polls to
 * the first and all else to the second while both are, and answers 503 while none is.
 */

const WORKFLOW =
  'on: push\njobs:\n  a:\n    runs-on: self-hosted\n    steps:\n      - run: for i in $(seq 1 80); do echo "line $i"; sleep 0.1; done\n  b:\n    needs: a\n    runs-on: self-hosted\n    steps:\n      - run: echo done\n'

test.each([
  ['the node of the polls', 0],
  ['the node of everything else', 1],
])('%s is killed in the middle of a job: the job ends in success', async (_which, victim) => {
  await using database = await makeTestDatabase()
  if (database.config.kind !== 'postgres') throw new Error('this test needs PostgreSQL')
  const port = await freePort()
  const env = {
    FLEETFOOT_DATABASE_URL: database.config.url,
    FLEETFOOT_SECRET_KEY: randomBytes(32).toString('base64'),
    FLEETFOOT_JOB_SERVER_URL: `http://127.0.0.1:${port}`,
  }
  const url = `http://127.0.0.1:${port}`
  await using first = await makeServerProcess({ env, url })
  await using second = await makeServerProcess({ env, url, beside: first })
  await Promise.all([first.start(), second.start()])
  await using proxy = await startProxy(port, [first, second])
  await makeRepository(second.admin, 'acme', 'rocket')
  const token = ((await (await second.admin('POST', '/orgs/acme/actions/runners/registration-token')).json()) as { token: string }).token
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-runner-'))
  const config = await registerRunner({ url: `${url}/acme`, token, name: 'box', workFolder: folder })
  const stop = new AbortController()
  const ended = runListener(config, { executor: createWorker({ root: folder }), signal: stop.signal })
  await eventually(() => expect(proxy.requests[0]?.some((target) => target.includes('/_broker/message'))).toBe(true))

  const remote = await pushFiles(url, first.adminToken, 'acme/rocket', { '.github/workflows/ci.yml': WORKFLOW })
  expect(remote).toContain('started')
  const survivor = victim === 0 ? second : first
  const actions = actionsClient(survivor.admin, 'acme/rocket')
  const { job } = await actions.running('for i')
  await (victim === 0 ? first : second).kill()

  const run = await actions.finished(90_000)
  expect(run.conclusion).toBe('success')
  const log = await actions.log(job.id).catch(async () => {
    const moved = await survivor.admin('GET', `/repos/acme/rocket/actions/jobs/${job.id}/logs`)
    return (
      await fetch(
        new URL(new URL(moved.headers.get('location') ?? '').pathname + new URL(moved.headers.get('location') ?? '').search, survivor.url),
      )
    ).text()
  })
  expect([...log.matchAll(/ line (\d+)$/gm)]).toHaveLength(80)
  expect(proxy.requests[0]?.every((target) => victim === 1 || target.includes('/_broker/message'))).toBe(true)
  stop.abort()
  await ended
  rmSync(folder, { recursive: true, force: true })
})

test('a job queued on one node reaches a runner that polls another', async () => {
  await using database = await makeTestDatabase()
  if (database.config.kind !== 'postgres') throw new Error('this test needs PostgreSQL')
  const env = { FLEETFOOT_DATABASE_URL: database.config.url, FLEETFOOT_SECRET_KEY: randomBytes(32).toString('base64') }
  await using first = await makeServerProcess({ env })
  await using second = await makeServerProcess({ env, beside: first })
  await Promise.all([first.start(), second.start()])
  await makeRepository(second.admin, 'acme', 'rocket')
  const token = ((await (await first.admin('POST', '/orgs/acme/actions/runners/registration-token')).json()) as { token: string }).token
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-runner-'))
  const config = await registerRunner({ url: `${first.url}/acme`, token, name: 'box', workFolder: folder })
  const stop = new AbortController()
  const ended = runListener(config, { executor: createWorker({ root: folder }), signal: stop.signal })
  await eventually(async () => {
    const listed = (await (await second.admin('GET', '/orgs/acme/actions/runners')).json()) as { runners: { status: string }[] }
    expect(listed.runners[0]?.status).toBe('online')
  })

  await pushFiles(second.url, second.adminToken, 'acme/rocket', {
    '.github/workflows/ci.yml': 'on: push\njobs:\n  a: {runs-on: self-hosted, steps: [{run: echo across nodes}]}\n',
  })

  expect((await actionsClient(second.admin, 'acme/rocket').finished()).conclusion).toBe('success')
  stop.abort()
  await ended
  rmSync(folder, { recursive: true, force: true })
})

/** A small proxy: asks each node's /readyz, sends requests and upgrades on, answers 503 while no node is ready. */
async function startProxy(port: number, nodes: ServerProcess[]): Promise<AsyncDisposable & { requests: string[][] }> {
  const requests: string[][] = nodes.map(() => [])
  const ready = nodes.map(() => true)
  const check = setInterval(() => {
    for (const [index, node] of nodes.entries()) {
      fetch(`${node.url}/readyz`)
        .then(({ status }) => (ready[index] = status === 200))
        .catch(() => (ready[index] = false))
    }
  }, 100)
  const choose = (target: string): number | undefined => {
    const wanted = target.includes('/_broker/message') ? 0 : 1
    if (ready[wanted]) return wanted
    return ready[1 - wanted] ? 1 - wanted : undefined
  }
  const server: Server = createServer((incoming, outgoing) => {
    const target = incoming.url ?? '/'
    const index = choose(target)
    const node = index === undefined ? undefined : nodes[index]
    if (index === undefined || !node) {
      outgoing.writeHead(503).end()
      return
    }
    requests[index]?.push(target)
    const { hostname, port: nodePort } = new URL(node.url)
    const passed = httpRequest({ hostname, port: nodePort, path: target, method: incoming.method, headers: incoming.headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers)
      answer.pipe(outgoing)
      answer.on('error', () => outgoing.destroy())
    })
    passed.on('error', () => {
      if (outgoing.headersSent) outgoing.destroy()
      else outgoing.writeHead(503).end()
    })
    outgoing.on('close', () => passed.destroy())
    incoming.pipe(passed)
  })
  server.on('upgrade', (incoming, socket, head) => {
    const index = choose(incoming.url ?? '/')
    const node = index === undefined ? undefined : nodes[index]
    if (!node) return socket.destroy()
    const { hostname, port: nodePort } = new URL(node.url)
    const upstream = connect(Number(nodePort), hostname, () => {
      const headers = Object.entries(incoming.headers).map(([name, value]) => `${name}: ${String(value)}\r\n`)
      upstream.write(`GET ${incoming.url} HTTP/1.1\r\n${headers.join('')}\r\n`)
      upstream.write(head)
      socket.pipe(upstream).pipe(socket)
    })
    upstream.on('error', () => socket.destroy())
    socket.on('error', () => upstream.destroy())
    socket.on('close', () => upstream.destroy())
    return undefined
  })
  server.keepAliveTimeout = 75_000
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  return {
    requests,
    async [Symbol.asyncDispose]() {
      clearInterval(check)
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
