import type { Account, Repository } from '../../model/account.ts'
import { fullName } from '../../model/account.ts'
import type { JobView } from '../../core/jobs/jobs.ts'
import type { RunView } from '../../core/runs/runs.ts'
import type { Run, Workflow } from '../../model/job.ts'
import { isoTime, nodeId } from './room.ts'

/** Addresses that objects are built with: of the API and of the web host. */
export interface Bases {
  api: string
  web: string
}

/** simple-user (rest-api.md 2.17). */
export function presentSimpleUser({ api, web }: Bases, account: Account) {
  const url = `${api}/users/${account.login}`
  return {
    login: account.login,
    id: account.id,
    node_id: nodeId(account.kind === 'user' ? 'User' : 'Organization', account.id),
    avatar_url: `${web}/avatars/${account.id}`,
    gravatar_id: '',
    url,
    html_url: `${web}/${account.login}`,
    followers_url: `${url}/followers`,
    following_url: `${url}/following{/other_user}`,
    gists_url: `${url}/gists{/gist_id}`,
    starred_url: `${url}/starred{/owner}{/repo}`,
    subscriptions_url: `${url}/subscriptions`,
    organizations_url: `${url}/orgs`,
    repos_url: `${url}/repos`,
    events_url: `${url}/events{/privacy}`,
    received_events_url: `${url}/received_events`,
    type: account.kind === 'user' ? 'User' : 'Organization',
    user_view_type: 'public',
    site_admin: account.siteAdmin,
  }
}

/** minimal-repository, as runs carry it. */
export function presentMinimalRepository(bases: Bases, repository: Repository) {
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

export function presentRun(bases: Bases, { run, repository, workflow, actor, attemptId }: RunView) {
  const name = fullName(repository)
  const repo = `${bases.api}/repos/${name}`
  const url = `${repo}/actions/runs/${run.id}`
  const by = actor ? presentSimpleUser(bases, actor) : null
  return {
    id: run.id,
    name: workflow.name,
    node_id: nodeId('WorkflowRun', run.id),
    check_suite_id: attemptId,
    check_suite_node_id: nodeId('CheckSuite', attemptId),
    head_branch: run.headBranch,
    head_sha: run.headSha,
    path: workflow.path,
    display_title: run.title,
    run_number: run.number,
    run_attempt: run.latestAttempt,
    event: run.event,
    status: run.status,
    conclusion: run.conclusion,
    workflow_id: run.workflowId,
    url,
    html_url: `${bases.web}/${name}/actions/runs/${run.id}`,
    pull_requests: [],
    created_at: isoTime(run.createdAt),
    updated_at: isoTime(run.updatedAt),
    ...(by && { actor: by, triggering_actor: by }),
    run_started_at: isoTime(run.startedAt),
    referenced_workflows: [],
    jobs_url: `${url}/jobs`,
    logs_url: `${url}/logs`,
    check_suite_url: `${repo}/check-suites/${attemptId}`,
    artifacts_url: `${url}/artifacts`,
    cancel_url: `${url}/cancel`,
    rerun_url: `${url}/rerun`,
    previous_attempt_url: null,
    workflow_url: `${repo}/actions/workflows/${run.workflowId}`,
    head_commit: {
      id: run.headCommit.id,
      tree_id: run.headCommit.treeId,
      message: run.headCommit.message,
      timestamp: run.headCommit.timestamp,
      author: run.headCommit.author,
      committer: run.headCommit.committer,
    },
    repository: presentMinimalRepository(bases, repository),
    head_repository: presentMinimalRepository(bases, repository),
    head_repository_id: repository.id,
    // Beside GitHub's fields: why a run failed without running.
    problem: run.problem,
  }
}

export function presentWorkflow({ api, web }: Bases, repository: Repository, workflow: Workflow) {
  const name = fullName(repository)
  const file = workflow.path.split('/').at(-1) ?? ''
  return {
    id: workflow.id,
    node_id: nodeId('Workflow', workflow.id),
    name: workflow.name,
    path: workflow.path,
    state: workflow.state,
    // Milliseconds and an offset here, as recorded (rest-api.md 1.5).
    created_at: longTime(workflow.createdAt),
    updated_at: longTime(workflow.updatedAt),
    url: `${api}/repos/${name}/actions/workflows/${workflow.id}`,
    html_url: `${web}/${name}/blob/${repository.defaultBranch}/${workflow.path}`,
    badge_url: `${web}/${name}/actions/workflows/${encodeURIComponent(file)}/badge.svg`,
  }
}

function longTime(at: number): string {
  return new Date(at).toISOString().replace('Z', '+00:00')
}

/** A job that a runner was given and has not taken is still `queued` to clients (rest-api.md 2.9). */
export function presentJob(bases: Bases, repository: Repository, { job, run, attemptNumber, workflow, steps, waiting }: JobView) {
  const name = fullName(repository)
  const repo = `${bases.api}/repos/${name}`
  const isTaken = job.status === 'in_progress' || job.status === 'completed'
  const completedAt = job.completedAt === null ? null : isoTime(job.completedAt)
  return {
    id: job.id,
    run_id: run.id,
    workflow_name: workflow?.name ?? null,
    head_branch: run.headBranch,
    run_url: `${repo}/actions/runs/${run.id}`,
    run_attempt: attemptNumber,
    node_id: nodeId('CheckRun', job.id),
    head_sha: run.headSha,
    url: `${repo}/actions/jobs/${job.id}`,
    html_url: `${bases.web}/${name}/actions/runs/${run.id}/job/${job.id}`,
    status: job.status === 'assigned' ? 'queued' : job.status,
    conclusion: job.conclusion,
    created_at: isoTime(job.createdAt),
    started_at: isoTime(job.startedAt ?? job.completedAt ?? job.createdAt),
    completed_at: completedAt,
    name: job.name,
    steps: steps.map((step) => ({
      name: step.name,
      status: step.status,
      conclusion: step.conclusion,
      number: step.number,
      started_at: step.startedAt,
      completed_at: step.completedAt,
    })),
    check_run_url: `${repo}/check-runs/${job.id}`,
    labels: job.labels,
    runner_id: isTaken ? job.runnerId : null,
    runner_name: isTaken ? job.runnerName : null,
    runner_group_id: isTaken ? job.runnerGroupId : null,
    runner_group_name: isTaken ? job.runnerGroupName : null,
    // Beside GitHub's fields: why it waits and since when, and why it ended without a report.
    waiting_reason: waiting?.reason ?? null,
    waiting_since: waiting === undefined ? null : isoTime(waiting.since),
    problem: job.problem,
  }
}

/** Runs carry it for dispatches that ask for details. */
export function presentDispatched({ api, web }: Bases, repository: Repository, run: Run) {
  const name = fullName(repository)
  return {
    workflow_run_id: run.id,
    run_url: `${api}/repos/${name}/actions/runs/${run.id}`,
    html_url: `${web}/${name}/actions/runs/${run.id}`,
  }
}
