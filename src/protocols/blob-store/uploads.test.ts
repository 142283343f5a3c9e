import { Agent, request as httpRequest } from 'node:http'
import { expect, test } from 'vitest'
import { MARK, put, runningJob, sdk, stamped } from '../../../test/support/running-job.ts'
import { startServer } from '../../../test/support/start-server.ts'

const STEP = '0f0e0d0c-0000-4000-8000-000000000001'

async function finish(job: Awaited<ReturnType<typeof runningJob>>, lineCount: number) {
  await job.logDone(undefined, lineCount)
  await job.runner.complete(job.message)
  return job.log()
}

test('a log of one block is put whole: 201 exactly, the headers of the SDK, no byte-order mark', async () => {
  await using server = await startServer()
  const job = await runningJob(server)

  const answer = await sdk.put(await job.logUrl(), MARK + stamped(['one', 'zwei ü']))

  expect(answer.status).toBe(201)
  expect(Object.fromEntries(answer.headers)).toMatchObject({
    etag: expect.stringMatching(/^"0x/) as string,
    'last-modified': expect.stringContaining('GMT') as string,
    'x-ms-version': '2023-01-03',
    'x-ms-request-id': expect.stringMatching(/:/) as string,
    'x-ms-client-request-id': expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
  })
  expect(await finish(job, 2)).toBe(stamped(['one', 'zwei ü']))
})

test('the same put again is a success, and the later one counts', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  await sdk.put(await job.logUrl(), stamped(['one']))

  const again = await sdk.put(await job.logUrl(), stamped(['one', 'two']))

  expect(again.status).toBe(201)
  expect(await finish(job, 2)).toBe(stamped(['one', 'two']))
})

test('a log is not written any more when its job ended a while ago', async () => {
  const clock = { ahead: 0 }
  await using server = await startServer({ now: () => Date.now() + clock.ahead })
  const job = await runningJob(server)
  const url = await job.logUrl()
  await sdk.put(url, stamped(['one']))
  await finish(job, 1)

  clock.ahead = 6 * 60_000

  expect((await sdk.put(url, stamped(['forged']))).status).toBe(403)
  expect((await sdk.create(url)).status).toBe(403)
  expect((await sdk.append(url, stamped(['forged']))).status).toBe(403)
  expect(await job.log()).toBe(stamped(['one']))
})

test('a summary larger than the runner was told is refused, also when its length is not said', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  const large = 'x'.repeat(1024 * 1024 + 1)

  expect((await sdk.put(await job.summaryUrl(STEP), large)).status).toBe(413)
  const body = new Blob([large]).stream()
  const chunked = await fetch(await job.summaryUrl(STEP), {
    method: 'PUT',
    body,
    duplex: 'half',
    headers: { 'x-ms-blob-type': 'BlockBlob' },
  })
  expect(chunked.status).toBe(413)
})

test('a small log is kept in the database, a larger one in the blob store, and a repeat may be of the other size', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  const large = Array.from({ length: 200 }, (_, index) => `line ${index + 1}`)
  const url = await job.logUrl()
  const inStore = () => server.deps.blobs.size(new URL(url).pathname.replace('/_blobs/', ''))

  await sdk.put(url, MARK + stamped(['one']))
  expect(await inStore()).toBeUndefined()
  expect(await (await fetch(url)).text()).toBe(stamped(['one']))

  await sdk.put(url, MARK + stamped(large))
  expect(await inStore()).toBe(Buffer.byteLength(stamped(large)))
  expect(await (await fetch(url)).text()).toBe(stamped(large))

  await sdk.put(url, MARK + stamped(['two']))
  expect(await finish(job, 1)).toBe(stamped(['two']))
})

test('a long log is created, appended to and sealed; each block loses its mark', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  const url = await job.logUrl()

  const created = await sdk.create(url)
  const first = await sdk.append(url, MARK + stamped(['one', 'two']))
  const second = await sdk.append(await job.logUrl(), MARK + stamped(['three']))
  const empty = await sdk.append(url, '')
  const sealed = await sdk.seal(url)

  expect([created, first, second, empty, sealed].map(({ status }) => status)).toEqual([201, 201, 201, 201, 200])
  expect(first.headers.get('x-ms-blob-append-offset')).toBe('0')
  expect(second.headers.get('x-ms-blob-append-offset')).toBe(String(stamped(['one', 'two']).length))
  expect(second.headers.get('x-ms-blob-committed-block-count')).toBe('2')
  expect(await finish(job, 3)).toBe(stamped(['one', 'two', 'three']))
})

test('the same append again, after an answer that was lost, is not doubled', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  const url = await job.logUrl()
  await sdk.create(url)
  const id = crypto.randomUUID()

  const first = await sdk.append(url, stamped(['one']), id)
  const together = await Promise.all([1, 2, 3].map(() => sdk.append(url, stamped(['one']), id)))
  await sdk.append(url, stamped(['two']))
  await sdk.seal(url)
  const sealedAgain = await sdk.seal(url)

  expect([first, ...together].map(({ status }) => status)).toEqual([201, 201, 201, 201])
  expect(together.map(({ headers }) => headers.get('x-ms-blob-append-offset'))).toEqual(['0', '0', '0'])
  expect(sealedAgain.status).toBe(200)
  expect(await finish(job, 2)).toBe(stamped(['one', 'two']))
})

test('blocks that come at once are all kept', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  const url = await job.logUrl()
  await sdk.create(url)
  const lines = Array.from({ length: 20 }, (_, index) => `line ${index}`)

  const answers = await Promise.all(lines.map((line) => sdk.append(url, MARK + stamped([line]))))
  await sdk.seal(url)

  expect(answers.every(({ status }) => status === 201)).toBe(true)
  expect((await finish(job, 20)).split('\n').sort()).toEqual(stamped(lines).split('\n').sort())
})

test('a block that was acknowledged while the object was being sealed is in it; a later one is refused', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  const url = await job.logUrl()
  await sdk.create(url)
  await sdk.append(url, stamped(['one']))
  const { blobs } = server.deps
  const concatenate = blobs.concatenate.bind(blobs)
  let meanwhile: Response | undefined
  blobs.concatenate = async (key, parts) => {
    meanwhile ??= await sdk.append(url, stamped(['two']))
    return concatenate(key, parts)
  }

  const sealed = await sdk.seal(url)
  const late = await sdk.append(url, stamped(['three']))

  expect([meanwhile?.status, sealed.status, late.status]).toEqual([201, 200, 409])
  expect(late.headers.get('x-ms-error-code')).toBe('BlobAlreadyExists')
  expect(await finish(job, 2)).toBe(stamped(['one', 'two']))
})

test('the hand-made calls of a runner without the SDK: appends without a create, sealed with the last; the lines that its defect dropped are marked', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  const url = await job.logUrl(STEP)

  const middle = await put(url, { query: 'comp=appendblock', headers: { 'x-ms-blob-sealed': 'False' }, body: MARK + stamped(['three']) })
  const last = await put(url, {
    query: 'comp=appendblock&seal=true',
    headers: { 'x-ms-blob-sealed': 'True' },
    body: MARK + stamped(['four']),
  })
  const after = await put(url, { query: 'comp=appendblock', body: 'x' })
  await job.updateSteps(1, [{ external_id: STEP, number: 1, name: 'Set up job' }])
  await job.logDone(STEP, 4)
  await job.runner.complete(job.message, 'succeeded', { stepResults: null as never })

  expect([middle.status, last.status, after.status]).toEqual([201, 201, 409])
  expect(await job.log()).toMatch(/^2026\S+ three\n2026\S+ four\n\S+ ##\[warning\]2 lines are missing here/)
})

test('sealing what is not there is 404, putting over an object that is appended to 409', async () => {
  await using server = await startServer()
  const job = await runningJob(server)

  const sealed = await sdk.seal(await job.logUrl(STEP))
  await sdk.create(await job.logUrl(STEP))
  const over = await sdk.put(await job.logUrl(STEP), 'whole')
  const unknown = await put(await job.logUrl(STEP), { query: 'comp=blocklist' })

  expect([sealed.status, over.status, unknown.status]).toEqual([404, 409, 400])
  expect(await over.text()).toContain('<Error><Code>BlobAlreadyExists</Code>')
})

test('an address is good for its object, its use and its time', async () => {
  let skew = 0
  await using server = await startServer({ now: () => Date.now() + skew })
  const job = await runningJob(server)
  const mine = new URL(await job.logUrl(STEP))
  const other = new URL(await job.logUrl())
  await sdk.put(mine.href, stamped(['one']))
  await sdk.put(other.href, stamped(['one']))
  await job.logDone(undefined, 1)
  await job.runner.complete(job.message)
  const redirect = await server.admin('GET', `/repos/acme/${job.repository.name}/actions/jobs/${job.id}/logs`)
  const readOnly = new URL(redirect.headers.get('location') ?? '')
  const changed = (url: URL, name: string, value: string) => {
    const copy = new URL(url)
    copy.searchParams.set(name, value)
    return copy.href
  }

  const refused = {
    'of another object': await put(other.origin + other.pathname + mine.search),
    'without a signature': await put(mine.origin + mine.pathname),
    'longer than it was signed for': await put(changed(mine, 'se', String(Number(mine.searchParams.get('se')) + 1))),
    'with another permission': await put(changed(readOnly, 'sp', 'rw')),
    'to write what may be read': await put(readOnly.href, { body: 'forged' }),
    'not a number': await put(changed(mine, 'se', 'NaN')),
  }
  const read = await fetch(readOnly)
  skew = 24 * 60 * 60_000 + 1000
  const expired = await put(mine.href)
  const expiredRead = await fetch(readOnly)

  expect(Object.entries(refused).map(([name, { status }]) => [name, status])).toEqual(Object.keys(refused).map((name) => [name, 403]))
  expect(read.status).toBe(200)
  expect([expired.status, expiredRead.status]).toEqual([403, 403])
  expect(expired.headers.get('content-type')).toBe('application/xml')
  expect(expired.headers.get('connection')).toBe('close')
})

test('a log is handed out as text that a browser makes no page of', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  await sdk.put(await job.logUrl(), stamped(['<script>alert(1)</script>']))
  await job.logDone(undefined, 1)
  await job.runner.complete(job.message)

  const redirect = await server.admin('GET', `/repos/acme/${job.repository.name}/actions/jobs/${job.id}/logs`)
  const { headers } = await fetch(redirect.headers.get('location') ?? '')

  expect(Object.fromEntries(headers)).toMatchObject({
    'content-type': 'text/plain; charset=utf-8',
    'x-content-type-options': 'nosniff',
    'content-security-policy': "sandbox; default-src 'none'",
  })
})

test('when the disk fails in the middle of an upload the client hears 503, and its repeat is whole', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  const url = new URL(await job.logUrl())
  const { blobs } = server.deps
  const write = blobs.put.bind(blobs)
  blobs.put = async (_key, body) => {
    if (Buffer.isBuffer(body)) throw new Error('not a stream')
    for await (const chunk of body) if (chunk) throw Object.assign(new Error('no space left on device'), { code: 'ENOSPC' })
    return 0
  }
  const body = Buffer.alloc(4 * 1024 * 1024, 'x'.repeat(99) + '\n')

  const refused = await upload(url, body)
  blobs.put = write
  const repeated = await upload(url, body)

  expect(refused).toMatchObject({ status: 503, code: 'ServerBusy' })
  expect(repeated.status).toBe(201)
  expect((await finish(job, body.toString().split('\n').length - 1)).length).toBe(body.length)
})

test('an upload that breaks off leaves nothing', async () => {
  await using server = await startServer()
  const job = await runningJob(server)
  const url = new URL(await job.logUrl())

  await new Promise<void>((resolve) => {
    const sent = httpRequest(url, { method: 'PUT', headers: { 'content-length': '1000', 'x-ms-blob-type': 'BlockBlob' } })
    sent.on('error', () => resolve())
    sent.write('half', () => setTimeout(() => sent.destroy(), 50))
  })

  expect(await (await sdk.put(url.href, stamped(['whole']))).text()).toBe('')
  expect(await finish(job, 1)).toBe(stamped(['whole']))
})

/** Sends a body in one go on a connection of its own, as .NET does: the answer is read when all is sent. */
function upload(url: URL, body: Buffer): Promise<{ status: number | undefined; code: string | undefined }> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-length': String(body.length), 'x-ms-blob-type': 'BlockBlob' }
    const sent = httpRequest(url, { method: 'PUT', agent: new Agent(), headers }, (answer) => {
      answer.resume()
      answer.on('end', () => resolve({ status: answer.statusCode, code: answer.headers['x-ms-error-code'] as string | undefined }))
    })
    sent.on('error', reject)
    sent.end(body)
  })
}
