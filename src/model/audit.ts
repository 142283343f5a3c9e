import type { Actor, ScopeRef } from './access.ts'
import { AppError } from './errors.ts'

/** One thing that somebody did to what is managed here. Never changed, never deleted. */
export interface AuditEntry {
  id: number
  at: number
  action: string
  actorKind: Actor['kind']
  actorId: number | null
  /** Names are those of then. */
  actorLogin: string | null
  ip: string | null
  userAgent: string | null
  requestId: string | null
  organizationId: number | null
  organizationLogin: string | null
  repositoryId: number | null
  /** With its owner: `acme/rocket`. */
  repositoryName: string | null
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

/**
 * What an action does, in GitHub's words, by patterns where `*` stands for anything. What is none of these changes something. Nothing here
 * is of the kinds that have no pattern.
 */
export const OPERATIONS = {
  create: ['*.create', '*created', '*.create_*', '*.register_*', '*.add_*', '*.added', '*.started'],
  remove: ['*.destroy', '*deleted', '*removed', '*.remove_*', '*.ended'],
  modify: [],
  access: [],
  authentication: [],
  restore: [],
  transfer: [],
} as const satisfies Record<string, readonly string[]>
export type Operation = keyof typeof OPERATIONS

/** What an action does, in GitHub's word. */
export function operationOf(action: string): Operation {
  const does = (operation: Operation) =>
    OPERATIONS[operation].some((pattern) => new RegExp(`^${pattern.replaceAll('.', '\\.').replaceAll('*', '.*')}$`).test(action))
  return does('create') ? 'create' : does('remove') ? 'remove' : 'modify'
}

/** What an audit log is asked for. An entry fits one at least of the values of each that is wanted, none of those that are not, and all times. */
export interface AuditFilter {
  terms: AuditTerm[]
  times: { from: number; to: number; isNot: boolean }[]
}

export interface AuditTerm {
  qualifier: 'action' | 'actor' | 'repo' | 'org' | 'operation' | 'word'
  values: string[]
  isNot: boolean
}

const QUALIFIERS: readonly string[] = ['action', 'actor', 'repo', 'org', 'operation', 'created']
const TERMS_AT_MOST = 20

/**
 * `action:hook actor:mona -repo:acme/rocket operation:create created:>=2026-01-01`. Values of one qualifier are alternatives; a word without one
 * must be in the action.
 *
 * @throws AppError invalid for a qualifier that there is none of, an operation that there is none of, and what is no time
 */
export function parsePhrase(phrase: string): AuditFilter {
  const filter: AuditFilter = { terms: [], times: [] }
  const parts = phrase.match(/(?:"[^"]*"|[^\s"])+/g) ?? []
  if (parts.length > TERMS_AT_MOST) throw new AppError('invalid', `A phrase has at most ${TERMS_AT_MOST} terms`)
  for (const part of parts) {
    const [, minus = '', qualifier, text = ''] = /^(-?)(?:([^:"]*):)?(.*)$/s.exec(part) ?? []
    const value = text.replaceAll('"', '')
    const isNot = minus === '-'
    if (qualifier === undefined) {
      if (value !== '') filter.terms.push({ qualifier: 'word', values: [value], isNot })
    } else if (!QUALIFIERS.includes(qualifier) || value === '') {
      const offered = QUALIFIERS.map((each) => `${each}:`).join(', ')
      throw new AppError(
        'invalid',
        `The audit log cannot be searched for '${part.slice(0, 60)}': it takes ${offered}, each also with - before it`,
      )
    } else if (qualifier === 'created') {
      filter.times.push({ ...rangeOf(value), isNot })
    } else {
      if (qualifier === 'operation' && !Object.hasOwn(OPERATIONS, value)) {
        throw new AppError('invalid', `There is no operation '${value.slice(0, 60)}': it is one of ${Object.keys(OPERATIONS).join(', ')}`)
      }
      const known = filter.terms.find((term) => term.qualifier === qualifier && term.isNot === isNot)
      if (known) known.values.push(value)
      else filter.terms.push({ qualifier: qualifier as AuditTerm['qualifier'], values: [value], isNot })
    }
  }
  return filter
}

const DAY_MS = 24 * 60 * 60_000

/** `2026-01-01`, `>=2026-01-01`, `<2026-01-01T12:00:00Z`, `2026-01-01..2026-02-01`; a day is the whole of it. @throws AppError invalid */
function rangeOf(value: string): { from: number; to: number } {
  const range = /^(.+)\.\.(.+)$/.exec(value)
  const [, sign = '', text = ''] = /^(>=|<=|>|<)?(.+)$/.exec(value) ?? []
  const begin = (day: string) => timeOf(day, value)
  const end = (day: string) => timeOf(day, value) + (day.includes('T') ? 0 : DAY_MS - 1)
  const ever = { from: Number.MIN_SAFE_INTEGER, to: Number.MAX_SAFE_INTEGER }
  if (range) return { from: begin(range[1] ?? ''), to: end(range[2] ?? '') }
  switch (sign) {
    case '>=':
      return { ...ever, from: begin(text) }
    case '>':
      return { ...ever, from: end(text) + 1 }
    case '<=':
      return { ...ever, to: end(text) }
    case '<':
      return { ...ever, to: begin(text) - 1 }
    default:
      return { from: begin(text), to: end(text) }
  }
}

function timeOf(day: string, value: string): number {
  const at = Date.parse(day)
  if (Number.isFinite(at)) return at
  throw new AppError(
    'invalid',
    `created: takes days and times as 2026-01-31, >=2026-01-31T12:00:00Z or 2026-01-01..2026-01-31, not '${value.slice(0, 60)}'`,
  )
}
