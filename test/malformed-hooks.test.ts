import { expect, test } from 'vitest'
import type { ServedRoute } from '../src/http/served-route.ts'
import { BAD_BODIES, BAD_SEGMENTS, BAD_VALUES, picker, spoiltDeep, type Pick } from './support/malformed.ts'
import { startServer, type TestServer } from './support/start-server.ts'

/*
 * Malformed requests to every route of webhooks, with good credentials: bodies spoilt in one or two places at any depth, paths and queries
 * likewise. TEST_MALFORMED=1000 is what the issue asks for each route.
 */

const EACH = Number(process.env['TEST_MALFORMED'] ?? (process.env['FLEETFOOT_TEST_DATABASE_KIND'] === 'postgres' ? 20 : 60))

const GOOD = {
  name: 'web',
  config: { url: 'http://192.0.2.1/hook', content_type: 'json', secret: 'hush', insecure_ssl: '0' },
  events: ['push', 'workflow_job'],
  add_events: ['workflow_run'],
  remove_events: ['push'],
  active: true,
  url: 'http://192.0.2.1/other',
  content_type: 'form',
  secret: 'hush',
  insecure_ssl: 1,
}
const BAD_ADDRESSES = [
  'http://',
  'http://[::1',
  'file:///etc/passwd',
  'http://a b',
  '//x',
  'http://\uD800',
  'http://u:p@h:99999',
  'javascript:x',
  'http://x/\0',
  'http://x/\uD800',
  `http://${'a.'.repeat(900)}x`,
]
const BAD: unknown[] = [...BAD_VALUES, 2, '2', ['*', 'push'], Array.from({ length: 101 }, () => 'push'), ...BAD_ADDRESSES]
const BAD_QUERIES = [
  'per_page=-1',
  'per_page=1e9',
  'page=99999999999',
  'cursor=%00',
  'cursor=-1',
  'cursor=99999999999999999',
  'cursor=1&cursor=2',
  'status=%00',
  'status[]=x',
  '%ff',
]
const BODIES = [...BAD_BODIES, '{"config":', '{"config":{"url":"\\ud800"}}']

test('malformed requests to webhooks are refused, and never with a 5xx', async () => {
  await using server = await startServer()
  await server.organization('acme')
  const repository = await server.repository('acme', 'rocket')
  const pick = picker(20_261_124)
  const routes = server.running.routes.filter(({ url }) => url.includes('/hooks'))
  expect(routes.length).toBeGreaterThan(60)

  const failures: string[] = []
  const statuses = new Map<number, number>()
  for (const route of routes) {
    for (let count = 0; count < EACH; count++) {
      const hook = await aHook(server, route, repository.id)
      const path = pathOf(route, hook, repository.id, pick)
      const body = ['POST', 'PATCH'].includes(route.method) ? bodyOf(pick) : undefined
      const { status } = await server.admin(route.method, path, body, { 'Content-Type': 'application/json' })
      statuses.set(status, (statuses.get(status) ?? 0) + 1)
      if (status >= 500) failures.push(`${status} ${route.method} ${path} ${body?.slice(0, 200)}`)
    }
  }

  expect(failures).toEqual([])
  const refused = [...statuses].filter(([status]) => status >= 400).reduce((sum, [, count]) => sum + count, 0)
  expect(refused).toBeGreaterThan(routes.length * EACH * 0.4)
  expect((await server.admin('GET', '/repos/acme/rocket/hooks')).status).toBe(200)
}, 600_000)

/** A webhook to ask about, which may have been changed or deleted: then another. */
async function aHook(server: TestServer, { url }: ServedRoute, repositoryId: number): Promise<number> {
  const at = url.includes('/repos/') || url.includes('/repositories/') ? ['repository', repositoryId] : undefined
  const query = server.deps.db.selectFrom('hook').select('id').where('deletedAt', 'is', null).orderBy('id', 'desc').limit(1)
  const kind = at ? 'repository' : url.includes('/org') ? 'organization' : url.includes('/enterprises') ? 'enterprise' : 'global'
  const found = await query.where('ownerKind', '=', kind).executeTakeFirst()
  if (found) return found.id
  const hooks = { repository: '/repos/acme/rocket', organization: '/orgs/acme', enterprise: '/enterprises/fleetfoot', global: '/admin' }[
    kind
  ]
  const made = await server.admin('POST', `${hooks}/hooks`, { name: 'web', config: { url: 'http://192.0.2.1/' }, events: ['push'] })
  return ((await made.json()) as { id: number }).id
}

function pathOf(route: ServedRoute, hook: number, repositoryId: number, pick: Pick): string {
  const values: Record<string, string> = {
    owner: 'acme',
    repo: 'rocket',
    repository_id: String(repositoryId),
    org: 'acme',
    organization_id: '2',
    enterprise: 'fleetfoot',
    hook_id: String(hook),
    delivery_id: '1',
  }
  const isSpoilt = pick([true, false, false])
  const names = [...route.url.matchAll(/:(\w+)/g)].map(([, name]) => name ?? '')
  const spoilt = isSpoilt && names.length > 0 ? pick(names) : undefined
  const path = route.url.replace(/:(\w+)/g, (_, name: string) => (name === spoilt ? pick([...BAD_SEGMENTS, '']) : (values[name] ?? 'x')))
  return route.method === 'GET' ? `${path}?${pick(BAD_QUERIES)}` : path
}

function bodyOf(pick: Pick): string {
  if (pick([1, 2, 3, 4, 5]) === 1) return pick(BODIES)
  const once = spoiltDeep(GOOD, pick, BAD)
  return JSON.stringify(pick([true, false]) && typeof once === 'object' && once !== null ? spoiltDeep(once, pick, BAD) : once)
}
