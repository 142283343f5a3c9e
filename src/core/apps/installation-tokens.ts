import type { Actor } from '../../model/access.ts'
import type { Repository } from '../../model/account.ts'
import type { Installation } from '../../model/app.ts'
import { AppError } from '../../model/errors.ts'
import { checkPermissions, grants, type PermissionNeed, type Permissions } from '../../model/permissions.ts'
import { hashSecret, newInstallationToken } from '../../model/secret-text.ts'
import { accountById } from '../../store/accounts.ts'
import { installationById, installationRepositories } from '../../store/apps.ts'
import { eventInsert } from '../../store/events.ts'
import { repositoryById, repositoryByName } from '../../store/repositories.ts'
import { tokenDeleteOfInstallation, tokenInsertGranted } from '../../store/tokens.ts'
import { requireInstallation } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import { getInstallation } from './installations.ts'

type WriteDeps = Pick<Deps, 'db' | 'now' | 'times'>

export interface NewInstallationToken {
  text: string
  expiresAt: number
  permissions: Permissions
  selection: 'all' | 'selected'
  /** Those that it was narrowed to. */
  repositories: Repository[] | undefined
}

/**
 * Makes a token of an installation for the App that signed: for an hour, with all that the installation has, or with less where less is
 * asked for.
 *
 * @throws AppError not_found, forbidden while the installation is suspended, invalid for more than it has, in GitHub's words (rest-api.md 2.17)
 */
export async function createInstallationToken(
  deps: WriteDeps,
  actor: Actor,
  input: {
    installationId: number
    permissions?: Record<string, unknown> | undefined
    repositories?: string[] | undefined
    repositoryIds?: number[] | undefined
  },
): Promise<NewInstallationToken> {
  const { db, now, times } = deps
  const { installation, app } = await getInstallation(deps, actor, input.installationId)
  if (installation.suspendedAt !== null) throw new AppError('forbidden', 'This installation has been suspended')
  const permissions = input.permissions === undefined ? installation.permissions : narrowed(installation, input.permissions)
  const repositories = await narrowedRepositories(db, installation, input)

  const text = newInstallationToken()
  const at = now()
  const expiresAt = at + times.installationToken
  const ids = repositories?.map(({ id }) => id) ?? null
  await db.transaction().execute(async (tx) => {
    const grant = { installationId: installation.id, ownerId: null, permissions, repositories: ids }
    const name = nameOf(installation.id)
    const row = { kind: 'installation' as const, userId: null, name, expiresAt, createdAt: at, hash: hashSecret(text), grant }
    const tokenId = await tokenInsertGranted(tx, row)
    const payload = { tokenId, name, app: app.slug, accountId: installation.accountId, permissions, ...(ids && { repositoryIds: ids }) }
    await eventInsert(tx, { at, actor, kind: 'token.created', subject: { kind: 'installation', id: installation.id }, payload })
  })
  return { text, expiresAt, permissions, selection: ids === null ? installation.repositorySelection : 'selected', repositories }
}

function narrowed({ permissions }: Installation, asked: Record<string, unknown>): Permissions {
  const wanted = checkPermissions(asked)
  const more = Object.entries(wanted).some(([key, level]) => !grants(permissions, `${key}:${level}` as PermissionNeed))
  if (more) throw new AppError('invalid', 'The permissions requested are not granted to this installation.')
  return wanted
}

async function narrowedRepositories(
  db: Deps['db'],
  installation: Installation,
  { repositories, repositoryIds }: { repositories?: string[] | undefined; repositoryIds?: number[] | undefined },
): Promise<Repository[] | undefined> {
  if (repositories === undefined && repositoryIds === undefined) return undefined
  const owner = await accountById(db, installation.accountId)
  const byId = await Promise.all([...new Set(repositoryIds)].map((id) => repositoryById(db, id)))
  const byName = await Promise.all([...new Set(repositories)].map((name) => repositoryByName(db, owner?.login ?? '', name)))
  const found = new Map([...byId, ...byName].map((repository) => [repository?.id, repository]))
  const wanted = [...found.values()].filter((repository) => repository !== undefined)
  const ids = wanted.map(({ id }) => id)
  const reached = await installationRepositories(db, installation, ids, { offset: 0, limit: 1 })
  if (wanted.length < found.size || reached.total < ids.length) {
    throw new AppError('invalid', 'There is at least one repository that does not exist or is not accessible to the parent installation.')
  }
  return wanted
}

/** Ends the token that the call is made with, at once. */
export async function revokeInstallationToken({ db, now }: WriteDeps, actor: Actor): Promise<void> {
  const { installationId, tokenId } = requireInstallation(actor)
  const at = now()
  await db.transaction().execute(async (tx) => {
    const installation = await installationById(tx, installationId)
    await tokenDeleteOfInstallation(tx, installationId, tokenId)
    const payload = { tokenId, name: nameOf(installationId), accountId: installation?.accountId }
    await eventInsert(tx, { at, actor, kind: 'token.deleted', subject: { kind: 'installation', id: installationId }, payload })
  })
}

const nameOf = (installationId: number) => `installation ${installationId}`
