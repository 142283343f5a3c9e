import { noCommit, type Push, type RefUpdate } from '../../model/push.ts'
import { pushById, pushesAfter, pushesReceivedBefore, pushSettle } from '../../store/pushes.ts'
import { repositoryById } from '../../store/repositories.ts'
import type { Deps } from '../deps.ts'
import { completePush } from './push.ts'

/** More wait for the next time. */
const AT_ONCE = 100
/** One that failed is tried again after this, twice as long each time, up to an hour. */
const AGAIN_MS = 10_000
const HOUR_MS = 60 * 60_000
/** Pushes that failed on this node, by database, and when to try them again. */
const failures = new WeakMap<object, Map<number, { tries: number; at: number }>>()

/** Later pushes that are looked at. */
const LATER = 1000

/**
 * Ends pushes that were received so long ago that the server must have died, or lost its database, before it settled them. Which of their
 * updates git made is read from the refs. Answers how many were ended.
 */
export async function reconcilePushes(deps: Deps, olderThanMs: number): Promise<number> {
  const at = deps.now()
  const failing = failures.get(deps.db) ?? new Map<number, { tries: number; at: number }>()
  failures.set(deps.db, failing)
  const aside = [...failing].filter(([, again]) => again.at > at).map(([id]) => id)
  const pushes = await pushesReceivedBefore(deps.db, at - olderThanMs, AT_ONCE, aside)
  for (const push of pushes) {
    try {
      await reconcilePush(deps, push)
      failing.delete(push.id)
    } catch (err) {
      // One that cannot be ended must not keep the others waiting.
      const tries = (failing.get(push.id)?.tries ?? 0) + 1
      failing.set(push.id, { tries, at: at + Math.min(AGAIN_MS * 2 ** tries, HOUR_MS) })
      deps.log.error({ err, pushId: push.id, tries }, 'a push could not be settled')
    }
  }
  return pushes.length
}

/** Ends one push whose hook was not heard, if it has not been by now. */
export async function reconcilePushById(deps: Deps, pushId: number): Promise<void> {
  const push = await pushById(deps.db, pushId)
  if (push?.state === 'received') await reconcilePush(deps, push)
}

async function reconcilePush(deps: Deps, push: Push): Promise<void> {
  const repository = await repositoryById(deps.db, push.repositoryId)
  const moved = repository ? await movedUpdates(deps, push) : []
  if (moved.length === 0) {
    await pushSettle(deps.db, push.id, 'refused', deps.now())
    deps.log.info({ pushId: push.id }, 'a push that moved no ref was ended')
    return
  }
  await completePush(deps, push.id, moved)
  deps.log.info({ pushId: push.id }, 'a push was settled late')
}

async function movedUpdates({ db, git }: Pick<Deps, 'db' | 'git'>, push: Push): Promise<RefUpdate[]> {
  const refs = new Map((await git.refs(push.repositoryId)).map(({ name, sha }) => [name, sha]))
  const later = (await pushesAfter(db, push, LATER)).flatMap(({ updates }) => updates)

  const moved: RefUpdate[] = []
  for (const update of push.updates) {
    const present = refs.get(update.ref) ?? noCommit
    const laterOnes = later.filter(({ ref }) => ref === update.ref)
    if (present === update.after) moved.push(update)
    // Whoever pushed next had seen the ref there.
    else if (laterOnes.some(({ before }) => before === update.after)) moved.push(update)
    else if (laterOnes.length > 0 && (await contains(git, push.repositoryId, present, update.after))) moved.push(update)
  }
  return moved
}

async function contains(git: Deps['git'], id: number, present: string, commit: string): Promise<boolean> {
  return present !== noCommit && commit !== noCommit && (await git.isAncestor(id, commit, present))
}
