import { withId, type MigrationTools } from './columns.ts'

/**
 * What a place was called when an entry of the audit log was written; entries before this have none. And the tries of a webhook delivery
 * that was tried more than once: they go with it.
 */
export async function up(tools: MigrationTools): Promise<void> {
  const { db } = tools
  await db.schema.alterTable('auditEntry').addColumn('organizationLogin', 'text').execute()
  await db.schema.alterTable('auditEntry').addColumn('repositoryName', 'text').execute()

  await withId(tools, db.schema.createTable('hookAttempt'))
    .addColumn('deliveryId', tools.postgres ? 'bigint' : 'integer', (c) => c.notNull().references('hookDelivery.id').onDelete('cascade'))
    .addColumn('at', 'bigint', (c) => c.notNull())
    .addColumn('durationMs', 'bigint', (c) => c.notNull())
    .addColumn('statusCode', 'bigint', (c) => c.notNull())
    .addColumn('status', 'text', (c) => c.notNull())
    .execute()
  await db.schema.createIndex('hookAttempt_delivery').on('hookAttempt').columns(['deliveryId', 'id']).execute()
}
