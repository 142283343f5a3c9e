import type { CreateTableBuilder } from 'kysely'
import { partialIndex, withId, type MigrationTools } from './columns.ts'

type Column = `${string}:${'int' | 'text'}` | `${string}:${'int' | 'text'}?`

/** The tables of schema.ts. `name:int` and `name:text` are not null, a trailing `?` allows null. */
export async function up(tools: MigrationTools): Promise<void> {
  const { db } = tools

  const table = async (name: string, columns: Column[], options: { id?: boolean; key?: string[]; unique?: string[][] } = {}) => {
    let builder: CreateTableBuilder<string, string> = options.id ? withId(tools, db.schema.createTable(name)) : db.schema.createTable(name)
    for (const column of columns) {
      const [columnName = '', type = 'text'] = column.split(':')
      const nullable = type.endsWith('?')
      builder = builder.addColumn(columnName, type.startsWith('int') ? 'bigint' : 'text', (c) => (nullable ? c : c.notNull()))
    }
    if (options.key) builder = builder.addPrimaryKeyConstraint(`${name}_key`, options.key)
    for (const unique of options.unique ?? []) builder = builder.addUniqueConstraint(`${name}_${unique.join('_')}`, unique)
    await builder.execute()
  }
  const index = (name: string, on: string, columns: string[]) => db.schema.createIndex(name).on(on).columns(columns).execute()

  await table('setting', ['name:text', 'value:text'], { key: ['name'] })
  await table('pulse', ['id:int', 'at:int'], { key: ['id'] })
  await table('taskLease', ['name:text', 'holder:text', 'until:int', 'lastRunAt:int?', 'lastResult:text?'], { key: ['name'] })

  await table('enterprise', ['slug:text', 'slugKey:text', 'name:text', 'createdAt:int', 'updatedAt:int'], {
    id: true,
    unique: [['slugKey']],
  })
  await table(
    'account',
    [
      'kind:text',
      'login:text',
      'loginKey:text',
      'name:text?',
      'email:text?',
      'siteAdminAt:int?',
      'suspendedAt:int?',
      'createdAt:int',
      'updatedAt:int',
    ],
    { id: true, unique: [['loginKey']] },
  )
  await table('formerLogin', ['loginKey:text', 'accountId:int'], { key: ['loginKey'] })
  await table('membership', ['organizationId:int', 'userId:int', 'role:text', 'createdAt:int'], { key: ['organizationId', 'userId'] })
  await index('membership_user', 'membership', ['userId'])
  await table(
    'repository',
    [
      'ownerId:int',
      'name:text',
      'nameKey:text',
      'description:text?',
      'visibility:text',
      'defaultBranch:text',
      'runNumbers:text',
      'createdAt:int',
      'updatedAt:int',
      'pushedAt:int?',
    ],
    { id: true, unique: [['ownerId', 'nameKey']] },
  )
  await table('formerRepository', ['ownerId:int', 'nameKey:text', 'repositoryId:int'], { key: ['ownerId', 'nameKey'] })
  await table('collaborator', ['repositoryId:int', 'userId:int', 'permission:text', 'createdAt:int'], { key: ['repositoryId', 'userId'] })
  await index('collaborator_user', 'collaborator', ['userId'])

  await table(
    'token',
    [
      'kind:text',
      'userId:int?',
      'assignmentId:int?',
      'hash:text',
      'name:text',
      'scopes:text',
      'permissions:text?',
      'repositories:text?',
      'expiresAt:int?',
      'lastUsedAt:int?',
      'createdAt:int',
    ],
    { id: true, unique: [['hash']] },
  )
  await index('token_user', 'token', ['userId'])
  await partialIndex(tools, { name: 'token_assignment', table: 'token', columns: ['assignmentId'], where: '"assignmentId" is not null' })
  await partialIndex(tools, {
    name: 'token_one_impersonation',
    table: 'token',
    columns: ['userId'],
    where: `kind = 'impersonation'`,
    unique: true,
  })
  await table(
    'registrationToken',
    ['purpose:text', 'scopeKind:text', 'scopeId:int', 'userId:int', 'hash:text', 'createdAt:int', 'expiresAt:int'],
    { id: true, unique: [['hash']] },
  )
  await index('registrationToken_expires', 'registrationToken', ['expiresAt'])
  await table('spentAssertion', ['clientId:text', 'jti:text', 'expiresAt:int'], { key: ['clientId', 'jti'] })
  await index('spentAssertion_expires', 'spentAssertion', ['expiresAt'])

  await table(
    'runnerGroup',
    [
      'ownerKind:text',
      'ownerId:int',
      'number:int',
      'name:text',
      'nameKey:text',
      'visibility:text',
      'allowsPublicRepositories:int',
      'createdAt:int',
      'updatedAt:int',
    ],
    {
      id: true,
      unique: [
        ['ownerKind', 'ownerId', 'number'],
        ['ownerKind', 'ownerId', 'nameKey'],
      ],
    },
  )
  await table('label', ['nameKey:text'], { id: true, unique: [['nameKey']] })
  await table(
    'runner',
    [
      'scopeKind:text',
      'scopeId:int',
      'groupId:int?',
      'name:text',
      'nameKey:text',
      'labels:text',
      'os:text',
      'version:text?',
      'ephemeral:int',
      'updatesDisabled:int',
      'clientId:text',
      'credentialVersion:int',
      'publicKey:text',
      'createdAt:int',
      'lastSeenAt:int?',
      'deletedAt:int?',
    ],
    { id: true, unique: [['clientId']] },
  )
  await partialIndex(tools, {
    name: 'runner_name',
    table: 'runner',
    columns: ['scopeKind', 'scopeId', 'nameKey'],
    where: '"deletedAt" is null',
    unique: true,
  })
  await partialIndex(tools, { name: 'runner_gone', table: 'runner', columns: ['deletedAt'], where: '"deletedAt" is not null' })
  await table('runnerLabel', ['runnerId:int', 'nameKey:text'], { key: ['nameKey', 'runnerId'] })
  await index('runnerLabel_runner', 'runnerLabel', ['runnerId'])
  await table('runnerSession', ['runnerId:int', 'sessionId:text', 'ownerName:text', 'createdAt:int', 'lastPollAt:int'], {
    key: ['runnerId'],
  })
  await table(
    'runnerPackage',
    ['os:text', 'architecture:text', 'version:text', 'filename:text', 'blobKey:text', 'sha256:text', 'size:int', 'createdAt:int'],
    { id: true, unique: [['os', 'architecture']] },
  )

  await table('workflow', ['repositoryId:int', 'path:text', 'name:text', 'state:text', 'createdAt:int', 'updatedAt:int'], {
    id: true,
    unique: [['repositoryId', 'path']],
  })
  await table('push', ['repositoryId:int', 'userId:int', 'updates:text', 'state:text', 'createdAt:int', 'settledAt:int?'], { id: true })
  await partialIndex(tools, { name: 'push_received', table: 'push', columns: ['createdAt'], where: `state = 'received'` })
  await table(
    'run',
    [
      'repositoryId:int',
      'workflowId:int',
      'number:int',
      'source:text?',
      'event:text',
      'ref:text',
      'headBranch:text?',
      'headSha:text',
      'headCommit:text',
      'title:text',
      'actorId:int',
      'payload:text',
      'inputs:text',
      'status:text',
      'conclusion:text?',
      'problem:text?',
      'latestAttempt:int',
      'createdAt:int',
      'updatedAt:int',
      'startedAt:int',
    ],
    { id: true, unique: [['source']] },
  )
  await index('run_repository', 'run', ['repositoryId', 'id'])
  await index('run_workflow', 'run', ['workflowId', 'id'])
  await table('runAttempt', ['runId:int', 'number:int', 'plan:text?', 'cancelledAt:int?', 'createdAt:int', 'completedAt:int?'], {
    id: true,
    unique: [['runId', 'number']],
  })
  await table(
    'job',
    [
      'runId:int',
      'attemptId:int',
      'repositoryId:int',
      'key:text',
      'name:text',
      'position:int',
      'status:text',
      'conclusion:text?',
      'problem:text?',
      'lineId:int?',
      'labels:text',
      'groupName:text?',
      'queuedAt:int?',
      'assignmentId:int?',
      'runnerId:int?',
      'runnerName:text?',
      'runnerGroupId:int?',
      'runnerGroupName:text?',
      'timeoutMs:int',
      'continueOnError:int',
      'outputs:text?',
      'cancelledAt:int?',
      'cancelReason:text?',
      'createdAt:int',
      'startedAt:int?',
      'completedAt:int?',
    ],
    { id: true, unique: [['attemptId', 'key']] },
  )
  await index('job_run', 'job', ['runId'])
  await partialIndex(tools, { name: 'job_line', table: 'job', columns: ['lineId', 'queuedAt', 'id'], where: `status = 'queued'` })
  await partialIndex(tools, { name: 'job_queued', table: 'job', columns: ['queuedAt'], where: `status = 'queued'` })
  await partialIndex(tools, {
    name: 'job_running',
    table: 'job',
    columns: ['startedAt'],
    where: `status in ('assigned', 'in_progress')`,
  })
  await table(
    'line',
    [
      'key:text',
      'repositoryId:int',
      'ownerId:int',
      'isPublic:int',
      'groupName:text?',
      'labels:text',
      'rarestLabel:text',
      'headQueuedAt:int?',
    ],
    { id: true, unique: [['key']] },
  )
  const filed = '"headQueuedAt" is not null'
  await partialIndex(tools, { name: 'line_label', table: 'line', columns: ['rarestLabel', 'headQueuedAt', 'id'], where: filed })
  await partialIndex(tools, { name: 'line_owner', table: 'line', columns: ['rarestLabel', 'ownerId', 'headQueuedAt', 'id'], where: filed })
  await partialIndex(tools, {
    name: 'line_repository',
    table: 'line',
    columns: ['rarestLabel', 'repositoryId', 'headQueuedAt', 'id'],
    where: filed,
  })
  await partialIndex(tools, { name: 'line_empty', table: 'line', columns: ['id'], where: '"headQueuedAt" is null' })
  await table(
    'assignment',
    [
      'requestId:text',
      'jobId:int',
      'runnerId:int',
      'sessionId:text',
      'planId:text',
      'timelineId:text',
      'jobGuid:text',
      'state:text',
      'givenAt:int',
      'acquiredAt:int?',
      'renewedAt:int?',
      'lastSignAt:int',
      'cancelSentAt:int?',
      'completedAt:int?',
    ],
    { id: true, unique: [['requestId']] },
  )
  const unfinished = `state in ('given', 'acquired', 'running')`
  await partialIndex(tools, { name: 'assignment_job', table: 'assignment', columns: ['jobId'], where: unfinished, unique: true })
  await partialIndex(tools, { name: 'assignment_runner', table: 'assignment', columns: ['runnerId'], where: unfinished, unique: true })
  await partialIndex(tools, { name: 'assignment_lease', table: 'assignment', columns: ['lastSignAt'], where: unfinished })

  await table('stepReport', ['jobId:int', 'assignmentId:int', 'changeOrder:int', 'steps:text'], { key: ['jobId'] })
  await table(
    'annotation',
    [
      'jobId:int',
      'stepNumber:int?',
      'level:text',
      'title:text?',
      'message:text',
      'path:text?',
      'startLine:int?',
      'endLine:int?',
      'startColumn:int?',
      'endColumn:int?',
      'rawDetails:text?',
    ],
    { id: true },
  )
  await index('annotation_job', 'annotation', ['jobId', 'id'])
  await table('stepSummary', ['jobId:int', 'stepId:text', 'blobKey:text', 'size:int', 'uploadedAt:int'], { key: ['jobId', 'stepId'] })
  await table(
    'log',
    ['jobId:int', 'stepId:text', 'assignmentId:int', 'blobKey:text', 'lineCount:int', 'missingLines:int', 'uploadedAt:int'],
    {
      key: ['jobId', 'stepId'],
    },
  )
  await table('logChunk', ['jobId:int', 'seq:int', 'assignmentId:int', 'stepId:text', 'startLine:int', 'lines:text', 'createdAt:int'], {
    key: ['jobId', 'seq'],
  })
  await table(
    'blob',
    ['key:text', 'kind:text', 'size:int', 'lines:int', 'blocks:int', 'sealedAt:int?', 'contentType:text?', 'createdAt:int'],
    {
      key: ['key'],
    },
  )
  await table('blobBlock', ['blobKey:text', 'number:int', 'requestId:text', 'part:text', 'size:int', 'lines:int'], {
    key: ['blobKey', 'number'],
  })

  await table(
    'event',
    ['at:int', 'actorKind:text', 'actorId:int?', 'kind:text', 'subjectKind:text', 'subjectId:int', 'repositoryId:int?', 'payload:text'],
    { id: true },
  )
  await index('event_subject', 'event', ['subjectKind', 'subjectId', 'id'])
}
