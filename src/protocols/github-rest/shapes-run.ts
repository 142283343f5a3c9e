import { Type, type Static } from 'typebox'
import { orNull, texts, Time, Word } from '../../http/answers.ts'
import { SimpleUserBody } from './shapes-account.ts'
import { MinimalRepositoryBody } from './shapes-repository.ts'

const Conclusion = Word('success', 'failure', 'cancelled', 'skipped', 'timed_out')
const Person = Type.Object(texts('name', 'email'))

export type RunBody = Static<typeof RunBody>
export const RunBody = Type.Object(
  {
    id: Type.Integer(),
    name: Type.String({ description: 'The name of its workflow.' }),
    node_id: Type.String(),
    check_suite_id: Type.Integer(),
    check_suite_node_id: Type.String(),
    head_branch: orNull(Type.String()),
    head_sha: Type.String(),
    path: Type.String({ description: 'The path of the workflow file.' }),
    display_title: Type.String(),
    run_number: Type.Integer(),
    run_attempt: Type.Integer(),
    event: Type.String(),
    status: Word('queued', 'in_progress', 'completed'),
    conclusion: orNull(Conclusion),
    workflow_id: Type.Integer(),
    ...texts('url', 'html_url'),
    pull_requests: Type.Array(Type.Unknown()),
    created_at: Time,
    updated_at: Time,
    actor: Type.Optional(SimpleUserBody),
    triggering_actor: Type.Optional(SimpleUserBody),
    run_started_at: Time,
    referenced_workflows: Type.Array(Type.Unknown()),
    ...texts('jobs_url', 'logs_url', 'check_suite_url', 'artifacts_url', 'cancel_url', 'rerun_url'),
    previous_attempt_url: Type.Null(),
    workflow_url: Type.String(),
    head_commit: Type.Object({ ...texts('id', 'tree_id', 'message', 'timestamp'), author: Person, committer: Person }),
    repository: MinimalRepositoryBody,
    head_repository: MinimalRepositoryBody,
    head_repository_id: Type.Integer(),
    problem: Type.Union([Type.String(), Type.Null()], { description: 'Why it failed without running. Not in the API of GitHub.' }),
  },
  { title: 'WorkflowRun' },
)
export const RunsBody = Type.Object({ total_count: Type.Integer(), workflow_runs: Type.Array(RunBody) })

export type WorkflowBody = Static<typeof WorkflowBody>
export const WorkflowBody = Type.Object(
  {
    id: Type.Integer(),
    ...texts('node_id', 'name', 'path', 'state'),
    created_at: Time,
    updated_at: Time,
    ...texts('url', 'html_url', 'badge_url'),
  },
  { title: 'Workflow' },
)
export const WorkflowsBody = Type.Object({ total_count: Type.Integer(), workflows: Type.Array(WorkflowBody) })

export type DispatchedBody = Static<typeof DispatchedBody>
export const DispatchedBody = Type.Object({ workflow_run_id: Type.Integer(), ...texts('run_url', 'html_url') }, { title: 'DispatchedRun' })

const Step = Type.Object(
  {
    name: Type.String(),
    status: Word('queued', 'in_progress', 'completed'),
    conclusion: orNull(Conclusion),
    number: Type.Integer(),
    started_at: orNull(Time),
    completed_at: orNull(Time),
  },
  { title: 'JobStep' },
)
export type JobBody = Static<typeof JobBody>
export const JobBody = Type.Object(
  {
    id: Type.Integer(),
    run_id: Type.Integer(),
    workflow_name: orNull(Type.String()),
    head_branch: orNull(Type.String()),
    run_url: Type.String(),
    run_attempt: Type.Integer(),
    ...texts('node_id', 'head_sha', 'url', 'html_url'),
    status: Word('pending', 'queued', 'in_progress', 'completed'),
    conclusion: orNull(Conclusion),
    created_at: Time,
    started_at: Time,
    completed_at: orNull(Time),
    name: Type.String(),
    steps: Type.Array(Step),
    check_run_url: Type.String(),
    labels: Type.Array(Type.String()),
    runner_id: orNull(Type.Integer()),
    runner_name: orNull(Type.String()),
    runner_group_id: orNull(Type.Integer()),
    runner_group_name: orNull(Type.String()),
    waiting_reason: Type.Union([Type.String(), Type.Null()], { description: 'Why it waits. Not in the API of GitHub.' }),
    waiting_since: Type.Union([Time, Type.Null()], { description: 'Since when it waits. Not in the API of GitHub.' }),
    problem: Type.Union([Type.String(), Type.Null()], {
      description: 'Why it ended without a report of its runner. Not in the API of GitHub.',
    }),
  },
  { title: 'Job' },
)
export const JobsBody = Type.Object({ total_count: Type.Integer(), jobs: Type.Array(JobBody) })

export const AnnotationsBody = Type.Array(
  Type.Object(
    {
      path: Type.String(),
      start_line: Type.Integer(),
      end_line: Type.Integer(),
      start_column: orNull(Type.Integer()),
      end_column: orNull(Type.Integer()),
      annotation_level: Type.String(),
      title: orNull(Type.String()),
      message: Type.String(),
      raw_details: orNull(Type.String()),
      blob_href: Type.String(),
    },
    { title: 'Annotation' },
  ),
)

/** Runs have none here. */
export const ArtifactsBody = Type.Object({ total_count: Type.Integer(), artifacts: Type.Array(Type.Unknown()) })
