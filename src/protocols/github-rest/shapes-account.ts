import { Type, type Static } from 'typebox'
import { orNull, texts, Time, Word } from '../../http/answers.ts'

const SIMPLE_USER = {
  login: Type.String(),
  id: Type.Integer(),
  node_id: Type.String(),
  ...texts('avatar_url', 'gravatar_id', 'url', 'html_url', 'followers_url', 'following_url', 'gists_url', 'starred_url'),
  ...texts('subscriptions_url', 'organizations_url', 'repos_url', 'events_url', 'received_events_url'),
  type: Word('User', 'Organization', 'Bot'),
  user_view_type: Type.String(),
  site_admin: Type.Boolean(),
}
export type SimpleUserBody = Static<typeof SimpleUserBody>
export const SimpleUserBody = Type.Object(SIMPLE_USER, {
  title: 'SimpleUser',
  description: 'A user, an organization or the bot of an App.',
})

const Count = Type.Integer()
/** What only they themselves see is optional. */
export type UserBody = Static<typeof UserBody>
export const UserBody = Type.Object(
  {
    ...SIMPLE_USER,
    name: orNull(Type.String()),
    company: Type.Null(),
    blog: Type.Null(),
    location: Type.Null(),
    email: Type.Union([Type.String(), Type.Null()], { description: 'Of people only their own.' }),
    hireable: Type.Null(),
    bio: Type.Null(),
    twitter_username: Type.Null(),
    public_repos: Count,
    public_gists: Count,
    followers: Count,
    following: Count,
    created_at: Time,
    updated_at: Time,
    private_gists: Type.Optional(Count),
    total_private_repos: Type.Optional(Count),
    owned_private_repos: Type.Optional(Count),
    disk_usage: Type.Optional(Count),
    collaborators: Type.Optional(Count),
    two_factor_authentication: Type.Optional(Type.Boolean()),
  },
  { title: 'User', description: 'Whoever asks about themselves is told more.' },
)

const SIMPLE_ORGANIZATION = {
  login: Type.String(),
  id: Type.Integer(),
  node_id: Type.String(),
  ...texts('url', 'repos_url', 'events_url', 'hooks_url', 'issues_url', 'members_url', 'public_members_url', 'avatar_url'),
  description: Type.Null(),
}
export type SimpleOrganizationBody = Static<typeof SimpleOrganizationBody>
export const SimpleOrganizationBody = Type.Object(SIMPLE_ORGANIZATION, { title: 'SimpleOrganization' })

export type OrganizationBody = Static<typeof OrganizationBody>
export const OrganizationBody = Type.Object(
  {
    ...SIMPLE_ORGANIZATION,
    name: Type.String(),
    is_verified: Type.Boolean(),
    has_organization_projects: Type.Boolean(),
    has_repository_projects: Type.Boolean(),
    public_repos: Count,
    public_gists: Count,
    followers: Count,
    following: Count,
    html_url: Type.String(),
    type: Type.String(),
    created_at: Time,
    updated_at: Time,
    archived_at: Type.Null(),
    total_private_repos: Type.Optional(Count),
    owned_private_repos: Type.Optional(Count),
    private_gists: Type.Optional(Count),
    disk_usage: Type.Optional(Count),
    collaborators: Type.Optional(Count),
    billing_email: Type.Optional(Type.Null()),
    default_repository_permission: Type.Optional(Type.String()),
    members_can_create_repositories: Type.Optional(Type.Boolean()),
    members_allowed_repository_creation_type: Type.Optional(Type.String()),
    members_can_create_public_repositories: Type.Optional(Type.Boolean()),
    members_can_create_private_repositories: Type.Optional(Type.Boolean()),
    members_can_create_internal_repositories: Type.Optional(Type.Boolean()),
    two_factor_requirement_enabled: Type.Optional(Type.Boolean()),
    web_commit_signoff_required: Type.Optional(Type.Boolean()),
  },
  { title: 'Organization', description: 'Its members are told more.' },
)

export type MembershipBody = Static<typeof MembershipBody>
export const MembershipBody = Type.Object(
  {
    ...texts('url', 'organization_url'),
    state: Type.String({ description: 'Always `active`.' }),
    role: Word('admin', 'member'),
    direct_membership: Type.Boolean(),
    organization: SimpleOrganizationBody,
    user: SimpleUserBody,
    permissions: Type.Object({ can_create_repository: Type.Boolean() }),
  },
  { title: 'OrganizationMembership' },
)

export type AuthorizationBody = Static<typeof AuthorizationBody>
export const AuthorizationBody = Type.Object(
  {
    id: Type.Integer(),
    url: Type.String(),
    app: Type.Object(texts('name', 'url', 'client_id')),
    token: Type.String({ description: 'The token itself, shown this once.' }),
    hashed_token: Type.Null(),
    token_last_eight: Type.String(),
    note: Type.String(),
    note_url: Type.Null(),
    created_at: Time,
    updated_at: Time,
    scopes: Type.Array(Type.String()),
    fingerprint: Type.Null(),
    expires_at: orNull(Time),
    user: SimpleUserBody,
  },
  { title: 'Authorization', description: 'An impersonation token.' },
)
