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
