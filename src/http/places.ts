import type { FastifyRequest } from 'fastify'
import type { OrganizationRef, RunnerScopeRef } from '../core/access/authorize.ts'
import { AppError } from '../model/errors.ts'

/** A positive whole number, or not found: GitHub's router does not match anything else (rest-api.md 1.1). */
export function idOf(text: string): number {
  const id = Number(text)
  if (!/^[1-9]\d{0,15}$/.test(text) || !Number.isSafeInteger(id)) throw new AppError('not_found', 'Not Found')
  return id
}

/** The organization that a path names, by login or by number. */
export function organizationOf(request: FastifyRequest): OrganizationRef {
  const { org, organization_id } = request.params as Record<string, string | undefined>
  return organization_id === undefined ? { login: org ?? '' } : { id: idOf(organization_id) }
}

/** The scope of runners that a path names, by name or by number. */
export function scopeOf(request: FastifyRequest): RunnerScopeRef {
  const { enterprise, org, organization_id, owner, repo, repository_id } = request.params as Record<string, string | undefined>
  if (enterprise !== undefined) return { kind: 'enterprise', slug: enterprise }
  if (org !== undefined || organization_id !== undefined) return { kind: 'organization', ...organizationOf(request) }
  if (repository_id !== undefined) return { kind: 'repository', repository: { id: idOf(repository_id) } }
  return { kind: 'repository', repository: { owner: owner ?? '', name: repo ?? '' } }
}

/** `YYYY-MM-DDTHH:MM:SSZ`. */
export function isoTime(at: number): string {
  return `${new Date(at).toISOString().slice(0, 19)}Z`
}
