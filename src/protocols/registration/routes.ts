import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import type { Deps } from '../../core/deps.ts'
import { registerRunner, scopeOfUrl } from '../../core/runners/register-runner.ts'
import { issueRunnerToken, OAuthError } from '../../core/runners/runner-tokens.ts'
import { baseOf, type AddressBook } from '../../http/addresses.ts'
import { useAnyJson } from '../../http/body.ts'
import { failureOf } from '../../http/failures.ts'
import { useGitHubHeaders, type MannersDeps } from '../../http/github-manners.ts'
import type { App } from '../../http/server.ts'
import { needs, orRegistration } from '../../model/access.ts'
import { publicKeyOf } from './public-key.ts'

type OAuthDeps = Deps & { book: AddressBook }

const RegistrationRequest = Type.Object({ url: Type.String({ maxLength: 2000 }), runner_event: Type.Optional(Type.String()) })

const RegisterRequest = Type.Object({
  url: Type.String({ maxLength: 2000 }),
  group_id: Type.Integer({ minimum: 0, maximum: 2_147_483_647 }),
  name: Type.String(),
  version: Type.Optional(Type.Union([Type.String({ maxLength: 100 }), Type.Null()])),
  updates_disabled: Type.Optional(Type.Boolean()),
  ephemeral: Type.Optional(Type.Union([Type.Boolean(), Type.Null()])),
  labels: Type.Array(Type.Object({ name: Type.String(), type: Type.Optional(Type.String()) }), { maxItems: 200 }),
  public_key: Type.String({ maxLength: 10_000 }),
  runner_id: Type.Optional(Type.Integer({ minimum: 1 })),
  replace: Type.Optional(Type.Boolean()),
})

const TenantBody = Type.Object({ url: Type.String(), token_schema: Type.String(), token: Type.String(), use_v2_flow: Type.Boolean() })
const RegisteredBody = Type.Object({
  id: Type.Integer(),
  name: Type.String(),
  authorization: Type.Object({ authorization_url: Type.String(), server_url: Type.String(), client_id: Type.String() }),
})
const tags = ['runner-registration']

const registering = { by: 'actor' as const, need: orRegistration({ ...needs.anyone, role: 'owner', permission: 'none' }, 'register') }

/** The calls of `config.sh` that are no public REST: `RunnerDotcomServer.cs`, `ConfigurationManager.cs` (runner-protocol.md 2). */
export function registrationRoom(app: App, { deps }: { deps: MannersDeps }): void {
  useRegistrationErrors(app)
  useAnyJson(app)
  useGitHubHeaders(app, deps, { areChecked: false })

  // GARM resolves the path without the prefix (rest-api.md 2.5).
  for (const prefix of ['/api/v3', '']) {
    app.post(
      `${prefix}/actions/runner-registration`,
      {
        config: { access: registering },
        schema: {
          operationId: 'fleetfoot/start-registration',
          summary: 'Tell a runner that registers where its server is',
          tags,
          body: RegistrationRequest,
          response: { 200: TenantBody },
        },
      },
      async (request) => {
        const { url } = request.body
        await scopeOfUrl(deps, request.actor, url)
        return {
          url: tenantUrl(url),
          token_schema: 'OAuthAccessToken',
          // Not used by runners of this flow, which only look that it is there; other clients read its `exp`.
          token: unsignedToken(deps.now(), deps.times.registrationToken),
          use_v2_flow: true,
        }
      },
    )
  }

  app.post(
    '/api/v3/actions/runners/register',
    {
      config: { access: registering },
      schema: {
        operationId: 'fleetfoot/register-runner',
        summary: 'Register a runner',
        description: 'As `config.sh` does, with a registration token.',
        tags,
        body: RegisterRequest,
        response: { 200: RegisteredBody },
      },
    },
    async (request) => {
      const { body } = request
      const runner = await registerRunner(deps, request.actor, {
        url: body.url,
        groupNumber: body.group_id === 0 ? 1 : body.group_id,
        name: body.name,
        version: body.version ?? '',
        updatesDisabled: body.updates_disabled ?? false,
        ephemeral: body.ephemeral ?? false,
        labels: body.labels.map(({ name, type }) => ({ name, type: type === 'system' ? 'system' : 'user' })),
        publicKey: publicKeyOf(body.public_key),
        replaces: body.replace ? body.runner_id : undefined,
      })
      return {
        id: runner.id,
        name: runner.name,
        authorization: {
          authorization_url: `${baseOf(deps.book, request)}/_oauth/token`,
          // The same text as above: where they differ the runner looks for the older protocol (runner-protocol.md 1.6).
          server_url: tenantUrl(body.url),
          client_id: runner.clientId,
        },
      }
    },
  )
}

/**
 * The runner's broker under the authority of the `--url` that it was given, which it insists on; the first segment names the service on
 * its machine (runner-protocol.md 1.4).
 */
function tenantUrl(url: string): string {
  const { origin, pathname } = new URL(url)
  const segments = pathname.split('/').filter((segment) => segment !== '')
  const segment = segments[0]?.toLowerCase() === 'enterprises' ? segments[1] : segments.join('-')
  return `${origin}/${segment ?? ''}/_broker/`
}

function unsignedToken(now: number, lifeMs: number): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  return `${part({ alg: 'none', typ: 'JWT' })}.${part({ exp: Math.floor((now + lifeMs) / 1000) })}.`
}

/** As GitHub's REST answers, since `config.sh` prints the body; passing trouble is 503. */
function useRegistrationErrors(app: App): void {
  app.setErrorHandler(async (error: Error, request, reply) => {
    const { status, message } = failureOf(error, request)
    // A token that cannot be read at all is a bad token: not found, which ends the attempts of the runner.
    const shown = status === 401 ? 404 : status
    return reply
      .code(shown)
      .serializer(JSON.stringify)
      .send({
        message: shown === 404 ? 'Not Found' : message,
        documentation_url: 'https://docs.github.com/rest/actions/self-hosted-runners',
        status: String(shown),
      })
  })
}

/** The token endpoint of runners (runner-protocol.md 3). Failures are 400 with a JSON body: nothing else is read. */
export function oauthRoom(app: App, { deps }: { deps: OAuthDeps }): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', { parseAs: 'string', bodyLimit: 64 * 1024 }, (_request, body, done) => done(null, body))
  app.setErrorHandler(async (error: Error, request, reply) => {
    if (error instanceof OAuthError) return reply.code(400).send({ error: error.error, error_description: error.message })
    const { status, message } = failureOf(error, request)
    return reply
      .code(status < 500 ? 400 : status)
      .send({ error: status < 500 ? 'invalid_request' : 'server_error', error_description: message })
  })

  app.post('/_oauth/token', { config: { access: { by: 'assertion' } } }, async (request, reply) => {
    const form = new URLSearchParams(typeof request.body === 'string' ? request.body : '')
    if (form.get('grant_type') !== 'client_credentials')
      throw new OAuthError('unsupported_grant_type', 'grant_type must be client_credentials')
    if (form.get('client_assertion_type') !== 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer') {
      throw new OAuthError('invalid_request', 'client_assertion_type must be jwt-bearer')
    }
    const issued = await issueRunnerToken(deps, form.get('client_assertion') ?? '', (audience) => isAudience(deps, request, audience))
    return reply
      .header('Cache-Control', 'no-store')
      .send({ access_token: issued.accessToken, token_type: 'bearer', expires_in: issued.expiresInSeconds })
  })
}

/** Right with the path of this endpoint and any authority that we hand out (architecture 1.9). */
function isAudience({ book }: OAuthDeps, request: FastifyRequest, audience: string): boolean {
  if (!URL.canParse(audience)) return false
  const { pathname, host, origin } = new URL(audience)
  return pathname === '/_oauth/token' && (origin === book.url || book.isOwnLoopback(host) || host === request.host)
}
