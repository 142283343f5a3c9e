import { expect, test } from 'vitest'
import { runningJob } from '../../test/support/running-job.ts'
import { startServer } from '../../test/support/start-server.ts'

/* If-None-Match and If-Modified-Since (rest-api.md 3.7). */

/** A server whose clock a test moves. */
async function startClocked() {
  const clock = { ahead: 0 }
  const server = await startServer({ now: () => Date.now() + clock.ahead })
  const get = (target: string, headers: Record<string, string> = {}) => server.admin('GET', target, undefined, headers)
  const modified = async (target: string) => (await get(target)).headers.get('last-modified')
  const since = async (target: string, at: string, headers: Record<string, string> = {}) =>
    (await get(target, { 'If-Modified-Since': at, ...headers })).status
  return { server, clock, get, modified, since, [Symbol.asyncDispose]: () => server[Symbol.asyncDispose]() }
}

/** The time of an object as a header has it. */
const headerTime = (text: unknown) => new Date(String(text)).toUTCString()

test('what tells when it was changed has that as Last-Modified, and is not sent again to who saw it since', async () => {
  await using t = await startClocked()
  const { server, clock, get } = t
  const job = await runningJob(server)
  await job.runner.complete(job.message)
  const { full_name: repository } = (await (await get(`/repos/acme/${job.repository.name}`)).json()) as { full_name: string }
  const hook = { name: 'web', config: { url: 'http://127.0.0.1:9/' } }
  const { id: hookId } = (await (await server.admin('POST', '/orgs/acme/hooks', hook)).json()) as { id: number }
  clock.ahead += 10_000
  const targets = [
    `/repos/${repository}`,
    `/repositories/${job.repository.id}`,
    '/orgs/acme',
    '/users/admin',
    '/user',
    `/repos/${repository}/actions/runs/${job.runId}`,
    `/repos/${repository}/actions/jobs/${job.id}`,
    `/repos/${repository}/actions/workflows/1`,
    `/orgs/acme/hooks/${hookId}`,
  ]

  for (const target of targets) {
    const answer = await get(target)
    const body = (await answer.json()) as { updated_at?: string; completed_at?: string }
    const at = answer.headers.get('last-modified') ?? ''
    expect([target, answer.status, at]).toEqual([target, 200, headerTime(body.updated_at ?? body.completed_at)])
    const again = await get(target, { 'If-Modified-Since': at })
    expect([target, again.status, await again.text(), again.headers.get('last-modified')]).toEqual([target, 304, '', at])
    expect([again.headers.get('content-type'), again.headers.get('content-length')]).toEqual([null, null])
    expect(again.headers.get('etag')).toBe(answer.headers.get('etag'))
  }
})

test('a change is seen by who asks by time', async () => {
  await using t = await startClocked()
  const { server, clock, modified, since } = t
  await server.organization('acme')
  await server.admin('POST', '/orgs/acme/repos', { name: 'rocket' })
  clock.ahead += 10_000
  const repository = (await modified('/repos/acme/rocket')) ?? ''
  const organization = (await modified('/orgs/acme')) ?? ''
  expect(await since('/repos/acme/rocket', repository)).toBe(304)

  await server.admin('PATCH', '/repos/acme/rocket', { description: 'flies' })
  await server.admin('POST', '/orgs/acme/repos', { name: 'other' })
  expect(await since('/repos/acme/rocket', repository)).toBe(200)
  expect(await since('/orgs/acme', organization)).toBe(200)
  clock.ahead += 10_000
  const later = (await modified('/orgs/acme')) ?? ''
  await server.admin('DELETE', '/repos/acme/other')
  expect(await since('/orgs/acme', later)).toBe(200)
})

test('a thing that was changed a moment ago has no time yet: it may change again in the same second', async () => {
  await using t = await startClocked()
  const { server, clock, modified, since } = t
  await server.organization('acme')
  await server.admin('POST', '/orgs/acme/repos', { name: 'rocket' })

  expect(await modified('/repos/acme/rocket')).toBe(null)
  expect(await since('/repos/acme/rocket', new Date(Date.now() + clock.ahead).toUTCString())).toBe(200)
})

test('the ETag decides where both are sent, and a time that is none or to come is not looked at', async () => {
  await using t = await startClocked()
  const { clock, get, modified, since } = t
  clock.ahead += 10_000
  const at = (await modified('/user')) ?? ''
  const etag = (await get('/user')).headers.get('etag') ?? ''

  expect(await since('/user', at, { 'If-None-Match': '"other"' })).toBe(200)
  expect(await since('/user', headerTime(0), { 'If-None-Match': `W/${etag}` })).toBe(304)
  expect(await since('/user', headerTime(0))).toBe(200)
  for (const text of ['soon', '2026-01-01T00:00:00Z', 'x GMT', headerTime(Date.now() + 3_600_000)])
    expect(await since('/user', text)).toBe(200)
})

test('lists, runners and what changes without its time have an ETag alone', async () => {
  await using t = await startClocked()
  const { server, clock, get } = t
  await server.organization('acme')
  await server.repository('acme', 'rocket')
  const hook = { config: { url: 'http://127.0.0.1:9/' } }
  const { id } = (await (await server.admin('POST', '/repos/acme/rocket/hooks', hook)).json()) as { id: number }
  clock.ahead += 10_000

  for (const target of ['/orgs/acme/repos', '/orgs/acme/actions/runners', `/repos/acme/rocket/hooks/${id}`, '/rate_limit']) {
    const { headers, status } = await get(target)
    expect([target, status, headers.has('etag'), headers.get('last-modified')]).toEqual([target, 200, true, null])
  }
})
