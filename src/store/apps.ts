import type { Selectable } from 'kysely'
import type { App, AppKey, Installation } from '../model/app.ts'
import type { Repository } from '../model/account.ts'
import type { Permissions } from '../model/permissions.ts'
import { isPostgres, type Db } from './open.ts'
import { prepared } from './prepared.ts'
import { repositoryById } from './repositories.ts'
import type { Schema } from './schema.ts'

export interface Page {
  offset: number
  limit: number
}

function decodeApp(row: Selectable<Schema['app']>): App {
  const {
    nameKey: _key,
    clientSecretHash: _hash,
    hookUrl: _url,
    hookActive: _active,
    hookSecret: _secret,
    permissions,
    events,
    ...rest
  } = row
  return {
    ...rest,
    permissions: JSON.parse(permissions) as Permissions,
    events: JSON.parse(events) as string[],
  }
}

function decodeInstallation(row: Selectable<Schema['installation']>): Installation {
  return { ...row, permissions: JSON.parse(row.permissions) as Permissions, events: JSON.parse(row.events) as string[] }
}

/** Adds an App; undefined when its name or slug is taken. */
export async function appInsert(db: Db, app: Omit<App, 'id' | 'updatedAt'> & { clientSecretHash: string }): Promise<App | undefined> {
  const row = await db
    .insertInto('app')
    .values({
      ...app,
      nameKey: app.name.toLowerCase(),
      hookUrl: null,
      hookActive: 0,
      hookSecret: null,
      permissions: JSON.stringify(app.permissions),
      events: JSON.stringify(app.events),
      updatedAt: app.createdAt,
    })
    .onConflict((c) => c.doNothing())
    .returningAll()
    .executeTakeFirst()
  return row && decodeApp(row)
}

export async function appById(db: Db, id: number): Promise<App | undefined> {
  const [row] = await appRows(db, { id })
  return row && decodeApp(row)
}

const appRows = prepared((db, { id }: { id: number }) => db.selectFrom('app').selectAll().where('id', '=', id))

export async function appBySlug(db: Db, slug: string): Promise<App | undefined> {
  const row = await db.selectFrom('app').selectAll().where('slug', '=', slug.toLowerCase()).executeTakeFirst()
  return row && decodeApp(row)
}

export async function appByClientId(db: Db, clientId: string): Promise<App | undefined> {
  const row = await db.selectFrom('app').selectAll().where('clientId', '=', clientId).executeTakeFirst()
  return row && decodeApp(row)
}

/** Every App, oldest first. */
export async function appList(db: Db): Promise<App[]> {
  return (await db.selectFrom('app').selectAll().orderBy('id').execute()).map(decodeApp)
}

/** Changes what an App is and asks for; undefined when it is gone. */
export async function appUpdate(
  db: Db,
  id: number,
  { description, externalUrl, permissions, events }: Pick<App, 'description' | 'externalUrl' | 'permissions' | 'events'>,
  now: number,
): Promise<App | undefined> {
  const row = await db
    .updateTable('app')
    .set({
      description,
      externalUrl,
      permissions: JSON.stringify(permissions),
      events: JSON.stringify(events),
      updatedAt: now,
    })
    .where('id', '=', id)
    .returningAll()
    .executeTakeFirst()
  return row && decodeApp(row)
}

/** Marks an App as changed. Of two transactions that begin with this on one App, the second waits for the first. */
export async function appTouch(db: Db, id: number, now: number): Promise<boolean> {
  const result = await db.updateTable('app').set({ updatedAt: now }).where('id', '=', id).executeTakeFirst()
  return result.numUpdatedRows > 0n
}

/** Deletes an App with its keys. Its installations are deleted before, one by one. */
export async function appDelete(db: Db, id: number): Promise<boolean> {
  await db.deleteFrom('appKey').where('appId', '=', id).execute()
  const result = await db.deleteFrom('app').where('id', '=', id).executeTakeFirst()
  return result.numDeletedRows > 0n
}

export async function appKeyInsert(db: Db, key: Omit<AppKey, 'id'>): Promise<number> {
  return (await db.insertInto('appKey').values(key).returning('id').executeTakeFirstOrThrow()).id
}

/** Keys of an App, oldest first. */
export async function appKeys(db: Db, appId: number): Promise<AppKey[]> {
  return appKeyRows(db, { appId })
}

const appKeyRows = prepared((db, { appId }: { appId: number }) =>
  db.selectFrom('appKey').selectAll().where('appId', '=', appId).orderBy('id'),
)

/** Whether there was one. */
export async function appKeyDelete(db: Db, appId: number, id: number): Promise<boolean> {
  const result = await db.deleteFrom('appKey').where('appId', '=', appId).where('id', '=', id).executeTakeFirst()
  return result.numDeletedRows > 0n
}

export async function appManifestInsert(
  db: Db,
  manifest: { codeHash: string; ownerId: number; manifest: string; createdAt: number; expiresAt: number },
): Promise<void> {
  await db.insertInto('appManifest').values(manifest).execute()
}

/** Takes a manifest out of the table: of two conversions with one code, the second finds none. */
export async function appManifestTake(db: Db, codeHash: string, now: number): Promise<{ ownerId: number; manifest: string } | undefined> {
  return db
    .deleteFrom('appManifest')
    .where('codeHash', '=', codeHash)
    .where('expiresAt', '>', now)
    .returning(['ownerId', 'manifest'])
    .executeTakeFirst()
}

/** Installs an App, or changes what the one installation at this account may do. */
export async function installationSet(
  db: Db,
  installation: Omit<Installation, 'id' | 'suspendedAt' | 'createdAt' | 'updatedAt'> & { at: number },
): Promise<Installation> {
  const { appId, accountId, repositorySelection, at } = installation
  const permissions = JSON.stringify(installation.permissions)
  const events = JSON.stringify(installation.events)
  const row = await db
    .insertInto('installation')
    .values({ appId, accountId, repositorySelection, permissions, events, suspendedAt: null, createdAt: at, updatedAt: at })
    .onConflict((c) => c.columns(['appId', 'accountId']).doUpdateSet({ repositorySelection, permissions, events, updatedAt: at }))
    .returningAll()
    .executeTakeFirstOrThrow()
  return decodeInstallation(row)
}

export async function installationById(db: Db, id: number): Promise<Installation | undefined> {
  const [row] = await installationRows(db, { id })
  return row && decodeInstallation(row)
}

const installationRows = prepared((db, { id }: { id: number }) => db.selectFrom('installation').selectAll().where('id', '=', id))

export async function installationAt(db: Db, appId: number, accountId: number): Promise<Installation | undefined> {
  const row = await db
    .selectFrom('installation')
    .selectAll()
    .where('appId', '=', appId)
    .where('accountId', '=', accountId)
    .executeTakeFirst()
  return row && decodeInstallation(row)
}

/** Installations of an App, or at an account, oldest first; a page and the whole count. */
export async function installationList(
  db: Db,
  of: { appId: number } | { accountId: number },
  page: Page,
): Promise<{ installations: Installation[]; total: number }> {
  const matching =
    'appId' in of
      ? db.selectFrom('installation').where('appId', '=', of.appId)
      : db.selectFrom('installation').where('accountId', '=', of.accountId)
  const rows = await matching.selectAll().orderBy('id').offset(page.offset).limit(page.limit).execute()
  const { count } = await matching.select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  return { installations: rows.map(decodeInstallation), total: count }
}

/** Installations that reach a repository of this owner and are not suspended. */
export async function installationsReaching(db: Db, repositoryId: number, ownerId: number): Promise<Installation[]> {
  const rows = await db
    .selectFrom('installation')
    .selectAll()
    .where('accountId', '=', ownerId)
    .where('suspendedAt', 'is', null)
    .where((eb) =>
      eb.or([
        eb('repositorySelection', '=', 'all'),
        eb('id', 'in', eb.selectFrom('installationRepository').select('installationId').where('repositoryId', '=', repositoryId)),
      ]),
    )
    .orderBy('id')
    .execute()
  return rows.map(decodeInstallation)
}

/**
 * Which of these installations are there and not suspended, and whether each is for all repositories. In a transaction they stay so until it
 * ends: who suspends, deletes or changes one meanwhile waits.
 */
export async function installationsLive(db: Db, ids: number[]): Promise<Map<number, 'all' | 'selected'>> {
  if (ids.length === 0) return new Map()
  const rows = await db
    .selectFrom('installation')
    .select(['id', 'repositorySelection'])
    .where('id', 'in', ids)
    .where('suspendedAt', 'is', null)
    .orderBy('id')
    .$if(isPostgres(db) && db.isTransaction, (query) => query.forShare())
    .execute()
  return new Map(rows.map(({ id, repositorySelection }) => [id, repositorySelection]))
}

/** Suspends an installation, or ends that. */
export async function installationSuspend(db: Db, id: number, suspendedAt: number | null, now: number): Promise<void> {
  await db.updateTable('installation').set({ suspendedAt, updatedAt: now }).where('id', '=', id).execute()
}

/** Whether there was one. Its tokens are the caller's to end. */
export async function installationDelete(db: Db, id: number): Promise<boolean> {
  await db.deleteFrom('installationRepository').where('installationId', '=', id).execute()
  const result = await db.deleteFrom('installation').where('id', '=', id).executeTakeFirst()
  return result.numDeletedRows > 0n
}

/** Selects exactly these repositories for an installation. */
export async function installationSelect(db: Db, installationId: number, repositoryIds: number[]): Promise<void> {
  await db.deleteFrom('installationRepository').where('installationId', '=', installationId).execute()
  for (const repositoryId of new Set(repositoryIds)) await installationAddRepository(db, installationId, repositoryId)
}

/** Adds one to the selected repositories. */
export async function installationAddRepository(db: Db, installationId: number, repositoryId: number): Promise<void> {
  await db
    .insertInto('installationRepository')
    .values({ installationId, repositoryId })
    .onConflict((c) => c.doNothing())
    .execute()
}

export async function installationHasRepository(db: Db, installationId: number, repositoryId: number): Promise<boolean> {
  return (await selectedRows(db, { installationId, repositoryId })).length > 0
}

const selectedRows = prepared((db, { installationId, repositoryId }: { installationId: number; repositoryId: number }) =>
  db
    .selectFrom('installationRepository')
    .select('repositoryId')
    .where('installationId', '=', installationId)
    .where('repositoryId', '=', repositoryId),
)

/** The ids of all repositories that an installation reaches. */
export async function installationRepositoryIds(
  db: Db,
  { id, accountId, repositorySelection }: Pick<Installation, 'id' | 'accountId' | 'repositorySelection'>,
): Promise<number[]> {
  const rows =
    repositorySelection === 'all'
      ? await db.selectFrom('repository').select('id').where('ownerId', '=', accountId).orderBy('id').execute()
      : await db
          .selectFrom('installationRepository')
          .select('repositoryId as id')
          .where('installationId', '=', id)
          .orderBy('repositoryId')
          .execute()
  return rows.map((row) => row.id)
}

/** Repositories that an installation reaches, in order of id, those of `only` where it is given; a page and the whole count. */
export async function installationRepositories(
  db: Db,
  { id, accountId, repositorySelection }: Pick<Installation, 'id' | 'accountId' | 'repositorySelection'>,
  only: number[] | null,
  page: Page,
): Promise<{ repositories: Repository[]; total: number }> {
  if (only?.length === 0) return { repositories: [], total: 0 }
  const matching = db
    .selectFrom('repository')
    .where('ownerId', '=', accountId)
    .$if(only !== null, (query) => query.where('repository.id', 'in', only ?? []))
    .$if(repositorySelection === 'selected', (query) =>
      query.where('repository.id', 'in', (eb) =>
        eb.selectFrom('installationRepository').select('repositoryId').where('installationId', '=', id),
      ),
    )
  const rows = await matching.select('id').orderBy('id').offset(page.offset).limit(page.limit).execute()
  const { count } = await matching.select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  const found = await Promise.all(rows.map((row) => repositoryById(db, row.id)))
  return { repositories: found.filter((repository) => repository !== undefined), total: count }
}
