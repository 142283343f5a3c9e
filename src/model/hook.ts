import type { Repository } from './account.ts'

/** What a webhook belongs to, and with that which events it hears of. */
export type HookOwnerKind = 'repository' | 'organization' | 'enterprise' | 'app' | 'global'

export interface HookOwnerRef {
  kind: HookOwnerKind
  id: number
}

export type ContentType = 'json' | 'form'

export interface Hook {
  id: number
  owner: HookOwnerRef
  url: string
  contentType: ContentType
  /** Whether requests are signed; the secret itself stays in the database, encrypted. */
  hasSecret: boolean
  insecureSsl: boolean
  /** GitHub's names of events; `*` is all. */
  events: string[]
  active: boolean
  lastResponse: HookResponse | null
  createdAt: number
  updatedAt: number
}

/** How the last request ended, in GitHub's words (rest-api.md §5.4). */
export interface HookResponse {
  code: number | null
  status: string
  message: string | null
}

/** One request to a receiver, or one to come. */
export interface Delivery {
  id: number
  hookId: number
  /** The same for every request about one event of one hook: receivers know repeats by it. */
  guid: string
  event: string
  action: string | null
  repositoryId: number | null
  /** Through which an App hears of it; null for other webhooks. */
  installationId: number | null
  redelivery: boolean
  state: 'pending' | 'delivered' | 'failed'
  attempts: number
  /** Null when there is none to come. */
  nextAttemptAt: number | null
  createdAt: number
  /** When the last request was made; null while none was. */
  deliveredAt: number | null
  durationMs: number | null
  statusCode: number | null
  status: string | null
}

/** One try of a delivery. */
export interface HookAttempt {
  at: number
  durationMs: number
  statusCode: number
  status: string
}

/** The delivery with all that was sent and answered. */
export interface WholeDelivery extends Delivery {
  url: string
  payload: string
  requestHeaders: Record<string, string> | null
  responseHeaders: Record<string, string> | null
  responseBody: string | null
  /** The latest hundred, oldest first. */
  attemptsMade: HookAttempt[]
}

/** Names that `events` may hold: GitHub's webhook events, whether or not anything here causes them. */
export const hookEvents: ReadonlySet<string> = new Set(
  `* branch_protection_configuration branch_protection_rule check_run check_suite code_scanning_alert commit_comment create custom_property
  custom_property_values delete dependabot_alert deploy_key deployment deployment_protection_rule deployment_review deployment_status discussion
  discussion_comment fork github_app_authorization gollum installation installation_repositories installation_target issue_comment issues label
  marketplace_purchase member membership merge_group meta milestone org_block organization package page_build ping project project_card
  project_column projects_v2 projects_v2_item projects_v2_status_update public pull_request pull_request_review pull_request_review_comment
  pull_request_review_thread push registry_package release repository repository_advisory repository_dispatch repository_import repository_ruleset
  repository_vulnerability_alert secret_scanning_alert secret_scanning_alert_location secret_scanning_scan security_advisory
  security_and_analysis sponsorship star status sub_issues team team_add user watch workflow_dispatch workflow_job workflow_run`.split(
    /\s+/,
  ),
)

/** What stands for a secret that is set, and means no change where it comes back. */
export const maskedSecret = '********'

/** Whose webhooks hear of what happens in a repository: organizations belong to the enterprise, users do not. */
export function hookOwnersOf({ id, owner }: Pick<Repository, 'id' | 'owner'>): HookOwnerRef[] {
  const owners: HookOwnerRef[] = [
    { kind: 'repository', id },
    { kind: 'global', id: 0 },
  ]
  if (owner.kind === 'organization') owners.push({ kind: 'organization', id: owner.id }, { kind: 'enterprise', id: 1 })
  return owners
}

/** Whether a hook hears of an event. */
export function hears(hook: Pick<Hook, 'active' | 'events'>, event: string): boolean {
  return hook.active && (hook.events.includes('*') || hook.events.includes(event))
}

/** Whether two hooks hear of a same event. */
export function overlap(events: readonly string[], others: readonly string[]): boolean {
  return events.includes('*') || others.includes('*') || events.some((event) => others.includes(event))
}

/** The `event` rows that webhooks are made from. */
export const hookEventKinds = [
  'job.queued',
  'job.requeued',
  'job.fell_back',
  'job.steered',
  'job.in_progress',
  'job.completed',
  'run.created',
  'run.in_progress',
  'run.completed',
  'push',
] as const
export type HookEventKind = (typeof hookEventKinds)[number]

const MINUTE = 60_000

/** Waits before the automatic retries of a delivery: five take about an hour, later ones come every hour. */
const RETRY_AFTER_MS = [MINUTE / 6, MINUTE, 5 * MINUTE, 15 * MINUTE, 40 * MINUTE]

/** When a delivery that failed `attempts` times is tried again, in milliseconds from then; undefined when it is given up. */
export function retryAfter(attempts: number, retries: number): number | undefined {
  return attempts > retries ? undefined : (RETRY_AFTER_MS[attempts - 1] ?? 60 * MINUTE)
}
