import { randomUUID } from 'node:crypto'
import { accountOfActor, type Actor } from '../../model/access.ts'
import type { Repository } from '../../model/account.ts'
import { accountById } from '../../store/accounts.ts'
import { installationRepositories } from '../../store/apps.ts'
import { deliveriesInsert } from '../../store/hook-deliveries.ts'
import { hookDue, hooksOf } from '../../store/hooks.ts'
import { repositoryById } from '../../store/repositories.ts'
import type { Deps } from '../deps.ts'
import type { HookMessage } from '../hooks/payloads.ts'
import type { InstallationView } from './installations.ts'

type InstallationMessage = Extract<HookMessage, { event: 'installation' | 'installation_repositories' }>

const NAMED_AT_MOST = 1000

/** What an installation reaches, as far as its App is told when something befalls it: 1000 repositories. */
export async function toldRepositories(db: Deps['db'], { installation }: Pick<InstallationView, 'installation'>): Promise<Repository[]> {
  return (await installationRepositories(db, installation, null, { offset: 0, limit: NAMED_AT_MOST })).repositories
}

/** The change of what an installation reaches, as far as it is told: 1000 repositories each way. */
export async function changedRepositories(
  db: Deps['db'],
  before: number[],
  after: number[],
): Promise<{ added: Repository[]; removed: Repository[] }> {
  const [had, has] = [new Set(before), new Set(after)]
  const named = async (ids: number[]) => {
    const found = await Promise.all(ids.slice(0, NAMED_AT_MOST).map((id) => repositoryById(db, id)))
    return found.filter((repository) => repository !== undefined)
  }
  return { added: await named(after.filter((id) => !had.has(id))), removed: await named(before.filter((id) => !has.has(id))) }
}

/**
 * Tells an App what befell its installation, in the transaction in which it did. Each App hears of this, whatever it was given. Answers the
 * webhooks that have it to send: signal `hook` for each after the transaction.
 */
export async function tellInstallation(
  tx: Deps['db'],
  { now, webhooks }: Pick<Deps, 'now' | 'webhooks'>,
  actor: Actor,
  message: InstallationMessage,
): Promise<number[]> {
  const { event, action, view } = message
  const hooks = (await hooksOf(tx, { kind: 'app', id: view.app.id })).filter(({ active }) => active)
  // An App that signed acts as its bot.
  const sender = await accountById(tx, accountOfActor(actor)?.id ?? view.app.botId)
  const beside = { repository: undefined, organization: undefined, enterprise: undefined, sender }
  const payload = JSON.stringify(webhooks.present(message, beside))
  const createdAt = now()
  const installationId = view.installation.id
  const delivery = {
    event,
    action,
    repositoryId: null,
    installationId,
    eventId: null,
    payload,
    redelivery: false,
    createdAt,
  }
  const orderKey = `installation ${installationId}`
  const deliveries = hooks.map(({ id }) => ({ ...delivery, hookId: id, guid: randomUUID(), orderKey }))
  await deliveriesInsert(tx, deliveries)
  const ids = hooks.map(({ id }) => id)
  await hookDue(tx, ids, createdAt)
  return ids
}
