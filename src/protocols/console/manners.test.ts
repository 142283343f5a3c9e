import { expect, test } from 'vitest'
import { oneJob, queueRun } from '../../../test/support/queue.ts'
import { startServer } from '../../../test/support/start-server.ts'

const QUEUE = '/api/fleetfoot/orgs/acme/queue'

async function startQueue(jobs: number) {
  const server = await startServer()
  await server.organization('acme')
  const repository = await server.repository('acme', 'rocket')
  for (let i = 0; i < jobs; i++) await queueRun(server, repository, oneJob())
  return server
}

test('the queue is read page by page, from link to link', async () => {
  await using server = await startQueue(3)
  const ids: number[] = []
  const rels: string[] = []

  let next: string | undefined = `${QUEUE}?per_page=1`
  while (next !== undefined) {
    const answer: Response = await server.admin('GET', next)
    ids.push(...((await answer.json()) as { jobs: { id: number }[] }).jobs.map(({ id }) => id))
    const link: string = answer.headers.get('link') ?? ''
    rels.push([...link.matchAll(/rel="(\w+)"/g)].map(([, rel]) => rel).join(' '))
    next = /<([^>]*)>; rel="next"/.exec(link)?.[1]?.slice(server.url.length)
  }

  expect(ids).toEqual([1, 2, 3])
  expect(rels).toEqual(['next last', 'prev next last first', 'prev first'])
  expect((await server.admin('GET', `${QUEUE}?per_page=1`)).headers.get('link')).toBe(
    `<${server.url}${QUEUE}?per_page=1&page=2>; rel="next", <${server.url}${QUEUE}?per_page=1&page=3>; rel="last"`,
  )
  expect((await server.admin('GET', QUEUE)).headers.has('link')).toBe(false)
})

test('a queue that did not change is not sent again, and is never shown without asking', async () => {
  await using server = await startQueue(1)
  const first = await server.admin('GET', QUEUE)
  const etag = first.headers.get('etag') ?? ''
  const again = await server.admin('GET', QUEUE, undefined, { 'If-None-Match': etag })

  expect(first.headers.get('cache-control')).toBe('private, no-cache')
  expect([again.status, await again.text(), again.headers.get('etag')]).toEqual([304, '', etag])
  expect(again.headers.get('x-ratelimit-used')).toBe(first.headers.get('x-ratelimit-used'))
  await server.admin('PATCH', `${QUEUE}/jobs/1`, { priority: 3 })
  expect((await server.admin('GET', QUEUE, undefined, { 'If-None-Match': etag })).status).toBe(200)
})

test('what is shown once is not kept by anybody on the way', async () => {
  await using server = await startServer()
  const made = await server.admin('POST', '/api/fleetfoot/users/admin/tokens', { name: 'ci', scopes: ['repo'] })

  expect([made.status, made.headers.get('cache-control')]).toEqual([201, 'no-store'])
})

test('one limit counts for both APIs', async () => {
  await using server = await startServer({ config: { rateLimit: 60 } })
  await server.organization('acme')
  const mona = await server.user('mona')
  for (let i = 0; i < 30; i++) {
    await mona.call('GET', '/user')
    await mona.call('GET', QUEUE)
  }

  const refused = await mona.call('GET', QUEUE)
  expect([refused.status, refused.headers.get('x-ratelimit-remaining')]).toEqual([403, '0'])
  expect(((await refused.json()) as { message: string }).message).toMatch(/^API rate limit exceeded for user ID \d+\.$/)
  expect((await mona.call('GET', '/user')).status).toBe(403)
})

test('an export comes as its own type, as one stream without an ETag', async () => {
  await using server = await startServer()
  await server.organization('acme')
  await server.repository('acme', 'rocket')
  const exported = (format: string, accept: string) =>
    server.admin('GET', `/api/fleetfoot/orgs/acme/audit-log/export?format=${format}`, undefined, { Accept: accept })

  for (const [format, type] of [
    ['csv', 'text/csv'],
    ['ndjson', 'application/x-ndjson'],
  ] as const) {
    const answer = await exported(format, type)
    expect([answer.status, answer.headers.get('content-type')?.split(';')[0]]).toEqual([200, type])
    expect([answer.headers.get('etag'), answer.headers.get('cache-control')]).toEqual([null, 'no-store'])
    expect((await answer.text()).trim()).not.toBe('')
  }
  expect((await exported('csv', 'image/png')).status).toBe(415)
})

test('every call with a body refuses keys that it does not know, and changes nothing', async () => {
  await using server = await startServer()
  await server.organization('acme')
  const own = server.running.routes.filter(({ url, schema }) => url.startsWith('/api/fleetfoot') && schema.body !== undefined)
  expect(own.length).toBeGreaterThan(10)
  expect(own.filter(({ schema }) => (schema.body as { additionalProperties?: unknown }).additionalProperties !== false)).toEqual([])

  const misspelt = { name: 'for a day', scopes: ['repo'], expire_at: '2027-01-01' }
  const refused = await server.admin('POST', '/api/fleetfoot/users/admin/tokens', misspelt)
  expect([refused.status, await refused.text()]).toEqual([422, expect.stringContaining('expire_at')])
  const app = { name: 'Scaler', owner: 'acme', permissions: { actions: 'read' } }
  expect((await server.admin('POST', '/api/fleetfoot/apps', app)).status).toBe(201)
  const everywhere = { account: 'acme', repositorys: ['acme/rocket'] }
  expect((await server.admin('POST', '/api/fleetfoot/apps/scaler/installations', everywhere)).status).toBe(422)
  expect(await server.deps.db.selectFrom('installation').select('id').execute()).toEqual([])
})
