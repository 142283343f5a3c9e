import { createHash, createPublicKey, generateKeyPair } from 'node:crypto'
import { promisify } from 'node:util'
import { needs, type Actor } from '../../model/access.ts'
import type { Account } from '../../model/account.ts'
import { botLogin, slugOf, type App, type AppKey } from '../../model/app.ts'
import { AppError } from '../../model/errors.ts'
import { hookEvents } from '../../model/hook.ts'
import { checkPermissions } from '../../model/permissions.ts'
import { hashSecret, newClientId, randomHex } from '../../model/secret-text.ts'
import { accountById, accountByLogin, accountInsert } from '../../store/accounts.ts'
import {
  appById,
  appBySlug,
  appDelete,
  appInsert,
  appKeyDelete,
  appKeyInsert,
  appKeys,
  appList,
  appTouch,
  appUpdate,
  installationList,
} from '../../store/apps.ts'
import { deliveriesDrop } from '../../store/hook-deliveries.ts'
import { hookInsert, hooksDeleteOf, hooksOf, hookUpdate } from '../../store/hooks.ts'
import { eventInsert } from '../../store/events.ts'
import { requireApp, requireSiteAdmin } from '../access/authorize.ts'
import { encrypt } from '../access/keys.ts'
import type { Deps } from '../deps.ts'
import { pingInsert, toldOf } from '../hooks/hooks.ts'
import { endInstallation } from './installations.ts'

type ReadDeps = Pick<Deps, 'db'>
type WriteDeps = Pick<Deps, 'db' | 'now' | 'keys' | 'signals' | 'webhooks'>

/** An App with the account that it belongs to, and how often it is installed. */
export interface AppView {
  app: App
  owner: Account
  installations: number
}

/** An App just made: its secrets are shown this once. */
export interface NewApp extends AppView {
  clientSecret: string
  /** Requests to its webhook are signed with it; null where it has none. */
  webhookSecret: string | null
  /** PEM, PKCS#1. Only the public half is kept. */
  privateKey: string
}

export interface AppRequest {
  name: string
  description?: string | null | undefined
  externalUrl?: string | undefined
  hookUrl?: string | null | undefined
  hookActive?: boolean | undefined
  permissions: Record<string, unknown>
  events: string[]
}

const KEYS_AT_MOST = 25
const makeKeys = promisify(generateKeyPair)

/** Makes an App with its first key, for site administrators. @throws AppError not_found for no such owner, invalid */
export async function createApp(deps: WriteDeps, actor: Actor, input: AppRequest & { owner: string }): Promise<NewApp> {
  requireSiteAdmin(actor, needs.siteAdmin)
  const owner = await ownerByLogin(deps.db, input.owner)
  return makeApp(deps, actor, owner, checkApp(input))
}

/** Who an App can belong to. @throws AppError not_found */
export async function ownerByLogin(db: Deps['db'], login: string): Promise<Account> {
  const owner = await accountByLogin(db, login)
  if (!owner || owner.kind === 'bot') throw new AppError('not_found', 'Not Found')
  return owner
}

export type CheckedApp = Pick<App, 'slug' | 'name' | 'description' | 'externalUrl' | 'permissions' | 'events'> & {
  hook: { url: string; active: boolean } | null
}

/** Checks what somebody wants an App to be. @throws AppError invalid */
export function checkApp(input: AppRequest): CheckedApp {
  const name = input.name.trim()
  const slug = slugOf(name)
  if (slug === '' || name.length > 34 || /\p{Cc}/u.test(name)) {
    throw new AppError('invalid', 'The name of an App has 1 to 34 characters, one of them a letter or digit')
  }
  const events = [...new Set(input.events)].sort()
  const strange = events.find((event) => event === '*' || !hookEvents.has(event))
  if (strange !== undefined) throw new AppError('invalid', `There is no event '${strange.slice(0, 60)}'`)
  const externalUrl = checkUrl(input.externalUrl ?? 'https://localhost', 'url')
  const { description = null, hookUrl, hookActive = true } = input
  const hook = hookUrl == null || hookUrl === '' ? null : { url: checkUrl(hookUrl, 'hook_attributes.url'), active: hookActive }
  return { slug, name, description, externalUrl, hook, permissions: checkPermissions(input.permissions), events }
}

function checkUrl(text: string, field: string): string {
  const isGood = text.length <= 2000 && /^https?:\/\//i.test(text) && URL.canParse(text) && !text.includes('\0')
  if (!isGood) throw new AppError('invalid', `${field} must be an address that begins with http:// or https://`)
  return new URL(text).href
}

/** Makes an App with its bot and its first key; its webhook is sent a ping. @throws AppError invalid for a name that is taken */
export async function makeApp(deps: WriteDeps, actor: Actor, owner: Account, wanted: CheckedApp): Promise<NewApp> {
  const { db, now, keys, signals } = deps
  const { hook, ...rest } = wanted
  const pair = await newKeyPair()
  const webhookSecret = hook && randomHex(20)
  const clientSecret = randomHex(20)
  const at = now()
  const { app, hookId } = await db.transaction().execute(async (tx) => {
    const login = botLogin(wanted.slug)
    // The bot of an App of this name that was deleted goes on as this one's: it is in the history of runs.
    const bot = (await accountInsert(tx, { kind: 'bot', login, name: wanted.name, createdAt: at })) ?? (await accountByLogin(tx, login))
    if (!bot) throw nameTaken()
    const made = await appInsert(tx, {
      ...rest,
      ownerId: owner.id,
      botId: bot.id,
      clientId: newClientId(),
      clientSecretHash: hashSecret(clientSecret),
      createdAt: at,
    })
    if (!made) throw nameTaken()
    const secret = webhookSecret === null ? null : encrypt(keys.hookSecret, webhookSecret)
    const hookId = hook ? await addHook(tx, deps, actor, made, hook, secret) : undefined
    await appKeyInsert(tx, { appId: made.id, ...pair.kept, createdAt: at })
    const told = hook && { hook: toldOf(hookSettings(made, hook)) }
    const payload = { ...placeOf(made), permissions: made.permissions, fingerprint: pair.kept.fingerprint, ...told }
    await eventInsert(tx, { at, actor, kind: 'app.created', subject: { kind: 'app', id: made.id }, payload })
    return { app: made, hookId }
  })
  if (hookId !== undefined) signals.send('hook', hookId)
  return { app, owner, installations: 0, clientSecret, webhookSecret, privateKey: pair.privateKey }
}

/** What an App hears of, where it hears anything: what befalls its installations is told to each. */
function hookSettings({ events }: App, { url, active }: { url: string; active: boolean }) {
  return { url, active, contentType: 'json' as const, insecureSsl: false, events: [...new Set([...events, 'installation'])] }
}

function nameTaken(): AppError {
  const detail = { resource: 'Integration', code: 'already_exists', field: 'name', message: 'Name is already taken' }
  return new AppError('invalid', 'Validation Failed', { details: [detail] })
}

async function newKeyPair(): Promise<{ privateKey: string; kept: { publicKey: string; fingerprint: string } }> {
  const { privateKey, publicKey } = await makeKeys('rsa', {
    modulusLength: 2048,
    publicKeyEncoding: { type: 'spki', format: 'pem' },
    privateKeyEncoding: { type: 'pkcs1', format: 'pem' },
  })
  const der = createPublicKey(publicKey).export({ type: 'spki', format: 'der' })
  return { privateKey, kept: { publicKey, fingerprint: `SHA256:${createHash('sha256').update(der).digest('base64')}` } }
}

/** Adds the webhook of an App and the ping that it is sent, and answers its id: signal `hook` after the transaction. */
async function addHook(
  tx: Deps['db'],
  deps: WriteDeps,
  actor: Actor,
  app: App,
  hook: { url: string; active: boolean },
  secret: string | null,
): Promise<number> {
  const owner = { kind: 'app', id: app.id } as const
  const made = await hookInsert(tx, owner, hookSettings(app, hook), secret, deps.now())
  // One that is made inactive sends nothing.
  if (made.active) await pingInsert(tx, deps, actor, owner, made)
  return made.id
}

/**
 * Gives the webhook of an App what is asked for, and what it is not asked about stays. One that is there keeps its secret; one that becomes
 * inactive sends nothing more, also nothing that was waiting. Answers the id of one that was added.
 */
async function changeHook(
  tx: Deps['db'],
  deps: WriteDeps,
  actor: Actor,
  app: App,
  wanted: { hook: CheckedApp['hook'] | undefined; active: boolean | undefined },
): Promise<number | undefined> {
  const owner = { kind: 'app', id: app.id } as const
  const at = deps.now()
  const [before] = await hooksOf(tx, owner)
  if (wanted.hook === null) {
    await hooksDeleteOf(tx, owner, at)
  } else if (before) {
    const settings = hookSettings(app, { url: wanted.hook?.url ?? before.url, active: wanted.active ?? before.active })
    const { contentType, insecureSsl } = before
    await hookUpdate(tx, before.id, { ...settings, contentType, insecureSsl }, undefined, at)
    if (before.active && !settings.active) await deliveriesDrop(tx, before.id)
  } else if (wanted.hook) {
    return addHook(tx, deps, actor, app, wanted.hook, null)
  }
  return undefined
}

/** The webhook of an App as the audit log tells it; null where it has none. */
async function toldHook(tx: Deps['db'], { id }: App) {
  const [hook] = await hooksOf(tx, { kind: 'app', id })
  return hook ? toldOf(hook) : null
}

export type AppChange = Partial<Omit<AppRequest, 'name'>>

/**
 * Changes what an App is and asks for, for site administrators. Its installations keep what they were given: installing it again gives what
 * it asks for since.
 */
export async function updateApp(deps: WriteDeps, actor: Actor, slug: string, change: AppChange): Promise<AppView> {
  const { db, now, signals } = deps
  requireSiteAdmin(actor, needs.siteAdmin)
  const app = found(await appBySlug(db, slug))
  const checked = checkApp({
    name: app.name,
    description: change.description === undefined ? app.description : change.description,
    externalUrl: change.externalUrl ?? app.externalUrl,
    hookUrl: change.hookUrl,
    hookActive: change.hookActive,
    permissions: change.permissions ?? app.permissions,
    events: change.events ?? app.events,
  })
  const at = now()
  const { changed, hookId } = await db.transaction().execute(async (tx) => {
    const updated = found(await appUpdate(tx, app.id, checked, at))
    const hook = change.hookUrl === undefined ? undefined : checked.hook
    const from = { permissions: app.permissions, hook: await toldHook(tx, app) }
    const hookId = await changeHook(tx, deps, actor, updated, { hook, active: change.hookActive })
    const payload = { ...placeOf(app), from, to: { permissions: updated.permissions, hook: await toldHook(tx, updated) } }
    await eventInsert(tx, { at, actor, kind: 'app.updated', subject: { kind: 'app', id: app.id }, payload })
    return { changed: updated, hookId }
  })
  if (hookId !== undefined) signals.send('hook', hookId)
  return viewOf(db, changed)
}

/** Every App, oldest first, for site administrators. */
export async function listApps({ db }: ReadDeps, actor: Actor): Promise<AppView[]> {
  requireSiteAdmin(actor, needs.siteAdmin)
  return Promise.all((await appList(db)).map((app) => viewOf(db, app)))
}

/** The App that signed. */
export async function getOwnApp({ db }: ReadDeps, actor: Actor): Promise<AppView> {
  return viewOf(db, found(await appById(db, requireApp(actor).appId)))
}

/** An App by its slug: what it is, is public. */
export async function getApp({ db }: ReadDeps, slug: string): Promise<AppView> {
  return viewOf(db, found(await appBySlug(db, slug)))
}

async function viewOf(db: Deps['db'], app: App): Promise<AppView> {
  const owner = found(await accountById(db, app.ownerId))
  const { total } = await installationList(db, { appId: app.id }, { offset: 0, limit: 1 })
  return { app, owner, installations: total }
}

/** Makes one more key of an App, for site administrators; the others stay good. */
export async function createAppKey({ db, now }: WriteDeps, actor: Actor, slug: string): Promise<{ key: AppKey; privateKey: string }> {
  requireSiteAdmin(actor, needs.siteAdmin)
  const app = found(await appBySlug(db, slug))
  const pair = await newKeyPair()
  const at = now()
  return db.transaction().execute(async (tx) => {
    if (!(await appTouch(tx, app.id, at))) throw notFound()
    if ((await appKeys(tx, app.id)).length >= KEYS_AT_MOST) throw new AppError('invalid', `An App has at most ${KEYS_AT_MOST} keys`)
    const id = await appKeyInsert(tx, { appId: app.id, ...pair.kept, createdAt: at })
    const payload = { ...placeOf(app), keyId: id, fingerprint: pair.kept.fingerprint }
    await eventInsert(tx, { at, actor, kind: 'app.key_created', subject: { kind: 'app', id: app.id }, payload })
    return { key: { id, appId: app.id, ...pair.kept, createdAt: at }, privateKey: pair.privateKey }
  })
}

/** Keys of an App without their private halves, which nobody here has, for site administrators. */
export async function listAppKeys({ db }: ReadDeps, actor: Actor, slug: string): Promise<AppKey[]> {
  requireSiteAdmin(actor, needs.siteAdmin)
  return appKeys(db, found(await appBySlug(db, slug)).id)
}

/** Ends a key at once, for site administrators. @throws AppError invalid for the last one: without any, nothing could sign */
export async function deleteAppKey({ db, now }: WriteDeps, actor: Actor, input: { slug: string; keyId: number }): Promise<void> {
  requireSiteAdmin(actor, needs.siteAdmin)
  const app = found(await appBySlug(db, input.slug))
  const at = now()
  await db.transaction().execute(async (tx) => {
    await appTouch(tx, app.id, at)
    if (!(await appKeyDelete(tx, app.id, input.keyId))) throw notFound()
    if ((await appKeys(tx, app.id)).length === 0) throw new AppError('invalid', 'The last key of an App is not deleted: make another first')
    const payload = { ...placeOf(app), keyId: input.keyId }
    await eventInsert(tx, { at, actor, kind: 'app.key_deleted', subject: { kind: 'app', id: app.id }, payload })
  })
}

/** Deletes an App with its keys, installations and tokens, for site administrators. What its bot made stays, and so does the bot. */
export async function deleteApp({ db, now }: WriteDeps, actor: Actor, slug: string): Promise<void> {
  requireSiteAdmin(actor, needs.siteAdmin)
  const app = found(await appBySlug(db, slug))
  const at = now()
  await db.transaction().execute(async (tx) => {
    await appTouch(tx, app.id, at)
    const { installations } = await installationList(tx, { appId: app.id }, { offset: 0, limit: 1_000_000 })
    for (const installation of installations) await endInstallation(tx, actor, installation, at)
    await hooksDeleteOf(tx, { kind: 'app', id: app.id }, at)
    if (!(await appDelete(tx, app.id))) throw notFound()
    await eventInsert(tx, { at, actor, kind: 'app.deleted', subject: { kind: 'app', id: app.id }, payload: placeOf(app) })
  })
}

/** Whose App it is: what befalls it is in the audit log of that organization. */
function placeOf({ slug, ownerId }: App) {
  return { slug, ownerId }
}

const notFound = () => new AppError('not_found', 'Not Found')

function found<T>(value: T | undefined): T {
  if (value === undefined) throw notFound()
  return value
}
