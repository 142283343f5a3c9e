import {
  accountOfActor,
  grantOf,
  hasScope,
  needs,
  repositoryScopes,
  type Actor,
  type Grant,
  type RepositoryRole,
} from '../../model/access.ts'
import { checkRepositoryName, type Account, type Repository } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'
import { isRefName } from '../../model/push.ts'
import { accountById, accountByLogin, accountTouch, membershipRole } from '../../store/accounts.ts'
import { appById, installationAddRepository, installationAt, installationById, installationRepositories } from '../../store/apps.ts'
import { eventInsert } from '../../store/events.ts'
import { hooksDeleteOf } from '../../store/hooks.ts'
import { isUniqueViolation } from '../../store/open.ts'
import {
  formerRepositoryForget,
  formerRepositorySet,
  linesSetPublic,
  repositoryByFormerName,
  repositoryById,
  repositoryDelete,
  repositoryInsert,
  repositoryList,
  repositoryListOfUser,
  repositoryUpdate,
  type Affiliation,
  type RepositoryReader,
  type RepositorySelection,
} from '../../store/repositories.ts'
import { authorizeOrganization, authorizeRepository, requireUser, type RepositoryRef } from '../access/authorize.ts'
import { tellInstallation } from '../apps/tell-installation.ts'
import type { Deps } from '../deps.ts'

type RepositoryDeps = Pick<Deps, 'db' | 'now' | 'log' | 'git'>
type ReadDeps = Pick<Deps, 'db' | 'log'>
type Visibility = Repository['visibility']

export interface NewRepository {
  /** A login; the actor's own when left out. */
  owner?: string | undefined
  name: string
  description?: string | null | undefined
  /** Says more than `private`, which says `public` when left out, as on GitHub. */
  visibility?: Visibility | undefined
  private?: boolean | undefined
  /** Makes one commit, with a README. */
  autoInit?: boolean | undefined
}

export interface RepositoryChange {
  name?: string | undefined
  description?: string | null | undefined
  visibility?: Visibility | undefined
  private?: boolean | undefined
  defaultBranch?: string | undefined
}

export interface Page {
  offset: number
  limit: number
}

const DEFAULT_BRANCH = 'main'

/**
 * Makes a repository: members in their organizations, users at their own account, site administrators anywhere. The row comes first and
 * decides who has the name; a folder that a death kept from being made is made on first use.
 */
export async function createRepository(
  deps: RepositoryDeps & Pick<Deps, 'signals' | 'webhooks'>,
  actor: Actor,
  input: NewRepository,
): Promise<Repository> {
  const owner = await ownerFor(deps, actor, input.owner)
  const visibility = visibilityOf(input) ?? 'public'
  requireVisibilityScope(actor, visibility)

  const name = checkRepositoryName(input.name)
  const description = input.description ?? null
  const createdAt = deps.now()
  const { id, told } = await deps.db.transaction().execute(async (tx) => {
    const row = { ownerId: owner.id, name, description, visibility, defaultBranch: DEFAULT_BRANCH, createdAt }
    const made = await repositoryInsert(tx, row)
    if (made === undefined) throw nameTaken('Repository creation failed.')
    await formerRepositoryForget(tx, owner.id, name)
    // Its owner tells how many there are.
    await accountTouch(tx, owner.id, createdAt)
    // What an App makes, it reaches.
    const isSelected = actor.kind === 'installation' && actor.grant.selection === 'selected'
    const hooks = isSelected ? await selectMade(tx, deps, actor, made) : []
    await eventInsert(tx, {
      at: createdAt,
      actor,
      kind: 'repository.created',
      subject: { kind: 'repository', id: made },
      repositoryId: made,
    })
    return { id: made, told: hooks }
  })

  for (const hookId of told) deps.signals.send('hook', hookId)
  await deps.git.create(id, DEFAULT_BRANCH)
  if (input.autoInit) await writeReadme(deps, actor, id, { name, description })
  return existing(deps, id)
}

/** Adds a new repository to those that the installation which made it reaches, and tells its App so; answers the webhooks that have it to send. */
async function selectMade(
  tx: Deps['db'],
  deps: Pick<Deps, 'now' | 'webhooks'>,
  actor: Extract<Actor, { kind: 'installation' }>,
  id: number,
): Promise<number[]> {
  await installationAddRepository(tx, actor.installationId, id)
  const installation = await installationById(tx, actor.installationId)
  const app = installation && (await appById(tx, installation.appId))
  const account = installation && (await accountById(tx, installation.accountId))
  const repository = await repositoryById(tx, id)
  if (!installation || !app || !account || !repository) return []
  const view = { installation, app, account }
  return tellInstallation(tx, deps, actor, { event: 'installation_repositories', action: 'added', view, repositories: [repository] })
}

/** The account that gets the repository, when the actor may make one there. */
async function ownerFor(deps: ReadDeps, actor: Actor, login: string | undefined): Promise<Account> {
  const own = actor.kind === 'user' && (login === undefined || login.toLowerCase() === actor.login.toLowerCase())
  const owner = own ? await accountById(deps.db, actor.userId) : login === undefined ? undefined : await accountByLogin(deps.db, login)
  if (actor.kind === 'system' && owner) return owner
  requireUnnarrowed(grantOf(actor))
  if (owner?.kind === 'organization') return authorizeOrganization(deps, actor, { id: owner.id }, needs.organizationRepositoryCreate)

  const user = requireUser(actor, needs.userRepositoryCreate)
  if (!owner) throw new AppError('not_found', 'Not Found')
  const isForeign = user.token.grant ? user.token.grant.accountId !== owner.id : !own && !user.siteAdmin
  if (isForeign) throw new AppError('forbidden', 'You cannot create a repository for another user.')
  return owner
}

/** A token for certain repositories makes no others: it could not reach them. */
function requireUnnarrowed(grant: Grant | undefined): void {
  if (grant && grant.only !== null && grant.accountId !== 0)
    throw new AppError('forbidden', 'A token for certain repositories cannot create others.')
}

async function writeReadme(
  { db, git, now }: RepositoryDeps,
  actor: Actor,
  id: number,
  { name, description }: { name: string; description: string | null },
): Promise<void> {
  const account = accountOfActor(actor)
  const user = account && (await accountById(db, account.id))
  const at = now()
  await git.writeFirstCommit(id, DEFAULT_BRANCH, {
    files: { 'README.md': `# ${name}\n${description === null ? '' : `\n${description}\n`}` },
    message: 'Initial commit\n',
    author: { name: user?.name ?? user?.login ?? 'Fleetfoot', email: user?.email ?? `${user?.login ?? 'fleetfoot'}@noreply.invalid` },
    at,
  })
  await repositoryUpdate(db, id, { pushedAt: at, updatedAt: at })
}

/** A repository that the actor may see, with what the actor may do there. */
export async function getRepository(
  deps: ReadDeps,
  actor: Actor,
  ref: RepositoryRef,
): Promise<{ repository: Repository; role: RepositoryRole }> {
  return authorizeRepository(deps, actor, ref, needs.repositoryRead)
}

/** Where a repository went that had this name once; undefined for a name that never was, or that is taken again. No check of access. */
export async function movedRepository({ db }: Pick<Deps, 'db'>, owner: string, name: string): Promise<number | undefined> {
  return (await repositoryByFormerName(db, owner, name))?.id
}

/** The same for those who may see the repository, and for an App that signed where it is installed. */
export async function visibleMovedRepository(deps: ReadDeps, actor: Actor, owner: string, name: string): Promise<number | undefined> {
  const moved = await repositoryByFormerName(deps.db, owner, name)
  if (!moved) return undefined
  return (await maySee(deps, actor, moved.id)) || (await isInstalled(deps, actor, moved)) ? moved.id : undefined
}

/** A suspended installation counts: its App may see it. */
async function isInstalled({ db }: ReadDeps, actor: Actor, { id, owner }: Repository): Promise<boolean> {
  const installation = actor.kind === 'app' ? await installationAt(db, actor.appId, owner.id) : undefined
  if (!installation) return false
  return (await installationRepositories(db, installation, [id], { offset: 0, limit: 1 })).total > 0
}

/** Repositories of a user or an organization that the actor may see. */
export async function listRepositories(
  deps: ReadDeps,
  actor: Actor,
  login: string,
  selection: RepositorySelection,
): Promise<{ repositories: Repository[]; total: number }> {
  const owner = await accountByLogin(deps.db, login)
  if (!owner) throw new AppError('not_found', 'Not Found')
  return repositoryList(deps.db, owner.id, await readerOf(deps, actor, owner), selection)
}

/**
 * Repositories that a user works on, as the actor may see them: of others the open ones that they own or are collaborators of, since in
 * which organizations somebody is, is not told.
 */
export async function listRepositoriesOfMember(
  deps: ReadDeps,
  actor: Actor,
  login: string,
  selection: RepositorySelection & { evenOwn: boolean },
): Promise<{ repositories: Repository[]; total: number }> {
  const user = await accountByLogin(deps.db, login)
  if (!user) throw new AppError('not_found', 'Not Found')
  const reader = await readerOf(deps, actor, user)
  const affiliations: Affiliation[] = [...(selection.evenOwn ? ['owner' as const] : []), 'collaborator']
  // What was given the things of one account is told of no others.
  if (reader === 'all' && !grantOf(actor))
    return repositoryListOfUser(deps.db, user.id, { ...selection, affiliations: [...affiliations, 'organization_member'] })
  return repositoryListOfUser(deps.db, user.id, {
    ...selection,
    affiliations,
    visibilities: reader === null || grantOf(actor) ? ['public'] : OPEN,
  })
}

const OPEN: Visibility[] = ['public', 'internal']

/** The same rule as `roleIn`, for many at once. */
async function readerOf(deps: ReadDeps, actor: Actor, owner: Account): Promise<RepositoryReader> {
  const { db } = deps
  if (actor.kind === 'system') return 'all'
  const grant = grantOf(actor)
  if (grant && grant.accountId !== owner.id) return null
  if (actor.kind === 'installation') {
    const { only, installationId, selection } = actor.grant
    return only === null && selection === 'all' ? 'all' : { only, installationId: selection === 'selected' ? installationId : null }
  }
  if (grant && grant.only !== null) return { only: await visibleOf(deps, actor, grant.only), installationId: null }
  if (actor.kind !== 'user') return null
  // Without the scope private ones stay unseen, as if this were nobody's collaborator.
  if (!grant && !hasScope(actor.token.scopes, ['repo'])) return { userId: 0 }
  if (actor.siteAdmin || owner.id === actor.userId) return 'all'
  const isMember = owner.kind === 'organization' && (await membershipRole(db, owner.id, actor.userId)) !== undefined
  return isMember ? 'all' : { userId: actor.userId }
}

/** Those of a narrowed token that its user may still see. It has at most 50. */
async function visibleOf(deps: ReadDeps, actor: Actor, ids: number[]): Promise<number[]> {
  const seen: number[] = []
  for (const id of ids) if (await maySee(deps, actor, id)) seen.push(id)
  return seen
}

async function maySee(deps: ReadDeps, actor: Actor, id: number): Promise<boolean> {
  try {
    await authorizeRepository(deps, actor, { id }, needs.repositoryRead)
    return true
  } catch (error) {
    if (error instanceof AppError) return false
    throw error
  }
}

/**
 * Repositories that the actor owns, works on or sees as a member. Without the scope private ones stay unseen, and a fine-grained token shows
 * what it reaches.
 */
export async function listOwnRepositories(
  { db }: ReadDeps,
  actor: Actor,
  selection: Parameters<typeof repositoryListOfUser>[2],
): Promise<{ repositories: Repository[]; total: number }> {
  const user = requireUser(actor, needs.user)
  const wanted = selection.visibilities ?? ['public', 'internal', 'private']
  const { grant } = user.token
  if (grant)
    return repositoryListOfUser(db, user.userId, { ...selection, visibilities: wanted, ownerId: grant.accountId, only: grant.only })
  const visibilities = hasScope(user.token.scopes, ['repo']) ? wanted : wanted.filter((visibility) => visibility !== 'private')
  return repositoryListOfUser(db, user.userId, { ...selection, visibilities })
}

/** Changes what is given. The former name goes on leading here until another repository takes it. */
export async function updateRepository(
  deps: RepositoryDeps,
  actor: Actor,
  ref: RepositoryRef,
  change: RepositoryChange,
): Promise<Repository> {
  const { repository } = await authorizeRepository(deps, actor, ref, needs.repositoryAdmin)
  const { id } = repository
  const name = change.name === undefined ? repository.name : checkRepositoryName(change.name)
  const visibility = visibilityOf(change) ?? repository.visibility
  requireVisibilityScope(actor, visibility)

  const { defaultBranch = repository.defaultBranch } = change
  if (defaultBranch !== repository.defaultBranch) await setDefaultBranch(deps, id, defaultBranch)

  const at = deps.now()
  const description = change.description === undefined ? repository.description : change.description
  try {
    await deps.db.transaction().execute(async (tx) => {
      await repositoryUpdate(tx, id, { name, description, visibility, defaultBranch, updatedAt: at })
      if (name.toLowerCase() !== repository.name.toLowerCase()) {
        await formerRepositoryForget(tx, repository.owner.id, name)
        await formerRepositorySet(tx, { ownerId: repository.owner.id, name: repository.name, repositoryId: id })
      }
      if (visibility !== repository.visibility) {
        await linesSetPublic(tx, id, visibility === 'public')
        await accountTouch(tx, repository.owner.id, at)
      }
      const payload = { from: { name: repository.name, visibility: repository.visibility }, to: { name, visibility } }
      await eventInsert(tx, { at, actor, kind: 'repository.updated', subject: { kind: 'repository', id }, repositoryId: id, payload })
    })
  } catch (error) {
    if (isUniqueViolation(error)) throw nameTaken('Repository update failed.')
    throw error
  }
  return existing(deps, id)
}

/** Any name while there is no branch at all, else one that exists: a clone would check out nothing. */
async function setDefaultBranch({ git }: RepositoryDeps, id: number, branch: string): Promise<void> {
  const branches = (await git.refs(id)).filter(({ name }) => name.startsWith('refs/heads/'))
  const exists = branches.some(({ name }) => name === `refs/heads/${branch}`)
  if (!isRefName(branch) || (branches.length > 0 && !exists)) {
    throw new AppError('invalid', 'Validation Failed', {
      details: [{ resource: 'Repository', code: 'invalid', field: 'default_branch', message: `The branch ${branch} was not found.` }],
    })
  }
  await git.setHead(id, branch)
}

/** Deletes a repository, its runners and its files. @throws AppError conflict while one of its jobs is running */
export async function deleteRepository(deps: RepositoryDeps & Pick<Deps, 'archives'>, actor: Actor, ref: RepositoryRef): Promise<void> {
  const { repository } = await authorizeRepository(deps, actor, ref, needs.repositoryDelete)
  const { id, owner, name } = repository
  const at = deps.now()
  await deps.db.transaction().execute(async (tx) => {
    if (!(await repositoryDelete(tx, id, at))) {
      throw new AppError('conflict', 'Jobs of this repository are running: cancel them or wait for their end.')
    }
    await hooksDeleteOf(tx, { kind: 'repository', id }, at)
    await accountTouch(tx, owner.id, at)
    const payload = { fullName: `${owner.login}/${name}`, organizationId: owner.id }
    await eventInsert(tx, { at, actor, kind: 'repository.deleted', subject: { kind: 'repository', id }, repositoryId: id, payload })
  })
  await deps.git.remove(id)
  await deps.archives.forget(id)
}

function visibilityOf(input: { visibility?: Visibility | undefined; private?: boolean | undefined }): Visibility | undefined {
  if (input.visibility !== undefined) return input.visibility
  return input.private === undefined ? undefined : input.private ? 'private' : 'public'
}

/** `public_repo` is not enough to make a private one. */
function requireVisibilityScope(actor: Actor, visibility: Visibility): void {
  if (actor.kind !== 'user' || actor.token.grant || hasScope(actor.token.scopes, repositoryScopes(visibility))) return
  throw new AppError('forbidden', 'Your token has not been granted the required scopes')
}

function nameTaken(message: string): AppError {
  const detail = { resource: 'Repository', code: 'custom', field: 'name', message: 'name already exists on this account' }
  return new AppError('invalid', message, { details: [detail] })
}

async function existing({ db }: ReadDeps, id: number): Promise<Repository> {
  const repository = await repositoryById(db, id)
  if (!repository) throw new AppError('not_found', 'Not Found')
  return repository
}
