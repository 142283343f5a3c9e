import { expect, test } from 'vitest'
import { startServer } from '../../test/support/start-server.ts'
import { needs } from '../model/access.ts'
import { describeRoutes } from './openapi.ts'

const PAGE = 'https://docs.github.com/rest/actions/self-hosted-runner-groups'

test('an old spelling says with each answer that it is one, beside the pages of a list; the right one says nothing', async () => {
  await using server = await startServer()
  const { id } = await server.organization('acme')
  await server.admin('POST', '/orgs/acme/actions/runner-groups', { name: 'Linux' })
  const told = async (target: string) => {
    const { headers, status } = await server.admin('GET', target)
    return [status, headers.get('deprecation'), headers.get('sunset'), headers.get('link')]
  }
  const next = `<${server.url}/api/v3/organizations/${id}/actions/runner-groups?per_page=1&page=2>`
  const pages = `${next}; rel="next", ${next.replace('page=2>', 'page=3>')}; rel="last"`
  const deprecation = `<${PAGE}>; rel="deprecation"; type="text/html"`
  const since = 'Tue, 24 Nov 2026 00:00:00 GMT'

  expect(await told('/orgs/acme/actions/runner_groups?per_page=1')).toEqual([200, since, null, `${pages}, ${deprecation}`])
  expect(await told('/orgs/acme/actions/runner_groups/77')).toEqual([404, since, null, deprecation])
  expect(await told('/orgs/acme/actions/runner-groups?per_page=1')).toEqual([200, null, null, pages])
})

test('a call that ends is marked in the description, too', () => {
  const access = { by: 'actor' as const, need: needs.anyone }
  const route = { method: 'GET', access, schema: {} }
  const { paths } = describeRoutes(
    [
      { ...route, operationId: 'old', url: '/old', deprecated: { since: '2026-01-01', see: PAGE } },
      { ...route, operationId: 'new', url: '/new', deprecated: undefined },
    ],
    { title: 'Test', version: '1', description: 'A test', prefix: '' },
  )

  expect(paths).toMatchObject({ '/old': { get: { deprecated: true } } })
  expect(JSON.stringify(paths['/new'])).not.toContain('deprecated')
})
