import { isoTime } from '../../http/places.ts'
import { fullName, type Repository } from '../../model/account.ts'
import type { JobView } from '../../core/jobs/jobs.ts'
import type { RunView } from '../../core/runs/runs.ts'
import type { Run, Workflow } from '../../model/job.ts'
import { presentSimpleUser, type Bases } from './present-account.ts'
import { presentMinimalRepository } from './present-repository.ts'
import { nodeId } from './room.ts'
import type { DispatchedBody, JobBody, RunBody, WorkflowBody } from './shapes-run.ts'

export function presentRun(bases: Bases, { run, repository, workflow, actor, attemptId }: RunView): RunBody {
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

export function presentWorkflow({ api, web }: Bases, repository: Repository, workflow: Workflow): WorkflowBody {
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
export function presentJob(bases: Bases, repository: Repository, { job, run, attemptNumber, workflow, steps, waiting }: JobView): JobBody {
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
export function presentDispatched({ api, web }: Bases, repository: Repository, run: Run): DispatchedBody {
  const name = fullName(repository)
  return {
    workflow_run_id: run.id,
    run_url: `${api}/repos/${name}/actions/runs/${run.id}`,
    html_url: `${web}/${name}/actions/runs/${run.id}`,
  }
}
