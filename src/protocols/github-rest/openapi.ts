import type { FastifyRequest } from 'fastify'
import { baseOf } from '../../http/addresses.ts'
import { ENTERPRISE_VERSION } from '../../http/github-manners.ts'
import { describeRoutes } from '../../http/openapi.ts'
import type { App } from '../../http/server.ts'
import '../../http/access.ts'
import type { ServedRoute } from '../../http/served-route.ts'
import { needs } from '../../model/access.ts'
import { OPERATIONS } from './operations.ts'
import type { RestDeps } from './room.ts'

const config = { access: { by: 'actor' as const, need: needs.anyone } }

/** What is served of GitHub's API, described by the routes themselves. */
export function openApiRoutes(app: App, deps: Pick<RestDeps, 'book'>, routes: readonly ServedRoute[]): void {
  app.get('/openapi.json', { config }, async (request) =>
    description(deps, request, routes, '/api/v3', 'GitHub REST API, as Fleetfoot serves it'),
  )
}

/** Our own calls, below `/api/fleetfoot`. */
export function ownOpenApiRoutes(app: App, deps: Pick<RestDeps, 'book'>, routes: readonly ServedRoute[]): void {
  app.get('/openapi.json', { config }, async (request) => description(deps, request, routes, '/api/fleetfoot', 'Fleetfoot'))
}

function description(deps: Pick<RestDeps, 'book'>, request: FastifyRequest, routes: readonly ServedRoute[], prefix: string, title: string) {
  return describeRoutes(routes, {
    title,
    version: ENTERPRISE_VERSION,
    prefix,
    server: baseOf(deps.book, request) + prefix,
    operations: OPERATIONS,
  })
}
