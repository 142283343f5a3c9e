import { needs, type Actor } from '../../model/access.ts'
import { parsePhrase, type AuditEntry, type AuditFilter } from '../../model/audit.ts'
import { auditPage } from '../../store/audit.ts'
import { accountById } from '../../store/accounts.ts'
import { repositoryById } from '../../store/repositories.ts'
import { fullName } from '../../model/account.ts'
import { authorizeEnterprise, authorizeOrganization, type OrganizationRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'

type AuditDeps = Pick<Deps, 'db' | 'log'>

export type AuditPlace = { kind: 'enterprise'; slug: string } | { kind: 'organization'; organization: OrganizationRef }

export interface AuditQuery {
  phrase: string
  order: 'asc' | 'desc'
  /** The id after which the page begins. */
  after?: number | undefined
  limit: number
}

/** An entry with the names of then; those that an entry does not have are as they are now, null for what is gone. */
export interface AuditView {
  entry: AuditEntry
  organization: string | null
  repository: string | null
}

/** What people did in an organization, or anywhere, for its owners: by phrase, one page. `more` when there are later entries. */
export async function listAudit(
  deps: AuditDeps,
  actor: Actor,
  place: AuditPlace,
  query: AuditQuery,
): Promise<{ entries: AuditView[]; more: boolean }> {
  const organizationId = await organizationOf(deps, actor, place)
  const { phrase, order, after, limit } = query
  const found = await auditPage(deps.db, { organizationId, filter: parsePhrase(phrase), order, after, limit: limit + 1 })
  const entries: AuditView[] = []
  const names = new Map<string, string | null>()
  for (const entry of found.slice(0, limit)) entries.push(await viewOf(deps, entry, names))
  return { entries, more: found.length > limit }
}

const BATCH = 500

/** Every entry of a place, oldest first, read as it is taken. The rights are checked before the first one. */
export async function exportAudit(deps: AuditDeps, actor: Actor, place: AuditPlace, phrase: string): Promise<AsyncGenerator<AuditView>> {
  const organizationId = await organizationOf(deps, actor, place)
  return all(deps, organizationId, parsePhrase(phrase))
}

async function* all(deps: AuditDeps, organizationId: number | undefined, filter: AuditFilter): AsyncGenerator<AuditView> {
  let after = 0
  for (;;) {
    // Names anew for each batch: an export may take hours.
    const names = new Map<string, string | null>()
    const entries = await auditPage(deps.db, { organizationId, filter, order: 'asc', after, limit: BATCH })
    for (const entry of entries) yield viewOf(deps, entry, names)
    if (entries.length < BATCH) return
    after = entries.at(-1)?.id ?? after
  }
}

async function organizationOf(deps: AuditDeps, actor: Actor, place: AuditPlace): Promise<number | undefined> {
  if (place.kind === 'enterprise') {
    await authorizeEnterprise(deps, actor, place.slug, needs.enterpriseAudit)
    return undefined
  }
  return (await authorizeOrganization(deps, actor, place.organization, needs.organizationAudit)).id
}

/** `names` keeps what was looked up: a log is about a few places. */
async function viewOf({ db }: AuditDeps, entry: AuditEntry, names: Map<string, string | null>): Promise<AuditView> {
  const named = async (key: string, look: () => Promise<string | undefined>) => {
    const known = names.get(key)
    if (known !== undefined) return known
    const name = (await look()) ?? null
    names.set(key, name)
    return name
  }
  const { repositoryId, organizationId } = entry
  return {
    entry,
    organization:
      entry.organizationLogin !== null || organizationId === null
        ? entry.organizationLogin
        : await named(`organization ${organizationId}`, async () => (await accountById(db, organizationId))?.login),
    repository:
      entry.repositoryName !== null || repositoryId === null
        ? entry.repositoryName
        : await named(`repository ${repositoryId}`, async () => {
            const repository = await repositoryById(db, repositoryId)
            return repository && fullName(repository)
          }),
  }
}
