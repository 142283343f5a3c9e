import { connect } from 'node:net'
import { expect, test } from 'vitest'
import { eventually } from '../../../test/support/eventually.ts'
import { follow, openFeed } from '../../../test/support/live-feed.ts'
import { runningJob, sdk, stamped } from '../../../test/support/running-job.ts'
import { startServer } from '../../../test/support/start-server.ts'
import { chunkAppend } from '../../store/logs.ts'
import { pruneSpares } from '../maintenance.ts'
import { FeedWriter } from './live.ts'

const STEP = '0f0e0d0c-0000-4000-8000-000000000001'
const numbers = (from: number, to: number) => Array.from({ length: to - from + 1 }, (_, index) => `line ${from + index}`)

test('two followers get each line as it comes, the states, and the end', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  await using first = await follow(job)
  await using second = await follow(job)
  await using feed = await openFeed(job)

  feed.send(1, ['one'])
  await eventually(() => expect([first.lines(), second.lines()]).toEqual([['one'], ['one']]))
  feed.send(2, ['two'])
  await eventually(() =>
    expect([first.lines(), second.lines()]).toEqual([
      ['one', 'two'],
      ['one', 'two'],
    ]),
  )
  await job.runner.complete(job.message)
  await Promise.all([first.ended, second.ended])

  for (const { events } of [first, second]) {
    expect(events.map(({ event }) => event)).toEqual(['state', 'lines', 'lines', 'state', 'end'])
    expect(events[0]?.data).toEqual({ status: 'in_progress', conclusion: null })
    expect(events.at(-1)?.data).toEqual({ status: 'completed', conclusion: 'success' })
  }
})

test('a feed that goes on after its job has ended is cut off, and what it sends is not kept', async () => {
  const clock = { ahead: 0 }
  await using server = await startServer({ now: () => Date.now() + clock.ahead })
  const job = await runningJob(server)
  await using feed = await openFeed(job)
  feed.send(1, ['one'])
  const kept = () => server.deps.db.selectFrom('logChunk').select('lines').execute()
  await eventually(async () => expect(await kept()).toHaveLength(1))
  await job.runner.complete(job.message)

  clock.ahead = 2 * 60_000
  feed.send(2, ['two'])

  await feed.closed
  expect(await kept()).toHaveLength(1)
})

test('a follower whose token was revoked gets no more', async () => {
  const clock = { ahead: 0 }
  await using server = await startServer({ now: () => Date.now() + clock.ahead, times: { sweepEvery: 200 } })
  const job = await runningJob(server)
  const { token } = await server.user('mona')
  await server.admin('PUT', `/orgs/acme/memberships/mona`, { role: 'admin' })
  await using follower = await follow(job, { token })
  await using feed = await openFeed(job)
  feed.send(1, ['one'])
  await eventually(() => expect(follower.lines()).toEqual(['one']))

  await server.deps.db.deleteFrom('token').where('kind', '=', 'personal').execute()
  clock.ahead = 60_000
  feed.send(2, ['two'])

  await follower.ended
  expect(follower.lines()).toEqual(['one'])
})

test('a follower that comes back with the last id loses nothing and gets nothing twice', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  await using feed = await openFeed(job)
  const first = await follow(job)
  feed.send(1, numbers(1, 3))
  await eventually(() => expect(first.lines()).toHaveLength(3))
  await first[Symbol.asyncDispose]()
  feed.send(4, numbers(4, 6))

  await using second = await follow(job, { lastId: first.lastId() })
  feed.send(7, numbers(7, 9))
  await eventually(() => expect(second.lines()).toHaveLength(6))

  expect([...first.lines(), ...second.lines()]).toEqual(numbers(1, 9))
})

test.each(['nonsense', '-1', '99999999999999999999', 'u', '1.5'])('an id that is none (%s) begins at the beginning', async (lastId) => {
  await using server = await startServer()
  const job = await runningJob(server)
  await using feed = await openFeed(job)
  feed.send(1, ['one'])

  await using follower = await follow(job, { lastId })

  await eventually(() => expect(follower.lines()).toEqual(['one']))
})

test('a job of another repository, or for somebody who may not read it, is not there', async () => {
  await using server = await startServer()
  const [job, other] = [await runningJob(server), await runningJob(server)]
  const { token } = await server.user('stranger')

  await using elsewhere = await follow({ ...job, repository: other.repository })
  await using stranger = await follow(job, { token })

  expect([elsewhere.status, stranger.status]).toEqual([404, 404])
})

test('a job that has ended and whose live lines are deleted is followed from its uploaded log, and resumed there', async () => {
  let skew = 0
  await using server = await startServer({ now: () => Date.now() + skew })
  const job = await runningJob(server)
  const lines = numbers(1, 2500)
  await using feed = await openFeed(job)
  feed.send(1, lines.slice(0, 100))
  await job.updateSteps(1, [{ external_id: STEP, number: 1, name: 'Set up job' }])
  await sdk.put(await job.logUrl(STEP), stamped(lines))
  await job.logDone(STEP, lines.length)
  await sdk.put(await job.logUrl(), stamped(lines))
  await job.logDone(undefined, lines.length)
  await job.runner.complete(job.message, 'succeeded', { stepResults: null as never })
  await eventually(async () => expect(await server.deps.db.selectFrom('logChunk').select('seq').execute()).not.toEqual([]))
  skew = 2 * 60 * 60_000
  await eventually(async () => expect(await pruneSpares(server.deps)).toBe('1 logs'))

  await using whole = await follow(job)
  await whole.ended
  const cut = whole.events.find(({ event }) => event === 'lines')
  await using rest = await follow(job, { lastId: cut?.id })
  await rest.ended

  expect(whole.lines()).toEqual(lines)
  expect(whole.events.at(-1)?.event).toBe('end')
  expect([...(cut?.data.lines ?? []), ...rest.lines()]).toEqual(lines)
  expect(rest.events.find(({ event }) => event === 'lines')?.data).toMatchObject({ step_id: STEP, start_line: 1001 })
})

test('a follower that does not read costs no memory for what it has not read', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  const { db } = server.deps
  const { id: assignmentId } = await db.selectFrom('assignment').select('id').where('jobId', '=', job.id).executeTakeFirstOrThrow()
  const lines = Array.from({ length: 600 }, () => 'x'.repeat(1000))
  for (let i = 0; i < 100; i++) await chunkAppend(db, job.id, { assignmentId, stepId: STEP, startLine: 1 + i * 600, lines, createdAt: 1 })
  let read = 0
  const { db: counted } = server.deps
  const select = counted.selectFrom.bind(counted)
  counted.selectFrom = ((table: never) => {
    if (table === 'logChunk') read++
    return select(table)
  }) as never

  const { port, hostname } = new URL(server.url)
  const socket = connect(Number(port), hostname)
  socket.pause()
  socket.write(
    `GET /api/v3/repos/acme/${job.repository.name}/actions/jobs/${job.id}/logs/live HTTP/1.1\r\nHost: x\r\nUser-Agent: test\r\nAuthorization: token ${server.adminToken}\r\n\r\n`,
  )
  await eventually(() => expect(read).toBeGreaterThan(0))
  const before = await quiet(() => read)
  const after = await quiet(() => read)
  socket.destroy()

  // 60 MB are there to read; a few pages were fetched, and no more while nobody reads.
  expect(before).toBeLessThan(30)
  expect(after).toBe(before)
})

test('live lines that come while the database is away are written when it is back', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  const { db, now, signals, log } = server.deps
  const { id } = await db.selectFrom('assignment').select('id').where('jobId', '=', job.id).executeTakeFirstOrThrow()
  let isAway = true
  const flaky = new Proxy(db, {
    get(target, name) {
      if (name === 'insertInto' && isAway) throw Object.assign(new Error('refused'), { code: 'ECONNREFUSED' })
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  })
  await using follower = await follow(job)
  await using writer = new FeedWriter({ db: flaky, now, signals, log }, { id, jobId: job.id } as never)
  writer.add({ stepId: STEP, startLine: 1, lines: ['one'] })
  await quiet(() => 0)
  writer.add({ stepId: STEP, startLine: 2, lines: ['two'] })

  isAway = false

  await eventually(() => expect(follower.lines()).toEqual(['one', 'two']))
})

/** A value that did not change for a while. */
async function quiet<T>(value: () => T): Promise<T> {
  for (;;) {
    const before = value()
    await new Promise((resolve) => setTimeout(resolve, 300))
    if (value() === before) return before
  }
}
