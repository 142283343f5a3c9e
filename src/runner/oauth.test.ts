import { constants, createPublicKey, verify } from 'node:crypto'

import { expect, test } from 'vitest'

import { newKey, privateKeyOf, publicKeyXml } from './key.ts'
import { clientAssertion, type Credentials } from './oauth.ts'

const key = await newKey()

function credentials(more: Partial<Credentials> = {}): Credentials {
  return {
    clientId: '6f1c1f0e-6f6e-4a3e-9b1f-0d8f4c0a9f10',
    authorizationUrl: 'http://127.0.0.1:8080/_oauth/token',
    requireFipsCryptography: true,
    key,
    agentId: 42,
    poolId: 1,
    ...more,
  }
}

function decode(part: string | undefined): Record<string, unknown> {
  return JSON.parse(Buffer.from(part ?? '', 'base64url').toString('utf8')) as Record<string, unknown>
}

test('a client assertion is a PS256 JWT that the public half of the key verifies', async () => {
  const [header, claims, signature] = (await clientAssertion(credentials(), 1_784_635_200_000)).split('.')
  const publicKey = createPublicKey(privateKeyOf(key))

  expect(decode(header)).toEqual({ typ: 'JWT', alg: 'PS256' })
  expect(decode(claims)).toMatchObject({
    sub: '6f1c1f0e-6f6e-4a3e-9b1f-0d8f4c0a9f10',
    iss: '6f1c1f0e-6f6e-4a3e-9b1f-0d8f4c0a9f10',
    aud: 'http://127.0.0.1:8080/_oauth/token',
    nbf: 1_784_635_200,
    exp: 1_784_635_500,
  })
  const options = { key: publicKey, padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
  expect(verify('sha256', Buffer.from(`${header}.${claims}`), options, Buffer.from(signature ?? '', 'base64url'))).toBe(true)
})

test('without the FIPS switch the assertion is signed with RS256', async () => {
  const [header, claims, signature] = (await clientAssertion(credentials({ requireFipsCryptography: false }), 0)).split('.')

  expect(decode(header)).toMatchObject({ alg: 'RS256' })
  const publicKey = createPublicKey(privateKeyOf(key))
  expect(verify('sha256', Buffer.from(`${header}.${claims}`), publicKey, Buffer.from(signature ?? '', 'base64url'))).toBe(true)
})

test('no assertion is made twice', async () => {
  const [first, second] = await Promise.all([clientAssertion(credentials(), 0), clientAssertion(credentials(), 0)])

  expect(decode(first.split('.')[1])['jti']).not.toBe(decode(second.split('.')[1])['jti'])
})

test('key fields have the lengths that .NET documents', () => {
  const bytes = (text: string): number => Buffer.from(text, 'base64').length

  expect([key.modulus, key.d].map(bytes)).toEqual([256, 256])
  expect([key.p, key.q, key.dp, key.dq, key.inverseQ].map(bytes)).toEqual([128, 128, 128, 128, 128])
  expect(publicKeyXml(key)).toBe(`<RSAKeyValue><Modulus>${key.modulus}</Modulus><Exponent>AQAB</Exponent></RSAKeyValue>`)
})
