import { AppError } from './errors.ts'

export interface Account {
  id: number
  /** A bot is what an App acts as. */
  kind: 'user' | 'organization' | 'bot'
  login: string
  name: string | null
  email: string | null
  siteAdmin: boolean
  suspended: boolean
  createdAt: number
  updatedAt: number
}

export interface Enterprise {
  id: number
  slug: string
  name: string
  createdAt: number
  updatedAt: number
}

export interface Repository {
  id: number
  owner: Account
  name: string
  description: string | null
  visibility: 'public' | 'internal' | 'private'
  defaultBranch: string
  createdAt: number
  updatedAt: number
  pushedAt: number | null
}

/** GitHub's word for the kind of an account. */
export function accountType({ kind }: Pick<Account, 'kind'>): 'User' | 'Organization' | 'Bot' {
  return kind === 'organization' ? 'Organization' : kind === 'bot' ? 'Bot' : 'User'
}

/** `owner/name` with the canonical spelling. */
export function fullName(repository: Repository): string {
  return `${repository.owner.login}/${repository.name}`
}

/** First segments of paths that we serve: an owner of that name would be unreachable, or shadow us (architecture 1.9). */
const RESERVED_LOGINS = new Set(
  `api enterprises orgs organizations repositories users user twirp assets login logout settings healthz readyz metrics meta versions zen
  rate_limit avatars app apps installation authorizations`.split(/\s+/),
)

/** Checks a login. @throws AppError invalid */
export function checkLogin(login: string): string {
  if (!/^[A-Za-z0-9](?:-?[A-Za-z0-9])*$/.test(login) || login.length > 39) {
    throw new AppError('invalid', 'Login may only contain alphanumeric characters or single hyphens, and cannot begin or end with a hyphen')
  }
  if (RESERVED_LOGINS.has(login.toLowerCase())) throw new AppError('invalid', `Login '${login}' is reserved`)
  return login
}

/** Checks the name of a repository. A `.git` at its end would be lost in clone addresses. @throws AppError invalid */
export function checkRepositoryName(name: string): string {
  if (!/^[A-Za-z0-9._-]{1,100}$/.test(name) || name === '.' || name === '..' || /\.git$/i.test(name) || name === '_broker') {
    throw new AppError('invalid', 'Repository creation failed.', {
      details: [{ resource: 'Repository', code: 'custom', field: 'name', message: 'name can only contain letters, digits, ., - and _' }],
    })
  }
  return name
}
