import { expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { eventually } from '../../../test/support/eventually.ts'
import { follow, openFeed } from '../../../test/support/live-feed.ts'
import { runningJob } from '../../../test/support/running-job.ts'
import { startServer } from '../../../test/support/start-server.ts'

const STEP = '0f0e0d0c-0000-4000-8000-000000000001'

test('lines that come in fragments reach a follower as they come', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  await using follower = await follow(job)
  await using feed = await openFeed(job)

  feed.send(1, ['Run make', 'ü'.repeat(1500)], { stepId: STEP, fragment: 1024 })

  await eventually(() => expect(follower.lines()).toEqual(['Run make', 'ü'.repeat(1500)]))
  expect(follower.events.find(({ event }) => event === 'lines')?.data).toMatchObject({ step_id: STEP, start_line: 1 })
})

test.each([
  ['no token', () => undefined, 401],
  ['a wrong token', () => 'wrong', 401],
  ["a runner's token", (job: Job) => job.runner.token, 401],
  ['the token of another job', (_job: Job, other: Job) => other.token, 403],
] as [string, (job: Job, other: Job) => string | undefined, number][])('%s opens no feed', async (_name, tokenOf, status) => {
  await using server = await startServer()
  const [job, other] = [await runningJob(server), await runningJob(server)]
  const token = tokenOf(job, other)

  const answered = await handshake(feedUrl(job), token)

  expect(answered).toBe(status)
})

test('a job that has ended opens no feed, nor does a path that is none', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  await job.runner.complete(job.message)

  expect(await handshake(feedUrl(job), job.token)).toBe(403)
  expect(await handshake(feedUrl(job).replace('/_feed/', '/_other/'), job.token)).toBe(404)
})

test('what is no message of lines is dropped, and the feed goes on', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  await using follower = await follow(job)
  await using feed = await openFeed(job)

  for (const text of ['{', '[]', 'null', '{"value":"x","stepId":"y"}', '{"value":[1,null],"stepId":"y"}', '\0']) feed.raw(text)
  feed.raw(Buffer.from([0xff, 0xfe]))
  feed.send(1, ['a\0b', 'next'])

  await eventually(() => expect(follower.lines()).toEqual(['ab', 'next']))
})

test('a feed that was cut off is opened again and goes on where it was', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  await using follower = await follow(job)
  const first = await openFeed(job)
  first.send(1, ['one'])
  await eventually(() => expect(follower.lines()).toEqual(['one']))

  first.terminate()
  await using second = await openFeed(job)
  second.send(2, ['two'])

  await eventually(() => expect(follower.lines()).toEqual(['one', 'two']))
})

type Job = Awaited<ReturnType<typeof runningJob>>

function feedUrl({ message }: Job): string {
  return message.resources.endpoints[0]?.data['FeedStreamUrl'] ?? ''
}

/** The status that a handshake was answered. */
function handshake(url: string, token: string | undefined): Promise<number | undefined> {
  return new Promise((resolve) => {
    const ws = new WebSocket(url, { headers: token === undefined ? {} : { Authorization: `Bearer ${token}` } })
    ws.on('unexpected-response', (_request, answer) => resolve(answer.statusCode))
    ws.on('open', () => resolve(101))
    ws.on('error', () => {})
  })
}
