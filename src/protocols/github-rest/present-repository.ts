import { isoTime } from '../../http/places.ts'
import { reaches, type RepositoryRole } from '../../model/access.ts'
import { fullName, type Repository } from '../../model/account.ts'
import { presentSimpleUser, type Bases } from './present-account.ts'
import { nodeId } from './room.ts'
import type { MinimalRepositoryBody, RepositoryBody, RepositoryPermissionsBody } from './shapes-repository.ts'

/** minimal-repository, as runs carry it. */
export function presentMinimalRepository(bases: Bases, repository: Repository): MinimalRepositoryBody {
  const name = fullName(repository)
  const url = `${bases.api}/repos/${name}`
  const at = (suffix: string) => `${url}${suffix}`
  return {
    id: repository.id,
    node_id: nodeId('Repository', repository.id),
    name: repository.name,
    full_name: name,
    private: repository.visibility !== 'public',
    owner: presentSimpleUser(bases, repository.owner),
    html_url: `${bases.web}/${name}`,
    description: repository.description,
    fork: false,
    url,
    archive_url: at('/{archive_format}{/ref}'),
    assignees_url: at('/assignees{/user}'),
    blobs_url: at('/git/blobs{/sha}'),
    branches_url: at('/branches{/branch}'),
    collaborators_url: at('/collaborators{/collaborator}'),
    comments_url: at('/comments{/number}'),
    commits_url: at('/commits{/sha}'),
    compare_url: at('/compare/{base}...{head}'),
    contents_url: at('/contents/{+path}'),
    contributors_url: at('/contributors'),
    deployments_url: at('/deployments'),
    downloads_url: at('/downloads'),
    events_url: at('/events'),
    forks_url: at('/forks'),
    git_commits_url: at('/git/commits{/sha}'),
    git_refs_url: at('/git/refs{/sha}'),
    git_tags_url: at('/git/tags{/sha}'),
    hooks_url: at('/hooks'),
    issue_comment_url: at('/issues/comments{/number}'),
    issue_events_url: at('/issues/events{/number}'),
    issues_url: at('/issues{/number}'),
    keys_url: at('/keys{/key_id}'),
    labels_url: at('/labels{/name}'),
    languages_url: at('/languages'),
    merges_url: at('/merges'),
    milestones_url: at('/milestones{/number}'),
    notifications_url: at('/notifications{?since,all,participating}'),
    pulls_url: at('/pulls{/number}'),
    releases_url: at('/releases{/id}'),
    stargazers_url: at('/stargazers'),
    statuses_url: at('/statuses/{sha}'),
    subscribers_url: at('/subscribers'),
    subscription_url: at('/subscription'),
    tags_url: at('/tags'),
    teams_url: at('/teams'),
    trees_url: at('/git/trees{/sha}'),
  }
}

/** full-repository: also what lists show, since it holds all that their shorter shapes ask for. */
export function presentRepository(bases: Bases, repository: Repository, role?: RepositoryRole): RepositoryBody {
  const name = fullName(repository)
  const { owner } = repository
  return {
    ...presentMinimalRepository(bases, repository),
    git_url: `${bases.web.replace(/^https?/, 'git')}/${name}.git`,
    ssh_url: `ssh://git@${new URL(bases.web).hostname}/${name}.git`,
    clone_url: `${bases.web}/${name}.git`,
    svn_url: `${bases.web}/${name}`,
    mirror_url: null,
    homepage: null,
    language: null,
    license: null,
    size: 0,
    forks: 0,
    forks_count: 0,
    stargazers_count: 0,
    watchers: 0,
    watchers_count: 0,
    open_issues: 0,
    open_issues_count: 0,
    network_count: 0,
    subscribers_count: 0,
    default_branch: repository.defaultBranch,
    visibility: repository.visibility,
    is_template: false,
    topics: [],
    has_issues: false,
    has_projects: false,
    has_wiki: false,
    has_pages: false,
    has_downloads: false,
    has_discussions: false,
    archived: false,
    disabled: false,
    allow_forking: false,
    web_commit_signoff_required: false,
    created_at: isoTime(repository.createdAt),
    updated_at: isoTime(repository.updatedAt),
    // Never null in the description: before the first push GitHub tells when it was made.
    pushed_at: isoTime(repository.pushedAt ?? repository.createdAt),
    ...(role && { permissions: presentPermissions(role) }),
    ...(owner.kind === 'organization' && { organization: presentSimpleUser(bases, owner) }),
  }
}

/** Each right with those below it, in GitHub's words. */
export function presentPermissions(role: RepositoryRole | undefined): RepositoryPermissionsBody {
  return {
    admin: reaches(role, 'admin'),
    maintain: reaches(role, 'maintain'),
    push: reaches(role, 'write'),
    triage: reaches(role, 'triage'),
    pull: reaches(role, 'read'),
  }
}
