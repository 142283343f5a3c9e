import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import { listAudit, type AuditPlace, type AuditView } from '../../core/audit/audit-log.ts'
import { PageQuery, pageOf } from '../../http/paging.ts'
import type { App } from '../../http/server.ts'
import '../../http/access.ts'
import { needs, type Need } from '../../model/access.ts'
import { operationOf } from '../../model/audit.ts'
import { AppError } from '../../model/errors.ts'
import { apiOf, type RestDeps } from './room.ts'
import { organizationOf } from '../../http/places.ts'
import { AuditEntryBody } from './shapes-audit.ts'

type Query = Static<typeof Query>
const Query = Type.Object({
  per_page: PageQuery.properties.per_page,
  phrase: Type.Optional(Type.String({ maxLength: 1000 })),
  after: Type.Optional(Type.String({ maxLength: 100 })),
  before: Type.Optional(Type.String({ maxLength: 100 })),
  order: Type.Optional(Type.String()),
})

/** Who did what: https://docs.github.com/rest/orgs/orgs#get-the-audit-log-for-an-organization (paged by cursors). */
export function auditLogRoutes(app: App, deps: RestDeps): void {
  const config = (need: Need, docs: string) => ({ access: { by: 'actor' as const, need }, docs })
  for (const path of ['/orgs/:org', '/organizations/:organization_id']) {
    app.get(
      `${path}/audit-log`,
      {
        config: config(needs.organizationAudit, 'orgs/orgs#get-the-audit-log-for-an-organization'),
        schema: {
          operationId: 'fleetfoot/list-audit-log-for-org',
          summary: 'List the audit log of an organization',
          tags: ['orgs'],
          querystring: Query,
          response: { 200: Type.Array(AuditEntryBody) },
        },
      },
      (request, reply) => {
        return answer(deps, request, reply, { kind: 'organization', organization: organizationOf(request) })
      },
    )
  }
  app.get(
    '/enterprises/:enterprise/audit-log',
    {
      config: config(needs.enterpriseAudit, 'enterprise-admin/audit-log#get-the-audit-log-for-an-enterprise'),
      schema: {
        operationId: 'fleetfoot/list-audit-log-for-enterprise',
        summary: 'List the audit log of an enterprise',
        tags: ['enterprise-admin'],
        querystring: Query,
        response: { 200: Type.Array(AuditEntryBody) },
        params: Type.Object({ enterprise: Type.String() }),
      },
    },
    (request, reply) => answer(deps, request, reply, { kind: 'enterprise', slug: request.params.enterprise }),
  )
}

async function answer(deps: RestDeps, request: FastifyRequest, reply: FastifyReply, place: AuditPlace) {
  const query = request.query as Query
  const { limit } = pageOf(query)
  const order = query.order === 'asc' ? ('asc' as const) : ('desc' as const)
  // Backwards is forwards in the other order, turned round.
  const isBack = query.before !== undefined
  const cursor = query.before ?? query.after
  const { entries, more } = await listAudit(deps, request.actor, place, {
    phrase: query.phrase ?? '',
    order: isBack ? (order === 'asc' ? 'desc' : 'asc') : order,
    after: cursor === undefined ? undefined : cursorOf(cursor),
    limit,
  })
  if (isBack) entries.reverse()
  const link = (rel: 'next' | 'prev', id: number) => {
    const parameters = new URLSearchParams({ ...(query.phrase && { phrase: query.phrase }), order, per_page: String(limit) })
    parameters.set(rel === 'next' ? 'after' : 'before', Buffer.from(String(id)).toString('base64url'))
    return `<${apiOf(deps, request)}${request.url.replace(/^\/api\/v3/, '').split('?')[0]}?${parameters.toString().replaceAll(',', '%2C')}>; rel="${rel}"`
  }
  const [first, last] = [entries[0]?.entry.id, entries.at(-1)?.entry.id]
  const links = [
    ...((isBack || more) && last !== undefined ? [link('next', last)] : []),
    ...(((isBack && more) || (!isBack && cursor !== undefined)) && first !== undefined ? [link('prev', first)] : []),
  ]
  if (links.length > 0) reply.header('Link', links.join(', '))
  return entries.map(presentEntry)
}

function cursorOf(text: string): number {
  const id = Number(Buffer.from(text, 'base64url').toString())
  if (!Number.isSafeInteger(id) || id < 1) throw new AppError('malformed', 'The cursor is none of this list')
  return id
}

/** The keys that GitHub's entries have, and what was changed in `data`. */
export function presentEntry({ entry, organization, repository }: AuditView) {
  return {
    '@timestamp': entry.at,
    _document_id: String(entry.id),
    action: entry.action,
    operation_type: operationOf(entry.action),
    actor: entry.actorLogin ?? `${entry.actorKind} ${entry.actorId ?? ''}`.trim(),
    actor_id: entry.actorId,
    actor_ip: entry.ip,
    actor_is_bot: entry.actorKind === 'installation' || entry.actorKind === 'app',
    user_agent: entry.userAgent,
    request_id: entry.requestId,
    created_at: entry.at,
    org: organization,
    org_id: entry.organizationId,
    repo: repository,
    repo_id: entry.repositoryId,
    [`${entry.subjectKind}_id`]: entry.subjectId,
    data: entry.data,
  }
}
