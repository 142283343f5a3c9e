import { constants, randomUUID, sign } from 'node:crypto'

import { HttpError, httpSend, jsonOf, userAgent, type Http, type TokenSource } from './http.ts'
import { privateKeyOf, type RsaParams } from './key.ts'

/** What a token request needs of a runner's configuration. */
export interface Credentials {
  clientId: string
  authorizationUrl: string
  /** PS256 instead of RS256; true after every registration. */
  requireFipsCryptography: boolean
  key: RsaParams
  agentId: number
  poolId: number
}

/** The token endpoint refused, or could not be understood; `error` is its word, `invalid_client` for a deleted runner. */
export class OAuthError extends Error {
  override name = 'OAuthError'
  readonly error: string

  constructor(error: string, description: string) {
    super(`${error}: ${description}`)
    this.error = error
  }
}

/** A client assertion: a JWT signed with the runner's own key, good for five minutes, never made twice. */
export async function clientAssertion(credentials: Credentials, nowMs: number): Promise<string> {
  const { clientId, authorizationUrl, requireFipsCryptography } = credentials
  const notBefore = Math.floor(nowMs / 1000)
  const header = { typ: 'JWT', alg: requireFipsCryptography ? 'PS256' : 'RS256' }
  const claims = {
    sub: clientId,
    jti: randomUUID(),
    iss: clientId,
    aud: new URL(authorizationUrl).href,
    nbf: notBefore,
    exp: notBefore + 300,
  }
  const text = `${encode(header)}.${encode(claims)}`
  return `${text}.${(await signed(text, credentials)).toString('base64url')}`
}

/** Asks for an access token. */
export async function requestToken(http: Http, credentials: Credentials, signal?: AbortSignal): Promise<string> {
  const form = new URLSearchParams({
    grant_type: 'client_credentials',
    client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer',
    client_assertion: await clientAssertion(credentials, Date.now()),
  })
  const answer = await httpSend(http, {
    method: 'POST',
    url: credentials.authorizationUrl,
    headers: {
      Accept: 'application/json',
      'User-Agent': userAgent('Runner', credentials),
      'Content-Type': 'application/x-www-form-urlencoded',
    },
    body: form.toString(),
    signal,
  })
  if (answer.status !== 200 && answer.status !== 400) throw new HttpError('token', answer)
  const body = jsonOf<{ access_token?: string; error?: string; error_description?: string }>('token', { ...answer, status: 200 })
  if (body?.access_token) return body.access_token
  throw new OAuthError(body?.error ?? 'invalid_response', body?.error_description ?? 'the token endpoint sent no token')
}

/** A token that is asked for when first needed and kept until a 401 drops it. */
export function runnerToken(http: Http, credentials: Credentials, signal?: AbortSignal): TokenSource {
  let token: string | undefined
  return {
    get: async () => (token ??= await requestToken(http, credentials, signal)),
    drop: () => {
      token = undefined
    },
  }
}

function encode(value: object): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url')
}

/** On the thread pool, so that thousands of listeners in one process do not hold up each other's sockets. */
function signed(text: string, { key, requireFipsCryptography }: Credentials): Promise<Buffer> {
  const padding = requireFipsCryptography
    ? { padding: constants.RSA_PKCS1_PSS_PADDING, saltLength: 32 }
    : { padding: constants.RSA_PKCS1_PADDING }
  return new Promise((resolve, reject) => {
    sign('sha256', Buffer.from(text), { key: privateKeyOf(key), ...padding }, (error, signature) =>
      error ? reject(error) : resolve(signature),
    )
  })
}
