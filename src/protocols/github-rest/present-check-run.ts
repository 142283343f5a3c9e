import { problemTitle } from '../../core/jobs/problem-annotation.ts'
import type { JobView } from '../../core/jobs/jobs.ts'
import type { Repository } from '../../model/account.ts'
import { presentSimpleUser, type Bases } from './present-account.ts'
import { presentJob } from './present-run.ts'
import { nodeId } from './room.ts'
import type { ActionsAppBody, CheckRunBody } from './shapes-check-run.ts'

/** check-run: each job is one, under its own id. Why one ended without a report is its output. */
export function presentCheckRun(bases: Bases, repository: Repository, view: JobView, annotations: number): CheckRunBody {
  const job = presentJob(bases, repository, view)
  const { problem, conclusion, attemptId } = view.job
  return {
    id: job.id,
    name: job.name,
    node_id: job.node_id,
    head_sha: job.head_sha,
    external_id: String(job.id),
    url: job.check_run_url,
    html_url: job.html_url,
    details_url: job.html_url,
    status: job.status,
    conclusion: job.conclusion,
    started_at: job.started_at,
    completed_at: job.completed_at,
    output: {
      title: problem === null ? null : problemTitle(conclusion),
      summary: problem,
      text: null,
      annotations_count: annotations,
      annotations_url: `${job.check_run_url}/annotations`,
    },
    check_suite: { id: attemptId },
    app: presentActionsApp(bases, repository),
    pull_requests: [],
  }
}

/** The App that GitHub's own jobs come from; receivers tell checks of Actions from others by its slug. */
export function presentActionsApp({ web, api }: Bases, { owner }: Repository): ActionsAppBody {
  return {
    id: 15_368,
    slug: 'github-actions',
    node_id: nodeId('Integration', 15_368),
    owner: presentSimpleUser({ web, api }, owner),
    name: 'GitHub Actions',
    description: 'Automate your workflow from idea to production',
    external_url: 'https://help.github.com/en/actions',
    html_url: `${web}/apps/github-actions`,
    created_at: '2018-07-30T09:30:17Z',
    updated_at: '2018-07-30T09:30:17Z',
    permissions: { actions: 'write', checks: 'write', contents: 'write', metadata: 'read' },
    events: ['check_run', 'push', 'workflow_dispatch', 'workflow_run'],
  }
}
