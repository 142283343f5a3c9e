import type { FallbackStep } from './queue-rule.ts'
import type { Ahead } from './shares.ts'
import { DEFAULT_GROUP_NAME, isPinned, namesRef, type GroupPolicy, type SelectedWorkflow } from './runner-group.ts'

/** What a job message, a list and a queue need to know of a job. */
export interface Job {
  id: number
  runId: number
  attemptId: number
  repositoryId: number
  /** Its name in the workflow file. */
  key: string
  name: string
  position: number
  /** `pending` waits for its needs, `queued` is in line, `assigned` was given to a runner that has not acquired it. */
  status: 'pending' | 'queued' | 'assigned' | 'in_progress' | 'completed'
  conclusion: Conclusion | null
  /** Why it ended without a report of its runner. */
  problem: string | null
  lineId: number | null
  labels: string[]
  groupName: string | null
  queuedAt: number | null
  assignmentId: number | null
  runnerId: number | null
  runnerName: string | null
  runnerGroupId: number | null
  runnerGroupName: string | null
  timeoutMs: number
  /** What its steps are given when it is cancelled. */
  cancelTimeoutMs: number
  continueOnError: boolean
  outputs: Record<string, string> | null
  cancelledAt: number | null
  cancelReason: string | null
  createdAt: number
  startedAt: number | null
  completedAt: number | null
  /** Its place among those that wait for the same label with the same rank; grows along its line. */
  turn: number
  /** The same whatever the rank, for runners of the enterprise, where priorities do not count. */
  wideTurn: number
  /** What the workflow asked for, when it has fallen back to other labels. */
  askedLabels: string[] | null
  /** It fails when it still waits then, by the rule of that name. */
  waitUntil: number | null
  waitRule: string | null
  /** When it asks for the labels of the first of `fallback` instead. */
  fallbackAt: number | null
  fallback: FallbackStep[]
  /** Who moved it by hand: rules leave it where it is. */
  steeredBy: number | null
  /** Moved by who manages only its repository: rules may still put it further back. */
  steeredFrom: 'repository' | 'above' | null
}

export type Conclusion = 'success' | 'failure' | 'cancelled' | 'skipped' | 'timed_out'

/** One hand-out of a job to a runner. */
export interface Assignment {
  id: number
  /** `runner_request_id` of the message, `jobMessageId` of acquirejob. */
  requestId: string
  jobId: number
  runnerId: number
  sessionId: string
  planId: string
  timelineId: string
  /** The job's GUID on the wire. */
  jobGuid: string
  state: 'given' | 'acquired' | 'running' | 'completed' | 'returned' | 'lost'
  givenAt: number
  acquiredAt: number | null
  renewedAt: number | null
  lastSignAt: number
  cancelSentAt: number | null
  completedAt: number | null
}

export interface Run {
  id: number
  repositoryId: number
  workflowId: number
  number: number
  event: string
  ref: string
  headBranch: string | null
  headSha: string
  headCommit: HeadCommit
  title: string
  actorId: number
  /** `github.event`, webhook-shaped; ids in it are numbers (job-services.md 7.1). */
  payload: Record<string, unknown>
  inputs: Record<string, unknown>
  status: 'queued' | 'in_progress' | 'completed'
  conclusion: Conclusion | null
  problem: string | null
  latestAttempt: number
  createdAt: number
  updatedAt: number
  startedAt: number
}

export interface HeadCommit {
  id: string
  treeId: string
  message: string
  timestamp: string
  author: { name: string; email: string }
  committer: { name: string; email: string }
}

/** A commit with what only its own page tells. */
export interface Commit extends HeadCommit {
  parents: string[]
  authoredAt: string
}

export interface Workflow {
  id: number
  repositoryId: number
  path: string
  name: string
  state: string
  createdAt: number
  updatedAt: number
}

/** A step as the runner reports it; `number` orders and may leave gaps. */
export interface Step {
  externalId: string
  number: number
  name: string
  status: 'queued' | 'in_progress' | 'completed'
  conclusion: Conclusion | null
  startedAt: string | null
  completedAt: string | null
}

const INSTANT = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/

/** A step's time as its runner reports it; what is no instant is not passed on to those who parse it. */
export function stepTime(text: string | null | undefined): string | null {
  return text != null && INSTANT.test(text) && !Number.isNaN(Date.parse(text)) ? text : null
}

export interface Annotation {
  stepNumber: number | null
  level: 'notice' | 'warning' | 'failure'
  title: string | null
  message: string
  path: string | null
  startLine: number | null
  endLine: number | null
  startColumn: number | null
  endColumn: number | null
  rawDetails: string | null
}

/**
 * Queued jobs of one repository and workflow that ask for the same group and the same set of labels. A runner that may take one may take
 * all, so a line is matched once, however long it is. (Only a group that names a workflow by its commit asks each job.)
 */
export interface Line {
  id: number
  repositoryId: number
  ownerId: number
  ownerKind: 'user' | 'organization'
  isPublic: boolean
  groupName: string | null
  /** Lower case, sorted. */
  labels: string[]
  /** `path@ref`; a group may be for some workflows only. */
  workflow: string
  /** Lower goes first. */
  rank: number
  /** The queue rules that limit how many of its jobs run at once, all of which bind; ascending. */
  limitIds: number[]
  ahead: Ahead | null
}

/** The form that labels are compared in: lower case, sorted, each once. */
export function labelSet(labels: string[]): string[] {
  return [...new Set(labels.map((label) => label.toLowerCase()))].sort()
}

/** What of a runner decides which lines it may serve. */
export interface Server {
  scope: { kind: 'enterprise' | 'organization' | 'repository'; id: number }
  /** Lower case. */
  labels: ReadonlySet<string>
  /** The rules of its group. A repository's own runner has none, and serves it whatever its visibility. */
  group: GroupPolicy | undefined
}

/** Why a runner may not take the jobs of a line, in the order that they are asked. */
export type Refusal = 'scope' | 'labels' | 'group' | 'public' | 'repository' | 'workflow'

/** Whether a runner may take the jobs of a line. */
export function mayServe(server: Server, line: Line): boolean {
  return refusal(server, line) === undefined
}

/** What keeps a runner from the jobs of a line: scope, labels, the group asked for, its group's rules; undefined for nothing. */
export function refusal(server: Server, line: Line): Refusal | undefined {
  const { scope, group } = server
  if (scope.kind === 'repository' && scope.id !== line.repositoryId) return 'scope'
  if (scope.kind === 'organization' && scope.id !== line.ownerId) return 'scope'
  // Every organization belongs to the enterprise; a user's own repositories do not, and every user may make some.
  if (scope.kind === 'enterprise' && line.ownerKind !== 'organization') return 'scope'
  if (!line.labels.every((label) => server.labels.has(label))) return 'labels'
  if (line.groupName !== null && line.groupName !== (group?.name ?? DEFAULT_GROUP_NAME.toLowerCase())) return 'group'
  return group && groupRefusal(group, scope.kind, line)
}

function groupRefusal(group: GroupPolicy, kind: Server['scope']['kind'], line: Line): Refusal | undefined {
  if (line.isPublic && (!group.allowsPublic || group.visibility === 'private')) return 'public'
  const target = kind === 'enterprise' ? line.ownerId : line.repositoryId
  if (group.visibility === 'selected' && !group.selected.has(target)) return 'repository'
  const narrowed = kind === 'enterprise' ? group.narrowed.get(line.ownerId) : undefined
  if (narrowed) {
    if (line.isPublic && (!narrowed.allowsPublic || narrowed.visibility === 'private')) return 'public'
    if (narrowed.visibility === 'selected' && !narrowed.repositories.has(line.repositoryId)) return 'repository'
  }
  return group.workflows && !group.workflows.some((workflow) => names(workflow, line)) ? 'workflow' : undefined
}

/** A commit is no part of a line: whether it is the right one is asked of the job (`commitsAllowed`). */
function names(workflow: SelectedWorkflow, line: Line): boolean {
  const [path = '', ref = ''] = splitWorkflow(line.workflow)
  return workflow.repositoryId === line.repositoryId && workflow.path === path && (isPinned(workflow) || namesRef(workflow.ref, ref))
}

/** The commits that a line's jobs must be of for this server; undefined when any will do. */
export function commitsAllowed({ group }: Server, line: Line): string[] | undefined {
  const naming = group?.workflows?.filter((workflow) => names(workflow, line)) ?? []
  if (naming.length === 0 || naming.some((workflow) => !isPinned(workflow))) return undefined
  return naming.map(({ ref }) => ref.toLowerCase())
}

function splitWorkflow(workflow: string): string[] {
  const at = workflow.indexOf('@')
  return at < 0 ? [workflow, ''] : [workflow.slice(0, at), workflow.slice(at + 1)]
}
