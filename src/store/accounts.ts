import type { Selectable } from 'kysely'
import type { RepositoryRole } from '../model/access.ts'
import type { Account, Enterprise } from '../model/account.ts'
import { batches } from './batches.ts'
import { isUniqueViolation, type Db } from './open.ts'
import { prepared } from './prepared.ts'
import type { Schema } from './schema.ts'

export function decodeAccount(row: Selectable<Schema['account']>): Account {
  const { id, kind, login, name, email, siteAdminAt, suspendedAt, createdAt, updatedAt } = row
  return { id, kind, login, name, email, siteAdmin: siteAdminAt !== null, suspended: suspendedAt !== null, createdAt, updatedAt }
}

/** Adds a user or an organization; undefined when the login is taken (they share one namespace, in any case of letters). */
export async function accountInsert(
  db: Db,
  account: {
    kind: 'user' | 'organization' | 'bot'
    login: string
    name?: string | null
    email?: string | null
    siteAdminAt?: number
    suspendedAt?: number
    createdAt: number
  },
): Promise<Account | undefined> {
  const { kind, login, createdAt } = account
  const row = await db
    .insertInto('account')
    .values({
      kind,
      login,
      loginKey: login.toLowerCase(),
      name: account.name ?? null,
      email: account.email ?? null,
      siteAdminAt: account.siteAdminAt ?? null,
      suspendedAt: account.suspendedAt ?? null,
      createdAt,
      updatedAt: createdAt,
    })
    .onConflict((c) => c.column('loginKey').doNothing())
    .returningAll()
    .executeTakeFirst()
  return row && decodeAccount(row)
}

/** Finds by login, in any case of letters. */
export async function accountByLogin(db: Db, login: string): Promise<Account | undefined> {
  const row = await db.selectFrom('account').selectAll().where('loginKey', '=', login.toLowerCase()).executeTakeFirst()
  return row && decodeAccount(row)
}

export async function accountById(db: Db, id: number): Promise<Account | undefined> {
  const [row] = await accountRows(db, { id })
  return row && decodeAccount(row)
}

/** Rows of `account` by id. */
export const accountRows = prepared((db, { id }: { id: number }) => db.selectFrom('account').selectAll().where('id', '=', id))

/** Makes a user a site administrator, or no longer one. */
export async function accountSetSiteAdmin(db: Db, id: number, siteAdminAt: number | null, now: number): Promise<void> {
  await db.updateTable('account').set({ siteAdminAt, updatedAt: now }).where('id', '=', id).execute()
}

/** Marks an account as changed. Of two transactions that begin with this on one account, the second waits for the first. */
export async function accountTouch(db: Db, id: number, now: number): Promise<void> {
  await db.updateTable('account').set({ updatedAt: now }).where('id', '=', id).execute()
}

/** Which of these ids are organizations. */
export async function organizationsAmong(db: Db, ids: readonly number[]): Promise<Set<number>> {
  const found = new Set<number>()
  for (const batch of batches(ids)) {
    const rows = await db.selectFrom('account').select('id').where('id', 'in', batch).where('kind', '=', 'organization').execute()
    for (const { id } of rows) found.add(id)
  }
  return found
}

/** Organizations in order of id, after `since`. */
export async function organizationList(db: Db, since: number, limit: number): Promise<Account[]> {
  const rows = await db
    .selectFrom('account')
    .selectAll()
    .where('kind', '=', 'organization')
    .where('id', '>', since)
    .orderBy('id')
    .limit(limit)
    .execute()
  return rows.map(decodeAccount)
}

/** Organizations that a user belongs to, by login, or only one of them; a page and the whole count. */
export async function organizationsOfUser(
  db: Db,
  userId: number,
  page: { offset: number; limit: number },
  only?: number,
): Promise<{ organizations: Account[]; total: number }> {
  const matching = db
    .selectFrom('membership')
    .where('membership.userId', '=', userId)
    .$if(only !== undefined, (query) => query.where('membership.organizationId', '=', only ?? 0))
  const rows = await matching
    .innerJoin('account', 'account.id', 'membership.organizationId')
    .selectAll('account')
    .orderBy('account.loginKey')
    .offset(page.offset)
    .limit(page.limit)
    .execute()
  const { count } = await matching.select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  return { organizations: rows.map(decodeAccount), total: count }
}

export async function membershipRole(db: Db, organizationId: number, userId: number): Promise<'owner' | 'member' | undefined> {
  const row = await db
    .selectFrom('membership')
    .select('role')
    .where('organizationId', '=', organizationId)
    .where('userId', '=', userId)
    .executeTakeFirst()
  return row?.role
}

/** Adds a member or changes the role. */
export async function membershipSet(
  db: Db,
  membership: { organizationId: number; userId: number; role: 'owner' | 'member'; createdAt: number },
): Promise<void> {
  await db
    .insertInto('membership')
    .values(membership)
    .onConflict((c) => c.columns(['organizationId', 'userId']).doUpdateSet({ role: membership.role }))
    .execute()
}

/** Whether there was one. */
export async function membershipDelete(db: Db, organizationId: number, userId: number): Promise<boolean> {
  const result = await db
    .deleteFrom('membership')
    .where('organizationId', '=', organizationId)
    .where('userId', '=', userId)
    .executeTakeFirst()
  return result.numDeletedRows > 0n
}

export async function membershipOwners(db: Db, organizationId: number): Promise<number> {
  const row = await db
    .selectFrom('membership')
    .select((eb) => eb.fn.countAll<number>().as('count'))
    .where('organizationId', '=', organizationId)
    .where('role', '=', 'owner')
    .executeTakeFirstOrThrow()
  return row.count
}

/** Members of an organization by login, those with one role where it is given; a page and the whole count. */
export async function memberList(
  db: Db,
  organizationId: number,
  role: 'owner' | 'member' | undefined,
  page: { offset: number; limit: number },
): Promise<{ members: Account[]; total: number }> {
  const matching = db
    .selectFrom('membership')
    .where('organizationId', '=', organizationId)
    .$if(role !== undefined, (query) => query.where('role', '=', role ?? 'member'))
  const rows = await matching
    .innerJoin('account', 'account.id', 'membership.userId')
    .selectAll('account')
    .orderBy('account.loginKey')
    .offset(page.offset)
    .limit(page.limit)
    .execute()
  const { count } = await matching.select((eb) => eb.fn.countAll<number>().as('count')).executeTakeFirstOrThrow()
  return { members: rows.map(decodeAccount), total: count }
}

export async function collaboratorPermission(db: Db, repositoryId: number, userId: number): Promise<RepositoryRole | undefined> {
  const row = await db
    .selectFrom('collaborator')
    .select('permission')
    .where('repositoryId', '=', repositoryId)
    .where('userId', '=', userId)
    .executeTakeFirst()
  return row?.permission as RepositoryRole | undefined
}

export async function collaboratorSet(
  db: Db,
  collaborator: { repositoryId: number; userId: number; permission: RepositoryRole; createdAt: number },
): Promise<void> {
  await db
    .insertInto('collaborator')
    .values(collaborator)
    .onConflict((c) => c.columns(['repositoryId', 'userId']).doUpdateSet({ permission: collaborator.permission }))
    .execute()
}

/** Whether there was one. */
export async function collaboratorDelete(db: Db, repositoryId: number, userId: number): Promise<boolean> {
  const result = await db
    .deleteFrom('collaborator')
    .where('repositoryId', '=', repositoryId)
    .where('userId', '=', userId)
    .executeTakeFirst()
  return result.numDeletedRows > 0n
}

/** What a user was given in repositories of one owner. */
export async function collaboratorDeleteAt(db: Db, ownerId: number, userId: number): Promise<void> {
  await db
    .deleteFrom('collaborator')
    .where('userId', '=', userId)
    .where('repositoryId', 'in', db.selectFrom('repository').select('id').where('ownerId', '=', ownerId))
    .execute()
}

/** The one enterprise of this server. */
export async function enterpriseGet(db: Db): Promise<Enterprise> {
  const { id, slug, name, createdAt, updatedAt } = await db
    .selectFrom('enterprise')
    .selectAll()
    .orderBy('id')
    .limit(1)
    .executeTakeFirstOrThrow()
  return { id, slug, name, createdAt, updatedAt }
}

/** Makes the enterprise on the first start; later starts may rename it. */
export async function enterpriseEnsure(db: Db, slug: string, now: number): Promise<void> {
  const existing = await db.selectFrom('enterprise').select(['id', 'slug']).executeTakeFirst()
  if (existing) {
    if (existing.slug === slug) return
    await db.updateTable('enterprise').set({ slug, slugKey: slug.toLowerCase(), updatedAt: now }).where('id', '=', existing.id).execute()
    return
  }
  try {
    await db
      .insertInto('enterprise')
      .values({ id: 1, slug, slugKey: slug.toLowerCase(), name: slug, createdAt: now, updatedAt: now })
      .execute()
  } catch (error) {
    // Another node was first.
    if (!isUniqueViolation(error)) throw error
  }
}
