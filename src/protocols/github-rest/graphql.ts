import { Type } from 'typebox'
import { getSelf } from '../../core/accounts/users.ts'
import type { App } from '../../http/server.ts'
import { needs } from '../../model/access.ts'
import type { RestDeps } from './room.ts'

const QueryBody = Type.Object({ query: Type.String({ maxLength: 100_000 }) })

/** `query UserCurrent{viewer{login}}`, under any name and with any white space. */
const VIEWER_LOGIN = /^\s*(?:query(?:\s+\w{1,100})?\s*)?\{\s*viewer\s*\{\s*login\s*\}\s*\}\s*$/

/**
 * The one question that gh and Terraform ask of GraphQL before they work with REST (rest-api.md 6.2). Served where the room is, so that
 * `/api/graphql` and, for hosts that begin with `api.`, `/graphql` are the same.
 */
export function graphqlRoutes(app: App, deps: RestDeps): void {
  app.post('/graphql', { config: { access: { by: 'actor', need: needs.self } }, schema: { body: QueryBody } }, async (request) => {
    const { account } = await getSelf(deps, request.actor)
    if (VIEWER_LOGIN.test(request.body.query)) return { data: { viewer: { login: account.login } } }
    return {
      errors: [
        {
          type: 'UNSUPPORTED',
          message: 'Only `viewer { login }` is answered here: use the REST API.',
          locations: [{ line: 1, column: 1 }],
        },
      ],
    }
  })
}
