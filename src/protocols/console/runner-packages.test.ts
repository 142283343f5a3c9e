import { createHash, randomBytes } from 'node:crypto'
import { request } from 'node:http'
import { expect, test } from 'vitest'
import { startServer } from '../../../test/support/start-server.ts'

const PACKAGES = '/api/fleetfoot/runner-packages'
const NAME = 'actions-runner-linux-x64-2.400.0.tar.gz'

test('a package is taken as it is, and served to those who ask for runner applications', async () => {
  await using server = await startServer()
  const bytes = randomBytes(3 * 1024 * 1024)
  const sha256 = createHash('sha256').update(bytes).digest('hex')

  const added = await fetch(`${server.url}${PACKAGES}/${NAME}`, {
    method: 'PUT',
    headers: { Authorization: `token ${server.adminToken}`, 'Content-Type': 'application/gzip' },
    body: bytes,
  })

  const shown = { os: 'linux', architecture: 'x64', version: '2.400.0', filename: NAME, sha256_checksum: sha256, size: bytes.length }
  expect([added.status, await added.json()]).toEqual([201, shown])
  expect(await (await server.admin('GET', PACKAGES)).json()).toEqual([shown])
  const applications = (await (await server.admin('GET', '/enterprises/fleetfoot/actions/runners/downloads')).json()) as {
    filename: string
    download_url: string
  }[]
  const own = applications.find(({ filename }) => filename === NAME)
  const downloaded = await fetch(own?.download_url ?? '')
  expect(
    createHash('sha256')
      .update(Buffer.from(await downloaded.arrayBuffer()))
      .digest('hex'),
  ).toBe(sha256)
})

test('only site administrators add packages, with names that upstream would give', async () => {
  await using server = await startServer()
  const mona = await server.user('mona')
  const put = async (call: typeof mona.call, name: string, body = 'x') => (await call('PUT', `${PACKAGES}/${name}`, body)).status

  expect(await put(server.call(undefined), NAME)).toBe(401)
  expect(await put(mona.call, NAME)).toBe(404)
  expect((await mona.call('GET', PACKAGES)).status).toBe(404)
  for (const name of ['runner.tar.gz', 'actions-runner-linux-x64.tar.gz', '..%2Fx', `${NAME}.exe`])
    expect(await put(server.admin, name)).toBe(422)
  expect(await put(server.admin, NAME, '')).toBe(422)
})

test('a package that says it is too large is refused before it is sent', async () => {
  await using server = await startServer()

  const status = await new Promise<number | undefined>((resolve, reject) => {
    const upload = request(`${server.url}${PACKAGES}/${NAME}`, {
      method: 'PUT',
      headers: { Authorization: `token ${server.adminToken}`, 'User-Agent': 'test', 'Content-Length': 2 * 1024 ** 3 },
    })
    upload.on('response', (answer) => {
      resolve(answer.statusCode)
      upload.destroy()
    })
    upload.on('error', reject)
    upload.flushHeaders()
  })

  expect(status).toBe(413)
})
