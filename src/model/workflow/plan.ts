/**
 * What a workflow file asks for, as plain JSON: it is stored with the run and read again by any node.
 * Texts that the runner evaluates stay in the runner's own encoding (`Token`), untouched.
 */

/** The runner's encoding of a template token: a bare scalar, or a sequence, a mapping, an expression, the key `insert`. */
export type Token = string | number | boolean | null | SequenceToken | MappingToken | ExpressionToken | InsertToken

export interface SequenceToken {
  type: 1
  seq?: Token[]
}

export interface MappingToken {
  type: 2
  map?: { Key: Token; Value: Token }[]
}

export interface ExpressionToken {
  type: 3
  /** Without `${{ }}`. */
  expr: string
}

export interface InsertToken {
  type: 4
}

export interface WorkflowPlan {
  path: string
  /** The file's `name`, else its path. */
  name: string
  runName?: Token
  on: Triggers
  env?: Token
  jobs: PlannedJob[]
}

export interface PlannedJob {
  id: string
  /** Ids as the jobs spell them, without doubles. */
  needs: string[]
  /** An expression with a status function, never empty. */
  if: string
  name?: Token
  runsOn: Token
  env?: Token
  /** Workflow and job merged, key by key. */
  defaults?: RunDefaults
  outputs?: Token
  timeoutMinutes?: Token
  cancelTimeoutMinutes?: Token
  continueOnError?: Token
  steps: PlannedStep[]
}

export interface RunDefaults {
  shell?: Token
  'working-directory'?: Token
}

export interface PlannedStep {
  /** `name` and `contextName` on the wire: the step's id, or a generated one that begins with `__`. */
  contextName: string
  kind: 'script' | 'action'
  reference: StepReference
  condition: string
  displayName?: Token
  inputs?: Token
  env?: Token
  continueOnError?: Token
  timeoutMinutes?: Token
}

export type StepReference =
  | { type: 'script' }
  | { type: 'repository'; repositoryType: 'GitHub'; name: string; ref: string; path: string }
  | { type: 'repository'; repositoryType: 'self'; path: string }

export interface Triggers {
  push?: PushFilters
  workflowDispatch?: { inputs: DispatchInput[] }
  /** Events of the file that start nothing yet. */
  others: { event: string; line: number }[]
}

export interface PushFilters {
  branches?: string[]
  branchesIgnore?: string[]
  tags?: string[]
  tagsIgnore?: string[]
  paths?: string[]
  pathsIgnore?: string[]
}

export interface DispatchInput {
  name: string
  type: 'string' | 'boolean' | 'choice' | 'number'
  required: boolean
  description?: string
  default?: string | boolean
  options?: string[]
}

/** What is wrong in a file, and where. Lines and columns begin at 1. */
export interface Problem {
  line: number
  column: number
  message: string
}

export type ParsedWorkflow = { plan: WorkflowPlan } | { problems: Problem[]; name?: string; on?: Triggers }

/** A problem as one line for people: `line 7, column 5: 'strategy' is not offered by this version of Fleetfoot yet`. */
export function problemText({ line, column, message }: Problem): string {
  return `line ${line}, column ${column}: ${message}`
}

export type NeedResult = 'success' | 'failure' | 'cancelled' | 'skipped'

/** What the server knows when it evaluates expressions for a job. */
export interface JobContexts {
  github: Record<string, unknown>
  inputs: Record<string, unknown>
  /** Direct needs, as the `needs` context has them. */
  needs: Record<string, { result: NeedResult; outputs: Record<string, string> }>
  /** All jobs that this one waited for, through other jobs too. A failure that may happen counts as `success`. */
  ancestors: { id: string; result: NeedResult }[]
  runCancelled: boolean
}

export interface RunsOn {
  group?: string
  labels: string[]
}

export type JobDecision =
  | { decision: 'skip' }
  | {
      decision: 'run'
      name: string
      runsOn: RunsOn
      timeoutMinutes: number
      cancelTimeoutMinutes: number
      continueOnError: boolean
    }
  | { problem: string }
