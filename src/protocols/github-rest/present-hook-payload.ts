import { isoTime } from '../../http/places.ts'
import type { HookContext, HookMessage } from '../../core/hooks/payloads.ts'
import type { JobView } from '../../core/jobs/jobs.ts'
import { fullName, type Enterprise, type Repository } from '../../model/account.ts'
import { ZEN } from './meta.ts'
import { presentSimpleOrganization, presentSimpleUser, type Bases } from './present-account.ts'
import { presentInstallation } from './present-app.ts'
import { presentActionsApp, presentCheckRun } from './present-check-run.ts'
import { presentAppHook, presentHook } from './present-hook.ts'
import { presentRepository } from './present-repository.ts'
import { presentJob, presentRun, presentWorkflow } from './present-run.ts'
import { nodeId } from './room.ts'

/** What a webhook is sent (rest-api.md §5.2, §5.3). */
export function presentHookPayload(bases: Bases, message: HookMessage, context: HookContext): Record<string, unknown> {
  const { repository, organization, enterprise, sender, installationId } = context
  const beside = {
    ...(repository && { repository: presentRepository(bases, repository) }),
    ...(organization && { organization: presentSimpleOrganization(bases, organization) }),
    ...(enterprise && { enterprise: presentEnterprise(bases, enterprise) }),
    ...(sender && { sender: presentSimpleUser(bases, sender) }),
    ...(installationId !== undefined && { installation: { id: installationId, node_id: nodeId('Installation', installationId) } }),
  }
  switch (message.event) {
    case 'workflow_job':
      return { action: message.action, workflow_job: repository && presentTold(bases, repository, message.job), ...beside }
    case 'check_run':
      return { action: message.action, check_run: repository && presentToldCheckRun(bases, repository, message), ...beside }
    case 'workflow_run': {
      const { problem: _problem, ...run } = presentRun(bases, message.run)
      const workflow = presentWorkflow(bases, message.run.repository, message.run.workflow)
      return { action: message.action, workflow_run: run, workflow, ...beside }
    }
    case 'push':
      return { ...message.push, ...presentPush(bases, message.push, context), ...beside, ...pushedRepository(bases, repository) }
    case 'ping': {
      const { hook } = message
      return {
        zen: ZEN[hook.id % ZEN.length],
        hook_id: hook.id,
        hook: hook.owner.kind === 'app' ? presentAppHook(bases, hook) : presentHook(bases, homeOf(hook.owner.kind, context), hook),
        ...beside,
      }
    }
    case 'installation': {
      const { action, view, repositories } = message
      const reached = repositories.map(presentReached)
      return { action, installation: presentInstallation(bases, view), repositories: reached, requester: null, ...beside }
    }
    case 'installation_repositories': {
      const { action, view, repositories } = message
      const changed = repositories.map(presentReached)
      return {
        action,
        installation: presentInstallation(bases, view),
        repository_selection: view.installation.repositorySelection,
        repositories_added: action === 'added' ? changed : [],
        repositories_removed: action === 'removed' ? changed : [],
        requester: null,
        ...beside,
      }
    }
    default:
      throw new Error('there is no such message')
  }
}

function homeOf(kind: string, { repository, organization, enterprise }: HookContext) {
  if (kind === 'repository') return { repository }
  if (kind === 'organization') return { organization }
  return kind === 'enterprise' ? { enterprise } : {}
}

function presentReached(repository: Repository) {
  const { id, name, visibility } = repository
  return { id, node_id: nodeId('Repository', id), name, full_name: fullName(repository), private: visibility !== 'public' }
}

/** A job without what we show beside GitHub's fields. */
function presentTold(bases: Bases, repository: Repository, job: JobView) {
  const { waiting_reason: _reason, waiting_since: _since, problem: _problem, ...told } = presentJob(bases, repository, job)
  return told
}

/** enterprise-webhooks. */
function presentEnterprise({ web }: Bases, { id, slug, name, createdAt, updatedAt }: Enterprise) {
  return {
    id,
    slug,
    name,
    node_id: nodeId('Enterprise', id),
    avatar_url: `${web}/avatars/b/${id}`,
    description: null,
    website_url: null,
    html_url: `${web}/enterprises/${slug}`,
    created_at: isoTime(createdAt),
    updated_at: isoTime(updatedAt),
  }
}

function presentToldCheckRun(bases: Bases, repository: Repository, message: Extract<HookMessage, { event: 'check_run' }>) {
  const { action, job, annotations } = message
  const { run, attemptId } = message.run
  return {
    ...presentCheckRun(bases, repository, job, annotations),
    status: action === 'completed' ? 'completed' : 'queued',
    check_suite: {
      id: attemptId,
      node_id: nodeId('CheckSuite', attemptId),
      head_branch: run.headBranch,
      head_sha: run.headSha,
      // A run ends after its jobs: at none of these moments was it over.
      status: run.status === 'completed' ? 'in_progress' : run.status,
      conclusion: null,
      url: `${bases.api}/repos/${fullName(repository)}/check-suites/${attemptId}`,
      before: null,
      after: run.headSha,
      pull_requests: [],
      app: presentActionsApp(bases, repository),
      created_at: isoTime(run.createdAt),
      updated_at: isoTime(run.updatedAt),
    },
  }
}

/** Commits and who pushed, with what only webhooks tell. */
function presentPush({ web }: Bases, push: Record<string, unknown>, { repository, sender }: HookContext) {
  const head = push['head_commit'] as Record<string, unknown> | null
  const url = repository && head ? `${web}/${fullName(repository)}/commit/${String(head['id'])}` : undefined
  return {
    head_commit: head && { distinct: true, url, ...head },
    pusher: { name: sender?.login ?? '', email: sender?.email ?? null },
  }
}

/** The older form that this event alone has kept: instants are seconds. */
function pushedRepository(bases: Bases, repository: Repository | undefined) {
  if (!repository) return {}
  const { login, email } = repository.owner
  const presented = presentRepository(bases, repository)
  const seconds = (at: number) => Math.floor(at / 1000)
  return {
    repository: {
      ...presented,
      owner: { name: login, email, ...presented.owner },
      created_at: seconds(repository.createdAt),
      pushed_at: seconds(repository.pushedAt ?? repository.createdAt),
      stargazers: 0,
      master_branch: repository.defaultBranch,
      ...(repository.owner.kind === 'organization' ? { organization: login } : { organization: undefined }),
    },
  }
}
