import { randomUUID } from 'node:crypto'
import { accountOfActor, needs, type Actor } from '../../model/access.ts'
import type { Account, Enterprise, Repository } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'
import { hookEvents, maskedSecret, overlap, type ContentType, type Hook, type HookOwnerRef } from '../../model/hook.ts'
import { noCommit } from '../../model/push.ts'
import { accountById } from '../../store/accounts.ts'
import { appById } from '../../store/apps.ts'
import { eventInsert } from '../../store/events.ts'
import { deliveriesDrop, deliveriesInsert } from '../../store/hook-deliveries.ts'
import { hookDelete, hookDue, hookInsert, hookOf, hookOwnerLock, hooksOf, hookUpdate, type HookSettings } from '../../store/hooks.ts'
import { lastPushOf } from '../../store/pushes.ts'
import { authorizeEnterprise, authorizeOrganization, authorizeRepository, requireApp, requireSiteAdmin } from '../access/authorize.ts'
import type { OrganizationRef, RepositoryRef } from '../access/authorize.ts'
import { encrypt } from '../access/keys.ts'
import type { Deps } from '../deps.ts'
import { pushPayload } from '../runs/settle-push.ts'
import { contextOf, type HookMessage } from './payloads.ts'

type SendDeps = Pick<Deps, 'now' | 'webhooks'>
type HookDeps = Pick<Deps, 'db' | 'now' | 'log' | 'keys' | 'signals' | 'webhooks'>

/** Whose webhooks a path names. */
export type HookPlace =
  | { kind: 'repository'; repository: RepositoryRef }
  | { kind: 'organization'; organization: OrganizationRef }
  | { kind: 'enterprise'; slug: string }
  | { kind: 'global' }
  /** The App that signed. */
  | { kind: 'app' }

/** Whose they are. */
export interface HookOwner extends HookOwnerRef {
  repository?: Repository
  organization?: Account
  enterprise?: Enterprise
}

/** GitHub's limit for each event (rest-api.md §5.4). */
const PER_EVENT = 20
const WORDS = {
  repository: 'this repository',
  organization: 'this organization',
  enterprise: 'this enterprise',
  app: 'this app',
  global: 'this server',
}

/** The owner, for whoever may see or change its webhooks. */
export async function authorizeHooks(
  deps: Pick<Deps, 'db' | 'log'>,
  actor: Actor,
  place: HookPlace,
  to: 'read' | 'write',
): Promise<HookOwner> {
  switch (place.kind) {
    case 'repository': {
      const need = to === 'read' ? needs.repositoryHooksRead : needs.repositoryHooksWrite
      const { repository } = await authorizeRepository(deps, actor, place.repository, need)
      return { kind: 'repository', id: repository.id, repository }
    }
    case 'organization': {
      const organization = await authorizeOrganization(
        deps,
        actor,
        place.organization,
        to === 'read' ? needs.organizationHooksRead : needs.organizationHooks,
      )
      return { kind: 'organization', id: organization.id, organization }
    }
    case 'enterprise': {
      const enterprise = await authorizeEnterprise(deps, actor, place.slug, needs.enterpriseHooks)
      return { kind: 'enterprise', id: enterprise.id, enterprise }
    }
    case 'app':
      return { kind: 'app', id: requireApp(actor).appId }
    case 'global':
      requireSiteAdmin(actor, needs.globalHooks)
      return { kind: 'global', id: 0 }
    default:
      throw new Error('webhooks belong nowhere else')
  }
}

/** A page of an owner's webhooks, oldest first, and the whole count. */
export async function listHooks(
  deps: HookDeps,
  actor: Actor,
  place: HookPlace,
  page: { offset: number; limit: number },
): Promise<{ owner: HookOwner; hooks: Hook[]; total: number }> {
  const owner = await authorizeHooks(deps, actor, place, 'read')
  const hooks = await hooksOf(deps.db, owner)
  return { owner, hooks: hooks.slice(page.offset, page.offset + page.limit), total: hooks.length }
}

/** @throws AppError not_found */
export async function getHook(
  deps: Pick<Deps, 'db' | 'log'>,
  actor: Actor,
  place: HookPlace,
  id: number,
  to: 'read' | 'write' = 'read',
): Promise<{ owner: HookOwner; hook: Hook }> {
  const owner = await authorizeHooks(deps, actor, place, to)
  const hook = await hookOf(deps.db, owner, id)
  if (!hook) throw new AppError('not_found', 'Not Found')
  return { owner, hook }
}

/** The one webhook of the App that signed. @throws AppError not_found where it has none */
export async function getAppHook(deps: Pick<Deps, 'db' | 'log'>, actor: Actor): Promise<Hook> {
  const owner = await authorizeHooks(deps, actor, { kind: 'app' }, 'read')
  const [hook] = await hooksOf(deps.db, owner)
  if (!hook) throw new AppError('not_found', 'Not Found')
  return hook
}

export interface HookConfig {
  url?: string | undefined
  contentType?: ContentType | undefined
  /** An empty one takes the secret away. */
  secret?: string | undefined
  insecureSsl?: boolean | undefined
}

/**
 * Adds a webhook and, in the same transaction, the ping that it is sent.
 *
 * @throws AppError invalid for an address that is none, unknown events, the same address with an event in common, and too many
 */
export async function createHook(
  deps: HookDeps,
  actor: Actor,
  place: HookPlace,
  input: { config: HookConfig; events?: string[] | undefined; active?: boolean | undefined },
): Promise<{ owner: HookOwner; hook: Hook }> {
  const owner = await authorizeHooks(deps, actor, place, 'write')
  const { contentType = 'form', insecureSsl = false, secret } = input.config
  const settings = {
    url: checkUrl(input.config.url),
    contentType,
    insecureSsl,
    events: checkEvents(input.events ?? ['push']),
    active: input.active ?? true,
  }
  const at = deps.now()
  const hook = await deps.db.transaction().execute(async (tx) => {
    await hookOwnerLock(tx, owner)
    requireRoom(owner, await hooksOf(tx, owner), settings)
    const made = await hookInsert(tx, owner, settings, secret ? encrypt(deps.keys.hookSecret, secret) : null, at)
    const payload = { ...placeOf(made), ...toldOf(made), hasSecret: made.hasSecret }
    await eventInsert(tx, { at, actor, kind: 'hook.created', ...about(made, owner), payload })
    await pingInsert(tx, deps, actor, owner, made)
    return made
  })
  deps.signals.send('hook', hook.id)
  deps.log.info({ hookId: hook.id, owner: owner.kind, ownerId: owner.id }, 'webhook made')
  return { owner, hook }
}

export interface HookChange {
  config?: HookConfig | undefined
  /** Whether `config` stands for the whole of it: what it does not name is then as in a new webhook. */
  replacesConfig: boolean
  events?: string[] | undefined
  addEvents?: string[] | undefined
  removeEvents?: string[] | undefined
  active?: boolean | undefined
}

/** Changes a webhook. One that is made inactive sends nothing more, also nothing that was waiting. @throws AppError as `createHook` */
export async function updateHook(
  deps: HookDeps,
  actor: Actor,
  place: HookPlace,
  id: number,
  change: HookChange,
): Promise<{ owner: HookOwner; hook: Hook }> {
  const { owner } = await getHook(deps, actor, place, id, 'write')
  const { db, keys } = deps
  const at = deps.now()
  const hook = await db.transaction().execute(async (tx) => {
    await hookOwnerLock(tx, owner)
    const hooks = await hooksOf(tx, owner)
    const before = hooks.find((each) => each.id === id)
    if (!before) throw new AppError('not_found', 'Not Found')
    const settings = changed(before, change)
    requireRoom(
      owner,
      hooks.filter((each) => each !== before),
      settings,
    )
    const sealed = sealedSecret(keys, change)
    const updated = await hookUpdate(tx, id, settings, sealed, at)
    if (!updated) throw new AppError('not_found', 'Not Found')
    if (before.active && !updated.active) await deliveriesDrop(tx, id)
    const app = owner.kind === 'app' ? await appById(tx, owner.id) : undefined
    await eventInsert(tx, {
      at,
      actor,
      kind: 'hook.updated',
      ...about(updated, owner),
      payload: {
        ...placeOf(updated),
        ...(app && { slug: app.slug, organizationId: app.ownerId }),
        from: toldOf(before),
        to: toldOf(updated),
        secretChanged: sealed !== undefined && (sealed !== null || before.hasSecret),
      },
    })
    return updated
  })
  return { owner, hook }
}

/** The secret to write: undefined for no change, null for none. */
function sealedSecret(keys: Deps['keys'], { config, replacesConfig }: HookChange): string | null | undefined {
  const secret = config?.secret
  if (secret === undefined) return config && replacesConfig ? null : undefined
  if (secret === maskedSecret) return undefined
  return secret === '' ? null : encrypt(keys.hookSecret, secret)
}

function changed(before: Hook, { config, replacesConfig, events, addEvents = [], removeEvents = [], active }: HookChange) {
  const kept = events ?? before.events
  const wanted = [...kept, ...addEvents].filter((event) => !removeEvents.includes(event))
  const isWhole = config !== undefined && replacesConfig
  return {
    url: config?.url === undefined ? before.url : checkUrl(config.url),
    contentType: config?.contentType ?? (isWhole ? 'form' : before.contentType),
    insecureSsl: config?.insecureSsl ?? (isWhole ? false : before.insecureSsl),
    events: checkEvents(wanted),
    active: active ?? before.active,
  }
}

/** Deletes a webhook with its deliveries. */
export async function deleteHook(deps: HookDeps, actor: Actor, place: HookPlace, id: number): Promise<void> {
  const { owner, hook } = await getHook(deps, actor, place, id, 'write')
  const at = deps.now()
  await deps.db.transaction().execute(async (tx) => {
    if (!(await hookDelete(tx, id, at))) throw new AppError('not_found', 'Not Found')
    await eventInsert(tx, { at, actor, kind: 'hook.deleted', ...about(hook, owner), payload: { ...placeOf(hook), ...toldOf(hook) } })
  })
}

/** Sends a `ping`. */
export async function pingHookAt(deps: HookDeps, actor: Actor, place: HookPlace, id: number): Promise<void> {
  const { owner, hook } = await getHook(deps, actor, place, id, 'write')
  await deps.db.transaction().execute((tx) => pingInsert(tx, deps, actor, owner, hook))
  deps.signals.send('hook', hook.id)
}

/** Adds a `ping` in the caller's transaction. Signal `hook` after it. */
export async function pingInsert(tx: Deps['db'], deps: SendDeps, actor: Actor, owner: HookOwner, hook: Hook): Promise<void> {
  await messageInsert(tx, deps, actor, owner, hook, { event: 'ping', action: null, hook })
}

/** Sends the latest push of the repository again, where the webhook hears of pushes. */
export async function testHook(deps: Deps, actor: Actor, ref: RepositoryRef, id: number): Promise<void> {
  const { owner, hook } = await getHook(deps, actor, { kind: 'repository', repository: ref }, id, 'write')
  const { repository } = owner
  const push = repository && (await lastPushOf(deps.db, repository.id))
  const update = push?.updates.find(({ after }) => after !== noCommit)
  const sender = push && (await accountById(deps.db, push.userId))
  const sha = update && repository && (await deps.git.resolve(repository.id, update.after))
  if (!sha || !sender || !repository || !update || !(hook.events.includes('*') || hook.events.includes('push'))) return
  const told = await pushPayload(deps, { repository, sender }, update, sha)
  const message: HookMessage = { event: 'push', action: null, push: told }
  await deps.db.transaction().execute((tx) => messageInsert(tx, deps, actor, owner, hook, message))
  deps.signals.send('hook', hook.id)
}

/** Adds a delivery of its own, beside what events cause. */
async function messageInsert(
  tx: Deps['db'],
  { now, webhooks }: SendDeps,
  actor: Actor,
  owner: HookOwner,
  hook: Hook,
  message: HookMessage,
): Promise<void> {
  const beside = await contextOf({ db: tx }, { ...owner, senderId: accountOfActor(actor)?.id ?? null })
  const context = owner.kind === 'app' ? { ...beside, enterprise: undefined } : beside
  const guid = randomUUID()
  const createdAt = now()
  await deliveriesInsert(tx, [
    {
      hookId: hook.id,
      guid,
      event: message.event,
      action: message.action,
      repositoryId: owner.repository?.id ?? null,
      installationId: null,
      eventId: null,
      orderKey: guid,
      payload: JSON.stringify(webhooks.present(message, context)),
      redelivery: false,
      createdAt,
    },
  ])
  await hookDue(tx, [hook.id], createdAt, 'by somebody')
}

function about(hook: Hook, owner: HookOwner) {
  return { subject: { kind: 'hook', id: hook.id }, ...(owner.repository && { repositoryId: owner.repository.id }) }
}

function placeOf({ owner }: Hook) {
  return { ownerKind: owner.kind, ownerId: owner.id }
}

/** What the audit log keeps of a webhook: where it sends, without what may open a door there, and never the secret. */
export function toldOf({ url, contentType, insecureSsl, events, active }: HookSettings) {
  return { url: withoutCredentials(url), contentType, insecureSsl, events, active }
}

/** Without a user and password; of the query the names alone: many receivers take their token there. */
function withoutCredentials(address: string): string {
  const url = new URL(address)
  url.username = ''
  url.password = ''
  url.hash = ''
  for (const name of new Set(url.searchParams.keys())) url.searchParams.set(name, '***')
  return url.href
}

function invalid(detail: Record<string, string>): AppError {
  return new AppError('invalid', 'Validation Failed', { details: [{ resource: 'Hook', ...detail }] })
}

function checkUrl(text: string | undefined): string {
  if (text === undefined || text.trim() === '') throw invalid({ code: 'custom', field: 'url', message: 'url cannot be blank' })
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url === undefined || !/^https?:$/.test(url.protocol) || url.hostname === '') {
    throw invalid({ code: 'custom', field: 'url', message: "url is not supported because it isn't an http or https address" })
  }
  return text.trim()
}

function checkEvents(events: string[]): string[] {
  const unknown = events.find((event) => !hookEvents.has(event))
  if (unknown !== undefined) {
    throw invalid({ code: 'custom', field: 'events', message: `Event ${JSON.stringify(unknown)} is not known` })
  }
  if (events.length === 0) throw invalid({ code: 'custom', field: 'events', message: 'events cannot be empty' })
  return [...new Set(events)]
}

function requireRoom(owner: HookOwner, others: Hook[], { url, events }: Pick<Hook, 'url' | 'events'>): void {
  if (others.some((hook) => hook.url === url && overlap(hook.events, events))) {
    throw invalid({ code: 'custom', message: `Hook already exists on ${WORDS[owner.kind]}` })
  }
  const full = events.find((event) => others.filter((hook) => hook.events.includes(event)).length >= PER_EVENT)
  if (full !== undefined)
    throw invalid({ code: 'custom', message: `The ${JSON.stringify(full)} event cannot have more than ${PER_EVENT} hooks` })
}
