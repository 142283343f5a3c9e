import { createPrivateKey, generateKeyPair, type KeyObject } from 'node:crypto'
import { promisify } from 'node:util'

/** A private RSA key as the runner keeps it on disk: standard base64, big-endian, fixed lengths. */
export interface RsaParams {
  d: string
  dp: string
  dq: string
  exponent: string
  inverseQ: string
  modulus: string
  p: string
  q: string
}

const generate = promisify(generateKeyPair)

/** Makes a key of 2048 bits. It takes tens of milliseconds of one core: load tests reuse one. */
export async function newKey(): Promise<RsaParams> {
  const { privateKey } = await generate('rsa', { modulusLength: 2048 })
  const jwk = privateKey.export({ format: 'jwk' })
  return {
    d: fixed(jwk.d, 256),
    dp: fixed(jwk.dp, 128),
    dq: fixed(jwk.dq, 128),
    exponent: fixed(jwk.e, 0),
    inverseQ: fixed(jwk.qi, 128),
    modulus: fixed(jwk.n, 256),
    p: fixed(jwk.p, 128),
    q: fixed(jwk.q, 128),
  }
}

/** The public half in the XML that .NET writes and registration expects. */
export function publicKeyXml(key: RsaParams): string {
  return `<RSAKeyValue><Modulus>${key.modulus}</Modulus><Exponent>${key.exponent}</Exponent></RSAKeyValue>`
}

const keyObjects = new WeakMap<RsaParams, KeyObject>()

/** The key as node:crypto wants it; made once per object, so listeners that share the object share the key. */
export function privateKeyOf(params: RsaParams): KeyObject {
  let key = keyObjects.get(params)
  if (!key) {
    key = createPrivateKey({
      format: 'jwk',
      key: {
        kty: 'RSA',
        n: url(params.modulus),
        e: url(params.exponent),
        d: url(params.d),
        p: url(params.p),
        q: url(params.q),
        dp: url(params.dp),
        dq: url(params.dq),
        qi: url(params.inverseQ),
      },
    })
    keyObjects.set(params, key)
  }
  return key
}

/** .NET documents fixed lengths, and an exported JWK lacks leading zeros in about one field of a hundred. */
function fixed(value: string | undefined, length: number): string {
  const raw = Buffer.from(value ?? '', 'base64url')
  return Buffer.concat([Buffer.alloc(Math.max(0, length - raw.length)), raw]).toString('base64')
}

function url(base64: string): string {
  return Buffer.from(base64, 'base64').toString('base64url')
}
