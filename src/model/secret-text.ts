import { createHash, randomBytes, randomInt } from 'node:crypto'
import { crc32 } from 'node:zlib'

const ALPHANUMERIC = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'
const BASE32 = 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'

/**
 * A classic personal token: `ghp_`, 30 random characters and six that are their CRC32 in base62, which secret scanners check
 * (rest-api.md 3.2).
 */
export function newPersonalToken(): string {
  return withChecksum('ghp_', draw(ALPHANUMERIC, 30))
}

/** A token of an App's installation. */
export function newInstallationToken(): string {
  return withChecksum('ghs_', draw(ALPHANUMERIC, 30))
}

/** A fine-grained personal token, in the form that secret scanners know. */
export function newFineGrainedToken(): string {
  return `github_pat_${draw(ALPHANUMERIC, 22)}_${draw(ALPHANUMERIC, 59)}`
}

/** What an App is called by OAuth clients, and may name itself by in a JWT. */
export function newClientId(): string {
  return `Iv23li${draw(ALPHANUMERIC, 14)}`
}

/** `GITHUB_TOKEN` from 32 derived bytes: the same bytes give the same token, so that a repeated acquire does. */
export function jobTokenText(derived: Buffer): string {
  const body = Array.from(derived.subarray(0, 30), (byte) => ALPHANUMERIC[byte % 62]).join('')
  return withChecksum('ghs_', body)
}

/** A registration or remove token: 29 characters of A–Z2–7, safe to pass unquoted in a shell (rest-api.md 1.5). */
export function newRegistrationToken(): string {
  return `A${draw(BASE32, 28)}`
}

/** What is stored of a token. Tokens are random, so a plain SHA-256 is enough. */
export function hashSecret(token: string): string {
  return createHash('sha256').update(token).digest('hex')
}

/** A random id for requests, sessions and files. */
export function randomHex(bytes: number): string {
  return randomBytes(bytes).toString('hex')
}

function draw(alphabet: string, length: number): string {
  let text = ''
  for (let i = 0; i < length; i++) text += alphabet[randomInt(alphabet.length)]
  return text
}

function withChecksum(prefix: string, body: string): string {
  let rest = crc32(body)
  let checksum = ''
  for (let i = 0; i < 6; i++) {
    checksum = ALPHANUMERIC.charAt(rest % 62) + checksum
    rest = Math.floor(rest / 62)
  }
  return prefix + body + checksum
}
