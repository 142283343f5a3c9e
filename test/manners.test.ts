import { expect, test } from 'vitest'
import { startServer } from './support/start-server.ts'

/* What every call below `/api` has in common, whichever room it is of (rest-api.md 3). */

const ALWAYS = [
  'x-github-request-id',
  'x-github-media-type',
  'x-github-enterprise-version',
  'x-github-api-version-selected',
  'x-ratelimit-limit',
  'x-ratelimit-remaining',
  'x-ratelimit-used',
  'x-ratelimit-reset',
  'x-ratelimit-resource',
  'access-control-allow-origin',
  'access-control-expose-headers',
  'x-content-type-options',
  'vary',
]

test('every route below /api tells versions, limits and CORS, whoever asks, and answers a preflight', async () => {
  await using server = await startServer()
  const routes = server.running.routes.filter(({ url, access }) => access?.by === 'actor' && url.startsWith('/api/'))
  const wrong: string[] = []
  for (const { method, url } of routes) {
    const target = url.replaceAll(/:\w+/g, '1').replace(/\*$/, 'main')
    const body = method === 'GET' || method === 'DELETE' ? undefined : '{}'
    const answer = await server.call(undefined)(method, target, body)
    await answer.text()
    const missing = ALWAYS.filter((name) => !answer.headers.has(name))
    if (missing.length > 0) wrong.push(`${method} ${url}: ${answer.status} without ${missing.join(', ')}`)
    const preflight = await server.call(undefined)('OPTIONS', target)
    if (preflight.status !== 204 || !preflight.headers.get('access-control-allow-methods')?.includes(method))
      wrong.push(`OPTIONS ${url}: ${preflight.status}`)
  }

  expect(wrong).toEqual([])
  expect(new Set(routes.map(({ url }) => url.split('/')[2]))).toEqual(new Set(['v3', 'graphql', 'fleetfoot']))
})

test('a preview that is asked for is told, and had anyway', async () => {
  await using server = await startServer()
  const told = async (target: string, accept: string) =>
    (await server.admin('GET', target, undefined, { Accept: accept })).headers.get('x-github-media-type')

  for (const target of ['/user', '/api/fleetfoot/queue']) {
    expect(await told(target, 'application/json')).toBe('github.v3; format=json')
    expect(await told(target, 'application/vnd.github.nebula-preview+json')).toBe('github.v3; param=nebula-preview; format=json')
    expect(await told(target, 'text/html, application/vnd.github.Antiope-Preview+json;q=0.9')).toBe(
      'github.v3; param=antiope-preview; format=json',
    )
  }
})

test('a version, a type and a client that GitHub refuses are refused everywhere', async () => {
  await using server = await startServer()
  for (const target of ['/api/v3/user', '/api/fleetfoot/queue']) {
    const status = async (headers: Record<string, string>) => (await server.admin('GET', target, undefined, headers)).status
    expect(await status({ 'X-GitHub-Api-Version': '1999-01-01' })).toBe(400)
    expect(await status({ Accept: 'text/html' })).toBe(415)
    expect(await status({ 'User-Agent': '' })).toBe(403)
    expect(await status({ 'X-GitHub-Api-Version': '2026-03-10', Accept: 'application/vnd.github+json' })).toBe(200)
  }
})
