import { Type } from 'typebox'
import { createOrganization } from '../../core/accounts/organizations.ts'
import { deleteImpersonationToken, makeImpersonationToken } from '../../core/accounts/tokens.ts'
import { createUser, demoteUser, promoteUser } from '../../core/accounts/users.ts'
import type { App } from '../../http/server.ts'
import { needs } from '../../model/access.ts'
import { presentAuthorization, presentSimpleOrganization, presentSimpleUser } from './present-account.ts'
import type { RestDeps } from './room.ts'
import { basesOf } from './runs.ts'
import { AuthorizationBody, SimpleOrganizationBody, SimpleUserBody } from './shapes-account.ts'

const Login = Type.String({ minLength: 1, maxLength: 100 })
const UserBody = Type.Object({
  login: Login,
  email: Type.Optional(Type.String({ maxLength: 254 })),
  suspended: Type.Optional(Type.Boolean()),
})
const OrganizationBody = Type.Object({ login: Login, admin: Login, profile_name: Type.Optional(Type.String({ maxLength: 255 })) })
const ScopesBody = Type.Object({ scopes: Type.Array(Type.String({ maxLength: 100 }), { maxItems: 100 }) })
const UserParams = Type.Object({ username: Type.String() })

const access = { by: 'actor' as const, need: needs.siteAdmin }

/** What site administrators do: https://docs.github.com/enterprise-server@3.19/rest/enterprise-admin */
export function adminRoutes(app: App, deps: RestDeps): void {
  app.post(
    '/admin/users',
    {
      config: { access, docs: 'enterprise-admin/users#create-a-user' },
      schema: { operationId: 'enterprise-admin/create-user', response: { 201: SimpleUserBody }, body: UserBody },
    },
    async (request, reply) => {
      const user = await createUser(deps, request.actor, request.body)
      return reply.code(201).send(presentSimpleUser(basesOf(deps, request), user))
    },
  )
  app.post(
    '/admin/organizations',
    {
      config: { access, docs: 'enterprise-admin/orgs#create-an-organization' },
      schema: { operationId: 'enterprise-admin/create-org', response: { 201: SimpleOrganizationBody }, body: OrganizationBody },
    },
    async (request, reply) => {
      const { login, admin, profile_name } = request.body
      const organization = await createOrganization(deps, request.actor, { login, admin, name: profile_name })
      return reply.code(201).send(presentSimpleOrganization(basesOf(deps, request), organization))
    },
  )
  app.post(
    '/admin/users/:username/authorizations',
    {
      config: { access, docs: 'enterprise-admin/users#create-an-impersonation-oauth-token' },
      schema: {
        operationId: 'enterprise-admin/create-impersonation-o-auth-token',
        response: { 200: AuthorizationBody, 201: AuthorizationBody },
        params: UserParams,
        body: ScopesBody,
      },
    },
    async (request, reply) => {
      const input = { login: request.params.username, scopes: request.body.scopes }
      const { user, token, isNew } = await makeImpersonationToken(deps, request.actor, input)
      return reply.code(isNew ? 201 : 200).send(presentAuthorization(basesOf(deps, request), user, token, deps.now()))
    },
  )
  app.delete(
    '/admin/users/:username/authorizations',
    {
      config: { access, docs: 'enterprise-admin/users#delete-an-impersonation-oauth-token' },
      schema: { operationId: 'enterprise-admin/delete-impersonation-o-auth-token', params: UserParams },
    },
    async (request, reply) => {
      await deleteImpersonationToken(deps, request.actor, request.params.username)
      return reply.code(204).send()
    },
  )
  app.put(
    '/users/:username/site_admin',
    {
      config: { access, docs: 'enterprise-admin/users#promote-a-user-to-be-a-site-administrator' },
      schema: { operationId: 'enterprise-admin/promote-user-to-be-site-administrator', params: UserParams },
    },
    async (request, reply) => {
      await promoteUser(deps, request.actor, request.params.username)
      return reply.code(204).send()
    },
  )
  app.delete(
    '/users/:username/site_admin',
    {
      config: { access, docs: 'enterprise-admin/users#demote-a-site-administrator' },
      schema: { operationId: 'enterprise-admin/demote-site-administrator', params: UserParams },
    },
    async (request, reply) => {
      await demoteUser(deps, request.actor, request.params.username)
      return reply.code(204).send()
    },
  )
}
