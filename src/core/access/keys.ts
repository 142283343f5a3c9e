import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'

/** Keys for each purpose, derived from FLEETFOOT_SECRET_KEY, so that no signature made for one is good for another. */
export interface Keys {
  runnerToken: Buffer
  jobToken: Buffer
  githubToken: Buffer
  signedUrl: Buffer
  /** Its hash is kept in the database: a node with another key must not start. */
  check: Buffer
}

export function deriveKeys(secret: Buffer): Keys {
  const derive = (purpose: string) => Buffer.from(hkdfSync('sha256', secret, Buffer.alloc(0), `fleetfoot ${purpose}`, 32))
  return {
    runnerToken: derive('runner token'),
    jobToken: derive('job token'),
    githubToken: derive('github token'),
    signedUrl: derive('signed url'),
    check: derive('check'),
  }
}

/** HMAC-SHA256 as base64url. */
export function sign(key: Buffer, text: string): string {
  return createHmac('sha256', key).update(text).digest('base64url')
}

/** Compares in constant time. */
export function isSigned(key: Buffer, text: string, signature: string): boolean {
  const wanted = Buffer.from(sign(key, text))
  const given = Buffer.from(signature)
  return wanted.length === given.length && timingSafeEqual(wanted, given)
}
