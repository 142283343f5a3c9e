import { Type, type Static } from 'typebox'
import { orNull, texts, Time, Word } from '../../http/answers.ts'
import { SimpleUserBody } from './shapes-account.ts'

const MINIMAL = {
  id: Type.Integer(),
  ...texts('node_id', 'name', 'full_name'),
  private: Type.Boolean(),
  owner: SimpleUserBody,
  html_url: Type.String(),
  description: orNull(Type.String()),
  fork: Type.Boolean(),
  ...texts('url', 'archive_url', 'assignees_url', 'blobs_url', 'branches_url', 'collaborators_url', 'comments_url', 'commits_url'),
  ...texts('compare_url', 'contents_url', 'contributors_url', 'deployments_url', 'downloads_url', 'events_url', 'forks_url'),
  ...texts('git_commits_url', 'git_refs_url', 'git_tags_url', 'hooks_url', 'issue_comment_url', 'issue_events_url', 'issues_url'),
  ...texts('keys_url', 'labels_url', 'languages_url', 'merges_url', 'milestones_url', 'notifications_url', 'pulls_url', 'releases_url'),
  ...texts('stargazers_url', 'statuses_url', 'subscribers_url', 'subscription_url', 'tags_url', 'teams_url', 'trees_url'),
}
export type MinimalRepositoryBody = Static<typeof MinimalRepositoryBody>
export const MinimalRepositoryBody = Type.Object(MINIMAL, { title: 'MinimalRepository', description: 'A repository, as runs carry it.' })

export type RepositoryPermissionsBody = Static<typeof RepositoryPermissionsBody>
export const RepositoryPermissionsBody = Type.Object(
  {
    admin: Type.Boolean(),
    maintain: Type.Boolean(),
    push: Type.Boolean(),
    triage: Type.Boolean(),
    pull: Type.Boolean(),
  },
  { title: 'RepositoryPermissions' },
)

const Count = Type.Integer()
export type RepositoryBody = Static<typeof RepositoryBody>
export const RepositoryBody = Type.Object(
  {
    ...MINIMAL,
    ...texts('git_url', 'ssh_url', 'clone_url', 'svn_url'),
    mirror_url: Type.Null(),
    homepage: Type.Null(),
    language: Type.Null(),
    license: Type.Null(),
    size: Count,
    forks: Count,
    forks_count: Count,
    stargazers_count: Count,
    watchers: Count,
    watchers_count: Count,
    open_issues: Count,
    open_issues_count: Count,
    network_count: Count,
    subscribers_count: Count,
    default_branch: Type.String(),
    visibility: Word('public', 'private', 'internal'),
    is_template: Type.Boolean(),
    topics: Type.Array(Type.String()),
    has_issues: Type.Boolean(),
    has_projects: Type.Boolean(),
    has_wiki: Type.Boolean(),
    has_pages: Type.Boolean(),
    has_downloads: Type.Boolean(),
    has_discussions: Type.Boolean(),
    archived: Type.Boolean(),
    disabled: Type.Boolean(),
    allow_forking: Type.Boolean(),
    web_commit_signoff_required: Type.Boolean(),
    created_at: Time,
    updated_at: Time,
    pushed_at: Type.String({ format: 'date-time', description: 'Before the first push, when it was made.' }),
    permissions: Type.Optional(RepositoryPermissionsBody),
    organization: Type.Optional(SimpleUserBody),
  },
  { title: 'Repository' },
)
export const RepositoriesBody = Type.Array(RepositoryBody)
export const CountedRepositoriesBody = Type.Object({ total_count: Type.Integer(), repositories: RepositoriesBody })

export type CollaboratorPermissionBody = Static<typeof CollaboratorPermissionBody>
export const CollaboratorPermissionBody = Type.Object(
  {
    permission: Word('admin', 'write', 'read', 'none'),
    role_name: Type.String(),
    user: Type.Object({ ...SimpleUserBody.properties, permissions: RepositoryPermissionsBody, role_name: Type.String() }),
  },
  { title: 'CollaboratorPermission' },
)
