import { once } from 'node:events'
import { Agent, request, type IncomingMessage } from 'node:http'
import { Writable } from 'node:stream'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { eventually } from '../../test/support/eventually.ts'
import { makeGitClient } from '../../test/support/git-client.ts'
import { startServer, type TestServer } from '../../test/support/start-server.ts'
import { wireRunner } from '../../test/support/wire-runner.ts'

interface Line {
  msg: string
  reqId?: string
  [field: string]: unknown
}

/** A server, and what it logs. */
async function logging(): Promise<TestServer & { lines: Line[] }> {
  const lines: Line[] = []
  const output = new Writable({
    write(chunk: Buffer, _encoding, done) {
      lines.push(JSON.parse(chunk.toString()) as Line)
      done()
    },
  })
  const server = await startServer({ logger: pino({ level: 'info' }, output) })
  return Object.assign(server, { lines })
}

const idOf = (answer: Response) => answer.headers.get('x-github-request-id')

test('what a use-case logs has the id of the request that caused it, also of many at once', async () => {
  await using server = await logging()
  await server.organization('acme')
  await server.repository('acme', 'rocket', 'public')
  const runner = await wireRunner(server, 'acme')
  const many = await Promise.all(Array.from({ length: 5 }, () => wireRunner(server, 'acme')))

  const session = await runner.session()
  const sessions = await Promise.all(many.map(async (one) => [one.id, idOf(await one.session())]))

  expect(server.lines.find(({ msg, runnerId }) => msg === 'runner session opened' && runnerId === runner.id)?.reqId).toBe(idOf(session))
  for (const [id, reqId] of sessions) {
    expect(server.lines.find(({ msg, runnerId }) => msg === 'runner session opened' && runnerId === id)?.reqId).toBe(reqId)
  }
})

test('what is logged before a body has come and after it has the id of that request', async () => {
  await using server = await logging()
  await server.organization('acme')
  await server.repository('acme', 'rocket', 'public')
  const headers = { Authorization: `token ${server.adminToken}`, 'User-Agent': 'test', 'Content-Type': 'application/json' }
  const agent = new Agent({ keepAlive: true, maxSockets: 1 })
  const rename = async (description: string) => {
    const before = server.lines.length
    const sent = request(`${server.url}/api/v3/repos/acme/rocket`, { method: 'PATCH', agent, headers })
    sent.flushHeaders()
    await eventually(() => expect(server.lines.length).toBeGreaterThan(before))
    sent.end(JSON.stringify({ description }))
    const [answer] = (await once(sent, 'response')) as [IncomingMessage]
    answer.resume()
    await once(answer, 'end')
    return { id: answer.headers['x-github-request-id'], logged: server.lines.slice(before).map(({ reqId }) => reqId) }
  }

  for (const { id, logged } of [await rename('first'), await rename('second')]) {
    expect(logged.length).toBeGreaterThanOrEqual(2)
    expect(new Set(logged)).toEqual(new Set([id]))
  }
  agent.destroy()
})

test('what a push sets off is logged with the id of its request, also when it fails', async () => {
  await using server = await logging()
  await server.organization('acme')
  await server.repository('acme', 'rocket')
  using client = makeGitClient()
  await client.git('.', 'init', '--quiet', 'w')
  const remote = `http://x:${server.adminToken}@${new URL(server.url).host}/acme/rocket`
  /** Pushes one more commit and gives the ids of its answers. */
  const push = async () => {
    await client.commit('w', 'change', {})
    const traced = `alias.traced=!GIT_TRACE_CURL=1 GIT_TRACE_CURL_NO_DATA=1 git push ${remote} HEAD:main`
    const { stderr, code } = await client.run('w', '-c', traced, 'traced')
    if (code !== 0) throw new Error(stderr)
    return [...stderr.matchAll(/x-github-request-id: (\S+)/gi)].map((match) => match[1])
  }
  const lineOf = (message: string) => server.lines.find(({ msg }) => msg === message)

  const settled = await push()
  server.deps.git.commit = async () => {
    throw new Error('the disk is gone')
  }
  const failed = await push()

  expect(lineOf('push settled')?.reqId).toBe(settled.at(-1))
  expect(lineOf('a push could not be settled')?.reqId).toBe(failed.at(-1))
  expect(new Set([...settled, ...failed]).size).toBeGreaterThanOrEqual(4)
})
