/**
 * What crosses the wire between a runner and the services it is told about, spelled as the protocol spells it.
 * Broker and run service speak camelCase with enums as words, the results service snake_case with numbers.
 */

/** The runner version whose protocol is spoken; servers see it as `runnerVersion` and `agent.version`. */
export const PROTOCOL_VERSION = '2.336.0'

/** How a job or a step ended, in the words of the run service. */
export type TaskResult = 'succeeded' | 'succeededWithIssues' | 'failed' | 'canceled' | 'skipped' | 'abandoned'

/** What the broker hands out: `body` is a string that holds JSON. */
export interface BrokerMessage {
  messageId: number
  messageType: string
  body: string
}

/** The body of a `RunnerJobRequest`. */
export interface JobReference {
  id?: string
  runner_request_id: string
  should_acknowledge?: boolean
  run_service_url: string
  billing_owner_id?: string | null
}

/** The body of a `JobCancellation`; `timeout` is `hh:mm:ss`. */
export interface JobCancellation {
  jobId: string
  timeout?: string
}

/** Context data: scalars as they are, arrays and objects with a type code. */
export type WireData =
  | string
  | number
  | boolean
  | null
  | { t?: number; s?: string; b?: boolean; n?: number; a?: WireData[]; d?: { k: string; v: WireData }[] }

/** A template token: scalars as they are, everything else with a `type`. */
export type WireToken = string | number | boolean | null | WireTokenObject

/** The long form of a template token. */
export interface WireTokenObject {
  type?: number
  lit?: string
  seq?: WireToken[]
  map?: { Key?: WireToken; Value?: WireToken; key?: WireToken; value?: WireToken }[]
  expr?: string
  directive?: string
  bool?: boolean
  num?: number
  file?: number
  line?: number
  col?: number
}

/** One step of the job message. */
export interface JobStep {
  type: string | number
  id: string
  name?: string
  contextName?: string
  reference?: { type: string | number; name?: string; ref?: string; path?: string; repositoryType?: string; image?: string }
  condition?: string
  displayName?: string
  displayNameToken?: WireToken
  inputs?: WireToken
  environment?: WireToken
  continueOnError?: WireToken
  timeoutInMinutes?: WireToken
}

/** The endpoint named `SystemVssConnection`: where the job reports to, and with which token. */
export interface JobEndpoint {
  name: string
  url: string
  authorization?: { scheme?: string; parameters?: Record<string, string> }
  data?: Record<string, string>
}

/** `AgentJobRequestMessage`: the answer to `acquirejob`. */
export interface JobMessage {
  messageType: string
  plan: { planId: string; scopeIdentifier?: string; planType?: string; version?: number }
  timeline: { id: string }
  jobId: string
  jobName?: string
  jobDisplayName?: string
  requestId?: number
  resources: { endpoints: JobEndpoint[] }
  variables?: Record<string, { value?: string; isSecret?: boolean } | string>
  mask?: { type: string; value: string }[]
  contextData?: Record<string, WireData>
  environmentVariables?: WireToken[]
  defaults?: WireToken[]
  jobContainer?: WireToken
  jobServiceContainers?: WireToken
  jobOutputs?: WireToken
  actionsEnvironment?: { name?: string; url?: WireToken } | null
  steps: JobStep[]
  workspace?: { clean?: string } | null
  billingOwnerId?: string
}

/** A message that the runner or a step attached to a step. Without `path` the lines are those of the step's log. */
export interface Annotation {
  level: 'notice' | 'warning' | 'failure'
  message: string
  title?: string
  path?: string
  startLine?: number
  endLine?: number
  startColumn?: number
  endColumn?: number
  stepNumber?: number
}

/** One step in `completejob`. A step skipped before it began has neither `action_name` nor `type`. */
export interface StepResult {
  external_id: string
  number: number
  name: string
  action_name?: string
  ref?: string
  type?: string
  status: 'pending' | 'inProgress' | 'completed'
  conclusion: TaskResult | null
  started_at: string | null
  completed_at: string | null
  annotations: Annotation[]
}

/** The body of `completejob`. */
export interface JobCompletion {
  planId: string
  jobId: string
  conclusion: TaskResult
  outputs?: Record<string, { value: string; isSecret?: boolean }>
  stepResults?: StepResult[]
  annotations: Annotation[]
  environmentUrl?: string
  billingOwnerId?: string
}

/** Step states of `WorkflowStepsUpdate`. */
export const STEP_STATUS = { unknown: 0, inProgress: 3, pending: 5, completed: 6 } as const

/** Step conclusions of `WorkflowStepsUpdate`. */
export const STEP_CONCLUSION: Readonly<Record<TaskResult, number>> = {
  succeeded: 2,
  succeededWithIssues: 2,
  failed: 3,
  canceled: 4,
  skipped: 7,
  abandoned: 3,
}

/** One step in `WorkflowStepsUpdate`. */
export interface StepUpdate {
  external_id: string
  number: number
  name: string
  status: number
  started_at: string | null
  completed_at: string | null
  conclusion: number
}

/** One message of the live feed: `startLine` counts from 1 in the step's log. */
export interface FeedBatch {
  value: string[]
  stepId: string
  startLine: number
  count: number
}
