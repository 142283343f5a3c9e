import type { FastifyRequest } from 'fastify'
import type { RunnerScope } from '../../core/access/authorize.ts'
import { apiOf, type RestDeps } from './room.ts'

/** The three scopes, with the numeric aliases that `Link` headers name, and the operations' names there. */
export const SCOPES = [
  { path: '/enterprises/:enterprise', scope: 'enterprise' },
  { path: '/orgs/:org', scope: 'organization' },
  { path: '/organizations/:organization_id', scope: 'organization' },
  { path: '/repos/:owner/:repo', scope: 'repository' },
  { path: '/repositories/:repository_id', scope: 'repository' },
] as const

/** What an operation of GitHub's description is called at each scope. */
export const OPERATIONS = {
  enterprise: (verb: string) => `enterprise-admin/${verb}-for-enterprise`,
  organization: (verb: string) => `actions/${verb}-for-org`,
  repository: (verb: string) => `actions/${verb}-for-repo`,
}
/** The words of the addresses of its documentation. */
export const WORDS = { enterprise: 'an-enterprise', organization: 'an-organization', repository: 'a-repository' }

/** The address of a scope as `Link` headers name it: by number where GitHub does. */
export function canonical(deps: RestDeps, request: FastifyRequest, scope: RunnerScope): string {
  const api = apiOf(deps, request)
  if (scope.kind === 'enterprise') return `${api}/enterprises/${scope.enterprise.slug}`
  return scope.kind === 'organization' ? `${api}/organizations/${scope.id}` : `${api}/repositories/${scope.id}`
}
