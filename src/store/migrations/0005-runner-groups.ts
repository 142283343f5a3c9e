import { partialIndex, type MigrationTools } from './columns.ts'

/**
 * Groups that bind: who may use a group, which workflows it is for, how an organization narrows a group of its enterprise; a line says
 * which workflow its jobs are of. Policies on repository-level runners.
 */
export async function up(tools: MigrationTools): Promise<void> {
  const { db } = tools
  const add = (column: string, value: number | string) =>
    db.schema
      .alterTable('runnerGroup')
      .addColumn(column, typeof value === 'number' ? 'bigint' : 'text', (c) => c.notNull().defaultTo(value))
      .execute()
  await add('restrictedToWorkflows', 0)
  await add('selectedWorkflows', '[]')
  await add('version', 1)
  await db.schema
    .alterTable('line')
    .addColumn('workflow', 'text', (c) => c.notNull().defaultTo(''))
    .execute()

  await db.schema
    .createTable('runnerGroupAccess')
    .addColumn('groupId', 'bigint', (c) => c.notNull())
    .addColumn('targetId', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('runnerGroupAccess_key', ['groupId', 'targetId'])
    .execute()
  await db.schema
    .createTable('inheritedGroup')
    .addColumn('organizationId', 'bigint', (c) => c.notNull())
    .addColumn('number', 'bigint', (c) => c.notNull())
    .addColumn('groupId', 'bigint', (c) => c.notNull())
    .addColumn('visibility', 'text', (c) => c.notNull())
    .addColumn('allowsPublicRepositories', 'bigint')
    .addColumn('updatedAt', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('inheritedGroup_key', ['organizationId', 'number'])
    .addUniqueConstraint('inheritedGroup_groupId_organizationId', ['groupId', 'organizationId'])
    .execute()
  await db.schema
    .createTable('inheritedGroupAccess')
    .addColumn('groupId', 'bigint', (c) => c.notNull())
    .addColumn('organizationId', 'bigint', (c) => c.notNull())
    .addColumn('repositoryId', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('inheritedGroupAccess_key', ['groupId', 'organizationId', 'repositoryId'])
    .execute()
  await db.schema
    .createTable('runnerPolicy')
    .addColumn('ownerKind', 'text', (c) => c.notNull())
    .addColumn('ownerId', 'bigint', (c) => c.notNull())
    .addColumn('repositories', 'text', (c) => c.notNull())
    .addPrimaryKeyConstraint('runnerPolicy_key', ['ownerKind', 'ownerId'])
    .execute()
  await db.schema
    .createTable('runnerPolicyRepository')
    .addColumn('organizationId', 'bigint', (c) => c.notNull())
    .addColumn('repositoryId', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('runnerPolicyRepository_key', ['organizationId', 'repositoryId'])
    .execute()
  await partialIndex(tools, { name: 'runner_group', table: 'runner', columns: ['groupId', 'nameKey'], where: '"deletedAt" is null' })
}
