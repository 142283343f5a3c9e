import { partialIndex, withId, type MigrationTools } from './columns.ts'

/** Webhooks and their deliveries, and the mark on events that are still to become deliveries. */
export async function up(tools: MigrationTools): Promise<void> {
  const { db } = tools
  await db.schema.alterTable('event').addColumn('hooks', 'bigint').execute()
  await partialIndex(tools, { name: 'event_hooks', table: 'event', columns: ['id'], where: 'hooks = 1' })

  await withId(tools, db.schema.createTable('hook'))
    .addColumn('ownerKind', 'text', (c) => c.notNull())
    .addColumn('ownerId', 'bigint', (c) => c.notNull())
    .addColumn('url', 'text', (c) => c.notNull())
    .addColumn('contentType', 'text', (c) => c.notNull())
    .addColumn('secret', 'text')
    .addColumn('insecureSsl', 'bigint', (c) => c.notNull())
    .addColumn('events', 'text', (c) => c.notNull())
    .addColumn('active', 'bigint', (c) => c.notNull())
    .addColumn('lastResponse', 'text')
    .addColumn('createdAt', 'bigint', (c) => c.notNull())
    .addColumn('updatedAt', 'bigint', (c) => c.notNull())
    .addColumn('deletedAt', 'bigint')
    .addColumn('dueAt', 'bigint')
    .addColumn('notBefore', 'bigint', (c) => c.notNull())
    .addColumn('laneHolder', 'text')
    .addColumn('laneUntil', 'bigint', (c) => c.notNull())
    .addColumn('troubles', 'bigint', (c) => c.notNull())
    .execute()
  await db.schema.createIndex('hook_owner').on('hook').columns(['ownerKind', 'ownerId', 'id']).execute()
  await partialIndex(tools, { name: 'hook_active', table: 'hook', columns: ['id'], where: 'active = 1 and "deletedAt" is null' })
  await partialIndex(tools, { name: 'hook_due', table: 'hook', columns: ['dueAt'], where: '"dueAt" is not null' })
  await partialIndex(tools, { name: 'hook_deleted', table: 'hook', columns: ['id'], where: '"deletedAt" is not null' })

  await withId(tools, db.schema.createTable('hookDelivery'))
    .addColumn('hookId', 'bigint', (c) => c.notNull())
    .addColumn('guid', 'text', (c) => c.notNull())
    .addColumn('event', 'text', (c) => c.notNull())
    .addColumn('action', 'text')
    .addColumn('repositoryId', 'bigint')
    .addColumn('installationId', 'bigint')
    .addColumn('eventId', 'bigint')
    .addColumn('orderKey', 'text', (c) => c.notNull())
    .addColumn('payload', 'text', (c) => c.notNull())
    .addColumn('redelivery', 'bigint', (c) => c.notNull())
    .addColumn('state', 'text', (c) => c.notNull())
    .addColumn('attempts', 'bigint', (c) => c.notNull())
    .addColumn('nextAttemptAt', 'bigint', (c) => c.notNull())
    .addColumn('createdAt', 'bigint', (c) => c.notNull())
    .addColumn('deliveredAt', 'bigint')
    .addColumn('durationMs', 'bigint')
    .addColumn('statusCode', 'bigint')
    .addColumn('status', 'text')
    .addColumn('url', 'text')
    .addColumn('requestHeaders', 'text')
    .addColumn('responseHeaders', 'text')
    .addColumn('responseBody', 'text')
    .addUniqueConstraint('hookDelivery_event', ['hookId', 'eventId', 'event'])
    .execute()
  const pending = `state = 'pending'`
  await partialIndex(tools, { name: 'hookDelivery_due', table: 'hookDelivery', columns: ['hookId', 'nextAttemptAt', 'id'], where: pending })
  await partialIndex(tools, { name: 'hookDelivery_order', table: 'hookDelivery', columns: ['hookId', 'orderKey', 'id'], where: pending })
  await partialIndex(tools, {
    name: 'hookDelivery_installation',
    table: 'hookDelivery',
    columns: ['installationId'],
    where: `${pending} and "installationId" is not null`,
  })
  await partialIndex(tools, {
    name: 'hookDelivery_made',
    table: 'hookDelivery',
    columns: ['hookId', 'id'],
    where: '"deliveredAt" is not null',
  })
  // The latest push of a repository, which a webhook may be tested with.
  await db.schema.createIndex('push_repository').on('push').columns(['repositoryId', 'id']).execute()
  await db.schema.createIndex('hookDelivery_age').on('hookDelivery').columns(['createdAt']).execute()
}
