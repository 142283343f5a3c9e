import type { KeyObject } from 'node:crypto'
import { isSigned, sign } from './keys.ts'

const HEADER = Buffer.from(JSON.stringify({ alg: 'HS256', typ: 'JWT' })).toString('base64url')

/**
 * A JWT signed with HS256. Ours rather than a library's because it is synchronous and a few microseconds: each job makes some twenty
 * calls that carry one. No claim may be null: the runner turns each into text (runner-protocol.md 6.2).
 */
export function signToken(key: KeyObject, claims: Record<string, unknown>): string {
  const body = `${HEADER}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`
  return `${body}.${sign(key, body)}`
}

/** Tokens read last, by the key that they are signed with: a job's comes twelve times or more. */
const READ_KEPT = 2000
const read = new WeakMap<KeyObject, Map<string, Record<string, unknown>>>()

/** The claims of a token of ours that is signed with this key and has not expired; undefined for anything else. */
export function readToken(key: KeyObject, token: string, now: number): Record<string, unknown> | undefined {
  let known = read.get(key)
  if (!known) read.set(key, (known = new Map()))
  const claims = known.get(token) ?? verifyToken(key, token)
  if (!claims) return undefined
  if (known.size >= READ_KEPT) known.clear()
  known.set(token, claims)
  return typeof claims['exp'] === 'number' && claims['exp'] * 1000 > now ? claims : undefined
}

function verifyToken(key: KeyObject, token: string): Record<string, unknown> | undefined {
  const end = token.lastIndexOf('.')
  const body = token.slice(0, end)
  if (end < 0 || !body.startsWith(`${HEADER}.`) || !isSigned(key, body, token.slice(end + 1))) return undefined
  return JSON.parse(Buffer.from(body.slice(HEADER.length + 1), 'base64url').toString()) as Record<string, unknown>
}
