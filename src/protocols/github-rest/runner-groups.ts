import type { FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import type { RunnerScope } from '../../core/access/authorize.ts'
import { runnerNeeds, runnerReadNeeds } from '../../core/runners/registration-tokens.ts'
import {
  changeGroupAccess,
  changeGroupRunner,
  createRunnerGroup,
  deleteRunnerGroup,
  getRunnerGroup,
  listGroupAccess,
  listGroupRunners,
  listRunnerGroups,
  setGroupAccess,
  setGroupRunners,
  updateRunnerGroup,
  type GroupView,
} from '../../core/runners/runner-groups.ts'
import type { Deprecation } from '../../http/deprecation.ts'
import { linkPages, PageQuery, pageOf } from '../../http/paging.ts'
import type { App } from '../../http/server.ts'
import '../../http/access.ts'
import { orRegistration, type Need } from '../../model/access.ts'
import { DEFAULT_GROUP_NAME, DEFAULT_GROUP_NUMBER } from '../../model/runner-group.ts'
import { presentSimpleOrganization } from './present-account.ts'
import { basesOf } from './runs.ts'
import { presentRepository } from './present-repository.ts'
import type { RestDeps } from './room.ts'
import { idOf, scopeOf } from '../../http/places.ts'
import { canonical, OPERATIONS, SCOPES } from './runner-scopes.ts'
import { presentRunner, RunnersBody } from './runners.ts'
import { SimpleOrganizationBody } from './shapes-account.ts'
import { CountedRepositoriesBody } from './shapes-repository.ts'
import { RunnerGroupBody, RunnerGroupsBody } from './shapes-runner-group.ts'

const MAX_IDS = 10_000
const Ids = Type.Array(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }), { maxItems: MAX_IDS })
const Visibility = Type.Union([Type.Literal('all'), Type.Literal('selected'), Type.Literal('private')])

const Settings = {
  visibility: Type.Optional(Visibility),
  allows_public_repositories: Type.Optional(Type.Boolean()),
  restricted_to_workflows: Type.Optional(Type.Boolean()),
  selected_workflows: Type.Optional(Type.Array(Type.String({ maxLength: 500 }), { maxItems: 1000 })),
}
const CreateRequest = Type.Object({
  name: Type.String({ maxLength: 1000 }),
  ...Settings,
  selected_repository_ids: Type.Optional(Ids),
  selected_organization_ids: Type.Optional(Ids),
  runners: Type.Optional(Ids),
})
/** GitHub's description asks for `name` at organizations; lenient here (rest-api.md 2.4). */
const UpdateRequest = Type.Object({ name: Type.Optional(Type.String({ maxLength: 1000 })), ...Settings })
const GroupParams = Type.Object({ runner_group_id: Type.String() })
const TargetParams = Type.Object({ runner_group_id: Type.String(), target_id: Type.String() })

const PAGE = 'https://docs.github.com/rest/actions/self-hosted-runner-groups'

/** The documented path, and the spelling that GitHub's own examples mix in: who copied it is told to leave it. */
const SPELLINGS: { segment: string; deprecated?: Deprecation }[] = [
  { segment: 'runner-groups' },
  { segment: 'runner_groups', deprecated: { since: '2026-11-24', see: PAGE } },
]

/**
 * Runner groups: https://docs.github.com/rest/actions/self-hosted-runner-groups. Repositories have the two reads for `config.sh` only
 * (rest-api.md 2.4, 2.5).
 */
export function runnerGroupRoutes(app: App, deps: RestDeps): void {
  for (const at of SCOPES) for (const spelling of SPELLINGS) groupRoutes(app, deps, at, spelling)
}

type At = { path: string; scope: RunnerScope['kind'] }

function groupRoutes(app: App, deps: RestDeps, { path, scope }: At, { segment, deprecated }: (typeof SPELLINGS)[number]): void {
  const operation = OPERATIONS[scope]
  const [read, write] = [runnerReadNeeds[scope], runnerNeeds[scope]]
  const config = (verb: string, access: Need = write) => ({
    access: { by: 'actor' as const, need: access },
    docs: `actions/self-hosted-runner-groups#${verb}-for-${scope === 'enterprise' ? 'an-enterprise' : 'an-organization'}`,
    ...(deprecated && { deprecated }),
  })
  const groups = `${path}/actions/${segment}`
  const of = (request: FastifyRequest) => {
    const { runner_group_id } = request.params as { runner_group_id: string }
    return { scope: scopeOf(request), number: idOf(runner_group_id) }
  }
  const present = (request: FastifyRequest, at: RunnerScope, view: GroupView) =>
    presentGroup(view, at, `${canonical(deps, request, at)}/actions/runner-groups`)

  app.get(
    groups,
    {
      config: config('list-self-hosted-runner-groups', orRegistration(read, 'register')),
      schema: {
        operationId: operation('list-self-hosted-runner-groups'),
        response: { 200: RunnerGroupsBody },
        querystring: Type.Object({
          ...PageQuery.properties,
          visible_to_repository: Type.Optional(Type.String()),
          visible_to_organization: Type.Optional(Type.String()),
        }),
      },
    },
    async (request, reply) => {
      const page = pageOf(request.query)
      const { visible_to_repository, visible_to_organization } = request.query
      const visibleTo = scope === 'organization' ? visible_to_repository : visible_to_organization
      const listed = await listRunnerGroups(deps, request.actor, {
        scope: scopeOf(request),
        visibleTo,
        offset: page.offset,
        limit: page.limit,
      })
      linkPages(reply, `${canonical(deps, request, listed.scope)}/actions/runner-groups`, request.query, page, listed.total)
      return { total_count: listed.total, runner_groups: listed.groups.map((view) => present(request, listed.scope, view)) }
    },
  )
  app.get(
    `${groups}/:runner_group_id`,
    {
      config: config('get-a-self-hosted-runner-group', orRegistration(read, 'register')),
      schema: { operationId: operation('get-self-hosted-runner-group'), params: GroupParams, response: { 200: RunnerGroupBody } },
    },
    async (request) => {
      const { scope: at, view } = await getRunnerGroup(deps, request.actor, of(request))
      return present(request, at, view)
    },
  )
  if (scope === 'repository') return

  app.post(
    groups,
    {
      config: config('create-a-self-hosted-runner-group'),
      schema: { operationId: operation('create-self-hosted-runner-group'), body: CreateRequest, response: { 201: RunnerGroupBody } },
    },
    async (request, reply) => {
      const { body } = request
      const made = await createRunnerGroup(deps, request.actor, {
        scope: scopeOf(request),
        name: body.name,
        targetIds: scope === 'enterprise' ? body.selected_organization_ids : body.selected_repository_ids,
        runnerIds: body.runners,
        ...changeOf(body),
      })
      return reply.code(201).send(present(request, made.scope, made.view))
    },
  )
  app.patch(
    `${groups}/:runner_group_id`,
    {
      config: config('update-a-self-hosted-runner-group'),
      schema: {
        operationId: operation('update-self-hosted-runner-group'),
        params: GroupParams,
        body: UpdateRequest,
        response: { 200: RunnerGroupBody },
      },
    },
    async (request) => {
      const { name } = request.body
      const changed = await updateRunnerGroup(deps, request.actor, { ...of(request), name, ...changeOf(request.body) })
      return present(request, changed.scope, changed.view)
    },
  )
  app.delete(
    `${groups}/:runner_group_id`,
    {
      config: config('delete-a-self-hosted-runner-group'),
      schema: { operationId: operation('delete-self-hosted-runner-group').replace('-for-', '-from-'), params: GroupParams },
    },
    async (request, reply) => {
      await deleteRunnerGroup(deps, request.actor, of(request))
      return reply.code(204).send()
    },
  )
  app.get(
    `${groups}/:runner_group_id/hosted-runners`,
    {
      config: config('list-github-hosted-runners-in-a-group', read),
      // Described for organizations only.
      schema: {
        ...(scope === 'organization'
          ? { operationId: operation('list-github-hosted-runners-in-group') }
          : {
              operationId: 'fleetfoot/list-github-hosted-runners-in-group-for-enterprise',
              summary: 'List GitHub-hosted runners in a group for an enterprise',
              tags: ['enterprise-admin'],
            }),
        params: GroupParams,
        response: { 200: RunnersBody },
      },
    },
    async (request) => {
      await listGroupRunners(deps, request.actor, { ...of(request), offset: 0, limit: 1 })
      // There are no hosted runners here, in any group.
      return { total_count: 0, runners: [] }
    },
  )
  accessRoutes(app, deps, { path, scope }, groups, of, config)
  memberRoutes(app, deps, { path, scope }, groups, of, config)
}

function changeOf(body: Omit<Static<typeof UpdateRequest>, 'name'>) {
  return {
    visibility: body.visibility,
    allowsPublicRepositories: body.allows_public_repositories,
    restrictedToWorkflows: body.restricted_to_workflows,
    selectedWorkflows: body.selected_workflows,
  }
}

type GroupOf = (request: FastifyRequest) => { scope: ReturnType<typeof scopeOf>; number: number }
type ConfigOf = (verb: string, access?: Need) => { access: { by: 'actor'; need: Need }; docs: string }

/** Whom a group is open to: repositories of an organization, organizations of the enterprise. */
function accessRoutes(app: App, deps: RestDeps, { scope }: At, groups: string, of: GroupOf, config: ConfigOf): void {
  const isEnterprise = scope === 'enterprise'
  const list = `${groups}/:runner_group_id/${isEnterprise ? 'organizations' : 'repositories'}`
  const operation = (verb: 'list' | 'set' | 'add' | 'remove') =>
    isEnterprise
      ? `enterprise-admin/${verb}-org-access-to-self-hosted-runner-group-in-enterprise`
      : `actions/${verb}-repo-access-to-self-hosted-runner-group-in-org`
  const docs = (verb: string) => `${verb}-${isEnterprise ? 'organization' : 'repository'}-access-to-a-self-hosted-runner-group`

  app.get(
    list,
    {
      config: config(docs('list'), runnerReadNeeds[scope]),
      schema: {
        operationId: operation('list'),
        params: GroupParams,
        querystring: PageQuery,
        response: {
          200: isEnterprise
            ? Type.Object({ total_count: Type.Integer(), organizations: Type.Array(SimpleOrganizationBody) })
            : CountedRepositoriesBody,
        },
      },
    },
    async (request, reply) => {
      const page = pageOf(request.query)
      const listed = await listGroupAccess(deps, request.actor, { ...of(request), offset: page.offset, limit: page.limit })
      const address = `${canonical(deps, request, listed.scope)}/actions/runner-groups/${request.params.runner_group_id}`
      linkPages(reply, `${address}/${isEnterprise ? 'organizations' : 'repositories'}`, request.query, page, listed.total)
      const bases = basesOf(deps, request)
      return isEnterprise
        ? { total_count: listed.total, organizations: listed.organizations.map((each) => presentSimpleOrganization(bases, each)) }
        : { total_count: listed.total, repositories: listed.repositories.map((each) => presentRepository(bases, each, 'admin')) }
    },
  )
  app.put(
    list,
    {
      config: config(docs('set')),
      schema: {
        operationId: operation('set'),
        params: GroupParams,
        body: isEnterprise
          ? Type.Object({ selected_organization_ids: Ids, selected_repository_ids: Type.Optional(Ids) })
          : Type.Object({ selected_repository_ids: Ids, selected_organization_ids: Type.Optional(Ids) }),
      },
    },
    async (request, reply) => {
      const { selected_organization_ids, selected_repository_ids } = request.body
      const ids = (isEnterprise ? selected_organization_ids : selected_repository_ids) ?? []
      await setGroupAccess(deps, request.actor, { ...of(request), ids })
      return reply.code(204).send()
    },
  )
  for (const [method, verb] of [
    ['PUT', 'add'],
    ['DELETE', 'remove'],
  ] as const) {
    app.route({
      method,
      url: `${list}/:target_id`,
      config: config(docs(verb)),
      schema: { operationId: operation(verb), params: TargetParams },
      handler: async (request, reply) => {
        const { target_id } = request.params
        await changeGroupAccess(deps, request.actor, { ...of(request), id: idOf(target_id), change: verb })
        return reply.code(204).send()
      },
    })
  }
}

/** The runners in a group. */
function memberRoutes(app: App, deps: RestDeps, { scope }: At, groups: string, of: GroupOf, config: ConfigOf): void {
  const runners = `${groups}/:runner_group_id/runners`
  const operation = OPERATIONS[scope]

  app.get(
    runners,
    {
      config: config('list-self-hosted-runners-in-a-group', runnerReadNeeds[scope]),
      schema: {
        operationId: operation('list-self-hosted-runners-in-group'),
        params: GroupParams,
        querystring: PageQuery,
        response: { 200: RunnersBody },
      },
    },
    async (request, reply) => {
      const page = pageOf(request.query)
      const listed = await listGroupRunners(deps, request.actor, { ...of(request), offset: page.offset, limit: page.limit })
      const address = `${canonical(deps, request, listed.scope)}/actions/runner-groups/${request.params.runner_group_id}/runners`
      linkPages(reply, address, request.query, page, listed.total)
      const now = deps.now()
      return { total_count: listed.total, runners: listed.runners.map((runner) => presentRunner(runner, now, deps)) }
    },
  )
  app.put(
    runners,
    {
      config: config('set-self-hosted-runners-in-a-group'),
      schema: { operationId: operation('set-self-hosted-runners-in-group'), params: GroupParams, body: Type.Object({ runners: Ids }) },
    },
    async (request, reply) => {
      await setGroupRunners(deps, request.actor, { ...of(request), runnerIds: request.body.runners })
      return reply.code(204).send()
    },
  )
  for (const [method, verb, word] of [
    ['PUT', 'add', 'add-self-hosted-runner-to-group'],
    ['DELETE', 'remove', 'remove-self-hosted-runner-from-group'],
  ] as const) {
    app.route({
      method,
      url: `${runners}/:target_id`,
      config: config(`${verb}-a-self-hosted-runner-${verb === 'add' ? 'to' : 'from'}-a-group`),
      schema: { operationId: operation(word), params: TargetParams },
      handler: async (request, reply) => {
        const { target_id } = request.params
        await changeGroupRunner(deps, request.actor, { ...of(request), runnerId: idOf(target_id), change: verb })
        return reply.code(204).send()
      },
    })
  }
}

/** The group's keys in the order of GitHub's examples; a `selected_*_url` only with that visibility (rest-api.md 2.4). */
function presentGroup(view: GroupView, scope: RunnerScope, address: string): RunnerGroupBody {
  const group = view.kind === 'own' ? view.group : view.kind === 'inherited' ? view.inherited.group : undefined
  const isInherited = view.kind === 'inherited'
  const id = view.kind === 'own' ? view.group.number : isInherited ? view.inherited.number : DEFAULT_GROUP_NUMBER
  const visibility = isInherited ? view.inherited.visibility : (group?.visibility ?? 'all')
  const ofEnterprise = group?.allowsPublicRepositories ?? true
  const targets = scope.kind === 'enterprise' ? 'organizations' : 'repositories'
  return {
    id,
    name: group?.name ?? DEFAULT_GROUP_NAME,
    visibility,
    // config.sh takes the default group of the list for a runner that names none: one that is inherited cannot be joined.
    default: !isInherited && id === DEFAULT_GROUP_NUMBER,
    ...(visibility === 'selected' && { [`selected_${targets}_url`]: `${address}/${id}/${targets}` }),
    runners_url: `${address}/${id}/runners`,
    hosted_runners_url: `${address}/${id}/hosted-runners`,
    ...(scope.kind !== 'enterprise' && { inherited: isInherited }),
    ...(isInherited && { inherited_allows_public_repositories: ofEnterprise }),
    allows_public_repositories: isInherited ? (view.inherited.allowsPublicRepositories ?? ofEnterprise) && ofEnterprise : ofEnterprise,
    restricted_to_workflows: group?.restrictedToWorkflows ?? false,
    selected_workflows: group?.selectedWorkflows.map(({ text }) => text) ?? [],
    workflow_restrictions_read_only: isInherited,
    // Read by config.sh (runner-protocol.md 2.3).
    is_hosted: false,
  }
}
