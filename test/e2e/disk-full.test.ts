import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, test } from 'vitest'
import { runningJob, sdk, stamped } from '../support/running-job.ts'
import { startServer } from '../support/start-server.ts'

/** A small file system of its own; undefined where mounting is not permitted. */
function mountSmall(size: string): ({ folder: string } & Disposable) | undefined {
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-small-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', folder], { stdio: 'pipe' })
  } catch {
    rmSync(folder, { recursive: true })
    return undefined
  }
  return {
    folder,
    [Symbol.dispose]() {
      execFileSync('umount', ['-l', folder])
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** More than is kept in the database (docs/adr/0007). */
const LONG = Array.from({ length: 200 }, (_, index) => `line ${index + 1}`)

test('a blob store that is full: uploads are 503, /readyz says why, reads go on; all is well when there is space again', async ({
  skip,
}) => {
  using small = mountSmall('1m')
  if (!small) return skip('mounting is not permitted here')
  await using server = await startServer({ config: { blobsDir: small.folder } })
  const job = await runningJob(server)
  const STEP = '0f0e0d0c-0000-4000-8000-000000000001'
  await sdk.put(await job.logUrl(STEP), stamped(['before']))
  const big = Buffer.alloc(3 * 1024 * 1024, 'x')

  const tooBig = await sdk.put(await job.logUrl(), big)
  const readyAfterRefusal = await fetch(`${server.url}/readyz`)
  writeFileSync(path.join(small.folder, 'filler'), Buffer.alloc(1000 * 1024))
  const full = await sdk.put(await job.logUrl(), Buffer.alloc(5000, 'x'))
  const created = await sdk.create(await job.logUrl())
  const ready = await fetch(`${server.url}/readyz`)
  const read = await fetch(await job.logUrl(STEP))
  const listed = await server.admin('GET', '/user')

  expect([tooBig.status, full.status, created.status]).toEqual([503, 503, 503])
  expect(tooBig.headers.get('x-ms-error-code')).toBe('ServerBusy')
  // What the refused upload had written is gone.
  expect(readyAfterRefusal.status).toBe(200)
  expect(ready.status).toBe(503)
  expect(await ready.text()).toMatch(/^the disk is nearly full: [\d.]+ % free\n$/)
  expect([read.status, await read.text()]).toEqual([200, stamped(['before'])])
  expect(listed.status).toBe(200)

  rmSync(path.join(small.folder, 'filler'))
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200)
  expect((await sdk.put(await job.logUrl(), stamped(['after']))).status).toBe(201)
  await job.logDone(undefined, 1)
  expect((await job.runner.complete(job.message)).status).toBe(204)
  expect(await job.log()).toBe(stamped(['after']))
})

test('a disk that is full below the database: writes are 503 and never 500, reads go on; all is well when there is space again', async ({
  skip,
}) => {
  using small = mountSmall('24m')
  if (!small) return skip('mounting is not permitted here')
  const blobsDir = path.join(small.folder, 'blobs')
  mkdirSync(blobsDir)
  await using server = await startServer({
    config: { blobsDir, database: { kind: 'sqlite', file: path.join(small.folder, 'db.sqlite'), sync: 'normal' } },
  })
  const job = await runningJob(server)
  const filler = path.join(small.folder, 'filler')
  for (let size = 24 * 1024 * 1024; size >= 1024; size /= 2) {
    try {
      writeFileSync(filler, Buffer.alloc(size), { flag: 'a' })
    } catch {
      // Filled to the next smaller piece.
    }
  }

  const statuses = new Set<number>()
  for (let i = 0; i < 60; i++) {
    statuses.add((await job.updateSteps(i + 1, [{ external_id: `step ${i}`, number: i, name: 'n'.repeat(200_000) }])).status)
  }
  const completed = await job.runner.complete(job.message)
  const organization = await server.admin('POST', '/admin/organizations', { login: 'other', admin: 'admin' })
  const ready = await fetch(`${server.url}/readyz`)
  const listed = await server.admin('GET', `/repos/acme/${job.repository.name}/actions/runs`)

  expect([...statuses].filter((status) => status !== 200 && status !== 503)).toEqual([])
  expect(statuses.has(503) || completed.status === 503 || organization.status === 503).toBe(true)
  expect([204, 503]).toContain(completed.status)
  expect([201, 503]).toContain(organization.status)
  expect([ready.status, listed.status]).toEqual([503, 200])

  rmSync(filler)
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200)
  expect((await job.runner.complete(job.message)).status).toBe(204)
  expect((await server.admin('POST', '/admin/organizations', { login: 'another', admin: 'admin' })).status).toBe(201)
})

test('a blob folder that is removed, and one below it: 503 until it is back, and nothing to start again', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  const { blobsDir } = server.config
  await sdk.put(await job.logUrl(), stamped(LONG))

  rmSync(path.join(blobsDir, 'jobs'), { recursive: true })
  const below = await sdk.put(await job.logUrl(), stamped([...LONG, 'again']))
  renameSync(blobsDir, `${blobsDir}.away`)
  const away = await sdk.put(await job.logUrl(), stamped([...LONG, 'lost']))
  const append = await sdk.append(await job.logUrl('0f0e0d0c-0000-4000-8000-000000000001'), stamped(['lost']))
  const ready = await fetch(`${server.url}/readyz`)

  expect(below.status).toBe(201)
  expect([away.status, append.status]).toEqual([503, 503])
  expect([ready.status, await ready.text()]).toEqual([503, 'the blob folder cannot be reached\n'])
  // What is mounted there may come back: an empty folder in its place would hide that.
  expect(() => statSync(blobsDir)).toThrow('ENOENT')
  renameSync(`${blobsDir}.away`, blobsDir)
  expect((await fetch(`${server.url}/readyz`)).status).toBe(200)
  await job.logDone(undefined, LONG.length + 1)
  await job.runner.complete(job.message)
  expect(await job.log()).toBe(stamped([...LONG, 'again']))
})
