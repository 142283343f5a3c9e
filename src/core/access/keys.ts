import {
  createCipheriv,
  createDecipheriv,
  createHmac,
  createSecretKey,
  hkdfSync,
  randomBytes,
  timingSafeEqual,
  type KeyObject,
} from 'node:crypto'

/** Keys for each purpose, derived from FLEETFOOT_SECRET_KEY, so that no signature made for one is good for another. */
export interface Keys {
  runnerToken: KeyObject
  jobToken: KeyObject
  githubToken: KeyObject
  signedUrl: KeyObject
  /** Webhook secrets are encrypted with it. */
  hookSecret: KeyObject
  /** Its hash is kept in the database: a node with another key must not start. */
  check: Buffer
}

export function deriveKeys(secret: Buffer): Keys {
  const derive = (purpose: string) => Buffer.from(hkdfSync('sha256', secret, Buffer.alloc(0), `fleetfoot ${purpose}`, 32))
  // Key objects: node:crypto makes one of a Buffer at every use, which takes four times as long as the signature.
  const signing = (purpose: string) => createSecretKey(derive(purpose))
  return {
    runnerToken: signing('runner token'),
    jobToken: signing('job token'),
    githubToken: signing('github token'),
    signedUrl: signing('signed url'),
    hookSecret: signing('webhook secret'),
    check: derive('check'),
  }
}

/** HMAC-SHA256 as base64url. */
export function sign(key: KeyObject, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64url')
}

/** Compares in constant time. */
export function isSigned(key: KeyObject, text: string, signature: string): boolean {
  const wanted = Buffer.from(sign(key, text))
  const given = Buffer.from(signature)
  return wanted.length === given.length && timingSafeEqual(wanted, given)
}

const IV_BYTES = 12
const TAG_BYTES = 16

/** Encrypts with AES-256-GCM, as base64: what is kept in the database and has to be read again. */
export function encrypt(key: KeyObject, text: string): string {
  const iv = randomBytes(IV_BYTES)
  const cipher = createCipheriv('aes-256-gcm', key, iv)
  const sealed = Buffer.concat([cipher.update(text, 'utf8'), cipher.final()])
  return Buffer.concat([iv, cipher.getAuthTag(), sealed]).toString('base64')
}

/** @throws Error for what was not encrypted with this key, or was changed */
export function decrypt(key: KeyObject, sealed: string): string {
  const bytes = Buffer.from(sealed, 'base64')
  const decipher = createDecipheriv('aes-256-gcm', key, bytes.subarray(0, IV_BYTES), { authTagLength: TAG_BYTES })
  decipher.setAuthTag(bytes.subarray(IV_BYTES, IV_BYTES + TAG_BYTES))
  return Buffer.concat([decipher.update(bytes.subarray(IV_BYTES + TAG_BYTES)), decipher.final()]).toString('utf8')
}
