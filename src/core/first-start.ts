import { createHash } from 'node:crypto'
import { knownScopes } from '../model/access.ts'
import { hashSecret } from '../model/secret-text.ts'
import { accountByLogin, accountInsert, enterpriseEnsure } from '../store/accounts.ts'
import { runnerGroupEnsureDefault } from '../store/runner-groups.ts'
import { settingEnsure } from '../store/task-leases.ts'
import { tokenSetAdmin } from '../store/tokens.ts'
import type { Deps } from './deps.ts'

/** The administrator that the administrator's token belongs to. */
const ADMIN_LOGIN = 'admin'

/**
 * Makes what every installation has: the enterprise, the user `admin` with the administrator's token, the Default group. Safe to do on
 * every start and on several nodes at once.
 *
 * @throws Error with one line for the operator when the secret key is not the one that the database was made with
 */
export async function prepareInstallation(
  { db, now, keys }: Pick<Deps, 'db' | 'now' | 'keys'>,
  { enterprise, adminToken }: { enterprise: string; adminToken: string },
): Promise<void> {
  const check = createHash('sha256').update(keys.check).digest('hex')
  if ((await settingEnsure(db, 'key-check', check)) !== check) {
    throw new Error('FLEETFOOT_SECRET_KEY: is not the one that this database was made with: give this node the same key as the others')
  }
  await enterpriseEnsure(db, enterprise, now())
  await runnerGroupEnsureDefault(db, { kind: 'enterprise', id: 1 }, now())
  const at = now()
  const admin =
    (await accountInsert(db, { kind: 'user', login: ADMIN_LOGIN, siteAdminAt: at, createdAt: at })) ??
    (await accountByLogin(db, ADMIN_LOGIN))
  if (!admin) throw new Error('the administrator could not be made')
  await db.transaction().execute((tx) => tokenSetAdmin(tx, admin.id, hashSecret(adminToken), [...knownScopes].sort(), at))
}
