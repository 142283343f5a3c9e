import type { Account, Repository } from '../../model/account.ts'
import { accountType, fullName } from '../../model/account.ts'
import type { Deps } from '../deps.ts'

const iso = (at: number) => `${new Date(at).toISOString().slice(0, 19)}Z`

/** A user or organization as event payloads have it; the id is a number (job-services.md 7.1). */
export function payloadAccount({ addresses }: Pick<Deps, 'addresses'>, account: Account): Record<string, unknown> {
  const api = `${addresses.url}/api/v3/users/${account.login}`
  return {
    login: account.login,
    id: account.id,
    type: accountType(account),
    site_admin: account.siteAdmin,
    url: api,
    html_url: `${addresses.url}/${account.login}`,
  }
}

/** A repository as event payloads have it. */
export function payloadRepository({ addresses }: Pick<Deps, 'addresses'>, repository: Repository): Record<string, unknown> {
  const name = fullName(repository)
  return {
    id: repository.id,
    name: repository.name,
    full_name: name,
    private: repository.visibility !== 'public',
    visibility: repository.visibility,
    owner: payloadAccount({ addresses }, repository.owner),
    description: repository.description,
    fork: false,
    default_branch: repository.defaultBranch,
    master_branch: repository.defaultBranch,
    url: `${addresses.url}/api/v3/repos/${name}`,
    html_url: `${addresses.url}/${name}`,
    clone_url: `${addresses.url}/${name}.git`,
    git_url: `${addresses.url.replace(/^https?/, 'git')}/${name}.git`,
    created_at: iso(repository.createdAt),
    updated_at: iso(repository.updatedAt),
    pushed_at: repository.pushedAt === null ? null : iso(repository.pushedAt),
  }
}
