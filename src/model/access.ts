import { type PermissionNeed, type Permissions } from './permissions.ts'

/** Who asks. Made once per request from the credentials; use-cases decide what it may do. */
export type Actor =
  | { kind: 'anonymous' }
  | UserActor
  /** The `GITHUB_TOKEN` of a job: reads contents and metadata of its own repository, nothing else. */
  | { kind: 'job'; jobId: number; repositoryId: number }
  /** A GitHub App by a JWT that it signed: the calls about itself and its installations. */
  | { kind: 'app'; appId: number; slug: string }
  | InstallationActor
  /** A registration or remove token (`RemoteAuth`): only the calls of registration, only its scope. */
  | { kind: 'registration'; purpose: 'register' | 'remove'; scope: ScopeRef; issuedBy: number }
  | { kind: 'system' }

export interface UserActor {
  kind: 'user'
  userId: number
  login: string
  siteAdmin: boolean
  /** A fine-grained token has a grant instead of scopes. */
  token: { kind: 'personal' | 'impersonation' | 'admin' | 'fine_grained'; scopes: string[]; expiresAt: number | null; grant?: Grant }
}

/** A token of an App's installation. It acts as the App's bot. */
export interface InstallationActor {
  kind: 'installation'
  appId: number
  installationId: number
  tokenId: number
  bot: { id: number; login: string }
  grant: Grant
}

/** What an installation or a fine-grained token was given: permissions, on what belongs to one account. */
export interface Grant {
  accountId: number
  permissions: Permissions
  /** Of an installation: all repositories of the account, or those that were selected for it. */
  selection: 'all' | 'selected'
  installationId: number | null
  /** The token was narrowed to these repositories. */
  only: number[] | null
}

/** What the actor's token was given; undefined where scopes and roles decide. An App itself was given nothing anywhere. */
export function grantOf(actor: Actor): Grant | undefined {
  if (actor.kind === 'user') return actor.token.grant
  if (actor.kind === 'installation') return actor.grant
  return actor.kind === 'app' ? { accountId: 0, permissions: {}, selection: 'all', installationId: null, only: [] } : undefined
}

/** Which repositories of an account a token reaches that does not reach all: those named, those selected for an installation, or both. */
export interface Reach {
  only: number[] | null
  selectedFor: number | null
}

/** Undefined for who reaches every repository of the account. */
export function reachOf(actor: Actor): Reach | undefined {
  const grant = grantOf(actor)
  if (!grant || (grant.only === null && grant.selection === 'all')) return undefined
  return { only: grant.only, selectedFor: grant.selection === 'selected' ? (grant.installationId ?? 0) : null }
}

/** The account that stands for the actor in what it makes: a user, or the bot of an App. */
export function accountOfActor(actor: Actor): { id: number; login: string } | undefined {
  if (actor.kind === 'user') return { id: actor.userId, login: actor.login }
  return actor.kind === 'installation' ? actor.bot : undefined
}

/** Background tasks act as this. */
export const systemActor: Actor = { kind: 'system' }

/** Where runners are registered. */
export type ScopeKind = 'enterprise' | 'organization' | 'repository'
export interface ScopeRef {
  kind: ScopeKind
  id: number
}

export type RepositoryRole = 'read' | 'triage' | 'write' | 'maintain' | 'admin'
const ROLES: RepositoryRole[] = ['read', 'triage', 'write', 'maintain', 'admin']

/** True when a permission is at least the role asked for. */
export function reaches(has: RepositoryRole | undefined, wants: RepositoryRole): boolean {
  return has !== undefined && ROLES.indexOf(has) >= ROLES.indexOf(wants)
}

/** GitHub's words for collaborators (`pull`, `push`) and ours for roles, to a role; undefined for an unknown word. */
export function roleOfPermission(word: string): RepositoryRole | undefined {
  const role = word === 'pull' ? 'read' : word === 'push' ? 'write' : word
  return ROLES.find((known) => known === role)
}

/** What a scope of a classic token contains, directly (rest-api.md 3.3). */
const CONTAINED: Record<string, string[]> = {
  repo: ['repo:status', 'repo_deployment', 'public_repo', 'repo:invite', 'security_events'],
  'admin:org': ['write:org', 'manage_runners:org'],
  'write:org': ['read:org'],
  'admin:enterprise': ['manage_runners:enterprise', 'manage_billing:enterprise', 'read:enterprise'],
  'admin:repo_hook': ['write:repo_hook'],
  'write:repo_hook': ['read:repo_hook'],
  'admin:public_key': ['write:public_key'],
  'write:public_key': ['read:public_key'],
  user: ['read:user', 'user:email', 'user:follow'],
}

const OTHER_SCOPES = [
  'read:audit_log',
  'admin:org_hook',
  'workflow',
  'delete_repo',
  'site_admin',
  'gist',
  'notifications',
  'write:packages',
  'read:packages',
]

/** Every scope that a classic token may have. */
export const knownScopes: ReadonlySet<string> = new Set([...Object.keys(CONTAINED), ...Object.values(CONTAINED).flat(), ...OTHER_SCOPES])

/** True when the scopes hold one of those wanted, themselves or by containment. An empty `anyOf` wants nothing. */
export function hasScope(scopes: readonly string[], anyOf: readonly string[]): boolean {
  if (anyOf.length === 0) return true
  const held = new Set<string>()
  const add = (scope: string) => {
    if (held.has(scope)) return
    held.add(scope)
    for (const contained of CONTAINED[scope] ?? []) add(contained)
  }
  for (const scope of scopes) add(scope)
  return anyOf.some((scope) => held.has(scope))
}

/** What a call asks of its actor. Routes declare it, use-cases check it, headers and the access test read it. */
export interface Need {
  on: 'nothing' | 'site' | 'enterprise' | 'organization' | 'repository' | 'app' | 'installation'
  role: 'anyone' | 'user' | 'owner' | 'member' | RepositoryRole
  /** Any one of these suffices for a classic token; none where empty. For repositories see `repositoryScopes`. */
  scopes: string[]
  /** `X-Accepted-OAuth-Scopes`, as recorded from GitHub (rest-api.md 3.3). */
  accepted: string[]
  /** What it takes of an App or a fine-grained token (rest-api.md 2.1). */
  permission: PermissionNeed
  /** A `RemoteAuth` token of this purpose may make the call too. */
  registration?: 'register' | 'remove'
  /** What a job's `GITHUB_TOKEN` may do here: `contents` and `metadata` are readable. */
  job?: 'contents' | 'metadata'
}

/** The scopes of a need that suffice by themselves, without `repo`: those of webhooks, on private repositories too (rest-api.md 5.4). */
export function ownScopes(scopes: readonly string[]): string[] {
  return scopes.filter((scope) => scope.endsWith('repo_hook'))
}

/** On a public or internal repository `public_repo` suffices, on a private one it takes `repo` (rest-api.md 1.3). */
export function repositoryScopes(visibility: string): string[] {
  return visibility === 'private' ? ['repo'] : ['public_repo']
}

const ORG = ['admin:org', 'manage_runners:org']
const ENTERPRISE = ['admin:enterprise', 'manage_runners:enterprise']

export const needs = {
  anyone: { on: 'nothing', role: 'anyone', scopes: [], accepted: [], permission: 'public' },
  user: { on: 'nothing', role: 'user', scopes: [], accepted: [], permission: 'any' },
  /** Private fields come with `user` and `read:user`. */
  self: { on: 'nothing', role: 'user', scopes: [], accepted: [], permission: 'any' },
  userOrganizations: {
    on: 'nothing',
    role: 'user',
    scopes: ['read:org', 'user'],
    accepted: ['admin:org', 'read:org', 'user', 'write:org'],
    permission: 'members:read',
  },
  userRepositories: { on: 'nothing', role: 'user', scopes: [], accepted: ['repo'], permission: 'metadata:read' },
  /** Site administrators for anybody, users for themselves. */
  userTokens: { on: 'nothing', role: 'user', scopes: ['user', 'site_admin'], accepted: ['site_admin', 'user'], permission: 'none' },
  siteAdmin: { on: 'site', role: 'owner', scopes: ['site_admin'], accepted: ['site_admin'], permission: 'none' },
  enterpriseRunners: { on: 'enterprise', role: 'owner', scopes: ENTERPRISE, accepted: ENTERPRISE, permission: 'none' },
  organizationRunnersRead: {
    on: 'organization',
    role: 'owner',
    scopes: ORG,
    accepted: ['admin:org'],
    permission: 'organization_self_hosted_runners:read',
  },
  organizationRunners: {
    on: 'organization',
    role: 'owner',
    scopes: ORG,
    accepted: ['admin:org'],
    permission: 'organization_self_hosted_runners:write',
  },
  organizationPolicyRead: {
    on: 'organization',
    role: 'owner',
    scopes: ['admin:org'],
    accepted: ['admin:org'],
    permission: 'organization_administration:read',
  },
  organizationPolicy: {
    on: 'organization',
    role: 'owner',
    scopes: ['admin:org'],
    accepted: ['admin:org'],
    permission: 'organization_administration:write',
  },
  /** Who did what is for owners, also with a token that may do nothing else. */
  organizationAudit: {
    on: 'organization',
    role: 'owner',
    scopes: ['admin:org', 'read:audit_log'],
    accepted: ['admin:org', 'read:audit_log'],
    permission: 'organization_administration:read',
  },
  enterpriseAudit: {
    on: 'enterprise',
    role: 'owner',
    scopes: ['admin:enterprise', 'read:audit_log'],
    accepted: ['admin:enterprise', 'read:audit_log'],
    permission: 'none',
  },
  enterprisePolicy: { on: 'enterprise', role: 'owner', scopes: ['admin:enterprise'], accepted: ['admin:enterprise'], permission: 'none' },
  repositoryRunnersRead: { on: 'repository', role: 'admin', scopes: ['repo'], accepted: ['repo'], permission: 'administration:read' },
  repositoryRunners: { on: 'repository', role: 'admin', scopes: ['repo'], accepted: ['repo'], permission: 'administration:write' },
  organizationVisible: {
    on: 'organization',
    role: 'anyone',
    scopes: [],
    accepted: ['admin:org', 'read:org', 'repo', 'user', 'write:org'],
    permission: 'metadata:read',
  },
  organizationMembersRead: {
    on: 'organization',
    role: 'member',
    scopes: ['read:org'],
    accepted: ['admin:org', 'read:org', 'write:org'],
    permission: 'members:read',
  },
  organizationMembersWrite: {
    on: 'organization',
    role: 'owner',
    scopes: ['admin:org'],
    accepted: ['admin:org'],
    permission: 'members:write',
  },
  organizationInstallations: {
    on: 'organization',
    role: 'owner',
    scopes: ['admin:org'],
    accepted: ['admin:org'],
    permission: 'organization_administration:read',
  },
  organizationRepositories: { on: 'organization', role: 'anyone', scopes: [], accepted: ['repo'], permission: 'metadata:read' },
  organizationRepositoryCreate: {
    on: 'organization',
    role: 'member',
    scopes: ['public_repo'],
    accepted: ['public_repo', 'repo'],
    permission: 'administration:write',
  },
  userRepositoryCreate: {
    on: 'nothing',
    role: 'user',
    scopes: ['public_repo'],
    accepted: ['public_repo', 'repo'],
    permission: 'administration:write',
  },
  repositoryRead: { on: 'repository', role: 'read', scopes: [], accepted: ['repo'], permission: 'metadata:read', job: 'metadata' },
  repositoryContents: { on: 'repository', role: 'read', scopes: [], accepted: [], permission: 'contents:read', job: 'contents' },
  repositoryAdmin: { on: 'repository', role: 'admin', scopes: ['repo'], accepted: ['repo'], permission: 'administration:write' },
  repositoryDelete: {
    on: 'repository',
    role: 'admin',
    scopes: ['delete_repo'],
    accepted: ['delete_repo'],
    permission: 'administration:write',
  },
  repositoryHooksRead: {
    on: 'repository',
    role: 'admin',
    scopes: ['repo', 'read:repo_hook'],
    accepted: ['admin:repo_hook', 'public_repo', 'read:repo_hook', 'repo', 'write:repo_hook'],
    permission: 'repository_hooks:read',
  },
  repositoryHooksWrite: {
    on: 'repository',
    role: 'admin',
    scopes: ['repo', 'write:repo_hook'],
    accepted: ['admin:repo_hook', 'public_repo', 'repo', 'write:repo_hook'],
    permission: 'repository_hooks:write',
  },
  organizationHooksRead: {
    on: 'organization',
    role: 'owner',
    scopes: ['admin:org_hook'],
    accepted: ['admin:org_hook'],
    permission: 'organization_hooks:read',
  },
  organizationHooks: {
    on: 'organization',
    role: 'owner',
    scopes: ['admin:org_hook'],
    accepted: ['admin:org_hook'],
    permission: 'organization_hooks:write',
  },
  enterpriseHooks: { on: 'enterprise', role: 'owner', scopes: ['admin:enterprise'], accepted: ['admin:enterprise'], permission: 'none' },
  globalHooks: { on: 'site', role: 'owner', scopes: ['site_admin'], accepted: ['site_admin'], permission: 'none' },
  actionsRead: { on: 'repository', role: 'read', scopes: [], accepted: [], permission: 'actions:read' },
  actionsWrite: { on: 'repository', role: 'write', scopes: ['repo'], accepted: [], permission: 'actions:write' },
  checksRead: { on: 'repository', role: 'read', scopes: [], accepted: [], permission: 'checks:read' },
  contentsWrite: { on: 'repository', role: 'write', scopes: ['repo'], accepted: ['repo'], permission: 'contents:write' },
  /** The App itself. */
  app: { on: 'app', role: 'owner', scopes: [], accepted: [], permission: 'app JWT' },
  /** The installation that the token is of. */
  installation: { on: 'installation', role: 'owner', scopes: [], accepted: [], permission: 'installation token' },
} as const satisfies Record<string, Need>

/** The same need, also met by a registration or remove token of the scope. */
export function orRegistration(need: Need, purpose: 'register' | 'remove'): Need {
  return { ...need, registration: purpose }
}
