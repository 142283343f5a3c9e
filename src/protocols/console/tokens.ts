import { Type, type Static } from 'typebox'
import { createFineGrainedToken, createToken, deleteToken, listTokens, type NewToken, type Token } from '../../core/accounts/tokens.ts'
import type { Deps } from '../../core/deps.ts'
import { NoBody, orNull, Time, Word } from '../../http/answers.ts'
import { isoTime } from '../../http/places.ts'
import type { App } from '../../http/server.ts'
import { needs, type Actor } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import { Taken } from './requests.ts'

const TOKEN = {
  id: Type.Integer(),
  kind: Word('personal', 'impersonation', 'admin', 'fine_grained'),
  name: Type.String(),
  scopes: Type.Array(Type.String(), { description: 'What a classic token may do; none for a fine-grained one.' }),
  created_at: Time,
  expires_at: orNull(Time),
  resource_owner: Type.Optional(Type.String({ description: 'Whose things a fine-grained token opens.' })),
  permissions: Type.Optional(Type.Record(Type.String(), Type.String(), { description: 'What a fine-grained token may do.' })),
  repositories: Type.Optional(Type.Array(Type.String(), { description: 'All repositories of the owner where this is missing.' })),
}
export type TokenBody = Static<typeof TokenBody>
export const TokenBody = Type.Object(TOKEN, { title: 'Token' })

export type NewTokenBody = Static<typeof NewTokenBody>
export const NewTokenBody = Type.Object(
  { ...TOKEN, token: Type.String({ description: 'The token itself, shown this once.' }) },
  { title: 'NewToken' },
)

const TokenRequest = Taken({
  name: Type.String({ maxLength: 1000 }),
  scopes: Type.Optional(
    Type.Array(Type.String({ maxLength: 100 }), {
      maxItems: 100,
      description: 'Of a classic token; a fine-grained one has permissions instead.',
    }),
  ),
  permissions: Type.Optional(Type.Record(Type.String({ maxLength: 100 }), Type.Unknown(), { maxProperties: 100 })),
  resource_owner: Type.Optional(Type.String({ maxLength: 200, description: 'The user themselves where nothing is said.' })),
  repositories: Type.Optional(Type.Array(Type.String({ maxLength: 200 }), { maxItems: 50 })),
  expires_at: Type.Optional(orNull(Type.String({ maxLength: 100, description: 'A day, or a time with its offset.' }))),
})

const UserParams = Type.Object({ username: Type.String() })
const tags = ['tokens']
const config = { access: { by: 'actor' as const, need: needs.userTokens } }

/** Named, scoped tokens that may expire: any number of them for each user. */
export function tokenRoutes(app: App, deps: Deps): void {
  app.get(
    '/users/:username/tokens',
    {
      config,
      schema: {
        operationId: 'fleetfoot/list-tokens',
        summary: 'List the tokens of a user',
        description: 'Without their texts. Site administrators for anybody, users for themselves.',
        tags,
        params: UserParams,
        response: { 200: Type.Array(TokenBody) },
      },
    },
    async (request) => (await listTokens(deps, request.actor, request.params.username)).map(presentToken),
  )
  app.post(
    '/users/:username/tokens',
    {
      config,
      schema: {
        operationId: 'fleetfoot/create-token',
        summary: 'Make a token',
        description:
          'With `scopes` a classic one, with `permissions` a fine-grained one. It may do no more, and live no longer, than the token that asks for it.',
        tags,
        params: UserParams,
        body: TokenRequest,
        response: { 201: NewTokenBody },
      },
    },
    async (request, reply) => {
      const token = await makeToken(deps, request.actor, request.params.username, request.body)
      return reply.code(201).send({ ...presentToken(token), token: token.text })
    },
  )
  app.delete(
    '/users/:username/tokens/:token_id',
    {
      config,
      schema: {
        operationId: 'fleetfoot/delete-token',
        summary: 'End a token at once',
        tags,
        params: Type.Object({ username: Type.String(), token_id: Type.String({ pattern: '^[1-9][0-9]{0,14}$' }) }),
        response: { 204: NoBody },
      },
    },
    async (request, reply) => {
      await deleteToken(deps, request.actor, { login: request.params.username, id: Number(request.params.token_id) })
      return reply.code(204).send()
    },
  )
}

function makeToken(deps: Deps, actor: Actor, login: string, body: Static<typeof TokenRequest>): Promise<NewToken> {
  const { name, scopes, permissions, repositories, resource_owner } = body
  const expiresAt = instantOf(body.expires_at)
  if (permissions === undefined) {
    if (scopes === undefined) throw new AppError('invalid', `Invalid request.\n\n"scopes" wasn't supplied.`)
    if (resource_owner !== undefined || repositories !== undefined)
      throw new AppError('invalid', 'resource_owner and repositories are of tokens with permissions')
    return createToken(deps, actor, { login, name, scopes, expiresAt })
  }
  if (scopes !== undefined) throw new AppError('invalid', 'A token has scopes or permissions, not both')
  return createFineGrainedToken(deps, actor, { login, name, owner: resource_owner, permissions, repositories, expiresAt })
}

/** Without its text, which only the answer that makes it has. */
function presentToken({ id, kind, name, scopes, createdAt, expiresAt, grant }: Token): TokenBody {
  return {
    id,
    kind,
    name,
    scopes,
    created_at: isoTime(createdAt),
    expires_at: expiresAt === null ? null : isoTime(expiresAt),
    ...(grant && {
      resource_owner: grant.owner.login,
      permissions: grant.permissions,
      ...(grant.repositories && { repositories: grant.repositories.map((repository) => repository.name) }),
    }),
  }
}

const ISO_TIME = /^\d{4}-\d\d-\d\d(?:T\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?(?:Z|[+-]\d\d:?\d\d))?$/

/** A day, or an instant with its offset: without one it would be somebody's local time. */
function instantOf(text: string | null | undefined): number | null {
  if (text === null || text === undefined) return null
  const at = Date.parse(text)
  if (!ISO_TIME.test(text) || Number.isNaN(at)) throw new AppError('invalid', 'expires_at must be a time like 2027-01-31T00:00:00Z')
  return at
}
