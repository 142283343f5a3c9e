import { sql } from 'kysely'
import type { ScopeKind, ScopeRef } from '../model/access.ts'
import type { Permissions } from '../model/permissions.ts'
import type { Db } from './open.ts'
import { columns, prepared, preparedChange } from './prepared.ts'
import type { Schema } from './schema.ts'

export interface TokenRow {
  id: number
  kind: 'personal' | 'impersonation' | 'admin' | 'job' | 'fine_grained' | 'installation'
  userId: number | null
  assignmentId: number | null
  name: string
  scopes: string[]
  expiresAt: number | null
  createdAt: number
}

/** What an installation or a fine-grained token is bound to. */
export interface TokenGrant {
  installationId: number | null
  /** Whose things a fine-grained token opens. */
  ownerId: number | null
  permissions: Permissions
  /** Narrowed to these repositories. */
  repositories: number[] | null
}

/** Stores a token of a user or a job by its hash. */
export async function tokenInsert(db: Db, token: Omit<TokenRow, 'id'> & { hash: string }): Promise<number | undefined> {
  const [row] = await rowInsert(db, { ...token, scopes: JSON.stringify(token.scopes) })
  return row?.id
}

const rowInsert = prepared((db, token: Omit<TokenRow, 'id' | 'scopes'> & { hash: string; scopes: string }) =>
  db
    .insertInto('token')
    .values({
      ...columns(token, ['kind', 'userId', 'assignmentId', 'name', 'scopes', 'expiresAt', 'createdAt', 'hash']),
      permissions: null,
      repositories: null,
      installationId: null,
      ownerId: null,
      lastUsedAt: null,
    })
    .onConflict((c) => c.column('hash').doNothing())
    .returning('id'),
)

/** Stores a token of an installation, or a fine-grained one, by its hash. */
export async function tokenInsertGranted(
  db: Db,
  { hash, grant, ...token }: Omit<TokenRow, 'id' | 'assignmentId' | 'scopes'> & { hash: string; grant: TokenGrant },
): Promise<number> {
  const { permissions, repositories, ...bound } = grant
  const row = await db
    .insertInto('token')
    .values({
      ...token,
      ...bound,
      hash,
      scopes: '[]',
      permissions: JSON.stringify(permissions),
      repositories: repositories && JSON.stringify(repositories),
      assignmentId: null,
      lastUsedAt: null,
    })
    .returning('id')
    .executeTakeFirstOrThrow()
  return row.id
}

export interface SignedInToken extends TokenRow {
  grant: TokenGrant | undefined
  login: string | null
  siteAdmin: boolean
  suspended: boolean
}

/** The token with this hash, with its user; expiry is the caller's to check. */
export async function tokenByHash(db: Db, hash: string): Promise<SignedInToken | undefined> {
  const [row] = await rowsByHash(db, { hash })
  if (!row) return undefined
  const { siteAdminAt, suspendedAt, scopes, permissions, repositories, installationId, ownerId, ...rest } = row
  const grant = decodeGrant({ permissions, repositories, installationId, ownerId })
  return { ...rest, scopes: JSON.parse(scopes) as string[], siteAdmin: siteAdminAt !== null, suspended: suspendedAt !== null, grant }
}

function decodeGrant(row: Pick<Schema['token'], 'permissions' | 'repositories' | 'installationId' | 'ownerId'>): TokenGrant | undefined {
  const { permissions, repositories, installationId, ownerId } = row
  if (permissions === null) return undefined
  return {
    installationId,
    ownerId,
    permissions: JSON.parse(permissions) as Permissions,
    repositories: repositories === null ? null : (JSON.parse(repositories) as number[]),
  }
}

const rowsByHash = prepared((db, { hash }: { hash: string }) =>
  db
    .selectFrom('token')
    .leftJoin('account', 'account.id', 'token.userId')
    .select(['token.id', 'token.kind', 'userId', 'assignmentId', 'token.name', 'scopes', 'expiresAt', 'token.createdAt'])
    .select(['permissions', 'repositories', 'installationId', 'ownerId'])
    .select(['account.login', 'account.siteAdminAt', 'account.suspendedAt'])
    .where('hash', '=', hash),
)

/**
 * Makes the one impersonation token of a user, or gives the one that is there a new text and new scopes. That there is one at most is a
 * unique key: whoever loses a race changes the winner's.
 */
export async function tokenSetImpersonation(
  db: Db,
  token: { userId: number; name: string; scopes: string[]; hash: string; createdAt: number },
): Promise<{ id: number; createdAt: number; isNew: boolean }> {
  const { userId, hash } = token
  const scopes = JSON.stringify(token.scopes)
  const replace = () =>
    db
      .updateTable('token')
      .set({ hash, scopes })
      .where('userId', '=', userId)
      .where('kind', '=', sql.lit('impersonation'))
      .returning(['id', 'createdAt'])
      .executeTakeFirst()
  const replaced = await replace()
  if (replaced) return { ...replaced, isNew: false }

  const unset = { assignmentId: null, installationId: null, ownerId: null, permissions: null, repositories: null }
  const times = { expiresAt: null, lastUsedAt: null }
  const made = await db
    .insertInto('token')
    .values({ ...token, ...unset, ...times, kind: 'impersonation', scopes })
    .onConflict((c) => c.doNothing())
    .returning(['id', 'createdAt'])
    .executeTakeFirst()
  if (made) return { ...made, isNew: true }
  const raced = await replace()
  if (!raced) throw new Error('the impersonation token could not be made')
  return { ...raced, isNew: false }
}

/** Tokens of a user in the order in which they were made. */
export async function tokensOfUser(db: Db, userId: number): Promise<(TokenRow & { grant: TokenGrant | undefined })[]> {
  const rows = await db
    .selectFrom('token')
    .select(['id', 'kind', 'userId', 'assignmentId', 'name', 'scopes', 'expiresAt', 'createdAt'])
    .select(['permissions', 'repositories', 'installationId', 'ownerId'])
    .where('userId', '=', userId)
    .orderBy('id')
    .execute()
  return rows.map(({ permissions, repositories, installationId, ownerId, ...row }) => ({
    ...row,
    scopes: JSON.parse(row.scopes) as string[],
    grant: decodeGrant({ permissions, repositories, installationId, ownerId }),
  }))
}

/** Whether there was one. */
export async function tokenDelete(db: Db, where: { userId: number; kind?: TokenRow['kind']; id?: number }): Promise<boolean> {
  const result = await db
    .deleteFrom('token')
    .where('userId', '=', where.userId)
    .$if(where.kind !== undefined, (query) => query.where('kind', '=', where.kind ?? 'personal'))
    .$if(where.id !== undefined, (query) => query.where('id', '=', where.id ?? 0))
    .executeTakeFirst()
  return result.numDeletedRows > 0n
}

/** Ends one token of an installation, or all of them. */
export async function tokenDeleteOfInstallation(db: Db, installationId: number, id?: number): Promise<void> {
  await db
    .deleteFrom('token')
    .where('installationId', '=', installationId)
    .$if(id !== undefined, (query) => query.where('id', '=', id ?? 0))
    .execute()
}

/** The job's `GITHUB_TOKEN` is gone with the job. */
export async function tokenDeleteOfAssignment(db: Db, assignmentId: number): Promise<void> {
  await rowsDelete(db, { assignmentId })
}

const rowsDelete = prepared((db, { assignmentId }: { assignmentId: number }) =>
  db.deleteFrom('token').where('assignmentId', '=', assignmentId),
)

/** Replaces the administrator's token by the one that the configuration names. */
export async function tokenSetAdmin(db: Db, userId: number, hash: string, scopes: string[], now: number): Promise<void> {
  const existing = await db.selectFrom('token').select(['id', 'scopes']).where('hash', '=', hash).executeTakeFirst()
  await db.deleteFrom('token').where('kind', '=', 'admin').where('hash', '!=', hash).execute()
  if (existing) {
    await db
      .updateTable('token')
      .set({ scopes: JSON.stringify(scopes) })
      .where('id', '=', existing.id)
      .execute()
    return
  }
  await tokenInsert(db, { kind: 'admin', userId, assignmentId: null, name: 'administrator', scopes, expiresAt: null, createdAt: now, hash })
}

export async function registrationTokenInsert(
  db: Db,
  token: {
    purpose: 'register' | 'remove'
    scope: ScopeRef
    userId: number
    installationId: number | null
    hash: string
    createdAt: number
    expiresAt: number
  },
): Promise<void> {
  const { scope, ...rest } = token
  await db
    .insertInto('registrationToken')
    .values({ ...rest, scopeKind: scope.kind, scopeId: scope.id })
    .execute()
}

/** The token with this hash, while it is good and what made it is too: a user, or an installation, that is there and not suspended. */
export async function registrationTokenByHash(
  db: Db,
  hash: string,
  now: number,
): Promise<{ purpose: 'register' | 'remove'; scope: ScopeRef; userId: number } | undefined> {
  const row = await db
    .selectFrom('registrationToken as token')
    .innerJoin('account', 'account.id', 'token.userId')
    .leftJoin('installation', 'installation.id', 'token.installationId')
    .select(['token.purpose', 'token.scopeKind', 'token.scopeId', 'token.userId'])
    .where('token.hash', '=', hash)
    .where('token.expiresAt', '>', now)
    .where('account.suspendedAt', 'is', null)
    .where((eb) =>
      eb.or([
        eb('token.installationId', 'is', null),
        eb.and([eb('installation.id', 'is not', null), eb('installation.suspendedAt', 'is', null)]),
      ]),
    )
    .executeTakeFirst()
  return row && { purpose: row.purpose, scope: { kind: row.scopeKind as ScopeKind, id: row.scopeId }, userId: row.userId }
}

/** False when this assertion was spent before. */
export async function assertionSpend(db: Db, clientId: string, jti: string, expiresAt: number): Promise<boolean> {
  return (await spend(db, { clientId, jti, expiresAt })) > 0
}

const spend = preparedChange((db, assertion: { clientId: string; jti: string; expiresAt: number }) =>
  db
    .insertInto('spentAssertion')
    .values(columns(assertion, ['clientId', 'jti', 'expiresAt']))
    .onConflict((c) => c.columns(['clientId', 'jti']).doNothing()),
)

/** Deletes what has expired. */
export async function expiredDelete(db: Db, now: number): Promise<void> {
  await db.deleteFrom('spentAssertion').where('expiresAt', '<', now).execute()
  await db.deleteFrom('registrationToken').where('expiresAt', '<', now).execute()
  await db.deleteFrom('token').where('kind', '=', sql.lit('installation')).where('expiresAt', '<', now).execute()
  await db.deleteFrom('appManifest').where('expiresAt', '<', now).execute()
}
