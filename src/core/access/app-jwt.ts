import { verify } from 'node:crypto'
import type { Actor } from '../../model/access.ts'
import type { App } from '../../model/app.ts'
import { AppError } from '../../model/errors.ts'
import { appByClientId, appById, appKeys } from '../../store/apps.ts'
import type { Deps } from '../deps.ts'

const MINUTE_S = 60
const LONGEST_S = 10 * MINUTE_S
/** A client's clock may be ahead of ours by this. */
const DRIFT_S = MINUTE_S
const LONGEST_TEXT = 8000

/** Three base64url parts: no other token that we take looks like this (rest-api.md 3.2). */
export function isAppJwt(token: string): boolean {
  return token.length <= LONGEST_TEXT && /^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)
}

/**
 * The App that a JWT is signed by: RS256 only, with one of its keys; `iss` is its id or its client id, as a number or a text; `exp` lies at
 * most ten minutes ahead and `iat` not ahead (rest-api.md 2.17).
 *
 * @throws AppError unauthenticated, in the words by which octokit corrects its clock
 */
export async function readAppJwt({ db, now }: Pick<Deps, 'db' | 'now'>, token: string): Promise<Actor> {
  const [header = '', payload = '', signature = ''] = token.split('.')
  const claims = decode(payload)
  if (decode(header)?.['alg'] !== 'RS256' || !claims) throw undecodable()
  const app = await appOfIssuer(db, claims['iss'])
  if (!app) throw undecodable()
  const keys = await appKeys(db, app.id)
  const signed = Buffer.from(`${header}.${payload}`)
  const bytes = Buffer.from(signature, 'base64url')
  if (!keys.some(({ publicKey }) => verify('RSA-SHA256', signed, publicKey, bytes))) throw undecodable()
  checkTimes(claims, now() / 1000)
  return { kind: 'app', appId: app.id, slug: app.slug }
}

async function appOfIssuer(db: Deps['db'], issuer: unknown): Promise<App | undefined> {
  if (typeof issuer !== 'string' && typeof issuer !== 'number') return undefined
  const text = String(issuer)
  if (/^[1-9]\d{0,14}$/.test(text)) return appById(db, Number(text))
  return /^[A-Za-z0-9.]{1,100}$/.test(text) ? appByClientId(db, text) : undefined
}

function checkTimes({ exp, iat }: Record<string, unknown>, now: number): void {
  if (typeof exp !== 'number' || exp <= now) {
    throw refused("'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires")
  }
  if (exp > now + LONGEST_S + DRIFT_S) throw refused("'Expiration time' claim ('exp') is too far in the future")
  if (typeof iat !== 'number' || !Number.isInteger(iat) || iat > now + DRIFT_S) {
    throw refused("'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued")
  }
}

function decode(part: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString())
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}

const undecodable = () => refused('A JSON web token could not be decoded')
const refused = (message: string) => new AppError('unauthenticated', message)
