import { readdirSync } from 'node:fs'
import path from 'node:path'
import { buffer } from 'node:stream/consumers'
import { gunzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import { startServer, type TestServer } from '../../../test/support/start-server.ts'
import { ArchiveCache, sweepArchives } from './archive-cache.ts'

/** A public repository with a file, and how often git was asked for an archive. */
async function withAction(server: TestServer) {
  await server.organization('acme')
  const repository = await server.repository('acme', 'action', 'public')
  await server.push(server.adminToken, repository, { 'action.yml': 'name: x\n' })
  const { git } = server.deps
  const archive = git.archive.bind(git)
  const asked: string[] = []
  git.archive = async (...args) => {
    asked.push(args[2])
    return archive(...args)
  }
  const address = async (format = 'tarball') =>
    (await server.admin('GET', `/repos/acme/action/${format}/main`)).headers.get('location') ?? ''
  const kept = () => {
    const folder = path.join(server.config.blobsDir, 'archives', String(repository.id))
    try {
      return readdirSync(folder)
    } catch {
      return []
    }
  }
  return { repository, asked, address, kept }
}

async function bytesOf(url: string): Promise<Buffer> {
  const answer = await fetch(url)
  if (answer.status !== 200) throw new Error(`no archive: ${answer.status}`)
  return Buffer.from(await answer.arrayBuffer())
}

test('an archive is made once for all that ask, at once or later', async () => {
  await using server = await startServer()
  const { asked, address, kept } = await withAction(server)
  const url = await address()

  const [first, second] = await Promise.all([bytesOf(url), bytesOf(url)])
  const later = await fetch(await address())

  expect(second).toEqual(first)
  expect(Buffer.from(await later.arrayBuffer())).toEqual(first)
  expect(later.headers.get('content-length')).toBe(String(first.length))
  expect(asked).toEqual(['tar.gz'])
  expect((await bytesOf(await address('zipball'))).subarray(0, 2).toString()).toBe('PK')
  expect(asked).toEqual(['tar.gz', 'zip'])
  expect(kept()).toHaveLength(2)
})

test('two nodes that make the same archive at once both give the whole of it, and a sweep in between takes it from no reader', async () => {
  await using server = await startServer()
  const { repository, asked, kept } = await withAction(server)
  const { git, blobs, log } = server.deps
  const sha = (await git.resolve(repository.id, 'main')) ?? ''
  const archive = { repositoryId: repository.id, sha, format: 'zip' as const, folder: 'acme-action' }
  const never = new AbortController().signal
  await using first = new ArchiveCache({ git, blobs, log })
  await using second = new ArchiveCache({ git, blobs, log })

  const opened = await Promise.all([first.open(archive, never), second.open(archive, never)])
  await first.forget(repository.id)
  const read = await Promise.all(opened.map(({ stream }) => buffer(stream)))

  expect(asked).toEqual(['zip', 'zip'])
  expect(read.map(({ length }) => length)).toEqual(opened.map(({ size }) => size))
  expect(read[0]).toEqual(read[1])
  expect(kept()).toEqual([])
})

test('a kept archive still needs a good signature, and a repository that is there', async () => {
  let at = Date.now()
  await using server = await startServer({ now: () => at })
  const { address, kept } = await withAction(server)
  const url = await address()
  await bytesOf(url)

  expect((await fetch(url.replace(/sig=(.)/, (_sig, first) => `sig=${first === '_' ? 'a' : '_'}`))).status).toBe(403)
  const other = await server.repository('acme', 'other', 'private')
  expect((await fetch(url.replace(/archives\/\d+/, `archives/${other.id}`))).status).toBe(403)
  at += server.config.times.archiveUrl + 1000
  expect((await fetch(url)).status).toBe(403)
  const fresh = await address()
  await server.admin('DELETE', '/repos/acme/action')

  expect((await fetch(fresh)).status).toBe(404)
  expect(kept()).toEqual([])
})

test('a renamed repository has its new name at the top of its archives', async () => {
  await using server = await startServer()
  const { address } = await withAction(server)
  const before = gunzipSync(await bytesOf(await address())).toString('latin1')

  await server.admin('PATCH', '/repos/acme/action', { name: 'renamed' })
  const moved = await server.admin('GET', '/repos/acme/renamed/tarball/main')
  const after = gunzipSync(await bytesOf(moved.headers.get('location') ?? '')).toString('latin1')

  expect(before).toContain('acme-action-')
  expect(after).toContain('acme-renamed-')
})

test('an archive that cannot be kept is made for its reader alone', async () => {
  await using server = await startServer()
  const { asked, address, kept } = await withAction(server)
  server.deps.blobs.freeShare = async () => 0.08

  expect((await bytesOf(await address())).length).toBeGreaterThan(100)
  server.deps.blobs.freeShare = async () => 0.5
  const put = server.deps.blobs.put.bind(server.deps.blobs)
  server.deps.blobs.put = async () => {
    throw new Error('no space left')
  }
  expect((await bytesOf(await address())).length).toBeGreaterThan(100)
  server.deps.blobs.put = put

  // The second one was tried, then made again for the reader.
  expect(asked).toHaveLength(3)
  expect(kept()).toEqual([])
})

test('the sweep removes archives that are old, or whose repository is gone, and no others', async () => {
  let at = Date.now()
  await using server = await startServer({ now: () => at })
  const { asked, address, kept } = await withAction(server)
  await bytesOf(await address())
  await server.deps.blobs.put('archives/999999/left.zip', Buffer.from('x'))

  expect(await sweepArchives(server.deps)).toBe('1 archives')
  expect(kept()).toHaveLength(1)
  at += 80 * 60 * 60_000
  expect(await sweepArchives(server.deps)).toBe('1 archives')

  expect(kept()).toEqual([])
  expect((await bytesOf(await address())).length).toBeGreaterThan(100)
  expect(asked).toHaveLength(2)
})

test('the sweep removes the oldest when all together are too large', async () => {
  await using server = await startServer()
  const { repository } = await withAction(server)
  const { blobs } = server.deps
  const gib = 1024 ** 3
  const at = Date.now()
  const removed: string[] = []
  blobs.list = async function* () {
    for (const [name, age] of [
      ['old', 3000],
      ['new', 1000],
      ['middle', 2000],
    ] as const) {
      yield { key: `archives/${repository.id}/${name}`, size: gib, writtenAt: at - age }
    }
  }
  blobs.delete = async (key) => void removed.push(key)

  await sweepArchives(server.deps)

  expect(removed).toEqual([`archives/${repository.id}/old`])
})
