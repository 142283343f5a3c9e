import type { FastifyRequest } from 'fastify'
import type { RunnerScope, RunnerScopeRef } from '../../core/access/authorize.ts'
import { AppError } from '../../model/errors.ts'
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

/** The scope that a path names, by name or by number. */
export function scopeOf(request: FastifyRequest): RunnerScopeRef {
  const params = request.params as Record<string, string>
  if (params['enterprise'] !== undefined) return { kind: 'enterprise', slug: params['enterprise'] }
  if (params['org'] !== undefined) return { kind: 'organization', login: params['org'] }
  if (params['organization_id'] !== undefined) return { kind: 'organization', id: idOf(params['organization_id']) }
  if (params['repository_id'] !== undefined) return { kind: 'repository', repository: { id: idOf(params['repository_id']) } }
  return { kind: 'repository', repository: { owner: params['owner'] ?? '', name: params['repo'] ?? '' } }
}

/** A positive whole number, or not found: GitHub's router does not match anything else (rest-api.md 1.1). */
export function idOf(text: string): number {
  const id = Number(text)
  if (!/^[1-9]\d{0,15}$/.test(text) || !Number.isSafeInteger(id)) throw new AppError('not_found', 'Not Found')
  return id
}

/** The address of a scope as `Link` headers name it: by number where GitHub does. */
export function canonical(deps: RestDeps, request: FastifyRequest, scope: RunnerScope): string {
  const api = apiOf(deps, request)
  if (scope.kind === 'enterprise') return `${api}/enterprises/${scope.enterprise.slug}`
  return scope.kind === 'organization' ? `${api}/organizations/${scope.id}` : `${api}/repositories/${scope.id}`
}
