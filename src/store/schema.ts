import type { Generated } from 'kysely'
import type { AuditEntry } from '../model/audit.ts'
import type { HookOwnerKind } from '../model/hook.ts'

/*
 * Every table, once, for both databases. Conventions: integer identity keys, instants in epoch milliseconds, JSON in text columns
 * named for what they hold, 0/1 for flags, camelCase. `…Key` is the lower-case form that names are compared by.
 */
export interface Schema {
  setting: { name: string; value: string }
  pulse: { id: number; at: number }
  taskLease: { name: string; holder: string; until: number; lastRunAt: number | null; lastResult: string | null }

  enterprise: { id: Generated<number>; slug: string; slugKey: string; name: string; createdAt: number; updatedAt: number }
  account: {
    id: Generated<number>
    kind: 'user' | 'organization' | 'bot'
    login: string
    loginKey: string
    name: string | null
    email: string | null
    siteAdminAt: number | null
    suspendedAt: number | null
    createdAt: number
    updatedAt: number
  }
  formerLogin: { loginKey: string; accountId: number }
  membership: { organizationId: number; userId: number; role: 'owner' | 'member'; createdAt: number }
  repository: {
    id: Generated<number>
    ownerId: number
    name: string
    nameKey: string
    description: string | null
    visibility: 'public' | 'internal' | 'private'
    defaultBranch: string
    runNumbers: string
    createdAt: number
    updatedAt: number
    pushedAt: number | null
  }
  formerRepository: { ownerId: number; nameKey: string; repositoryId: number }
  collaborator: { repositoryId: number; userId: number; permission: string; createdAt: number }

  token: {
    id: Generated<number>
    kind: 'personal' | 'impersonation' | 'admin' | 'job' | 'fine_grained' | 'installation'
    userId: number | null
    assignmentId: number | null
    installationId: number | null
    /** Whose things a fine-grained token opens. */
    ownerId: number | null
    hash: string
    name: string
    scopes: string
    permissions: string | null
    repositories: string | null
    expiresAt: number | null
    lastUsedAt: number | null
    createdAt: number
  }
  registrationToken: {
    id: Generated<number>
    purpose: 'register' | 'remove'
    scopeKind: string
    scopeId: number
    userId: number
    /** Of an App's installation that made it. */
    installationId: number | null
    hash: string
    createdAt: number
    expiresAt: number
  }
  spentAssertion: { clientId: string; jti: string; expiresAt: number }

  app: {
    id: Generated<number>
    slug: string
    name: string
    nameKey: string
    description: string | null
    externalUrl: string
    ownerId: number
    /** The account that it acts as. */
    botId: number
    clientId: string
    clientSecretHash: string
    /** Not used, as the two below: the webhook of an App is a row of `hook`. */
    hookUrl: string | null
    hookActive: number
    hookSecret: string | null
    permissions: string
    events: string
    createdAt: number
    updatedAt: number
  }
  appKey: { id: Generated<number>; appId: number; publicKey: string; fingerprint: string; createdAt: number }
  appManifest: { codeHash: string; ownerId: number; manifest: string; createdAt: number; expiresAt: number }
  installation: {
    id: Generated<number>
    appId: number
    accountId: number
    repositorySelection: 'all' | 'selected'
    permissions: string
    events: string
    suspendedAt: number | null
    createdAt: number
    updatedAt: number
  }
  installationRepository: { installationId: number; repositoryId: number }

  runnerGroup: {
    id: Generated<number>
    ownerKind: 'enterprise' | 'organization'
    ownerId: number
    number: number
    name: string
    nameKey: string
    visibility: string
    allowsPublicRepositories: number
    restrictedToWorkflows: Generated<number>
    selectedWorkflows: Generated<string>
    version: Generated<number>
    createdAt: number
    updatedAt: number
  }
  runnerGroupAccess: { groupId: number; targetId: number }
  inheritedGroup: {
    organizationId: number
    number: number
    groupId: number
    visibility: string
    allowsPublicRepositories: number | null
    updatedAt: number
  }
  inheritedGroupAccess: { groupId: number; organizationId: number; repositoryId: number }
  runnerPolicy: { ownerKind: 'enterprise' | 'organization'; ownerId: number; repositories: 'all' | 'selected' | 'none' }
  runnerPolicyRepository: { organizationId: number; repositoryId: number }
  label: { id: Generated<number>; nameKey: string }
  runner: {
    id: Generated<number>
    scopeKind: 'enterprise' | 'organization' | 'repository'
    scopeId: number
    groupId: number | null
    name: string
    nameKey: string
    labels: string
    os: string
    version: string | null
    ephemeral: number
    updatesDisabled: number
    clientId: string
    credentialVersion: number
    publicKey: string
    createdAt: number
    lastSeenAt: number | null
    deletedAt: number | null
  }
  runnerLabel: { runnerId: number; nameKey: string }
  runnerSession: { runnerId: number; sessionId: string; ownerName: string; createdAt: number; lastPollAt: number }
  runnerPackage: {
    id: Generated<number>
    os: string
    architecture: string
    version: string
    filename: string
    blobKey: string
    sha256: string
    size: number
    createdAt: number
  }

  workflow: {
    id: Generated<number>
    repositoryId: number
    path: string
    name: string
    state: string
    createdAt: number
    updatedAt: number
  }
  push: {
    id: Generated<number>
    repositoryId: number
    userId: number
    updates: string
    state: 'received' | 'settled' | 'refused'
    createdAt: number
    settledAt: number | null
  }
  run: {
    id: Generated<number>
    repositoryId: number
    workflowId: number
    number: number
    source: string | null
    event: string
    ref: string
    headBranch: string | null
    headSha: string
    headCommit: string
    title: string
    actorId: number
    payload: string
    inputs: string
    status: RunStatus
    conclusion: string | null
    problem: string | null
    latestAttempt: number
    createdAt: number
    updatedAt: number
    startedAt: number
  }
  runAttempt: {
    id: Generated<number>
    runId: number
    number: number
    plan: string | null
    cancelledAt: number | null
    createdAt: number
    completedAt: number | null
  }
  job: {
    id: Generated<number>
    runId: number
    attemptId: number
    repositoryId: number
    key: string
    name: string
    position: number
    status: JobStatus
    conclusion: string | null
    problem: string | null
    lineId: number | null
    labels: string
    groupName: string | null
    queuedAt: number | null
    assignmentId: number | null
    runnerId: number | null
    runnerName: string | null
    runnerGroupId: number | null
    runnerGroupName: string | null
    timeoutMs: number
    cancelTimeoutMs: Generated<number>
    continueOnError: number
    outputs: string | null
    cancelledAt: number | null
    cancelReason: string | null
    createdAt: number
    startedAt: number | null
    completedAt: number | null
    turn: Generated<number>
    wideTurn: Generated<number>
    askedLabels: string | null
    waitUntil: number | null
    waitRule: string | null
    fallbackAt: number | null
    fallback: string | null
    steeredBy: number | null
    /** Whether it was moved by who manages only its repository. */
    steeredFrom: 'repository' | 'above' | null
  }
  /** A running job that counts for a rule's limit; rows of jobs that no longer run are swept by the next claim. */
  limitHold: { ruleId: number; jobId: number }
  queueRule: {
    id: Generated<number>
    ownerKind: 'organization' | 'repository'
    ownerId: number
    position: number
    name: string
    match: string
    effect: string
    createdAt: number
    updatedAt: number
  }
  queueReview: { ownerKind: 'organization' | 'repository'; ownerId: number; afterJobId: number; version: number }
  auditEntry: {
    id: Generated<number>
    at: number
    action: string
    actorKind: AuditEntry['actorKind']
    actorId: number | null
    actorLogin: string | null
    ip: string | null
    userAgent: string | null
    requestId: string | null
    organizationId: number | null
    organizationLogin: string | null
    repositoryId: number | null
    repositoryName: string | null
    subjectKind: string
    subjectId: number
    data: string
  }
  pause: {
    kind: 'runner' | 'group' | 'label'
    targetId: number
    labelKey: string
    scopeKind: 'enterprise' | 'organization' | 'repository'
    scopeId: number
    reason: string
    isDrain: number
    userId: number | null
    createdAt: number
  }
  line: {
    id: Generated<number>
    key: string
    repositoryId: number
    ownerId: number
    ownerKind: Generated<'user' | 'organization'>
    isPublic: number
    groupName: string | null
    labels: string
    rarestLabel: string
    /** `path@ref` of the workflow; empty for what was queued before groups could ask. */
    workflow: Generated<string>
    headQueuedAt: number | null
    /** Lower goes first: minus the priority. */
    rank: Generated<number>
    /** Turns share a lane (a label and a rank) fairly between repositories, see `jobEnqueue`. */
    headTurn: number | null
    lastTurn: Generated<number>
    servedTurn: number | null
    /** The same without ranks, for the enterprise's runners. */
    headWide: number | null
    lastWide: Generated<number>
    servedWide: number | null
    /** JSON: the rules that limit how many of the line's jobs run at once; null for none. */
    limitIds: string | null
    ahead: 'lane' | 'all' | null
  }
  assignment: {
    id: Generated<number>
    requestId: string
    jobId: number
    runnerId: number
    sessionId: string
    planId: string
    timelineId: string
    jobGuid: string
    state: AssignmentState
    givenAt: number
    acquiredAt: number | null
    renewedAt: number | null
    lastSignAt: number
    cancelSentAt: number | null
    completedAt: number | null
  }
  stepReport: { jobId: number; assignmentId: number; changeOrder: number; steps: string }
  annotation: {
    id: Generated<number>
    jobId: number
    stepNumber: number | null
    level: string
    title: string | null
    message: string
    path: string | null
    startLine: number | null
    endLine: number | null
    startColumn: number | null
    endColumn: number | null
    rawDetails: string | null
  }
  stepSummary: { jobId: number; stepId: string; blobKey: string; size: number; uploadedAt: number }
  log: { jobId: number; stepId: string; assignmentId: number; blobKey: string; lineCount: number; missingLines: number; uploadedAt: number }
  logChunk: { jobId: number; seq: number; assignmentId: number; stepId: string; startLine: number; lines: string; createdAt: number }
  blob: {
    key: string
    kind: 'block' | 'append'
    size: number
    lines: number
    blocks: number
    sealedAt: number | null
    contentType: string | null
    createdAt: number
    /** The bytes of a small object; null where the blob store has them. */
    content: Uint8Array | null
  }
  blobBlock: { blobKey: string; number: number; requestId: string; part: string; size: number; lines: number }

  event: {
    id: Generated<number>
    at: number
    actorKind: string
    actorId: number | null
    kind: string
    subjectKind: string
    subjectId: number
    repositoryId: number | null
    payload: string
    /** 1 while it is to become deliveries, 0 once it has, 2 where that failed; null where no webhook was there to hear of it. */
    hooks: number | null
  }

  hook: {
    id: Generated<number>
    ownerKind: HookOwnerKind
    ownerId: number
    url: string
    contentType: 'json' | 'form'
    /** Encrypted. */
    secret: string | null
    insecureSsl: number
    events: string
    active: number
    lastResponse: string | null
    createdAt: number
    updatedAt: number
    deletedAt: number | null
    /** When its next request is due; null for none. */
    dueAt: number | null
    /** Until then a receiver that gave no answer is left alone, whatever happens. */
    notBefore: number
    /** The node that sends to it, and until when others leave it alone. */
    laneHolder: string | null
    laneUntil: number
    /** Requests in a row that got no answer. */
    troubles: number
  }
  hookDelivery: {
    id: Generated<number>
    hookId: number
    guid: string
    event: string
    action: string | null
    repositoryId: number | null
    /** Of the App that is told, where it hears of a repository through one. */
    installationId: number | null
    eventId: number | null
    /** Deliveries of one key are made one after the other, by id. */
    orderKey: string
    payload: string
    redelivery: number
    state: 'pending' | 'delivered' | 'failed'
    attempts: number
    nextAttemptAt: number
    createdAt: number
    deliveredAt: number | null
    durationMs: number | null
    statusCode: number | null
    status: string | null
    url: string | null
    requestHeaders: string | null
    responseHeaders: string | null
    responseBody: string | null
  }
  hookAttempt: { id: Generated<number>; deliveryId: number; at: number; durationMs: number; statusCode: number; status: string }
}

export type RunStatus = 'queued' | 'in_progress' | 'completed'
/** `pending` waits for its needs, `queued` is in line, `assigned` was given to a runner that has not acquired it. */
export type JobStatus = 'pending' | 'queued' | 'assigned' | 'in_progress' | 'completed'
/** `given → acquired → running → completed`; `returned` went back in line, `lost` ended without a report. */
export type AssignmentState = 'given' | 'acquired' | 'running' | 'completed' | 'returned' | 'lost'
