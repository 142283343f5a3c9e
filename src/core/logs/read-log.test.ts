import { describe, expect, test } from 'vitest'
import { unzip } from '../../../test/support/unzip.ts'
import { put, runningJob, sdk, stamped } from '../../../test/support/running-job.ts'
import { startServer } from '../../../test/support/start-server.ts'
import { chunkAppend } from '../../store/logs.ts'
import { fromLiveLines, mend } from './read-log.ts'

const AT = Date.parse('2026-07-21T10:00:02.000Z')
const live = (lines: Record<number, string>) => new Map(Object.entries(lines).map(([number, text]) => [Number(number), { text, at: AT }]))
const abc = ['a', 'b', 'c', 'd', 'e', 'f']
const all = live(Object.fromEntries(abc.map((text, index) => [index + 1, text])))
/** The text of each line, `?` for a marked gap. */
const texts = (log: string) =>
  log
    .split('\n')
    .slice(0, -1)
    .map((line) =>
      line.includes('##[warning]') ? `?${/(\d+|One) line|rest/.exec(line)?.[0].replace(/ line/, '')}` : line.slice(line.indexOf(' ') + 1),
    )

describe('an uploaded log with lines missing', () => {
  test.each([
    ['in the middle: the live lines fill it', ['a', 'b', 'e', 'f'], 2, all, abc],
    ['at the end', ['a', 'b', 'c'], 3, all, abc],
    ['at the beginning', ['d', 'e', 'f'], 3, all, abc],
    ['all of it', [], 6, all, abc],
    [
      'in the middle, and the feed lost some of them: marked',
      ['a', 'b', 'f'],
      3,
      live({ 1: 'a', 2: 'b', 4: 'd', 6: 'f' }),
      ['a', 'b', '?One', 'd', '?One', 'f'],
    ],
    ['and no live line at all: marked at the end', ['a', 'b'], 2, live({}), ['a', 'b', '?2']],
    [
      'between equal lines: none is lost or doubled',
      ['x', 'x', 'z'],
      2,
      live({ 1: 'x', 2: 'x', 3: 'x', 4: 'y', 5: 'z' }),
      ['x', 'x', 'x', 'y', 'z'],
    ],
    [
      'and a long line that the feed cut',
      ['l'.repeat(3000), 'c'],
      1,
      live({ 1: `${'l'.repeat(1024)}...`, 2: 'b', 3: 'c' }),
      ['l'.repeat(3000), 'b', 'c'],
    ],
  ])('%s', (_name, uploaded, missing, lines, expected) => {
    const mended = mend(stamped(uploaded), missing, lines)

    expect(texts(mended)).toEqual(expected)
  })

  test('counts a message of several lines as the live lines do not tell otherwise', () => {
    const mended = mend(stamped(['a', 'b']), 1, live({ 3: 'c' }))

    expect(mended).toBe(`${stamped(['a', 'b'])}2026-07-21T10:00:02.0000000Z c\n`)
  })
})

describe('a log of live lines alone', () => {
  test.each([
    ['whole', live({ 1: 'a', 2: 'b' }), undefined, ['a', 'b']],
    ['with gaps', live({ 2: 'b', 5: 'e' }), undefined, ['?One', 'b', '?2', 'e']],
    ['that ends early', live({ 1: 'a' }), 3, ['a', '?2']],
    ['empty', live({}), undefined, []],
  ])('%s', (_name, lines, last, expected) => {
    expect(texts(fromLiveLines(lines, 1, last))).toEqual(expected)
  })
})

const [FIRST, SECOND] = ['0f0e0d0c-0000-4000-8000-000000000001', '0f0e0d0c-0000-4000-8000-000000000002']
const steps = [
  { external_id: FIRST, number: 1, name: 'Set up job' },
  { external_id: SECOND, number: 2, name: 'Run make: all/of it' },
]

async function liveLine(job: Awaited<ReturnType<typeof runningJob>>, stepId: string, startLine: number, lines: string[]) {
  const { db, now } = job.server.deps
  const assignment = await db.selectFrom('assignment').select('id').where('jobId', '=', job.id).executeTakeFirstOrThrow()
  await chunkAppend(db, job.id, { assignmentId: assignment.id, stepId, startLine, lines, createdAt: now() })
}

/** More than is kept in the database (docs/adr/0007). */
const LONG = Array.from({ length: 200 }, (_, index) => `line ${index + 1}`)

test('a job whose own log never came is read from the logs of its steps, and from live lines where a step has none', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  await job.updateSteps(1, steps)
  await sdk.put(await job.logUrl(FIRST), stamped(['one', 'two']))
  await job.logDone(FIRST, 2)
  await liveLine(job, SECOND, 1, ['three'])
  await liveLine(job, SECOND, 3, ['five'])

  await job.runner.complete(job.message)

  expect(texts(await job.log())).toEqual(['one', 'two', 'three', '?One', 'five', '?rest'])
})

test('a log object with lines missing gives way to the logs of the steps', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  await job.updateSteps(1, steps)
  await sdk.put(await job.logUrl(FIRST), stamped(['one', 'two']))
  await job.logDone(FIRST, 2)
  await sdk.put(await job.logUrl(), stamped(['one']))
  await job.logDone(undefined, 2)

  await job.runner.complete(job.message)

  expect(texts(await job.log())).toEqual(['one', 'two'])
})

test('blocks of a step whose runner died before the last are shown, and go on with the live lines', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  await job.updateSteps(1, steps)
  const url = await job.logUrl(SECOND)
  await sdk.create(url)
  await sdk.append(url, stamped(['one', 'two', 'three']))
  await liveLine(job, SECOND, 2, ['two', 'three', 'four'])

  await job.runner.complete(job.message, 'failed', { stepResults: null as never })

  expect(texts(await job.log())).toEqual(['one', 'two', 'three', 'four', '?rest'])
})

test('a log that the store has lost gives way to what else there is', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  await job.updateSteps(1, steps)
  const url = await job.logUrl()
  await put(url, { body: stamped(LONG) })
  await job.logDone(undefined, LONG.length)
  await liveLine(job, FIRST, 1, ['from the feed'])
  await job.runner.complete(job.message)

  await server.deps.blobs.delete(new URL(url).pathname.replace('/_blobs/', ''))

  expect(texts(await job.log())).toEqual(['from the feed'])
})

test('line numbers and counts are what the job says: absurd ones cost nothing', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  await job.updateSteps(1, steps)
  await liveLine(job, FIRST, 1, ['one'])
  await liveLine(job, FIRST, Number.MAX_SAFE_INTEGER - 1, ['far'])
  await put(await job.logUrl(SECOND), { body: stamped(['two']) })
  await job.logDone(SECOND, 999_999_999_999_999)
  await job.runner.complete(job.message, 'succeeded', { stepResults: null as never })

  const lines = texts(await job.log())
  expect(lines.map((line) => line.replace(/\d{6,}/, 'many'))).toEqual(['one', '?many', 'far', '?rest', 'two', '?many'])
})

test('more live lines than a call takes arguments are a log', () => {
  const live = new Map(Array.from({ length: 200_000 }, (_, index) => [index + 1, { text: 'x', at: 0 }]))
  expect(fromLiveLines(live, 1, undefined).split('\n')).toHaveLength(200_001)
})

test('a job without a line has no log', async () => {
  await using server = await startServer()
  const job = await runningJob(server)

  await job.runner.complete(job.message)

  await expect(job.log()).rejects.toThrow('404')
})

test("the zip of a run's logs has a file for each job and, in a folder of the job, one for each step, under names without / and :", async () => {
  await using server = await startServer()
  const job = await runningJob(
    server,
    'on: push\njobs:\n  a:\n    name: "build: all/of it"\n    runs-on: self-hosted\n    steps: [{run: echo hi}]\n',
  )
  await job.updateSteps(1, steps)
  for (const [index, { external_id: stepId }] of steps.entries()) {
    await sdk.put(await job.logUrl(stepId), stamped([`line of ${index + 1}`]))
    await job.logDone(stepId, 1)
  }
  await sdk.put(await job.logUrl(), stamped(['line of 1', 'line of 2']))
  await job.logDone(undefined, 2)
  await job.runner.complete(job.message, 'succeeded', { stepResults: null as never })

  const redirect = await server.admin('GET', `/repos/acme/${job.repository.name}/actions/runs/${job.runId}/logs`)
  const answer = await fetch(redirect.headers.get('location') ?? '')
  const files = unzip(Buffer.from(await answer.arrayBuffer()))

  expect(answer.headers.get('content-type')).toBe('application/zip')
  expect(Object.fromEntries(Object.entries(files).map(([name, text]) => [name, texts(text)]))).toEqual({
    '0_build allof it.txt': ['line of 1', 'line of 2'],
    'build allof it/1_Set up job.txt': ['line of 1'],
    'build allof it/2_Run make allof it.txt': ['line of 2'],
  })
})

test('a file that cannot be read in the middle of a zip breaks the answer off, and the server goes on', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  await job.updateSteps(1, steps)
  await sdk.put(await job.logUrl(FIRST), stamped(LONG))
  await job.logDone(FIRST, LONG.length)
  await job.runner.complete(job.message, 'succeeded', { stepResults: null as never })
  const { blobs } = server.deps
  blobs.get = async () => {
    throw Object.assign(new Error('the disk is broken'), { code: 'EIO' })
  }

  const redirect = await server.admin('GET', `/repos/acme/${job.repository.name}/actions/runs/${job.runId}/logs`)
  const read = fetch(redirect.headers.get('location') ?? '').then((answer) => answer.arrayBuffer())

  await expect(read).rejects.toThrow()
  expect((await server.admin('GET', '/user')).status).toBe(200)
})
