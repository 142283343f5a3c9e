import { needs, type Actor } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import { hashSecret, randomHex } from '../../model/secret-text.ts'
import { accountById } from '../../store/accounts.ts'
import { appManifestInsert, appManifestTake } from '../../store/apps.ts'
import { eventInsert } from '../../store/events.ts'
import { requireSiteAdmin } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import { checkApp, makeApp, ownerByLogin, type CheckedApp, type AppRequest, type NewApp } from './apps.ts'

type WriteDeps = Pick<Deps, 'db' | 'now' | 'times' | 'keys' | 'signals' | 'webhooks'>

/**
 * Keeps the manifest of an App until the program that it is for converts it, for site administrators. The code is good for an hour and for
 * one conversion.
 *
 * @throws AppError not_found for no such owner, invalid
 */
export async function createManifest(
  { db, now, times }: WriteDeps,
  actor: Actor,
  input: { owner: string; app: AppRequest },
): Promise<{ code: string; expiresAt: number }> {
  requireSiteAdmin(actor, needs.siteAdmin)
  const owner = await ownerByLogin(db, input.owner)
  const app = checkApp(input.app)
  const code = randomHex(20)
  const at = now()
  const expiresAt = at + times.appManifest
  const row = { codeHash: hashSecret(code), ownerId: owner.id, manifest: JSON.stringify(app), createdAt: at, expiresAt }
  // Whoever converts it has no name: this says who let them.
  await db.transaction().execute(async (tx) => {
    await appManifestInsert(tx, row)
    const subject = { kind: owner.kind, id: owner.id }
    await eventInsert(tx, { at, actor, kind: 'app.manifest_created', subject, payload: { slug: app.slug, permissions: app.permissions } })
  })
  return { code, expiresAt }
}

/**
 * Makes the App of a manifest, for whoever has the code. A code whose App could not be made is spent too, as at GitHub.
 *
 * @throws AppError not_found for a code that is unknown, spent or too old; invalid for a name that was taken since
 */
export async function convertManifest(deps: WriteDeps, actor: Actor, code: string): Promise<NewApp> {
  const { db, now } = deps
  const taken = await appManifestTake(db, hashSecret(code), now())
  const owner = taken && (await accountById(db, taken.ownerId))
  if (!owner) throw new AppError('not_found', 'Not Found')
  return makeApp(deps, actor, owner, JSON.parse(taken.manifest) as CheckedApp)
}
