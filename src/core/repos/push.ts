import { accountOfActor, grantOf, hasScope, needs, type Actor } from '../../model/access.ts'
import type { Repository } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'
import { grants } from '../../model/permissions.ts'
import { branchOf, isRefName, noCommit, type Push, type RefUpdate } from '../../model/push.ts'
import { pushById, pushConfirm, pushInsert } from '../../store/pushes.ts'
import { repositoryUpdate } from '../../store/repositories.ts'
import { authorizeRepository } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import { settlePush } from '../runs/settle-push.ts'
import { WORKFLOWS_FOLDER } from '../runs/trigger.ts'

/** Refs outside these are ours (`refs/pull`, `refs/fleetfoot`) or nobody's. */
const PUSHABLE = ['refs/heads/', 'refs/tags/']

/**
 * Records a push before git moves its refs, and answers its id. Rights are checked again: they may have gone while the pack was on its
 * way. Writers may also delete refs and move them backwards.
 *
 * @throws AppError forbidden, not_found, invalid, with a line for the pusher
 */
export async function receivePush(
  deps: Pick<Deps, 'db' | 'now' | 'log' | 'git'>,
  actor: Actor,
  { id: repositoryId }: Repository,
  updates: RefUpdate[],
  quarantine: string,
): Promise<number> {
  await authorizeRepository(deps, actor, { id: repositoryId }, needs.contentsWrite)
  const account = accountOfActor(actor)
  if (!account) throw new AppError('forbidden', 'Only users and Apps push.')

  for (const { ref } of updates) {
    const prefix = PUSHABLE.find((start) => ref.startsWith(start))
    if (prefix === undefined)
      throw new AppError('invalid', `${ref} cannot be pushed: only branches (refs/heads/) and tags (refs/tags/) can.`)
    if (!isRefName(ref.slice(prefix.length)))
      throw new AppError('invalid', `${ref} cannot be pushed: it is not a name for a branch or tag.`)
  }
  const lack = lackForWorkflows(actor)
  if (lack) await requireNoNewWorkflows(deps, repositoryId, { updates, quarantine, lack })
  return pushInsert(deps.db, { repositoryId, userId: account.id, updates, createdAt: deps.now() })
}

interface Lack {
  /** The kind of token, as the pusher is told. */
  token: string
  of: string
}

/** What a token lacks for workflow files: a classic one a scope, others a permission; undefined for nothing. */
function lackForWorkflows(actor: Actor): Lack | undefined {
  const grant = grantOf(actor)
  const token = actor.kind === 'user' ? 'Personal Access Token' : 'GitHub App'
  if (grant) return grants(grant.permissions, 'workflows:write') ? undefined : { token, of: '`workflows` permission' }
  return actor.kind === 'user' && hasScope(actor.token.scopes, ['workflow']) ? undefined : { token, of: '`workflow` scope' }
}

/**
 * Workflows run with more than their pusher may have in mind for a token: they take the scope `workflow` beside `repo` (rest-api.md 2.17,
 * 3.3). A file that a branch has already, at the same path with the same content, may be pushed without it, and any may be deleted.
 */
async function requireNoNewWorkflows(
  { git }: Pick<Deps, 'git'>,
  repositoryId: number,
  { updates, quarantine, lack }: { updates: RefUpdate[]; quarantine: string; lack: Lack },
): Promise<void> {
  const refusals: string[] = []
  for (const { ref, after } of updates) {
    if (after === noCommit) continue
    const [path] = await git.newFiles(repositoryId, after, WORKFLOWS_FOLDER, quarantine)
    if (path === undefined) continue
    refusals.push(`${ref}: refusing to allow a ${lack.token} to create or update workflow \`${path}\` without ${lack.of}`)
  }
  if (refusals.length > 0) throw new AppError('forbidden', refusals.join('\n'))
}

/**
 * Settles a push after git moved refs: `moved` are those it did move. Answers what the pusher is told. Pushes of one repository are settled
 * one after the other in the order in which they end, so that their runs are made in that order.
 */
export async function completePush(deps: Deps, pushId: number, moved: RefUpdate[]): Promise<string[]> {
  await pushConfirm(deps.db, pushId, moved)
  const push = await pushById(deps.db, pushId)
  if (!push || push.state === 'settled') return []

  const at = deps.now()
  const defaultBranch = await bornDefaultBranch(deps, push)
  await repositoryUpdate(deps.db, push.repositoryId, {
    pushedAt: at,
    updatedAt: at,
    ...(defaultBranch === undefined ? {} : { defaultBranch }),
  })
  return deps.git.inTurn(push.repositoryId, () => settlePush(deps, pushId))
}

/**
 * The first branch pushed to a repository whose default branch has no commit becomes the default: else a clone would check out nothing. Of
 * several at once it is `main`, else `master`, else none.
 */
async function bornDefaultBranch({ git }: Pick<Deps, 'git'>, { repositoryId, updates }: Push): Promise<string | undefined> {
  const pushed = updates.flatMap(({ ref, after }) => (after === noCommit ? [] : (branchOf(ref) ?? [])))
  const chosen = pushed.length === 1 ? pushed[0] : ['main', 'master'].find((name) => pushed.includes(name))
  if (chosen === undefined) return undefined
  const head = await git.head(repositoryId)
  if (!head.unborn) return undefined
  await git.setHead(repositoryId, chosen)
  return chosen
}
