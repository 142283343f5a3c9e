import { createConnection, createServer, type Socket } from 'node:net'
import { once } from 'node:events'
import { expect, test } from 'vitest'
import { eventually } from '../../test/support/eventually.ts'
import { startPortableRunner } from '../../test/support/portable-runner.ts'
import { commandFor } from '../../test/support/run-command.ts'
import { startServer, type TestServer } from '../../test/support/start-server.ts'
import { makeClient } from './api-client.ts'
import { watchRun, type WatchEvent } from './watch-run.ts'

const workflow = (run: string) => `name: CI
on: push
jobs:
  build:
    runs-on: self-hosted
    steps:
      - name: Work
        run: ${run}
  after:
    needs: build
    runs-on: self-hosted
    steps:
      - run: echo done
`

/** A pushed run of acme/rocket; nobody runs it yet. */
async function push(server: TestServer, run: string): Promise<void> {
  const { token } = await server.user('mona')
  await server.organization('acme', { mona: 'owner' })
  const repository = await server.repository('acme', 'rocket')
  await server.push(token, repository, { '.github/workflows/ci.yml': workflow(run) })
}

const startRunner = async (server: TestServer) => startPortableRunner(`${server.url}/acme`, await server.registrationToken('/orgs/acme'))

test('a running job is followed: why it waits, its lines as they come, its end', async () => {
  await using server = await startServer({ background: true })
  await push(server, 'for i in 1 2 3; do echo "line $i"; sleep 0.3; done')
  const watch = commandFor(server).start('runs', 'watch', '1')
  await eventually(() => expect(watch.written.stdout).toContain('after waits for job build'))
  expect(watch.written.stdout).toContain('build waits: no runner is registered')
  await using _runner = await startRunner(server)

  await eventually(() => expect(watch.written.stdout).toContain('build │ line 1\n'))
  expect(watch.written.stdout).not.toContain('line 3\n')
  const { code, stdout, stderr } = await watch.ended

  expect(stdout.match(/│ line \d$/gm)).toEqual(['│ line 1', '│ line 2', '│ line 3'])
  expect(stdout).toMatch(/build {3}✓ Work\n[^]*build success on worker-1\n[^]*after success on worker-1\nCI #1: success\n$/)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
})

test('a finished run is told as a whole, also as JSON, and by the name of its repository', async () => {
  await using server = await startServer({ background: true })
  await push(server, 'echo hello; exit 3')
  await using _runner = await startRunner(server)
  const { run } = commandFor(server)
  await run('runs', 'watch', '1')

  const told = await run('runs', 'watch', 'acme/rocket')
  const json = await run('runs', 'watch', '1', '--json')
  const listed = await run('runs', 'list', 'acme/rocket', '--json')

  expect(told.code).toBe(1)
  expect(told.stdout).toContain('build │ hello\n')
  expect(told.stdout).toMatch(/build {3}✗ Work\n[^]*build failure on worker-1\n[^]*CI #1: failure\n$/)
  expect(told.stdout).toContain('after skipped\n')
  expect(json.code).toBe(1)
  const events = json.stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as WatchEvent)
  expect(events.map(({ kind }) => kind)).toEqual(expect.arrayContaining(['run', 'job', 'step', 'log', 'end']))
  expect(events.at(-1)).toMatchObject({ kind: 'end', run: { conclusion: 'failure' } })
  expect(JSON.parse(listed.stdout)).toMatchObject([{ id: 1, conclusion: 'failure' }])
})

test('a cancelled run ends the watch with 1', async () => {
  await using server = await startServer({ background: true })
  await push(server, 'echo hello')
  const { run, start } = commandFor(server)
  const watch = start('runs', 'watch', '1')
  await eventually(() => expect(watch.written.stdout).toContain('build waits'))

  const cancelled = await run('runs', 'cancel', '1')
  const { code, stdout } = await watch.ended

  expect(cancelled).toMatchObject({ code: 0, stdout: 'run 1 of acme/rocket is being cancelled\n' })
  expect(stdout).toMatch(/CI #1: cancelled\n$/)
  expect(code).toBe(1)
  expect((await run('runs', 'cancel', '1')).stderr).toContain('Cannot cancel a workflow run that is completed')
})

test('a run that is not there, or that one may not see, is said to be not there', async () => {
  await using server = await startServer()
  await push(server, 'echo hello')
  const { token } = await server.user('stranger')

  const absent = await commandFor(server).run('runs', 'watch', '99')
  const foreign = await commandFor({ ...server, adminToken: token }).run('runs', 'watch', '1')

  expect(absent).toMatchObject({ code: 1, stdout: '' })
  expect(absent.stderr).toMatch(/^fleetfoot: there is no run 99\n/)
  expect(foreign).toMatchObject({ code: 1, stdout: '' })
  expect(foreign.stderr).toMatch(/^fleetfoot: there is no run 1\n/)
})

test('Ctrl-C ends the watch and says that the run goes on', async () => {
  await using server = await startServer()
  await push(server, 'echo hello')
  const watch = commandFor(server).start('runs', 'watch', '1')
  await eventually(() => expect(watch.written.stdout).toContain('build waits'))

  watch.child.kill('SIGINT')
  const { code, stderr } = await watch.ended

  expect(code).toBe(130)
  expect(stderr).toContain("stop it with 'fleetfoot runs cancel 1'")
})

test('after a broken connection the lines go on where they were, none twice', async () => {
  await using server = await startServer({ background: true })
  await push(server, 'for i in $(seq 1 20); do echo "line $i"; sleep 0.1; done')
  await using cutter = await startCutter(new URL(server.url).port)
  const client = makeClient({ url: cutter.url, dataDir: '', token: server.adminToken, tokenFile: undefined })
  const events: WatchEvent[] = []
  await using _runner = await startRunner(server)
  const lines = () => events.flatMap((event) => (event.kind === 'log' ? event.lines : [])).filter((line) => /^line \d+$/.test(line))

  const watched = watchRun(client, { repository: 'acme/rocket', runId: 1, onEvent: (event) => events.push(event), pollMs: 100 })
  await eventually(() => expect(lines()).toContain('line 3'))
  cutter.cut()
  const run = await watched

  expect(run.conclusion).toBe('success')
  expect(events.filter(({ kind }) => kind === 'notice').length).toBeGreaterThan(0)
  expect(lines()).toEqual(Array.from({ length: 20 }, (_, index) => `line ${index + 1}`))
})

/** A plain relay to a port whose connections can be cut. */
async function startCutter(port: string): Promise<AsyncDisposable & { url: string; cut(): void }> {
  const sockets = new Set<Socket>()
  const relay = createServer((near) => {
    const far = createConnection(Number(port), '127.0.0.1')
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {})
      socket.on('close', () => {
        near.destroy()
        far.destroy()
        sockets.delete(socket)
      })
    }
    near.pipe(far).pipe(near)
  })
  relay.listen(0, '127.0.0.1')
  await once(relay, 'listening')
  const address = relay.address()
  const cut = () => sockets.forEach((socket) => socket.destroy())
  return {
    url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`,
    cut,
    async [Symbol.asyncDispose]() {
      cut()
      relay.close()
      await once(relay, 'close')
    },
  }
}
