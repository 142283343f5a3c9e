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

/** The claims of a token of ours that is signed with this key and has not expired; undefined for anything else. */
export function readToken(key: KeyObject, token: string, now: number): Record<string, unknown> | undefined {
  const end = token.lastIndexOf('.')
  const body = token.slice(0, end)
  if (end < 0 || !body.startsWith(`${HEADER}.`) || !isSigned(key, body, token.slice(end + 1))) return undefined
  const claims = JSON.parse(Buffer.from(body.slice(HEADER.length + 1), 'base64url').toString()) as Record<string, unknown>
  return typeof claims['exp'] === 'number' && claims['exp'] * 1000 > now ? claims : undefined
}
