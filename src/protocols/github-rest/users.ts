import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { getOwnMembership } from '../../core/accounts/memberships.ts'
import { listOrganizationsOfUser, listOwnOrganizations, listRepositoriesOfAccount } from '../../core/accounts/organizations.ts'
import { getAccount, getSelf } from '../../core/accounts/users.ts'
import { createRepository, listOwnRepositories } from '../../core/repos/repositories.ts'
import { linkPages, PageQuery, pageOf } from '../../http/paging.ts'
import type { App } from '../../http/server.ts'
import { needs, type Need } from '../../model/access.ts'
import { presentMembership, presentSimpleOrganization, presentUser } from './present-account.ts'
import { presentRepository } from './present-repository.ts'
import { OwnRepositoriesQuery, ownSelectionOf, RepositoriesQuery, selectionOf } from './repository-list.ts'
import { newRepositoryOf, NewRepositoryBody } from './repository-body.ts'
import { apiOf, type RestDeps } from './room.ts'
import { basesOf } from './runs.ts'
import { idOf } from '../../http/places.ts'
import { MembershipBody, SimpleOrganizationBody, UserBody } from './shapes-account.ts'
import { RepositoriesBody, RepositoryBody } from './shapes-repository.ts'

const config = (need: Need, docs: string) => ({ access: { by: 'actor' as const, need }, docs })

/** Users, and what belongs to them: https://docs.github.com/rest/users/users */
export function userRoutes(app: App, deps: RestDeps): void {
  selfRoutes(app, deps)
  // `Link` headers name users by number, as GitHub's do.
  for (const path of ['/users/:username', '/user/:user_id']) namedRoutes(app, deps, path)
}

function selfRoutes(app: App, deps: RestDeps): void {
  app.get(
    '/user',
    {
      config: config(needs.self, 'users/users#get-the-authenticated-user'),
      schema: { operationId: 'users/get-authenticated', response: { 200: UserBody } },
    },
    async (request) => presentUser(basesOf(deps, request), await getSelf(deps, request.actor)),
  )
  app.get(
    '/user/orgs',
    {
      config: config(needs.userOrganizations, 'orgs/orgs#list-organizations-for-the-authenticated-user'),
      schema: {
        operationId: 'orgs/list-for-authenticated-user',
        response: { 200: Type.Array(SimpleOrganizationBody) },
        querystring: PageQuery,
      },
    },
    async (request, reply) => {
      const page = pageOf(request.query)
      const { organizations, total } = await listOwnOrganizations(deps, request.actor, page)
      linkPages(reply, `${apiOf(deps, request)}/user/orgs`, request.query, page, total)
      const bases = basesOf(deps, request)
      return organizations.map((organization) => presentSimpleOrganization(bases, organization))
    },
  )
  app.get(
    '/user/repos',
    {
      config: config(needs.userRepositories, 'repos/repos#list-repositories-for-the-authenticated-user'),
      schema: { operationId: 'repos/list-for-authenticated-user', response: { 200: RepositoriesBody }, querystring: OwnRepositoriesQuery },
    },
    async (request, reply) => {
      const page = pageOf(request.query)
      const { repositories, total } = await listOwnRepositories(deps, request.actor, ownSelectionOf(request.query))
      linkPages(reply, `${apiOf(deps, request)}/user/repos`, request.query, page, total)
      const bases = basesOf(deps, request)
      return repositories.map((repository) => presentRepository(bases, repository))
    },
  )
  app.post(
    '/user/repos',
    {
      config: config(needs.userRepositoryCreate, 'repos/repos#create-a-repository-for-the-authenticated-user'),
      schema: { operationId: 'repos/create-for-authenticated-user', response: { 201: RepositoryBody }, body: NewRepositoryBody },
    },
    async (request, reply) => {
      const repository = await createRepository(deps, request.actor, newRepositoryOf(request.body))
      const presented = presentRepository(basesOf(deps, request), repository, 'admin')
      return reply.code(201).header('Location', presented.url).send(presented)
    },
  )
  app.get(
    '/user/memberships/orgs/:org',
    {
      config: config(needs.organizationMembersRead, 'orgs/members#get-an-organization-membership-for-the-authenticated-user'),
      schema: {
        operationId: 'orgs/get-membership-for-authenticated-user',
        response: { 200: MembershipBody },
        params: Type.Object({ org: Type.String() }),
      },
    },
    async (request) => {
      const membership = await getOwnMembership(deps, request.actor, { login: request.params.org })
      return presentMembership(basesOf(deps, request), membership)
    },
  )
}

function namedRoutes(app: App, deps: RestDeps, path: string): void {
  app.get(
    path,
    {
      config: config(needs.anyone, 'users/users#get-a-user'),
      schema: { operationId: 'users/get-by-username', response: { 200: UserBody } },
    },
    async (request) => presentUser(basesOf(deps, request), await getAccount(deps, request.actor, accountOf(request))),
  )
  app.get(
    `${path}/orgs`,
    {
      config: config(needs.anyone, 'orgs/orgs#list-organizations-for-a-user'),
      schema: { operationId: 'orgs/list-for-user', response: { 200: Type.Array(SimpleOrganizationBody) }, querystring: PageQuery },
    },
    async (request, reply) => {
      const page = pageOf(request.query)
      const { user, organizations, total } = await listOrganizationsOfUser(deps, request.actor, accountOf(request), page)
      linkPages(reply, `${apiOf(deps, request)}/user/${user.id}/orgs`, request.query, page, total)
      const bases = basesOf(deps, request)
      return organizations.map((organization) => presentSimpleOrganization(bases, organization))
    },
  )
  app.get(
    `${path}/repos`,
    {
      config: config(needs.anyone, 'repos/repos#list-repositories-for-a-user'),
      schema: { operationId: 'repos/list-for-user', response: { 200: RepositoriesBody }, querystring: RepositoriesQuery },
    },
    async (request, reply) => {
      const page = pageOf(request.query)
      const { type } = request.query
      const which = type === 'all' || type === 'member' ? type : 'owner'
      const selection = { ...selectionOf(request.query, 'full_name'), which } as const
      const { account, repositories, total } = await listRepositoriesOfAccount(deps, request.actor, accountOf(request), selection)
      linkPages(reply, `${apiOf(deps, request)}/user/${account.id}/repos`, request.query, page, total)
      const bases = basesOf(deps, request)
      return repositories.map((repository) => presentRepository(bases, repository))
    },
  )
}

function accountOf(request: FastifyRequest): { login: string } | { id: number } {
  const params = request.params as Record<string, string>
  return params['user_id'] === undefined ? { login: params['username'] ?? '' } : { id: idOf(params['user_id']) }
}
