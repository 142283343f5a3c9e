import type { Actor } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import type { Delivery, Hook, WholeDelivery } from '../../model/hook.ts'
import { installationsLive } from '../../store/apps.ts'
import { deliveriesForget, deliveriesInsert, deliveryById, deliveryList } from '../../store/hook-deliveries.ts'
import { hookDue, hooksPurge } from '../../store/hooks.ts'
import type { Deps } from '../deps.ts'
import { isHeardThrough } from './hearers.ts'
import { getHook, type HookOwner, type HookPlace } from './hooks.ts'

type ReadDeps = Pick<Deps, 'db' | 'log'>

/** Deliveries of a webhook, newest first, below the id `before`; those that were not attempted yet are not shown. */
export async function listDeliveries(
  deps: ReadDeps,
  actor: Actor,
  place: HookPlace,
  hookId: number,
  filter: { before: number | undefined; succeeded: boolean | undefined; limit: number },
): Promise<{ owner: HookOwner; hook: Hook; deliveries: Delivery[]; isMore: boolean }> {
  const { owner, hook } = await getHook(deps, actor, place, hookId)
  const found = await deliveryList(deps.db, hook.id, { ...filter, limit: filter.limit + 1 })
  return { owner, hook, deliveries: found.slice(0, filter.limit), isMore: found.length > filter.limit }
}

/** @throws AppError not_found, also for what an App was told through an installation that is gone, suspended or has lost the repository: it may not read that any more */
export async function getDelivery(
  deps: ReadDeps,
  actor: Actor,
  place: HookPlace,
  { hookId, id, to = 'read' }: { hookId: number; id: number; to?: 'read' | 'write' },
): Promise<WholeDelivery> {
  const { hook } = await getHook(deps, actor, place, hookId, to)
  const delivery = await deliveryById(deps.db, hook.id, id)
  if (!delivery) throw notFound()
  await requireLive(deps.db, delivery)
  return delivery
}

/** What befell an installation itself may be read when it is gone. */
async function requireLive(db: Deps['db'], delivery: Delivery): Promise<void> {
  const { event, installationId } = delivery
  if (installationId === null || event === 'installation' || event === 'installation_repositories') return
  if (!(await isHeardThrough(db, await installationsLive(db, [installationId]), delivery))) throw notFound()
}

const notFound = () => new AppError('not_found', 'Not Found')

/** Sends a delivery again: a new one, with the same guid and payload, to where the webhook leads now. */
export async function redeliver(
  deps: ReadDeps & Pick<Deps, 'now' | 'signals'>,
  actor: Actor,
  place: HookPlace,
  ids: { hookId: number; id: number },
): Promise<void> {
  const delivery = await getDelivery(deps, actor, place, { ...ids, to: 'write' })
  const { id, hookId, guid, event, action, repositoryId, installationId, payload } = delivery
  const createdAt = deps.now()
  await deps.db.transaction().execute(async (tx) => {
    await requireLive(tx, delivery)
    await deliveriesInsert(tx, [
      // Asked for by itself: it waits for nothing that the webhook still has to send.
      {
        hookId,
        guid,
        event,
        action,
        repositoryId,
        installationId,
        eventId: null,
        orderKey: `${guid} ${id} ${createdAt}`,
        payload,
        redelivery: true,
        createdAt,
      },
    ])
    await hookDue(tx, [hookId], createdAt, 'by somebody')
  })
  deps.signals.send('hook', hookId)
}

const DAY_MS = 24 * 60 * 60_000
const BATCH = 500
const PIECES = 200
/** GitHub keeps them for some days; here a month (rest-api.md §5.1). */
const KEPT_MS = 30 * DAY_MS

/** Deletes deliveries after 30 days, and what deleted webhooks left. */
export async function expireDeliveries({ db, now }: Pick<Deps, 'db' | 'now'>, abort?: AbortSignal): Promise<string> {
  let deleted = 0
  // In pieces, so that nobody waits long for the database; what is left is for the next time.
  for (let piece = 0; piece < PIECES; piece++) {
    const some = (await hooksPurge(db, BATCH)) + (await deliveriesForget(db, now() - KEPT_MS, BATCH))
    deleted += some
    if (some === 0 || abort?.aborted) break
  }
  return `${deleted} deliveries`
}
