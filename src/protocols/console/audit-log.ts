import { Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { exportAudit, type AuditPlace, type AuditView } from '../../core/audit/audit-log.ts'
import type { Deps } from '../../core/deps.ts'
import { mediaTypes } from '../../http/answers.ts'
import type { App } from '../../http/server.ts'
import '../../http/access.ts'
import { needs } from '../../model/access.ts'

const Query = Type.Object({
  format: Type.Optional(
    Type.Union([Type.Literal('ndjson'), Type.Literal('csv')], { description: 'A line of JSON an entry, or CSV with a head.' }),
  ),
  phrase: Type.Optional(Type.String({ maxLength: 1000 })),
})
const produces = ['application/x-ndjson', 'text/csv']
const COLUMNS = [
  'id',
  'at',
  'action',
  'actor',
  'actor_id',
  'actor_ip',
  'org',
  'repo',
  'subject',
  'subject_id',
  'request_id',
  'data',
] as const

const schema = (operationId: string, of: string) => ({
  operationId,
  summary: `Export the audit log of ${of}`,
  description: 'All of it, oldest first, as one stream.',
  tags: ['audit-log'],
  querystring: Query,
  response: { 200: mediaTypes({ 'application/x-ndjson': Type.String(), 'text/csv': Type.String() }) },
})

/** The whole audit log as one stream, oldest first: a line of JSON or CSV an entry. */
export function auditLogRoutes(app: App, deps: Deps): void {
  app.get(
    '/orgs/:org/audit-log/export',
    {
      config: { access: { by: 'actor' as const, need: needs.organizationAudit }, produces },
      schema: { ...schema('fleetfoot/export-audit-log-for-org', 'an organization'), params: Type.Object({ org: Type.String() }) },
    },
    (request, reply) => stream(deps, request, reply, request.query, { kind: 'organization', organization: { login: request.params.org } }),
  )
  app.get(
    '/enterprises/:enterprise/audit-log/export',
    {
      config: { access: { by: 'actor' as const, need: needs.enterpriseAudit }, produces },
      schema: {
        ...schema('fleetfoot/export-audit-log-for-enterprise', 'the enterprise'),
        params: Type.Object({ enterprise: Type.String() }),
      },
    },
    (request, reply) => stream(deps, request, reply, request.query, { kind: 'enterprise', slug: request.params.enterprise }),
  )
}

async function stream(
  deps: Deps,
  request: FastifyRequest,
  reply: FastifyReply,
  { format = 'ndjson', phrase = '' }: { format?: 'ndjson' | 'csv'; phrase?: string },
  place: AuditPlace,
) {
  const entries = await exportAudit(deps, request.actor, place, phrase)
  const lines = format === 'csv' ? csvOf(entries) : jsonOf(entries)
  reply.type(format === 'csv' ? 'text/csv; charset=utf-8' : 'application/x-ndjson')
  return reply.send(Readable.from(lines, { objectMode: false }))
}

function fieldsOf({ entry, organization, repository }: AuditView): Record<(typeof COLUMNS)[number], unknown> {
  return {
    id: entry.id,
    at: new Date(entry.at).toISOString(),
    action: entry.action,
    actor: entry.actorLogin,
    actor_id: entry.actorId,
    actor_ip: entry.ip,
    org: organization,
    repo: repository,
    subject: entry.subjectKind,
    subject_id: entry.subjectId,
    request_id: entry.requestId,
    data: entry.data,
  }
}

async function* jsonOf(entries: AsyncGenerator<AuditView>): AsyncGenerator<string> {
  for await (const view of entries) yield `${JSON.stringify(fieldsOf(view))}\n`
}

async function* csvOf(entries: AsyncGenerator<AuditView>): AsyncGenerator<string> {
  yield `${COLUMNS.join(',')}\r\n`
  for await (const view of entries) {
    const fields = fieldsOf(view)
    yield `${COLUMNS.map((column) => cell(fields[column])).join(',')}\r\n`
  }
}

/** RFC 4180; what a spreadsheet would take for a formula is made text. */
function cell(value: unknown): string {
  const text = typeof value === 'string' ? value : value === null || value === undefined ? '' : JSON.stringify(value)
  const plain = /^[=+\-@\t\r]/.test(text) && typeof value === 'string' ? `'${text}` : text
  return /[",\r\n]/.test(plain) ? `"${plain.replaceAll('"', '""')}"` : plain
}
