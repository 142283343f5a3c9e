import { constants, createPublicKey, verify, type KeyObject } from 'node:crypto'
import { AppError } from '../../model/errors.ts'
import type { Runner } from '../../model/runner.ts'
import { runnerByClientId, runnerById } from '../../store/runners.ts'
import { assertionSpend } from '../../store/tokens.ts'
import { readToken, signToken } from '../access/signed-token.ts'
import type { Deps } from '../deps.ts'

/** Clocks may differ by this much (runner-protocol.md 3.1). */
const SKEW_MS = 5 * 60_000
/** The text that makes the runner say that its clock is wrong (runner-protocol.md 3.3). */
const CLOCK_TEXT = 'Current server time is'

/** A failure of the token exchange in OAuth's words. `invalid_client` ends the runner: only for one that is not registered. */
export class OAuthError extends Error {
  override name = 'OAuthError'
  readonly error: 'invalid_request' | 'invalid_client' | 'invalid_grant' | 'unsupported_grant_type'

  constructor(error: OAuthError['error'], description: string) {
    super(description)
    this.error = error
  }
}

/**
 * Exchanges a client assertion, signed with the runner's own key, for an access token of an hour (runner-protocol.md 3). An assertion
 * is good once.
 *
 * @throws OAuthError
 */
export async function issueRunnerToken(
  { db, now, times, keys }: Pick<Deps, 'db' | 'now' | 'times' | 'keys'>,
  assertion: string,
  isAudience: (audience: string) => boolean,
): Promise<{ accessToken: string; expiresInSeconds: number }> {
  const { header, claims, signed, signature } = readAssertion(assertion)
  const clientId = claims['sub']
  if (!isPlain(clientId) || claims['iss'] !== clientId) throw new OAuthError('invalid_grant', 'iss and sub must be the client id')
  const runner = await runnerByClientId(db, clientId)
  if (!runner || runner.deletedAt !== null) throw new OAuthError('invalid_client', 'Runner registration not found')
  if (!isSignedBy(runner, header, signed, signature))
    throw new OAuthError('invalid_grant', 'The assertion is not signed with the key of the runner')
  if (typeof claims['aud'] !== 'string' || !isAudience(claims['aud']))
    throw new OAuthError('invalid_grant', 'The assertion is for another audience')

  const expiresAt = checkTimes(claims, now())
  const { jti } = claims
  if (!isPlain(jti)) throw new OAuthError('invalid_grant', 'The assertion has no jti')
  if (!(await assertionSpend(db, clientId, jti, expiresAt))) throw new OAuthError('invalid_grant', 'The assertion was used before')

  const issuedAt = Math.floor(now() / 1000)
  const expiresInSeconds = times.runnerToken / 1000
  const accessToken = signToken(keys.runnerToken, {
    iat: issuedAt,
    exp: issuedAt + expiresInSeconds,
    jti,
    rid: runner.id,
    ver: runner.credentialVersion,
  })
  return { accessToken, expiresInSeconds }
}

function readAssertion(assertion: string): {
  header: Record<string, unknown>
  claims: Record<string, unknown>
  signed: string
  signature: Buffer
} {
  const [header = '', claims = '', signature = '', ...more] = assertion.split('.')
  try {
    if (more.length > 0 || assertion.length > 8000) throw new Error('no JWT')
    return {
      header: jsonObject(header),
      claims: jsonObject(claims),
      signed: `${header}.${claims}`,
      signature: Buffer.from(signature, 'base64url'),
    }
  } catch {
    throw new OAuthError('invalid_request', 'client_assertion is no JWT')
  }
}

function jsonObject(part: string): Record<string, unknown> {
  const value: unknown = JSON.parse(Buffer.from(part, 'base64url').toString())
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new Error('no object')
  return value as Record<string, unknown>
}

/** PS256 with a salt of 32 bytes after a registration, RS256 from some just-in-time files. Nothing else, above all not `none`. */
function isSignedBy(runner: Runner, header: Record<string, unknown>, signed: string, signature: Buffer): boolean {
  const { alg } = header
  if (alg !== 'PS256' && alg !== 'RS256') return false
  const key = createPublicKey({ key: { kty: 'RSA', ...runner.publicKey }, format: 'jwk' })
  const options = alg === 'PS256' ? { key, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 } : { key }
  return verify('sha256', Buffer.from(signed), options, signature)
}

function checkTimes(claims: Record<string, unknown>, now: number): number {
  const { nbf, exp } = claims
  if (!isTime(exp) || (nbf !== undefined && !isTime(nbf)))
    throw new OAuthError('invalid_grant', 'exp, and nbf where it is given, must be times in seconds')
  const expiresAt = Math.round(exp * 1000)
  const isEarly = nbf !== undefined && nbf * 1000 > now + SKEW_MS
  if (expiresAt + SKEW_MS < now || isEarly) {
    const word = isEarly ? `is not valid before ${clockText((nbf ?? 0) * 1000)}` : `expired on ${clockText(expiresAt)}`
    throw new OAuthError('invalid_grant', `The bearer token ${word}. ${CLOCK_TEXT} ${clockText(now)}.`)
  }
  if (expiresAt > now + 24 * 60 * 60_000) throw new OAuthError('invalid_grant', 'The assertion lives longer than a day')
  return expiresAt + SKEW_MS
}

/** A NumericDate (RFC 7519) that a calendar can write. */
function isTime(value: unknown): value is number {
  return typeof value === 'number' && value >= 0 && value < 253_402_300_800
}

/** Names that are kept in the database: no more than a PostgreSQL text takes. */
function isPlain(value: unknown): value is string {
  return typeof value === 'string' && /^[\x21-\x7e]{1,200}$/.test(value)
}

function clockText(at: number): string {
  const iso = new Date(at).toISOString()
  return `${iso.slice(5, 7)}/${iso.slice(8, 10)}/${iso.slice(0, 4)} ${iso.slice(11, 19)}`
}

/** The runner is gone: told so at its poll, it removes its configuration. */
export class RunnerGone extends AppError {
  override name = 'RunnerGone'
  constructor(name: string) {
    super('not_found', `Runner ${name} was removed`)
  }
}

/**
 * The runner that a token of `issueRunnerToken` names.
 *
 * @throws AppError unauthenticated for a token that is not ours, has expired or is of replaced credentials; RunnerGone
 */
export async function authenticateRunner(
  { db, now, keys }: Pick<Deps, 'db' | 'now' | 'keys'>,
  authorization: string | undefined,
): Promise<Runner> {
  const match = /^bearer (\S+)$/i.exec(authorization ?? '')
  const claims = match?.[1] ? readClaims(keys.runnerToken, match[1], now()) : undefined
  if (!claims || typeof claims['rid'] !== 'number') throw new AppError('unauthenticated', 'The runner token is missing, wrong or expired')
  const runner = await runnerById(db, claims['rid'])
  if (!runner) throw new RunnerGone(String(claims['rid']))
  if (runner.credentialVersion !== claims['ver']) throw new AppError('unauthenticated', 'The runner was registered anew')
  return runner
}

function readClaims(key: KeyObject, token: string, now: number): Record<string, unknown> | undefined {
  try {
    return readToken(key, token, now)
  } catch {
    return undefined
  }
}
