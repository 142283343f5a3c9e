import { AppError } from '../../model/errors.ts'

const BASE64 = '([A-Za-z0-9+/]+={0,2})'
const MIN_BYTES = 256
const MAX_BYTES = 1024

/**
 * The runner's RSA key from .NET's XML form, `<RSAKeyValue><Modulus>…</Modulus><Exponent>…</Exponent></RSAKeyValue>`, as JWK fields
 * (runner-protocol.md 2.5).
 *
 * @throws AppError invalid
 */
export function publicKeyOf(xml: string): { n: string; e: string } {
  const modulus = new RegExp(`<Modulus>${BASE64}</Modulus>`).exec(xml)?.[1]
  const exponent = new RegExp(`<Exponent>${BASE64}</Exponent>`).exec(xml)?.[1]
  const n = Buffer.from(modulus ?? '', 'base64')
  const e = Buffer.from(exponent ?? '', 'base64')
  if (n.length < MIN_BYTES || n.length > MAX_BYTES || e.length < 1 || e.length > 8) {
    throw new AppError('invalid', 'public_key must be an RSAKeyValue of 2048 bits or more')
  }
  return { n: n.toString('base64url'), e: e.toString('base64url') }
}
