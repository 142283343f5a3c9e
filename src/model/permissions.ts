import { AppError } from './errors.ts'

/*
 * What Apps and fine-grained tokens are given, by GitHub's keys (rest-api.md 2.1). A level contains those below it.
 */

export type PermissionLevel = 'read' | 'write' | 'admin'
export type Permissions = Record<string, PermissionLevel>

/** What a call takes of an App or a fine-grained token, in the words of the reference. */
export type PermissionNeed =
  | `${string}:${'read' | 'write'}`
  /** Any token will do, or none. */
  | 'public'
  /** Any token of a user. */
  | 'any'
  /** Neither Apps nor fine-grained tokens can make the call. */
  | 'none'
  /** The App itself, by a JWT that it signed. */
  | 'app JWT'
  /** The token of an installation, whatever it was given. */
  | 'installation token'

const LEVELS: PermissionLevel[] = ['read', 'write', 'admin']

const words = (text: string) => text.trim().split(/\s+/)

/** Keys that can be read and written. */
const READ_AND_WRITE = words(`
  actions actions_variables administration artifact_metadata attestations checks codespaces contents dependabot_secrets deployments discussions
  environments issues merge_queues metadata packages pages pull_requests repository_custom_properties repository_hooks secret_scanning_alerts
  secrets security_events single_file statuses vulnerability_alerts
  members organization_actions_variables organization_administration organization_custom_roles organization_custom_org_roles
  organization_announcement_banners organization_hooks organization_packages organization_personal_access_tokens
  organization_personal_access_token_requests organization_secrets organization_self_hosted_runners organization_user_blocking
  email_addresses followers git_ssh_keys gpg_keys interaction_limits starring`)

const KNOWN = new Map<string, readonly PermissionLevel[]>([
  ...READ_AND_WRITE.map((key) => [key, ['read', 'write']] as const),
  ...words('workflows profile').map((key) => [key, ['write']] as const),
  ...words('organization_events organization_plan').map((key) => [key, ['read']] as const),
  ...words('repository_projects organization_projects organization_custom_properties').map((key) => [key, LEVELS] as const),
])

/** True when what was given reaches what a call takes. */
export function grants(given: Permissions, need: PermissionNeed): boolean {
  if (need === 'public' || need === 'any') return true
  const [key = '', level = ''] = need.split(':')
  const held = Object.hasOwn(given, key) ? given[key] : undefined
  return held !== undefined && LEVELS.includes(level as PermissionLevel) && LEVELS.indexOf(held) >= LEVELS.indexOf(level as PermissionLevel)
}

/** What both gave: the lower level of each key. */
export function commonPermissions(one: Permissions, other: Permissions): Permissions {
  const common: Permissions = {}
  for (const [key, level] of Object.entries(one)) {
    const limit = Object.hasOwn(other, key) ? other[key] : undefined
    if (limit !== undefined) common[key] = LEVELS.indexOf(level) <= LEVELS.indexOf(limit) ? level : limit
  }
  return common
}

/**
 * Checks permissions that somebody asks for. `metadata: read` is in all of them, as at GitHub: it is what finding a repository takes.
 *
 * @throws AppError invalid for a key or a level that is not known
 */
export function checkPermissions(asked: Record<string, unknown>): Permissions {
  const checked: Permissions = { metadata: 'read' }
  for (const [key, level] of Object.entries(asked)) {
    const levels = KNOWN.get(key)
    if (!levels) throw new AppError('invalid', `There is no permission '${key.slice(0, 60)}'`)
    const known = levels.find((each) => each === level)
    if (!known) throw new AppError('invalid', `The permission '${key}' is given as ${levels.join(' or ')}`)
    checked[key] = known
  }
  return Object.fromEntries(Object.entries(checked).sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** `X-Accepted-GitHub-Permissions` (rest-api.md 3.3). Undefined where such tokens are not served at all. */
export function acceptedPermissions(need: PermissionNeed): string | undefined {
  if (need === 'none' || need === 'app JWT' || need === 'installation token') return undefined
  return need === 'public' || need === 'any' ? 'allows_permissionless_access=true' : need.replace(':', '=')
}
