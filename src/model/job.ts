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
 * Queued jobs of one repository that ask for the same group and the same set of labels. A runner that may take one may take all, so a
 * line is matched once, however long it is.
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
  groupName: string
  /** Of its group; a repository's own runner serves it whatever its visibility. */
  allowsPublic: boolean
}

/** Whether a runner may take the jobs of a line: scope, group, group policy, labels. */
export function mayServe(server: Server, line: Line): boolean {
  const { scope } = server
  if (scope.kind === 'repository' && scope.id !== line.repositoryId) return false
  if (scope.kind === 'organization' && scope.id !== line.ownerId) return false
  // Every organization belongs to the enterprise; a user's own repositories do not, and every user may make some.
  if (scope.kind === 'enterprise' && line.ownerKind !== 'organization') return false
  if (scope.kind !== 'repository' && line.isPublic && !server.allowsPublic) return false
  if (line.groupName !== null && line.groupName !== server.groupName.toLowerCase()) return false
  return line.labels.every((label) => server.labels.has(label))
}
