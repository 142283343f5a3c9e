import { createWriteStream, existsSync, readdirSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { pipeline } from 'node:stream/promises'
import { spawnSync } from 'node:child_process'
import { expect, test } from 'vitest'
import { makeGitClient, type GitClient } from '../../../test/support/git-client.ts'
import { makeTestGit } from '../../../test/support/repos.ts'

/** A repository 7 and a work tree `w` whose branches are put into it with `put`. */
async function makeWork(client: GitClient) {
  const repos = makeTestGit()
  await repos.git.create(7, 'main')
  const bare = path.join(repos.dir, '0', '7.git')
  await client.git('', 'init', '--quiet', 'w')
  return { ...repos, put: (...refspecs: string[]) => client.git('w', 'push', '--quiet', '--force', bare, ...refspecs), bare }
}

test('a repository is made once, by any of many at a time, and removed', async () => {
  using repos = makeTestGit()

  await Promise.all(Array.from({ length: 5 }, () => repos.git.create(1234, 'trunk')))

  expect(readdirSync(path.join(repos.dir, '1'))).toEqual(['1234.git'])
  expect(await repos.git.head(1234)).toEqual({ branch: 'trunk', unborn: true })
  await repos.git.remove(1234)
  await repos.git.remove(1234)
  expect(readdirSync(path.join(repos.dir, '1'))).toEqual([])
})

test('a repository without a folder is an empty one', async () => {
  using repos = makeTestGit()

  expect(await repos.git.resolve(1, 'main')).toBeUndefined()
  expect(await repos.git.refs(1)).toEqual([])
  expect(await repos.git.readFile(1, 'a'.repeat(40), 'x', 10)).toBeUndefined()
  expect(await repos.git.changedPaths(1, undefined, 'a'.repeat(40), 300)).toBe('unknown')
})

test('names resolve to commits: branches before tags, tags to what they point to, ids also shortened', async () => {
  using client = makeGitClient()
  const { git, put } = await makeWork(client)
  const first = await client.commit('w', 'first', { a: '1' })
  await client.git('w', 'tag', '--annotate', '--message', 'one', 'v1')
  await client.git('w', 'tag', 'both')
  const second = await client.commit('w', 'second', { a: '2' })
  await put('HEAD:main', 'HEAD:feature/x', 'HEAD:refs/heads/both', 'v1', 'refs/tags/both')

  expect(await git.resolve(7, 'main')).toBe(second)
  expect(await git.resolve(7, 'HEAD')).toBe(second)
  expect(await git.resolve(7, 'feature/x')).toBe(second)
  expect(await git.resolve(7, 'refs/heads/main')).toBe(second)
  expect(await git.resolve(7, 'heads/main')).toBe(second)
  expect(await git.resolve(7, 'v1')).toBe(first)
  expect(await git.resolve(7, 'both')).toBe(second)
  expect(await git.resolve(7, 'tags/both')).toBe(first)
  expect(await git.resolve(7, first)).toBe(first)
  expect(await git.resolve(7, first.slice(0, 8))).toBe(first)
  for (const bad of [
    'absent',
    '',
    '-h',
    '--all',
    'main~1',
    'main^{tree}',
    'main:a',
    'main\nHEAD',
    '@{-1}',
    '..',
    'main@{0}',
    'a'.repeat(40),
  ]) {
    expect(await git.resolve(7, bad), JSON.stringify(bad)).toBeUndefined()
  }
  const tag = (await git.refs(7)).find(({ name }) => name === 'refs/tags/v1')
  expect(tag?.commitSha).toBe(first)
  expect(tag?.sha).not.toBe(first)
})

test('a push is told as webhooks do: commits oldest first, with people, times and files', async () => {
  using client = makeGitClient()
  const { git, put } = await makeWork(client)
  const first = await client.commit('w', 'first', { keep: '1', gone: '1', 'ünï côde "q"': '1' })
  await client.git('w', 'rm', '--quiet', 'gone')
  const second = await client.commit('w', 'second\n\nbody', { keep: '2', 'dir/new': '1' })
  const third = await client.commit('w', 'nothing', {})
  await put('HEAD:main')

  const commits = await git.commitsBetween(7, first, third, 20)

  expect(commits.map(({ id }) => id)).toEqual([second, third])
  expect(commits[0]).toMatchObject({
    message: 'second\n\nbody',
    author: { name: 'Ada', email: 'ada@example.com' },
    added: ['dir/new'],
    removed: ['gone'],
    modified: ['keep'],
  })
  expect(commits[0]?.timestamp).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(Z|[+-]\d\d:\d\d)$/)
  expect(commits[1]).toMatchObject({ added: [], removed: [], modified: [] })
  expect((await git.commitsBetween(7, undefined, third, 2)).map(({ id }) => id)).toEqual([second, third])
  expect((await git.commitsBetween(7, undefined, third, 9))[0]?.added).toEqual(['gone', 'keep', 'ünï côde "q"'])
  expect((await git.commit(7, third)).message).toBe('nothing')
  await expect(git.commit(7, 'b'.repeat(40))).rejects.toMatchObject({ kind: 'not_found' })
})

test('of a commit with a message of megabytes as much is told as is kept of any, also amid others', async () => {
  using client = makeGitClient()
  const { git, put } = await makeWork(client)
  const first = await client.commit('w', 'first', { a: '1' })
  writeFileSync(path.join(client.folder, 'message'), `large\n\n${'x'.repeat(20 * 1024 * 1024)}`)
  await client.git('w', 'commit', '--quiet', '--allow-empty', '--file', '../message')
  const large = await client.git('w', 'rev-parse', 'HEAD')
  const third = await client.commit('w', 'third', { c: '1' })
  await put('HEAD:main')

  const commits = await git.commitsBetween(7, first, third, 20)

  expect(commits.map(({ id }) => id)).toEqual([large, third])
  expect(commits[0]?.message).toHaveLength(64 * 1024)
  expect(commits[1]).toMatchObject({ message: 'third', added: ['c'] })
  expect(await git.commit(7, large)).toMatchObject({ message: commits[0]?.message, author: { name: 'Ada' } })
})

test('changed paths of a branch are the difference of both ends; of a new branch, of what no other branch has', async () => {
  using client = makeGitClient()
  const { git, put } = await makeWork(client)
  const first = await client.commit('w', 'first', { a: '1', came: '' })
  const second = await client.commit('w', 'second', { b: '1', 'came and went': '1' })
  await client.git('w', 'rm', '--quiet', 'came and went')
  await client.git('w', 'mv', 'a', 'moved')
  const third = await client.commit('w', 'third', {})
  await put(`${first}:refs/heads/main`)

  expect(await git.changedPaths(7, undefined, first, 300)).toEqual(['a', 'came'])
  await put('HEAD:new')
  expect(await git.changedPaths(7, first, third, 300)).toEqual(['a', 'b', 'moved'])
  expect(await git.changedPaths(7, undefined, third, 300)).toEqual(['a', 'b', 'moved'])
  expect(await git.changedPaths(7, second, third, 300)).toEqual(['a', 'came and went', 'moved'])
  expect(await git.changedPaths(7, third, first, 300)).toEqual(['a', 'b', 'moved'])
  expect(await git.changedPaths(7, first, third, 2)).toBe('unknown')
  expect(await git.changedPaths(7, 'c'.repeat(40), third, 300)).toBe('unknown')

  await put('HEAD:twin')
  expect(await git.changedPaths(7, undefined, third, 300)).toEqual([])
  expect(await git.changedPaths(7, undefined, third, 300, ['refs/heads/new', 'refs/heads/twin'])).toEqual(['a', 'b', 'moved'])
})

test('the files of a merge are those that it brought to its first parent', async () => {
  using client = makeGitClient()
  const { git, put } = await makeWork(client)
  await client.commit('w', 'first', { a: '1' })
  await client.git('w', 'checkout', '--quiet', '-b', 'side')
  await client.commit('w', 'side', { side: '1' })
  await client.git('w', 'checkout', '--quiet', 'main')
  const main = await client.commit('w', 'main', { main: '1' })
  await client.git('w', 'merge', '--quiet', '--no-edit', 'side')
  await put('HEAD:main')
  const merge = await client.git('w', 'rev-parse', 'HEAD')

  const commits = await git.commitsBetween(7, main, merge, 20)

  expect(commits.map(({ message, added }) => [message.split('\n')[0], added])).toEqual([
    ['side', ['side']],
    ["Merge branch 'side'", ['side']],
  ])
  expect(await git.isAncestor(7, main, merge)).toBe(true)
  expect(await git.isAncestor(7, merge, main)).toBe(false)
  expect(await git.isAncestor(7, 'd'.repeat(40), main)).toBe(false)
})

test('folders and files are read at a commit; what leads elsewhere is refused', async () => {
  using client = makeGitClient()
  const { git, put } = await makeWork(client)
  const sha = await client.commit('w', 'first', { '.github/workflows/ci.yml': 'on: push\n', 'a b': 'x', empty: '' })
  await put('HEAD:main')

  expect(await git.listDirectory(7, sha, '')).toMatchObject([
    { name: '.github', type: 'tree', mode: '040000', size: null },
    { name: 'a b', type: 'blob', mode: '100644', size: 1 },
    { name: 'empty', size: 0 },
  ])
  expect((await git.listDirectory(7, sha, '/.github/workflows/'))?.map(({ name }) => name)).toEqual(['ci.yml'])
  expect(await git.listDirectory(7, sha, 'absent')).toBeUndefined()
  expect(await git.listDirectory(7, sha, 'a b')).toBeUndefined()
  expect((await git.readFile(7, sha, '.github/workflows/ci.yml', 1000))?.toString()).toBe('on: push\n')
  expect((await git.readFile(7, sha, 'empty', 0))?.length).toBe(0)
  expect(await git.readFile(7, sha, '.github', 1000)).toBeUndefined()
  expect(await git.readFile(7, sha, 'absent', 1000)).toBeUndefined()
  await expect(git.readFile(7, sha, '.github/workflows/ci.yml', 3)).rejects.toMatchObject({ kind: 'too_large' })
  for (const bad of ['a\nb', 'a\0b', '../x', './a b', 'x/../a b']) {
    await expect(git.readFile(7, sha, bad, 10), JSON.stringify(bad)).rejects.toMatchObject({ kind: 'invalid' })
  }
  await expect(git.readFile(7, 'main', 'a b', 10)).rejects.toMatchObject({ kind: 'invalid' })
  await expect(git.isAncestor(7, '--help', sha)).rejects.toMatchObject({ kind: 'invalid' })
})

test('a large file is cut off, not read', async () => {
  using client = makeGitClient()
  const { git, put } = await makeWork(client)
  const sha = await client.commit('w', 'large', { large: Buffer.alloc(20 * 1024 * 1024) })
  await put('HEAD:main')

  await expect(git.readFile(7, sha, 'large', 1000)).rejects.toMatchObject({ kind: 'too_large' })
})

test('an archive has one folder at its top, as tar and as zip', async () => {
  using client = makeGitClient()
  const { git, put } = await makeWork(client)
  const sha = await client.commit('w', 'first', { 'action.yml': 'name: x\n', 'dist/index.js': '' })
  await put('HEAD:main')

  const file = path.join(client.folder, 'a.tar.gz')
  await pipeline(await git.archive(7, sha, 'tar.gz', 'acme-rocket'), createWriteStream(file))
  const listed = spawnSync('tar', ['-tzf', file], { encoding: 'utf8' }).stdout.trim().split('\n')
  expect(listed).toEqual(['acme-rocket/', 'acme-rocket/action.yml', 'acme-rocket/dist/', 'acme-rocket/dist/index.js'])

  const zip = await (await git.archive(7, sha, 'zip', 'acme-rocket')).toArray()
  expect(
    Buffer.concat(zip as Buffer[])
      .subarray(0, 2)
      .toString(),
  ).toBe('PK')
  await expect(git.archive(7, 'e'.repeat(40), 'zip', 'x')).rejects.toMatchObject({ kind: 'not_found' })
})

test('an archive that nobody reads on ends with its signal', async () => {
  using client = makeGitClient()
  const { git, put } = await makeWork(client)
  await client.git('w', 'config', 'core.compression', '0')
  const sha = await client.commit('w', 'large', { large: Buffer.alloc(20 * 1024 * 1024, 'x') })
  await put('HEAD:main')
  const abort = new AbortController()
  const files = await git.archive(7, sha, 'zip', 'x', abort.signal)
  files.on('error', () => {})
  const closed = new Promise((resolve) => files.once('close', resolve))

  abort.abort(new Error('enough'))

  await closed
  expect(files.errored?.message).toBe('enough')
})

test('many questions at once wait for their turn', async () => {
  using client = makeGitClient()
  const { git, put } = await makeWork(client)
  const sha = await client.commit('w', 'first', { a: '1' })
  await put('HEAD:main')

  const answers = await Promise.all(Array.from({ length: 100 }, () => git.resolve(7, 'main')))

  expect(new Set(answers)).toEqual(new Set([sha]))
})

test('hooks can be executed and are found by their configuration only', async () => {
  using repos = makeTestGit()
  await repos.git.create(7, 'main')

  const home = readdirSync(repos.dir).find((name) => name.startsWith('_home-')) ?? ''

  expect(readdirSync(path.join(repos.dir, home, 'hooks')).sort()).toEqual(['post-receive', 'pre-receive'])
  expect(existsSync(path.join(repos.dir, '0', '7.git', 'hooks'))).toBe(false)
  const alone = spawnSync(path.join(repos.dir, home, 'hooks', 'pre-receive'), { input: '', encoding: 'utf8' })
  expect([alone.status, alone.stdout]).toEqual([1, 'Pushes go through the server.\n'])
})

test('tidying packs what is loose and loses nothing', async () => {
  using client = makeGitClient()
  const { git, put, bare } = await makeWork(client)
  const many = Object.fromEntries(Array.from({ length: 1200 }, (_, i) => [`f${i}`, `${i}`]))
  const sha = await client.commit('w', 'many', many)
  // A small push stays loose; many small ones are many loose objects.
  await client.git('', '--git-dir', bare, 'config', 'receive.unpackLimit', '100000')
  await put('HEAD:main')
  const loose = () => readdirSync(path.join(bare, 'objects')).filter((name) => name.length === 2).length
  expect(loose()).toBeGreaterThan(100)

  await git.tidy(7)
  await git.tidy(8)

  expect(loose()).toBe(0)
  expect(await git.resolve(7, 'main')).toBe(sha)
  await git.check()
})

test('turns are taken in order, also after a failure', async () => {
  using repos = makeTestGit()
  const seen: number[] = []
  const act = (n: number, wait: Promise<void>, fails = false) =>
    repos.git.inTurn(1, async () => {
      await wait
      seen.push(n)
      if (fails) throw new Error('no')
    })
  const { promise: go, resolve } = Promise.withResolvers<void>()

  const all = Promise.allSettled([act(1, go, true), act(2, Promise.resolve()), act(3, Promise.resolve())])
  resolve()
  const outcomes = await all

  expect(seen).toEqual([1, 2, 3])
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'fulfilled', 'fulfilled'])
})
