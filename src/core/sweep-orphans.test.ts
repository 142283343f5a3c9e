import { existsSync, mkdirSync, utimesSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import path from 'node:path'
import { Readable } from 'node:stream'
import { expect, test } from 'vitest'
import { runningJob, sdk, stamped } from '../../test/support/running-job.ts'
import { eventually } from '../../test/support/eventually.ts'
import { startServer, type TestServer } from '../../test/support/start-server.ts'
import type { StoredObject } from '../blobs/blob-store.ts'
import { knownScopes, type Actor } from '../model/access.ts'
import { addRunnerPackage } from './runners/runner-packages.ts'
import { sweepOrphans } from './sweep-orphans.ts'

const HOUR = 60 * 60_000
const OLD = new Date(Date.now() - 49 * HOUR)
const admin: Actor = {
  kind: 'user',
  userId: 1,
  login: 'admin',
  siteAdmin: true,
  token: { kind: 'admin', scopes: [...knownScopes], expiresAt: null },
}
const STEP = '0b9bd5a4-2b8c-4b6a-9a0a-1f0d6d1b7a11'

function pathOf(server: TestServer, key: string): string {
  return path.join(server.config.blobsDir, key)
}

function leave(server: TestServer, key: string): string {
  const file = pathOf(server, key)
  mkdirSync(path.dirname(file), { recursive: true })
  writeFileSync(file, 'left')
  return file
}

/** Makes everything in the blob store look as if it was written a while ago. */
async function makeOld(server: TestServer): Promise<void> {
  for (const folder of ['jobs', 'packages']) {
    for await (const { key } of server.deps.blobs.list(folder)) utimesSync(pathOf(server, key), OLD, OLD)
  }
}

test('objects that no row names are removed when they are old; those with a row stay, sealed or not', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  const whole = await job.logUrl(STEP)
  await sdk.put(whole, stamped(['whole']))
  await job.logDone(STEP, 1)
  const appended = await job.logUrl()
  await sdk.create(appended)
  await sdk.append(appended, stamped(['one']))
  const left = [
    'jobs/77-log',
    'jobs/77-log.0123456789ab.tmp',
    'jobs/77-log.parts/0b9bd5a4-2b8c-4b6a-9a0a-1f0d6d1b7a11',
    `${new URL(appended).pathname.replace('/_blobs/', '')}.parts/left-by-a-seal`,
    'packages/0b9bd5a4-2b8c-4b6a-9a0a-1f0d6d1b7a11',
  ].map((key) => leave(server, key))
  const body = Readable.from([Buffer.from('a package')])
  const filename = 'actions-runner-linux-x64-2.336.0.tar.gz'
  await addRunnerPackage(server.deps, admin, { filename, body })

  expect(await sweepOrphans(server.deps)).toBe('0 objects, 0 folders')
  await makeOld(server)
  expect(await sweepOrphans(server.deps)).toBe('5 objects, 0 folders')

  expect(left.filter((file) => existsSync(file))).toEqual([])
  await sdk.append(await job.logUrl(), stamped(['two']))
  await sdk.seal(await job.logUrl())
  await job.logDone(undefined, 2)
  await job.runner.complete(job.message)
  expect(await job.log()).toBe(stamped(['one', 'two']))
  expect(await (await fetch(`${server.url}/_packages/${filename}`)).text()).toBe('a package')
})

test('what is being written is not taken away, however long it takes', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  const url = await job.logUrl(STEP)
  const upload = request(url, { method: 'PUT', headers: { 'x-ms-blob-type': 'BlockBlob', 'Content-Length': 1_200_002 } })
  const answered = new Promise<number>((resolve) => upload.on('response', (response) => resolve(response.statusCode ?? 0)))
  upload.write(Buffer.alloc(600_000, 'x'))
  const temporary = async () => {
    const found: StoredObject[] = []
    for await (const object of server.deps.blobs.list('jobs')) if (object.key.endsWith('.tmp')) found.push(object)
    return found
  }
  const [writing] = await eventually(async () => {
    const found = await temporary()
    expect(found).toHaveLength(1)
    return found
  })

  utimesSync(pathOf(server, writing?.key ?? ''), OLD, OLD)
  upload.write(Buffer.alloc(600_000, 'x'))
  await eventually(async () => expect((await temporary())[0]?.writtenAt).toBeGreaterThan(OLD.getTime() + HOUR))
  await sweepOrphans(server.deps)
  upload.end('x\n')

  expect(await answered).toBe(201)
})

test('half-made repositories and packs of pushes that were cut off are removed when they are old', async () => {
  let at = Date.now()
  await using server = await startServer({ now: () => at })
  await server.organization('acme')
  const repository = await server.repository('acme', 'rocket')
  await server.push(server.adminToken, repository, { a: '1' })
  const own = path.join(server.config.reposDir, '0', `${repository.id}.git`)
  const left = [`${own}.0123456789ab`, path.join(own, 'objects', 'tmp_objdir-incoming-x1'), path.join(own, 'objects', 'incoming-x1')]
  for (const folder of left) {
    mkdirSync(folder)
    writeFileSync(path.join(folder, 'tmp_pack_1'), 'left')
  }

  expect(await sweepOrphans(server.deps)).toBe('0 objects, 0 folders')
  at += 49 * HOUR
  expect(await sweepOrphans(server.deps)).toBe('0 objects, 3 folders')

  expect(left.filter((folder) => existsSync(folder))).toEqual([])
  await server.push(server.adminToken, repository, { b: '2' })
})

test('folders of blocks that were sealed or removed go when they are empty', async () => {
  await using server = await startServer()
  const file = leave(server, 'jobs/77-log.parts/0b9bd5a4-2b8c-4b6a-9a0a-1f0d6d1b7a11')
  await makeOld(server)

  await sweepOrphans(server.deps)
  const asRecent = existsSync(path.dirname(file))
  utimesSync(path.dirname(file), OLD, OLD)
  await sweepOrphans(server.deps)

  expect([asRecent, existsSync(path.dirname(file))]).toEqual([true, false])
})
