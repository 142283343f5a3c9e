import { isoTime } from '../../http/places.ts'
import type { Membership } from '../../core/accounts/memberships.ts'
import type { NewToken } from '../../core/accounts/tokens.ts'
import type { AccountView } from '../../core/accounts/users.ts'
import { accountType, type Account } from '../../model/account.ts'
import { nodeId } from './room.ts'
import type {
  AuthorizationBody,
  MembershipBody,
  OrganizationBody,
  SimpleOrganizationBody,
  SimpleUserBody,
  UserBody,
} from './shapes-account.ts'

/** Addresses that objects are built with: of the API and of the web host. */
export interface Bases {
  api: string
  web: string
}

/** simple-user (rest-api.md 2.17). */
export function presentSimpleUser({ api, web }: Bases, account: Account): SimpleUserBody {
  // The login of a bot has brackets.
  const url = `${api}/users/${encodeURIComponent(account.login)}`
  return {
    login: account.login,
    id: account.id,
    node_id: nodeId(accountType(account), account.id),
    avatar_url: `${web}/avatars/${account.id}`,
    gravatar_id: '',
    url,
    html_url: `${web}/${encodeURIComponent(account.login)}`,
    followers_url: `${url}/followers`,
    following_url: `${url}/following{/other_user}`,
    gists_url: `${url}/gists{/gist_id}`,
    starred_url: `${url}/starred{/owner}{/repo}`,
    subscriptions_url: `${url}/subscriptions`,
    organizations_url: `${url}/orgs`,
    repos_url: `${url}/repos`,
    events_url: `${url}/events{/privacy}`,
    received_events_url: `${url}/received_events`,
    type: accountType(account),
    user_view_type: 'public',
    site_admin: account.siteAdmin,
  }
}

/** public-user, and private-user for whoever asks about themselves. Of people's addresses only their own are told. */
export function presentUser(bases: Bases, { account, repositories, isPrivate }: AccountView): UserBody {
  const shown = {
    ...presentSimpleUser(bases, account),
    name: account.name,
    company: null,
    blog: null,
    location: null,
    email: isPrivate ? account.email : null,
    hireable: null,
    bio: null,
    twitter_username: null,
    public_repos: repositories.open,
    public_gists: 0,
    followers: 0,
    following: 0,
    created_at: isoTime(account.createdAt),
    updated_at: isoTime(account.updatedAt),
  }
  if (!isPrivate) return shown
  return {
    ...shown,
    private_gists: 0,
    total_private_repos: repositories.closed,
    owned_private_repos: repositories.closed,
    disk_usage: 0,
    collaborators: 0,
    two_factor_authentication: false,
  }
}

/** organization-simple. */
export function presentSimpleOrganization({ api, web }: Bases, organization: Account): SimpleOrganizationBody {
  const url = `${api}/orgs/${organization.login}`
  return {
    login: organization.login,
    id: organization.id,
    node_id: nodeId('Organization', organization.id),
    url,
    repos_url: `${url}/repos`,
    events_url: `${url}/events`,
    hooks_url: `${url}/hooks`,
    issues_url: `${url}/issues`,
    members_url: `${url}/members{/member}`,
    public_members_url: `${url}/public_members{/member}`,
    avatar_url: `${web}/avatars/${organization.id}`,
    description: null,
  }
}

/** organization-full; members see what they may do. */
export function presentOrganization(bases: Bases, { account, repositories, isPrivate }: AccountView): OrganizationBody {
  return {
    ...presentSimpleOrganization(bases, account),
    name: account.name ?? account.login,
    is_verified: false,
    has_organization_projects: false,
    has_repository_projects: false,
    public_repos: repositories.open,
    public_gists: 0,
    followers: 0,
    following: 0,
    html_url: `${bases.web}/${account.login}`,
    type: 'Organization',
    created_at: isoTime(account.createdAt),
    updated_at: isoTime(account.updatedAt),
    archived_at: null,
    ...(isPrivate && {
      total_private_repos: repositories.closed,
      owned_private_repos: repositories.closed,
      private_gists: 0,
      disk_usage: 0,
      collaborators: 0,
      billing_email: null,
      default_repository_permission: 'read',
      members_can_create_repositories: true,
      members_allowed_repository_creation_type: 'all',
      members_can_create_public_repositories: true,
      members_can_create_private_repositories: true,
      members_can_create_internal_repositories: true,
      two_factor_requirement_enabled: false,
      web_commit_signoff_required: false,
    }),
  }
}

/** org-membership; active at once (architecture 1.9). */
export function presentMembership(bases: Bases, { organization, user, role }: Membership): MembershipBody {
  const simple = presentSimpleOrganization(bases, organization)
  return {
    url: `${simple.url}/memberships/${user.login}`,
    state: 'active',
    role: role === 'owner' ? 'admin' : 'member',
    direct_membership: true,
    organization_url: simple.url,
    organization: simple,
    user: presentSimpleUser(bases, user),
    permissions: { can_create_repository: true },
  }
}

/** authorization: what GitHub Enterprise Server calls an impersonation token. */
export function presentAuthorization(bases: Bases, user: Account, token: NewToken, now: number): AuthorizationBody {
  return {
    id: token.id,
    url: `${bases.api}/authorizations/${token.id}`,
    app: { name: 'Fleetfoot', url: bases.web, client_id: '00000000000000000000' },
    token: token.text,
    hashed_token: null,
    token_last_eight: token.text.slice(-8),
    note: token.name,
    note_url: null,
    created_at: isoTime(token.createdAt),
    updated_at: isoTime(now),
    scopes: token.scopes,
    fingerprint: null,
    expires_at: token.expiresAt === null ? null : isoTime(token.expiresAt),
    user: presentSimpleUser(bases, user),
  }
}
