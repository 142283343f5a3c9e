import { createHmac, createSecretKey, hkdfSync, timingSafeEqual, type KeyObject } from 'node:crypto'

/** Keys for each purpose, derived from FLEETFOOT_SECRET_KEY, so that no signature made for one is good for another. */
export interface Keys {
  runnerToken: KeyObject
  jobToken: KeyObject
  githubToken: KeyObject
  signedUrl: KeyObject
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
