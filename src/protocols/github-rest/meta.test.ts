import { expect, test } from 'vitest'
import { fits } from '../../../test/support/fits.ts'
import { startServer } from '../../../test/support/start-server.ts'

test('anybody gets the root document, with and without a slash, and with a token its scopes', async () => {
  await using server = await startServer()
  const mona = await server.user('mona', { scopes: ['repo', 'admin:org'] })

  const root = await fits('meta/root', 200, server.call(undefined)('GET', '/api/v3'))
  expect(root).toMatchObject({ current_user_url: `${server.url}/api/v3/user` })
  expect(await fits('meta/root', 200, server.call(undefined)('GET', '/'))).toEqual(root)
  const signedIn = await mona.call('GET', '/')
  expect(signedIn.headers.get('x-oauth-scopes')).toBe('admin:org, repo')
  expect(signedIn.headers.get('x-accepted-oauth-scopes')).toBe('')
})

test('the server tells its version, its API versions and a sentence', async () => {
  await using server = await startServer()
  const anybody = server.call(undefined)

  expect(await fits('meta/get', 200, anybody('GET', '/meta'))).toMatchObject({ installed_version: '3.19.0' })
  expect(await fits('meta/get-all-versions', 200, anybody('GET', '/versions'))).toEqual(['2022-11-28', '2026-03-10'])
  expect(await fits('meta/get-zen', 200, anybody('GET', '/zen'))).toMatch(/^\w.*\.$/)
  expect(await fits('meta/get-octocat', 200, anybody('GET', '/octocat?s=hi%00%0A'))).toContain('< hi  |')
  expect(await fits('emojis/get', 200, anybody('GET', '/emojis'))).toEqual({})
})

test('who is refused for a credential or a header is counted by address, and told so', async () => {
  await using server = await startServer()
  const ask = async (target: string, headers: Record<string, string>) => {
    const { status, headers: told } = await server.call(undefined)('GET', target, undefined, headers)
    return [status, told.get('x-ratelimit-limit'), told.get('x-ratelimit-used'), told.get('x-ratelimit-resource')]
  }

  expect(await ask('/user', { Authorization: 'Bearer ghp_unknown' })).toEqual([401, '60', '1', 'core'])
  expect(await ask('/user', { 'X-GitHub-Api-Version': '1999-01-01' })).toEqual([400, '60', '2', 'core'])
  expect(await ask('/user', { Accept: 'text/html' })).toEqual([415, '60', '3', 'core'])
  expect(await ask('/user', { 'User-Agent': '' })).toEqual([403, '60', '4', 'core'])
  expect(await ask('/user', {})).toEqual([401, '60', '5', 'core'])
  expect(await ask('/nowhere', { Authorization: 'Bearer ghp_unknown' })).toEqual([401, '60', '6', 'core'])
})

test('asking for the rate limit is free, anything else is counted', async () => {
  await using server = await startServer()
  const mona = await server.user('mona')
  const used = async () => Number((await mona.call('GET', '/rate_limit')).headers.get('x-ratelimit-used'))

  expect(await used()).toBe(0)
  await mona.call('GET', '/user')
  expect(await used()).toBe(1)
  expect(await used()).toBe(1)
  const body = await fits('rate-limit/get', 200, mona.call('GET', '/rate_limit'))
  expect(body.rate).toMatchObject({ used: 1 })
  expect(body.resources.core).toEqual(body.rate)
})

test('GraphQL and machines that register are counted apart', async () => {
  await using server = await startServer()
  const mona = await server.user('mona')
  await server.organization('acme', { mona: 'owner' })
  const registration = await server.registrationToken('/orgs/acme', mona.token)
  const byMachine = { Authorization: `RemoteAuth ${registration}` }
  const body = { url: `${server.url}/acme`, runner_event: 'register' }

  const query = await mona.call('POST', '/api/graphql', { query: '{ viewer { login } }' })
  const registered = await server.call(undefined)('POST', '/actions/runner-registration', body, byMachine)
  const listed = await server.call(undefined)('GET', '/orgs/acme/actions/runners', undefined, byMachine)
  const told = ({ headers }: Response) => [headers.get('x-ratelimit-resource'), headers.get('x-ratelimit-used')]
  expect([query.status, ...told(query)]).toEqual([200, 'graphql', '1'])
  expect([registered.status, ...told(registered)]).toEqual([200, 'actions_runner_registration', '1'])
  expect([listed.status, ...told(listed)]).toEqual([200, 'actions_runner_registration', '2'])

  const { resources } = await fits('rate-limit/get', 200, mona.call('GET', '/rate_limit'))
  expect(resources).toMatchObject({
    core: { used: 1 },
    graphql: { limit: 5000, used: 1, remaining: 4999 },
    actions_runner_registration: { limit: 10_000, used: 2, remaining: 9998 },
  })
})

test('no more is told to be used than there is, whether the rest is refused or not', async () => {
  await using server = await startServer()
  await using strict = await startServer({ config: { rateLimit: 60 } })
  for (const [at, status, remaining] of [
    [server, 200, '1'],
    [strict, 403, '0'],
  ] as const) {
    const anybody = at.call(undefined)
    for (let i = 0; i < 65; i++) await anybody('GET', '/zen')
    const answer = await anybody('GET', '/zen')
    const { headers } = answer
    expect(answer.status).toBe(status)
    expect([headers.get('x-ratelimit-limit'), headers.get('x-ratelimit-remaining')]).toEqual(['60', remaining])
    expect(Number(headers.get('x-ratelimit-used'))).toBe(60 - Number(remaining))
  }
})

test('where a limit is set it is kept, in words that clients wait by; machines register all the same', async () => {
  await using server = await startServer({ config: { rateLimit: 60 } })
  await server.organization('acme')
  const mona = await server.user('mona')
  const registration = await server.registrationToken('/orgs/acme')
  const status = async () => (await mona.call('GET', '/user')).status
  for (let i = 0; i < 59; i++) expect(await status()).toBe(200)
  const etag = (await mona.call('GET', '/user')).headers.get('etag') ?? ''

  const refused = await mona.call('GET', '/user')
  expect(refused.status).toBe(403)
  expect(refused.headers.get('x-ratelimit-remaining')).toBe('0')
  expect(((await refused.json()) as { message: string }).message).toMatch(/^API rate limit exceeded for user ID \d+\.$/)
  expect((await mona.call('GET', '/rate_limit')).status).toBe(200)
  expect((await server.admin('GET', '/user')).status).toBe(200)
  const remote = { Authorization: `RemoteAuth ${registration}` }
  const listed = async () => (await server.call(undefined)('GET', '/orgs/acme/actions/runners', undefined, remote)).status
  for (let i = 0; i < 70; i++) expect(await listed()).toBe(200)
  expect(etag).not.toBe('')
})

test('an answer that tells nothing new costs nothing', async () => {
  await using server = await startServer()
  const mona = await server.user('mona')
  const etag = (await mona.call('GET', '/user')).headers.get('etag') ?? ''
  const again = await mona.call('GET', '/user', undefined, { 'If-None-Match': etag })
  expect([again.status, again.headers.get('x-ratelimit-used')]).toEqual([304, '1'])
})
