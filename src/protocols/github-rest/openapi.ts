import { Type } from 'typebox'
import { baseOf } from '../../http/addresses.ts'
import { ENTERPRISE_VERSION } from '../../http/github-manners.ts'
import { describeRoutes, type Description } from '../../http/openapi.ts'
import type { App } from '../../http/server.ts'
import '../../http/access.ts'
import type { ServedRoute } from '../../http/served-route.ts'
import { needs } from '../../model/access.ts'
import { summaryOf, tagOf } from './operation-words.ts'
import { OPERATIONS } from './operations.ts'
import type { RestDeps } from './room.ts'

const config = { access: { by: 'actor' as const, need: needs.anyone } }
const schema = (operationId: string) => ({
  operationId,
  summary: 'Describe what is served, as OpenAPI 3.1',
  tags: ['meta'],
  response: { 200: Type.Record(Type.String(), Type.Unknown()) },
})

/** What is served of GitHub's API, described by the routes themselves. */
export function openApiRoutes(app: App, deps: Pick<RestDeps, 'book'>, routes: readonly ServedRoute[]): void {
  const described = once(() => describeRest(routes))
  app.get('/openapi.json', { config, schema: schema('fleetfoot/describe-rest-api') }, async (request) =>
    at(described(), `${baseOf(deps.book, request)}/api/v3`),
  )
}

/** Our own calls, below `/api/fleetfoot`. */
export function ownOpenApiRoutes(app: App, deps: Pick<RestDeps, 'book'>, routes: readonly ServedRoute[]): void {
  const described = once(() => describeOwn(routes))
  app.get('/openapi.json', { config, schema: schema('fleetfoot/describe-own-api') }, async (request) =>
    at(described(), `${baseOf(deps.book, request)}/api/fleetfoot`),
  )
}

/** `/api/v3` as it is served. */
export function describeRest(routes: readonly ServedRoute[]): Description {
  return describeRoutes(routes, {
    title: 'GitHub REST API, as Fleetfoot serves it',
    version: ENTERPRISE_VERSION,
    description:
      "What is served of GitHub's REST API. Operations have GitHub's names; those that begin with `fleetfoot/` are beyond it, or not in its description. Lists are paged by `page` and `per_page`; the `Link` header has the addresses of the other pages. Failures have a `message`.",
    prefix: '/api/v3',
    operations: OPERATIONS,
    summaryOf,
    tagOf,
    alsoOf: alsoOfRest,
  })
}

/** What GitHub's API answers whatever the operation is: a repository is found under a name that it had once. */
function alsoOfRest(method: string, path: string, statuses: string[]): Record<string, { description: string }> {
  const moved = { description: 'The repository has another name: ask at the address that `Location` names, with the same method' }
  return {
    ...(path.startsWith('/repos/{owner}/{repo}') && { [method === 'GET' ? '301' : '307']: moved }),
    ...alsoOf(method, path, statuses),
  }
}

/** What is known is not sent again, in either API. */
function alsoOf(method: string, _path: string, statuses: string[]): Record<string, { description: string }> {
  return method === 'GET' && statuses.includes('200') ? { 304: { description: 'What `If-None-Match` names has not changed' } } : {}
}

/** `/api/fleetfoot` as it is served. */
export function describeOwn(routes: readonly ServedRoute[]): Description {
  return describeRoutes(routes, {
    title: 'Fleetfoot',
    version: ENTERPRISE_VERSION,
    description: "What GitHub's API lacks, with the same tokens. Failures have a `message`, as those of GitHub's API.",
    tags: {
      apps: 'GitHub Apps, their keys, and where they are installed.',
      'audit-log': 'Who did what.',
      meta: 'This description.',
      queue: 'The jobs that wait for a runner: who waits why, rules, moves of one job, pauses.',
      'runner-packages': 'Packages of the runner application, for machines that do not reach the internet.',
      runs: 'Runs by their number alone.',
      tokens: 'Tokens of users.',
    },
    prefix: '/api/fleetfoot',
    alsoOf,
  })
}

/** Routes do not change once they are served, and most servers are never asked: described with the first request. */
function once<T>(make: () => T): () => T {
  let made: T | undefined
  return () => (made ??= make())
}

function at(description: Description, url: string) {
  const { openapi, info, ...rest } = description
  return { openapi, info, servers: [{ url }], ...rest }
}
