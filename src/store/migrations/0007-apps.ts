import { partialIndex, withId, type MigrationTools } from './columns.ts'

/** GitHub Apps: keys, installations, manifests that wait for their conversion; and what tokens of installations and fine-grained ones are bound to. */
export async function up(tools: MigrationTools): Promise<void> {
  const { db } = tools

  await withId(tools, db.schema.createTable('app'))
    .addColumn('slug', 'text', (c) => c.notNull().unique())
    .addColumn('name', 'text', (c) => c.notNull())
    .addColumn('nameKey', 'text', (c) => c.notNull().unique())
    .addColumn('description', 'text')
    .addColumn('externalUrl', 'text', (c) => c.notNull())
    .addColumn('ownerId', 'bigint', (c) => c.notNull())
    .addColumn('botId', 'bigint', (c) => c.notNull())
    .addColumn('clientId', 'text', (c) => c.notNull().unique())
    .addColumn('clientSecretHash', 'text', (c) => c.notNull())
    .addColumn('hookUrl', 'text')
    .addColumn('hookActive', 'bigint', (c) => c.notNull())
    .addColumn('hookSecret', 'text')
    .addColumn('permissions', 'text', (c) => c.notNull())
    .addColumn('events', 'text', (c) => c.notNull())
    .addColumn('createdAt', 'bigint', (c) => c.notNull())
    .addColumn('updatedAt', 'bigint', (c) => c.notNull())
    .execute()

  await withId(tools, db.schema.createTable('appKey'))
    .addColumn('appId', 'bigint', (c) => c.notNull())
    .addColumn('publicKey', 'text', (c) => c.notNull())
    .addColumn('fingerprint', 'text', (c) => c.notNull())
    .addColumn('createdAt', 'bigint', (c) => c.notNull())
    .execute()
  await db.schema.createIndex('appKey_app').on('appKey').columns(['appId']).execute()

  await db.schema
    .createTable('appManifest')
    .addColumn('codeHash', 'text', (c) => c.primaryKey())
    .addColumn('ownerId', 'bigint', (c) => c.notNull())
    .addColumn('manifest', 'text', (c) => c.notNull())
    .addColumn('createdAt', 'bigint', (c) => c.notNull())
    .addColumn('expiresAt', 'bigint', (c) => c.notNull())
    .execute()
  await db.schema.createIndex('appManifest_expires').on('appManifest').columns(['expiresAt']).execute()

  await withId(tools, db.schema.createTable('installation'))
    .addColumn('appId', 'bigint', (c) => c.notNull())
    .addColumn('accountId', 'bigint', (c) => c.notNull())
    .addColumn('repositorySelection', 'text', (c) => c.notNull())
    .addColumn('permissions', 'text', (c) => c.notNull())
    .addColumn('events', 'text', (c) => c.notNull())
    .addColumn('suspendedAt', 'bigint')
    .addColumn('createdAt', 'bigint', (c) => c.notNull())
    .addColumn('updatedAt', 'bigint', (c) => c.notNull())
    .addUniqueConstraint('installation_appId_accountId', ['appId', 'accountId'])
    .execute()
  await db.schema.createIndex('installation_account').on('installation').columns(['accountId']).execute()

  await db.schema
    .createTable('installationRepository')
    .addColumn('installationId', 'bigint', (c) => c.notNull())
    .addColumn('repositoryId', 'bigint', (c) => c.notNull())
    .addPrimaryKeyConstraint('installationRepository_key', ['installationId', 'repositoryId'])
    .execute()
  await db.schema.createIndex('installationRepository_repository').on('installationRepository').columns(['repositoryId']).execute()

  await db.schema.alterTable('token').addColumn('installationId', 'bigint').execute()
  await db.schema.alterTable('token').addColumn('ownerId', 'bigint').execute()
  await db.schema.alterTable('registrationToken').addColumn('installationId', 'bigint').execute()
  await partialIndex(tools, {
    name: 'token_installation',
    table: 'token',
    columns: ['installationId', 'expiresAt'],
    where: '"installationId" is not null',
  })
  await partialIndex(tools, {
    name: 'token_installation_expires',
    table: 'token',
    columns: ['expiresAt'],
    where: `kind = 'installation'`,
  })
}
