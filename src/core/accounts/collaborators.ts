import { needs, type Actor, type RepositoryRole } from '../../model/access.ts'
import type { Account } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'
import { accountByLogin, collaboratorDelete, collaboratorSet } from '../../store/accounts.ts'
import { eventInsert } from '../../store/events.ts'
import { authorizeRepository, roleIn, type RepositoryRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import { userByLogin } from './users.ts'

type ReadDeps = Pick<Deps, 'db' | 'log'>
type WriteDeps = Pick<Deps, 'db' | 'log' | 'now'>

/** Gives a user a role in a repository, at once. */
export async function addCollaborator(
  deps: WriteDeps,
  actor: Actor,
  input: { repository: RepositoryRef; login: string; role: RepositoryRole },
): Promise<void> {
  const { repository } = await authorizeRepository(deps, actor, input.repository, needs.repositoryAdmin)
  const user = await accountByLogin(deps.db, input.login)
  if (!user) throw new AppError('not_found', 'Not Found')
  if (user.kind !== 'user') throw new AppError('invalid', 'Only users can be collaborators.')
  if (user.id === repository.owner.id) throw new AppError('invalid', 'Repository owner cannot be a collaborator')

  const at = deps.now()
  const { role } = input
  await deps.db.transaction().execute(async (tx) => {
    await collaboratorSet(tx, { repositoryId: repository.id, userId: user.id, permission: role, createdAt: at })
    await eventInsert(tx, {
      at,
      actor,
      kind: 'collaborator.set',
      subject: { kind: 'repository', id: repository.id },
      repositoryId: repository.id,
      payload: { userId: user.id, role },
    })
  })
}

/** Takes away what a user was given; nothing happens where nothing was. */
export async function removeCollaborator(
  deps: WriteDeps,
  actor: Actor,
  input: { repository: RepositoryRef; login: string },
): Promise<void> {
  const { repository } = await authorizeRepository(deps, actor, input.repository, needs.repositoryAdmin)
  const user = await userByLogin(deps.db, input.login)

  const at = deps.now()
  await deps.db.transaction().execute(async (tx) => {
    if (!(await collaboratorDelete(tx, repository.id, user.id))) return
    await eventInsert(tx, {
      at,
      actor,
      kind: 'collaborator.removed',
      subject: { kind: 'repository', id: repository.id },
      repositoryId: repository.id,
      payload: { userId: user.id },
    })
  })
}

/** What a user may do in a repository, with a token that hides nothing; undefined for nothing. */
export async function getCollaboratorRole(
  deps: ReadDeps,
  actor: Actor,
  input: { repository: RepositoryRef; login: string },
): Promise<{ user: Account; role: RepositoryRole | undefined }> {
  const { repository } = await authorizeRepository(deps, actor, input.repository, needs.repositoryRead)
  const user = await userByLogin(deps.db, input.login)
  if (user.siteAdmin) return { user, role: 'admin' }
  const token = { kind: 'personal' as const, scopes: ['repo'], expiresAt: null }
  const as: Actor = { kind: 'user', userId: user.id, login: user.login, siteAdmin: false, token }
  return { user, role: await roleIn(deps, as, repository) }
}
