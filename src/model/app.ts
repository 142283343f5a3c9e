import type { Permissions } from './permissions.ts'

/** A GitHub App: somebody's program, that acts where it is installed, with what it was given there. */
export interface App {
  id: number
  slug: string
  name: string
  description: string | null
  externalUrl: string
  ownerId: number
  /** The account that it acts as. */
  botId: number
  clientId: string
  permissions: Permissions
  events: string[]
  createdAt: number
  updatedAt: number
}

/** The public half of a key that an App signs with. */
export interface AppKey {
  id: number
  appId: number
  publicKey: string
  fingerprint: string
  createdAt: number
}

/** An App at an account: with these permissions, on all of its repositories or on some. */
export interface Installation {
  id: number
  appId: number
  accountId: number
  repositorySelection: 'all' | 'selected'
  permissions: Permissions
  events: string[]
  suspendedAt: number | null
  createdAt: number
  updatedAt: number
}

/** How an App is called in addresses: its name in small letters, digits and single hyphens; empty for a name without any of these. */
export function slugOf(name: string): string {
  return name
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '-')
    .replace(/^-+|-+$/g, '')
}

/** The login of the account that an App acts as. No user can have it: the characters are not open to logins. */
export function botLogin(slug: string): string {
  return `${slug}[bot]`
}
