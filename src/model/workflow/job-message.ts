/** The message that `acquirejob` answers: everything that the official runner needs to run one job. */
import { encodeContext, type ContextData } from './context-data.ts'
import type { JobContexts, MappingToken, PlannedJob, PlannedStep, StepReference, Token, WorkflowPlan } from './plan.ts'

export interface JobMessageInput {
  plan: WorkflowPlan
  job: PlannedJob
  /** As evaluated; shown in logs and the console. */
  jobName: string
  ids: {
    planId: string
    /** New for every attempt. */
    timelineId: string
    jobGuid: string
    requestId: number
    /** One for each step of the plan. */
    stepIds: string[]
  }
  urls: { run: string; results: string; launch: string; feed: string; serverUrl: string; apiUrl: string; graphqlUrl: string }
  /** A JWT without null claims. */
  jobToken: string
  githubToken: string
  /** Texts, `ref_protected`, and the event's payload as `event`. */
  github: Record<string, unknown>
  inputs: JobContexts['inputs']
  needs: JobContexts['needs']
  jobContext: {
    workflow_ref: string
    workflow_sha: string
    workflow_repository: string
    workflow_file_path: string
    check_run_id: number
  }
  runnerGroupName: string
  orchestrationId: string
}

export interface JobMessage {
  messageType: 'RunnerJobRequest'
  plan: { scopeIdentifier: string; planType: string; version: number; planId: string }
  timeline: { id: string }
  jobId: string
  jobName: string
  jobDisplayName: string
  requestId: number
  resources: { endpoints: object[] }
  variables: Record<string, { value: string; isSecret?: true }>
  contextData: Record<string, ContextData>
  environmentVariables?: Token[]
  defaults?: Token[]
  jobOutputs?: Token
  steps: StepMessage[]
}

interface StepMessage {
  type: 'action'
  id: string
  name: string
  contextName: string
  reference: StepReference
  condition: string
  displayNameToken?: Token
  inputs?: Token
  environment?: Token
  continueOnError?: Token
  timeoutInMinutes?: Token
}

/** Builds the message of one job start. Nothing is evaluated here, and nothing is null that the runner would read. */
export function jobMessage(input: JobMessageInput): JobMessage {
  const { plan, job, ids } = input
  const environment = [plan.env, job.env].filter((token) => token !== undefined)
  return {
    messageType: 'RunnerJobRequest',
    plan: { scopeIdentifier: ids.planId, planType: 'actions', version: 9, planId: ids.planId },
    timeline: { id: ids.timelineId },
    jobId: ids.jobGuid,
    jobName: '__default',
    jobDisplayName: input.jobName,
    requestId: ids.requestId,
    resources: { endpoints: [endpointOf(input)] },
    variables: variablesOf(input),
    contextData: contextsOf(input),
    ...(environment.length > 0 && { environmentVariables: environment }),
    ...(job.defaults && { defaults: [mapping({ run: mapping({ ...job.defaults }) })] }),
    ...(job.outputs !== undefined && { jobOutputs: job.outputs }),
    steps: job.steps.map((step, index) => stepOf(step, ids.stepIds[index])),
  }
}

function endpointOf({ urls, jobToken }: JobMessageInput): object {
  return {
    name: 'SystemVssConnection',
    url: folder(urls.run),
    authorization: { scheme: 'OAuth', parameters: { AccessToken: jobToken } },
    data: { PipelinesServiceUrl: folder(urls.run), ResultsServiceUrl: folder(urls.results), FeedStreamUrl: urls.feed },
  }
}

const FEATURES = [
  'system.github.results_upload_with_sdk', // without it the first 2 MiB of a longer log are lost
  'DistributedTask.EnhancedAnnotations',
  'DistributedTask.AllowRunnerContainerHooks',
  'DistributedTask.DeprecateStepOutputCommands',
  'RunService.FixEmbeddedIssues',
  'actions_send_job_level_annotations',
  'actions_service_container_command',
  'actions_display_helpful_actions_download_errors',
]

function variablesOf({ job, urls, githubToken, runnerGroupName, orchestrationId }: JobMessageInput): JobMessage['variables'] {
  const texts = {
    'system.github.job': job.id,
    'system.github.results_endpoint': folder(urls.results),
    'system.github.launch_endpoint': folder(urls.launch),
    'system.github.token.permissions': '{"Contents":"read","Metadata":"read"}',
    'system.orchestrationId': orchestrationId,
    'system.runnerEnvironment': 'self-hosted',
    'system.runnerGroupName': runnerGroupName,
    'system.runner.lowdiskspacethreshold': '100',
    ...Object.fromEntries(FEATURES.map((name) => [name, 'true'])),
  }
  return {
    // The first is `github.token`, the second is `secrets.GITHUB_TOKEN`.
    'system.github.token': { value: githubToken, isSecret: true },
    github_token: { value: githubToken, isSecret: true },
    ...Object.fromEntries(Object.entries(texts).map(([name, value]) => [name, { value }])),
  }
}

function contextsOf({ github, inputs, needs, jobContext, urls }: JobMessageInput): JobMessage['contextData'] {
  return {
    github: encodeContext({
      ...exported(github),
      server_url: bare(urls.serverUrl),
      api_url: bare(urls.apiUrl),
      graphql_url: bare(urls.graphqlUrl),
    }),
    inputs: encodeContext(inputs),
    vars: { t: 2 },
    needs: encodeContext(needs),
    strategy: encodeContext({ 'fail-fast': true, 'job-index': 0, 'job-total': 1, 'max-parallel': 1 }),
    matrix: null,
    job: encodeContext(jobContext),
  }
}

/** A null in `github` fails every step, and a number would not become `GITHUB_*`. */
function exported(github: Record<string, unknown>): Record<string, unknown> {
  const kept = Object.entries(github).filter(([, value]) => value !== null && value !== undefined)
  return Object.fromEntries(kept.map(([name, value]) => [name, typeof value === 'number' ? String(value) : value]))
}

function stepOf(step: PlannedStep, id: string | undefined): StepMessage {
  if (!id) throw new Error(`no id for step ${step.contextName}`)
  return {
    type: 'action',
    id,
    name: step.contextName,
    contextName: step.contextName,
    reference: step.reference,
    condition: step.condition,
    ...(step.displayName !== undefined && { displayNameToken: step.displayName }),
    ...(step.inputs !== undefined && { inputs: step.inputs }),
    ...(step.env !== undefined && { environment: step.env }),
    ...(step.continueOnError !== undefined && { continueOnError: step.continueOnError }),
    ...(step.timeoutMinutes !== undefined && { timeoutInMinutes: step.timeoutMinutes }),
  }
}

function mapping(values: Record<string, Token>): MappingToken {
  return { type: 2, map: Object.entries(values).map(([Key, Value]) => ({ Key, Value })) }
}

/** The runner resolves its calls against these, which drops a last segment without `/`. */
function folder(url: string): string {
  return url.endsWith('/') ? url : `${url}/`
}

/** Problem matchers compare the remote's address with it, letter by letter. */
function bare(url: string): string {
  return url.endsWith('/') ? url.slice(0, -1) : url
}
