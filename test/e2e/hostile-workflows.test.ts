import { expect, test } from 'vitest'
import { startServer } from '../support/start-server.ts'

const steps = (count: number) => `on: push\njobs:\n  a:\n    runs-on: self-hosted\n    steps:\n${'      - run: echo\n'.repeat(count)}`
const bomb = (() => {
  const lines = ['a: &a [x, x, x, x, x, x, x, x, x]']
  for (let i = 1; i < 12; i++) {
    const [name, before] = [String.fromCharCode(97 + i), String.fromCharCode(96 + i)]
    lines.push(`${name}: &${name} [${Array(9).fill(`*${before}`).join(', ')}]`)
  }
  return `${lines.join('\n')}\non: push\njobs: {a: {runs-on: x, steps: [{run: echo}]}}\n`
})()
const nested = (text: string) => `on: push\njobs:\n  a:\n    runs-on: self-hosted\n    if: ${text}\n    steps: [{run: echo}]\n`
const join = (depth: number): string => (depth === 0 ? "'xxxxxxxxxx'" : `format('{0}{0}{0}{0}{0}{0}{0}{0}{0}{0}', ${join(depth - 1)})`)

test.each<[string, string | Buffer, RegExp]>([
  ['an alias bomb', bomb, /nodes|alias|too (?:many|large)|longer than|too much memory/i],
  ['a file of a megabyte and a byte', `# ${'x'.repeat(1024 * 1024)}\n${steps(1)}`, /larger than 1048576 bytes/],
  ['10,000 steps', steps(10_000), /steps|more than 10,000 values|longer than 2 s/i],
  [
    'an expression of a thousand parentheses',
    nested(`\${{ ${'('.repeat(2000)}true${')'.repeat(2000)} }}`),
    /nest|depth|deep|expression|memory/i,
  ],
  ['an expression that grows tenfold nine times', nested(`\${{ ${join(9)} == '' }}`), /makes more than 2 MiB of text/],
  ['bytes that are not UTF-8', Buffer.from(`name: caf\xe9\n${steps(1)}`, 'latin1'), /not UTF-8/],
  ['a thousand lists in each other', `on: push\njobs: ${'['.repeat(3000)}${']'.repeat(3000)}\n`, /nest|depth|deep|memory|nodes/i],
])('a pushed workflow with %s is a failed run that says so, and others are served meanwhile', async (_name, content, expected) => {
  await using server = await startServer({ background: true })
  const { token } = await server.user('mona')
  await server.organization('acme', { mona: 'owner' })
  const repository = await server.repository('acme', 'rocket')
  const call = server.call(token)
  let isOver = false
  const waits: number[] = []
  const others = (async () => {
    while (!isOver) {
      const began = performance.now()
      await call('GET', '/user')
      waits.push(performance.now() - began)
    }
  })()

  const remote = await server.push(token, repository, { '.github/workflows/ci.yml': content })

  isOver = true
  await others
  const { workflow_runs: runs } = (await (await call('GET', '/repos/acme/rocket/actions/runs')).json()) as {
    workflow_runs: { id: number; status: string; conclusion: string; problem: string | null }[]
  }
  expect(runs).toMatchObject([{ status: 'completed', conclusion: 'failure' }])
  const { jobs } = (await (await call('GET', `/repos/acme/rocket/actions/runs/${runs[0]?.id}/jobs`)).json()) as {
    jobs: { problem: string | null }[]
  }
  const said = [remote, runs[0]?.problem, ...jobs.map(({ problem }) => problem)].join('\n')
  expect(said).toMatch(expected)
  expect(said).not.toMatch(/\n\s+at /)
  expect(Math.max(...waits)).toBeLessThan(1000)
})

test('an event that starts nothing yet is named with its line in the answer to the push, and the file runs for the push', async () => {
  await using server = await startServer()
  const { token } = await server.user('mona')
  await server.organization('acme', { mona: 'owner' })
  const repository = await server.repository('acme', 'rocket')
  const jobs = 'jobs: {a: {runs-on: x, steps: [{run: echo}]}}\n'

  const remote = await server.push(token, repository, {
    '.github/workflows/both.yml': `name: Both\non:\n  push:\n  schedule: [{cron: '0 0 * * *'}]\n${jobs}`,
    '.github/workflows/pr.yml': `on: pull_request\n${jobs}`,
  })

  expect(remote).toContain('Both #1 started')
  expect(remote).toContain(
    ".github/workflows/both.yml, line 4: 'schedule' is not offered by this version of Fleetfoot yet, it starts nothing.",
  )
  expect(remote).toContain(".github/workflows/pr.yml, line 1: 'pull_request' is not offered")
})

test('filters that explode do not: a push with many stars is decided at once', async () => {
  await using server = await startServer()
  const { token } = await server.user('mona')
  await server.organization('acme', { mona: 'owner' })
  const repository = await server.repository('acme', 'rocket')
  const pattern = '**a'.repeat(12)
  const workflow = `on: {push: {branches: ['${pattern}b', main]}}\njobs: {a: {runs-on: x, steps: [{run: echo}]}}\n`

  const began = performance.now()
  const remote = await server.push(token, repository, { '.github/workflows/ci.yml': workflow }, { branch: 'a'.repeat(120) })

  expect(remote).not.toContain('started')
  expect(performance.now() - began).toBeLessThan(5000)
})

test('names that hold NUL and half characters are refused or cleaned, and the push is settled', async () => {
  await using server = await startServer()
  const { token } = await server.user('mona')
  await server.organization('acme', { mona: 'owner' })
  const repository = await server.repository('acme', 'rocket')
  const workflow = (name: string) =>
    `name: "${name}"\nrun-name: "${name}"\non: push\njobs: {a: {name: "${name}", runs-on: x, env: {A: "${name}"}, steps: [{name: "${name}", run: echo}]}}\n`

  await server.push(token, repository, {
    '.github/workflows/nul.yml': workflow('a\\0b'),
    '.github/workflows/half.yml': workflow('a\\ud800b'),
  })

  const { workflow_runs: runs } = (await (await server.call(token)('GET', '/repos/acme/rocket/actions/runs')).json()) as {
    workflow_runs: { path: string }[]
  }
  expect(runs).toHaveLength(2)
  expect(runs.find(({ path }) => path.includes('nul.yml'))).toMatchObject({
    conclusion: 'failure',
    problem: expect.stringContaining('NUL') as string,
  })
  expect(await server.deps.db.selectFrom('push').select('state').execute()).toEqual([{ state: 'settled' }])
})

test('a name that an expression makes of NUL is cleaned, and the run goes on', async () => {
  await using server = await startServer()
  const { token } = await server.user('mona')
  await server.organization('acme', { mona: 'owner' })
  const repository = await server.repository('acme', 'rocket')
  const nul = '${{ fromJSON(\'"a\\u0000b"\') }}'

  await server.push(token, repository, {
    '.github/workflows/ci.yml': `run-name: ${nul}\non: push\njobs:\n  a:\n    name: ${nul}\n    runs-on: ${nul}\n    steps: [{run: echo}]\n`,
  })

  const { jobs } = (await (await server.call(token)('GET', '/repos/acme/rocket/actions/runs/1/jobs')).json()) as { jobs: unknown[] }
  expect(jobs).toMatchObject([{ name: 'ab', labels: ['ab'], status: 'queued' }])
})
