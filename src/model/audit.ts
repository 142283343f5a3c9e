import type { Actor, ScopeRef } from './access.ts'

/** One thing that somebody did to what is managed here. Never changed, never deleted. */
export interface AuditEntry {
  id: number
  at: number
  action: string
  actorKind: Actor['kind']
  actorId: number | null
  /** As it was then. */
  actorLogin: string | null
  ip: string | null
  userAgent: string | null
  requestId: string | null
  organizationId: number | null
  repositoryId: number | null
  subjectKind: string
  subjectId: number
  data: Record<string, unknown>
}

/** What runs do by themselves, or so often that it is for metrics; webhooks tell of it. */
const NOT_AUDITED = /^(run\.(created|in_progress|completed)|push\.|runner\.(online|offline)|job\.(?!steered|cancelling))/

/** Whether an event is for the audit log: somebody did it, and it is no step of a run. */
export function isAudited(kind: string, actor: Actor): boolean {
  return actor.kind !== 'system' && actor.kind !== 'job' && actor.kind !== 'anonymous' && !NOT_AUDITED.test(kind)
}

/** Where it happened, as the event tells in one way or another; undefined for what is of the whole server. An owner may be a user after all. */
export function placeOf(event: {
  subject: { kind: string; id: number }
  payload?: Record<string, unknown> | undefined
}): ScopeRef | undefined {
  const { subject, payload = {} } = event
  const named = (kind: unknown, id: unknown): ScopeRef | undefined =>
    (kind === 'enterprise' || kind === 'organization' || kind === 'repository') && typeof id === 'number' ? { kind, id } : undefined
  const scope = payload['scope'] as { kind?: unknown; id?: unknown } | undefined
  return (
    named(scope?.kind, scope?.id) ??
    named(payload['scopeKind'], payload['scopeId']) ??
    named('organization', payload['organizationId']) ??
    named(payload['ownerKind'], payload['ownerId']) ??
    named('organization', payload['accountId']) ??
    named(subject.kind, subject.id) ??
    // Whose an App is, or what a fine-grained token is for.
    (payload['ownerKind'] === undefined ? named('organization', payload['ownerId']) : undefined)
  )
}

/** GitHub's words for what it has words for; `org`, `repo` or `business` goes before those of runners and groups. */
const WORDS: Record<string, string> = {
  'runner.registered': '*.register_self_hosted_runner',
  'runner.replaced': '*.register_self_hosted_runner',
  'runner.deleted': '*.remove_self_hosted_runner',
  'runner.labels_changed': '*.self_hosted_runner_labels_updated',
  'runner_token.register': '*.create_runner_registration_token',
  'runner_token.remove': '*.create_runner_remove_token',
  'runner_group.created': '*.runner_group_created',
  'runner_group.updated': '*.runner_group_updated',
  'runner_group.deleted': '*.runner_group_removed',
  'runner_group.runners_changed': '*.runner_group_runners_updated',
  'runner_group.access_changed': '*.runner_group_access_updated',
  'runner_group.narrowed': '*.runner_group_access_updated',
  'runner_policy.updated': '*.update_self_hosted_runners_policy',
  'repository.created': 'repo.create',
  'repository.updated': 'repo.update',
  'repository.deleted': 'repo.destroy',
  'collaborator.set': 'repo.add_member',
  'collaborator.removed': 'repo.remove_member',
  'hook.created': 'hook.create',
  'hook.updated': 'hook.config_changed',
  'hook.deleted': 'hook.destroy',
  'organization.created': 'org.create',
  'run.cancelling': 'workflows.cancel_workflow_run',
  'installation.created': 'integration_installation.create',
  'installation.deleted': 'integration_installation.destroy',
}
const PREFIXES = { enterprise: 'business', organization: 'org', repository: 'repo' }

/** The action of an event as the audit log names it. */
export function actionOf(kind: string, place: ScopeRef | undefined): string {
  return (WORDS[kind] ?? kind).replace('*', place ? PREFIXES[place.kind] : 'business')
}

/** `action:org.* actor:mona repo:acme/rocket created:>=2026-01-01`: what an audit log can be asked for; other words must be in the action. */
export interface AuditFilter {
  action?: string
  actor?: string
  repository?: string
  from?: number
  to?: number
  words: string[]
}

const DAY_MS = 24 * 60 * 60_000

export function parsePhrase(phrase: string): AuditFilter {
  const filter: AuditFilter = { words: [] }
  for (const part of phrase
    .split(/\s+/)
    .filter((word) => word !== '')
    .slice(0, 20)) {
    const [, key = '', value = ''] = /^(action|actor|repo|created):(.+)$/.exec(part) ?? []
    if (key === 'action') filter.action = value
    else if (key === 'actor') filter.actor = value
    else if (key === 'repo') filter.repository = value
    else if (key === 'created') Object.assign(filter, rangeOf(value))
    else filter.words.push(part)
  }
  return filter
}

/** `2026-01-01`, `>=2026-01-01`, `<2026-01-01T12:00:00Z`, `2026-01-01..2026-02-01`; what is no time restricts nothing. */
function rangeOf(value: string): Pick<AuditFilter, 'from' | 'to'> {
  const range = /^(.+)\.\.(.+)$/.exec(value)
  const [, sign = '', text = ''] = /^(>=|<=|>|<)?(.+)$/.exec(value) ?? []
  const begin = (day: string) => Date.parse(day)
  const end = (day: string) => Date.parse(day) + (day.includes('T') ? 0 : DAY_MS - 1)
  const given = range
    ? { from: begin(range[1] ?? ''), to: end(range[2] ?? '') }
    : sign === '>='
      ? { from: begin(text) }
      : sign === '>'
        ? { from: end(text) + 1 }
        : sign === '<='
          ? { to: end(text) }
          : sign === '<'
            ? { to: begin(text) - 1 }
            : { from: begin(text), to: end(text) }
  return Object.fromEntries(Object.entries(given).filter(([, at]) => Number.isFinite(at)))
}
