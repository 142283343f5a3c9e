import { Type } from 'typebox'
import { getMembership, listMembers, removeMembership, setMembership } from '../../core/accounts/memberships.ts'
import { getOrganization, listOrganizationRepositories, listOrganizations } from '../../core/accounts/organizations.ts'
import { createRepository, getRepository } from '../../core/repos/repositories.ts'
import { linkPages, PageQuery, pageOf } from '../../http/paging.ts'
import type { App } from '../../http/server.ts'
import { needs, type Need } from '../../model/access.ts'
import { presentMembership, presentOrganization, presentSimpleOrganization, presentSimpleUser } from './present-account.ts'
import { presentRepository } from './present-repository.ts'
import { RepositoriesQuery, selectionOf, visibilitiesOf } from './repository-list.ts'
import { newRepositoryOf, NewRepositoryBody } from './repository-body.ts'
import { apiOf, type RestDeps } from './room.ts'
import { basesOf } from './runs.ts'
import { organizationOf } from '../../http/places.ts'
import { MembershipBody, OrganizationBody, SimpleOrganizationBody, SimpleUserBody } from './shapes-account.ts'
import { RepositoriesBody, RepositoryBody } from './shapes-repository.ts'

const SinceQuery = Type.Object({ since: Type.Optional(Type.String()), per_page: Type.Optional(Type.String()) })
const MembersQuery = Type.Object({ ...PageQuery.properties, role: Type.Optional(Type.String()), filter: Type.Optional(Type.String()) })
const MemberParams = Type.Object({ username: Type.String() })
const MembershipRequest = Type.Object({ role: Type.Optional(Type.Union([Type.Literal('admin'), Type.Literal('member')])) })

const config = (need: Need, docs: string) => ({ access: { by: 'actor' as const, need }, docs })

/** Organizations, their members and repositories: https://docs.github.com/rest/orgs */
export function organizationRoutes(app: App, deps: RestDeps): void {
  app.get(
    '/organizations',
    {
      config: config(needs.anyone, 'orgs/orgs#list-organizations'),
      schema: { operationId: 'orgs/list', response: { 200: Type.Array(SimpleOrganizationBody) }, querystring: SinceQuery },
    },
    async (request, reply) => {
      const { limit } = pageOf(request.query)
      const since = sinceOf(request.query.since)
      // One more than asked for tells whether there is a next page.
      const found = await listOrganizations(deps, { since, limit: limit + 1 })
      const organizations = found.slice(0, limit)
      const address = `${apiOf(deps, request)}/organizations`
      const last = organizations.at(-1)
      if (found.length > limit && last) {
        const size = request.query.per_page === undefined ? '' : `per_page=${limit}&`
        reply.header('Link', `<${address}?${size}since=${last.id}>; rel="next", <${address}{?since}>; rel="first"`)
      }
      const bases = basesOf(deps, request)
      return organizations.map((organization) => presentSimpleOrganization(bases, organization))
    },
  )
  for (const path of ['/orgs/:org', '/organizations/:organization_id']) {
    plainRoutes(app, deps, path)
    repositoriesRoutes(app, deps, path)
    memberRoutes(app, deps, path)
  }
}

function plainRoutes(app: App, deps: RestDeps, path: string): void {
  app.get(
    path,
    {
      config: config(needs.organizationVisible, 'orgs/orgs#get-an-organization'),
      schema: { operationId: 'orgs/get', response: { 200: OrganizationBody } },
    },
    async (request) => presentOrganization(basesOf(deps, request), await getOrganization(deps, request.actor, organizationOf(request))),
  )
}

function repositoriesRoutes(app: App, deps: RestDeps, path: string): void {
  app.get(
    `${path}/repos`,
    {
      config: config(needs.organizationRepositories, 'repos/repos#list-organization-repositories'),
      schema: { operationId: 'repos/list-for-org', response: { 200: RepositoriesBody }, querystring: RepositoriesQuery },
    },
    async (request, reply) => {
      const page = pageOf(request.query)
      const selection = { ...selectionOf(request.query, 'created'), ...visibilitiesOf(request.query.type) }
      const listed = await listOrganizationRepositories(deps, request.actor, organizationOf(request), selection)
      linkPages(reply, `${apiOf(deps, request)}/organizations/${listed.organization.id}/repos`, request.query, page, listed.total)
      const bases = basesOf(deps, request)
      return listed.repositories.map((repository) => presentRepository(bases, repository))
    },
  )
  app.post(
    `${path}/repos`,
    {
      config: config(needs.organizationRepositoryCreate, 'repos/repos#create-an-organization-repository'),
      schema: { operationId: 'repos/create-in-org', response: { 201: RepositoryBody }, body: NewRepositoryBody },
    },
    async (request, reply) => {
      const { account } = await getOrganization(deps, request.actor, organizationOf(request))
      const made = await createRepository(deps, request.actor, { ...newRepositoryOf(request.body), owner: account.login })
      const { repository, role } = await getRepository(deps, request.actor, { id: made.id })
      const presented = presentRepository(basesOf(deps, request), repository, role)
      return reply.code(201).header('Location', presented.url).send(presented)
    },
  )
}

function memberRoutes(app: App, deps: RestDeps, path: string): void {
  app.get(
    `${path}/members`,
    {
      config: config(needs.organizationMembersRead, 'orgs/members#list-organization-members'),
      schema: { operationId: 'orgs/list-members', response: { 200: Type.Array(SimpleUserBody) }, querystring: MembersQuery },
    },
    async (request, reply) => {
      const page = pageOf(request.query)
      const role = request.query.role === 'admin' ? 'owner' : request.query.role === 'member' ? 'member' : undefined
      const listed = await listMembers(deps, request.actor, { organization: organizationOf(request), role }, page)
      linkPages(reply, `${apiOf(deps, request)}/organizations/${listed.organization.id}/members`, request.query, page, listed.total)
      const bases = basesOf(deps, request)
      return listed.members.map((member) => presentSimpleUser(bases, member))
    },
  )
  const membership = `${path}/memberships/:username`
  app.get(
    membership,
    {
      config: config(needs.organizationMembersRead, 'orgs/members#get-organization-membership-for-a-user'),
      schema: { operationId: 'orgs/get-membership-for-user', response: { 200: MembershipBody }, params: MemberParams },
    },
    async (request) => {
      const found = await getMembership(deps, request.actor, { organization: organizationOf(request), login: request.params.username })
      return presentMembership(basesOf(deps, request), found)
    },
  )
  app.put(
    membership,
    {
      config: config(needs.organizationMembersWrite, 'orgs/members#set-organization-membership-for-a-user'),
      schema: {
        operationId: 'orgs/set-membership-for-user',
        response: { 200: MembershipBody },
        params: MemberParams,
        body: MembershipRequest,
      },
    },
    async (request) => {
      const role = request.body.role === 'admin' ? 'owner' : 'member'
      const input = { organization: organizationOf(request), login: request.params.username, role } as const
      return presentMembership(basesOf(deps, request), await setMembership(deps, request.actor, input))
    },
  )
  app.delete(
    membership,
    {
      config: config(needs.organizationMembersWrite, 'orgs/members#remove-organization-membership-for-a-user'),
      schema: { operationId: 'orgs/remove-membership-for-user', params: MemberParams },
    },
    async (request, reply) => {
      await removeMembership(deps, request.actor, { organization: organizationOf(request), login: request.params.username })
      return reply.code(204).send()
    },
  )
}

/** What is no number begins at the beginning, as with pages. */
function sinceOf(text: string | undefined): number {
  return text !== undefined && /^\d{1,15}$/.test(text) ? Number(text) : 0
}
