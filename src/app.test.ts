import { once } from 'node:events'
import { createConnection } from 'node:net'
import { expect, test } from 'vitest'
import { eventually } from '../test/support/eventually.ts'
import { startPortableRunner } from '../test/support/portable-runner.ts'
import { startServer } from '../test/support/start-server.ts'

test('the server ends at once though a client holds a connection that it never used', async () => {
  await using server = await startServer()
  const socket = createConnection(Number(new URL(server.url).port), '127.0.0.1')
  await once(socket, 'connect')
  await server.admin('GET', '/user')

  const before = performance.now()
  await server.running[Symbol.asyncDispose]()

  expect(performance.now() - before).toBeLessThan(5000)
})

test('the server ends at once in the middle of a job whose live log is open', async () => {
  await using server = await startServer({ background: true })
  const { token } = await server.user('mona')
  await server.organization('acme', { mona: 'owner' })
  const repository = await server.repository('acme', 'rocket')
  const workflow = 'on: push\njobs:\n  a:\n    runs-on: self-hosted\n    steps:\n      - run: echo begun; sleep 20\n'
  await server.push(token, repository, { '.github/workflows/ci.yml': workflow })
  await using runner = await startPortableRunner(`${server.url}/acme`, await server.registrationToken('/orgs/acme'))
  await eventually(async () => {
    const chunks = await server.deps.db.selectFrom('logChunk').select('lines').execute()
    expect(JSON.stringify(chunks)).toContain('begun')
  })

  const before = performance.now()
  await server.running[Symbol.asyncDispose]()
  const took = performance.now() - before
  runner.kill()

  expect(took).toBeLessThan(5000)
})
