import type { FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import { generateJitConfig } from '../../core/runners/jit-config.ts'
import { createRegistrationToken, runnerNeeds, runnerReadNeeds } from '../../core/runners/registration-tokens.ts'
import { listApplications } from '../../core/runners/runner-packages.ts'
import { deleteRunner, getRunner, listRunnerGroups, listRunners, updateRunnerGroup, type GroupView } from '../../core/runners/runners.ts'
import type { RunnerScope, RunnerScopeRef } from '../../core/access/authorize.ts'
import { baseOf, contentBaseOf } from '../../http/addresses.ts'
import { linkPages, PageQuery, pageOf } from '../../http/paging.ts'
import type { App } from '../../http/server.ts'
import '../../http/access.ts'
import { orRegistration, type Need } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import { isOnline, type Runner } from '../../model/runner.ts'
import { encodeJitConfig } from './jit-config.ts'
import { apiOf, type RestDeps } from './room.ts'

const LabelBody = Type.Object({
  id: Type.Integer(),
  name: Type.String(),
  type: Type.Union([Type.Literal('read-only'), Type.Literal('custom')]),
})

export type RunnerBody = Static<typeof RunnerBody>
export const RunnerBody = Type.Object({
  id: Type.Integer(),
  name: Type.String(),
  os: Type.String(),
  status: Type.Union([Type.Literal('online'), Type.Literal('offline')]),
  busy: Type.Boolean(),
  ephemeral: Type.Boolean(),
  version: Type.Union([Type.String(), Type.Null()]),
  runner_group_id: Type.Integer(),
  labels: Type.Array(LabelBody),
})

const RunnersBody = Type.Object({ total_count: Type.Integer(), runners: Type.Array(RunnerBody) })

const ApplicationsBody = Type.Array(
  Type.Object({
    os: Type.String(),
    architecture: Type.String(),
    download_url: Type.String(),
    filename: Type.String(),
    sha256_checksum: Type.Optional(Type.String()),
  }),
)

const TokenBody = Type.Object({ token: Type.String(), expires_at: Type.String() })

const JitRequest = Type.Object({
  name: Type.String(),
  runner_group_id: Type.Integer({ minimum: 1, maximum: 2_147_483_647 }),
  labels: Type.Array(Type.String(), { minItems: 1, maxItems: 100 }),
  work_folder: Type.Optional(Type.String({ maxLength: 1024 })),
})

const GroupChange = Type.Object({
  name: Type.Optional(Type.String()),
  visibility: Type.Optional(Type.String()),
  allows_public_repositories: Type.Optional(Type.Boolean()),
})

const ListQuery = Type.Object({ ...PageQuery.properties, name: Type.Optional(Type.String()) })
const RunnerParams = Type.Object({ runner_id: Type.String() })

/** The three scopes, with the numeric aliases that `Link` headers name, and the operations' names there. */
const SCOPES = [
  { path: '/enterprises/:enterprise', scope: 'enterprise' },
  { path: '/orgs/:org', scope: 'organization' },
  { path: '/organizations/:organization_id', scope: 'organization' },
  { path: '/repos/:owner/:repo', scope: 'repository' },
  { path: '/repositories/:repository_id', scope: 'repository' },
] as const

const OPERATIONS = {
  enterprise: (verb: string) => `enterprise-admin/${verb}-for-enterprise`,
  organization: (verb: string) => `actions/${verb}-for-org`,
  repository: (verb: string) => `actions/${verb}-for-repo`,
}
const DELETES = {
  enterprise: 'enterprise-admin/delete-self-hosted-runner-from-enterprise',
  organization: 'actions/delete-self-hosted-runner-from-org',
  repository: 'actions/delete-self-hosted-runner-from-repo',
}
const WORDS = { enterprise: 'an-enterprise', organization: 'an-organization', repository: 'a-repository' }

/** Self-hosted runners of enterprises, organizations and repositories: https://docs.github.com/rest/actions/self-hosted-runners */
export function runnerRoutes(app: App, deps: RestDeps): void {
  for (const at of SCOPES) scopeRoutes(app, deps, at)
}

function scopeRoutes(app: App, deps: RestDeps, { path, scope }: { path: string; scope: RunnerScope['kind'] }): void {
  const read = runnerReadNeeds[scope]
  const write = runnerNeeds[scope]
  const operation = OPERATIONS[scope]
  const route = (verb: string, access: Need) => ({
    access: { by: 'actor' as const, need: access },
    docs: `actions/self-hosted-runners#${verb}-for-${WORDS[scope]}`,
  })
  const runners = `${path}/actions/runners`

  app.get(
    runners,
    {
      config: route('list-self-hosted-runners', orRegistration(read, 'register')),
      schema: { operationId: operation('list-self-hosted-runners'), querystring: ListQuery, response: { 200: RunnersBody } },
    },
    async (request, reply) => {
      const page = pageOf(request.query)
      const { name } = request.query
      const listed = await listRunners(deps, request.actor, { scope: scopeOf(request), name, offset: page.offset, limit: page.limit })
      linkPages(reply, `${canonical(deps, request, listed.scope)}/actions/runners`, request.query, page, listed.total)
      const now = deps.now()
      return { total_count: listed.total, runners: listed.runners.map((runner) => presentRunner(runner, now, deps)) }
    },
  )

  app.get(
    `${runners}/downloads`,
    {
      config: route('list-runner-applications', read),
      schema: { operationId: operation('list-runner-applications'), response: { 200: ApplicationsBody } },
    },
    async (request) => {
      const applications = await listApplications(deps, request.actor, scopeOf(request))
      return applications.map(({ os, architecture, filename, sha256, url }) => ({
        os,
        architecture,
        download_url: url ?? `${contentBaseOf(deps.book, request)}/_packages/${filename}`,
        filename,
        ...(sha256 !== undefined && { sha256_checksum: sha256 }),
      }))
    },
  )

  for (const [segment, purpose] of [
    ['registration-token', 'register'],
    ['remove-token', 'remove'],
  ] as const) {
    app.post(
      `${runners}/${segment}`,
      {
        config: route(`create-a-${segment}`, write),
        schema: { operationId: operation(`create-${segment}`), response: { 201: TokenBody } },
      },
      async (request, reply) => {
        const { token, expiresAt } = await createRegistrationToken(deps, request.actor, { scope: scopeOf(request), purpose })
        // Three digits and a numeric offset, as recorded (rest-api.md 1.5).
        return reply.code(201).send({ token, expires_at: new Date(expiresAt).toISOString().replace('Z', '+00:00') })
      },
    )
  }

  app.post(
    `${runners}/generate-jitconfig`,
    {
      config: route('create-configuration-for-a-just-in-time-runner', write),
      schema: {
        operationId: `actions/generate-runner-jitconfig-${operation('x').split('/x-')[1] ?? ''}`,
        body: JitRequest,
        response: { 201: Type.Object({ runner: RunnerBody, encoded_jit_config: Type.String() }) },
      },
    },
    async (request, reply) => {
      const { name, runner_group_id, labels, work_folder = '_work' } = request.body
      const made = await generateJitConfig(deps, request.actor, {
        scope: scopeOf(request),
        name,
        groupNumber: runner_group_id,
        labels,
        workFolder: work_folder,
      })
      return reply.code(201).send({
        runner: presentRunner(made.runner, deps.now(), deps),
        encoded_jit_config: encodeJitConfig(made, baseOf(deps.book, request)),
      })
    },
  )

  app.get(
    `${runners}/:runner_id`,
    {
      config: route('get-a-self-hosted-runner', read),
      schema: { operationId: operation('get-self-hosted-runner'), params: RunnerParams, response: { 200: RunnerBody } },
    },
    async (request) => {
      const runner = await getRunner(deps, request.actor, { scope: scopeOf(request), runnerId: idOf(request.params.runner_id) })
      return presentRunner(runner, deps.now(), deps)
    },
  )

  app.delete(
    `${runners}/:runner_id`,
    {
      config: route('delete-a-self-hosted-runner', orRegistration(write, 'remove')),
      schema: { operationId: DELETES[scope], params: RunnerParams },
    },
    async (request, reply) => {
      await deleteRunner(deps, request.actor, { scope: scopeOf(request), runnerId: idOf(request.params.runner_id) })
      return reply.code(204).send()
    },
  )

  // The documented path and the spelling that GitHub's own examples mix in; repositories have it for `config.sh` only (rest-api.md 2.4, 2.5).
  for (const segment of ['runner-groups', 'runner_groups']) {
    app.get(
      `${path}/actions/${segment}`,
      {
        config: route('list-self-hosted-runner-groups', orRegistration(read, 'register')),
        schema: { operationId: operation('list-self-hosted-runner-groups') },
      },
      async (request) => {
        const listed = await listRunnerGroups(deps, request.actor, scopeOf(request))
        const address = `${canonical(deps, request, listed.scope)}/actions/runner-groups`
        return {
          total_count: listed.groups.length,
          runner_groups: listed.groups.map((group) => presentGroup(group, listed.scope, address)),
        }
      },
    )
    app.get(
      `${path}/actions/${segment}/:runner_group_id`,
      {
        config: route('get-a-self-hosted-runner-group', orRegistration(read, 'register')),
        schema: { operationId: operation('get-self-hosted-runner-group'), params: Type.Object({ runner_group_id: Type.String() }) },
      },
      async (request) => {
        const listed = await listRunnerGroups(deps, request.actor, scopeOf(request))
        const group = listed.groups.find(({ id }) => id === idOf(request.params.runner_group_id))
        if (!group) throw new AppError('not_found', 'Not Found')
        return presentGroup(group, listed.scope, `${canonical(deps, request, listed.scope)}/actions/runner-groups`)
      },
    )
    if (scope === 'repository') continue
    app.patch(
      `${path}/actions/${segment}/:runner_group_id`,
      {
        config: route('update-a-self-hosted-runner-group', write),
        schema: {
          operationId: operation('update-self-hosted-runner-group'),
          params: Type.Object({ runner_group_id: Type.String() }),
          body: GroupChange,
        },
      },
      async (request) => {
        const { name, visibility, allows_public_repositories } = request.body
        const number = idOf(request.params.runner_group_id)
        const changed = await updateRunnerGroup(deps, request.actor, {
          scope: scopeOf(request),
          number,
          name,
          visibility,
          allowsPublicRepositories: allows_public_repositories,
        })
        return presentGroup(changed.group, changed.scope, `${canonical(deps, request, changed.scope)}/actions/runner-groups`)
      },
    )
  }
}

export function presentRunner(runner: Runner, now: number, { times }: Pick<RestDeps, 'times'>): RunnerBody {
  const { id, name, os, busy, ephemeral, version, groupNumber, labels } = runner
  const status = isOnline(runner, now, times) ? 'online' : 'offline'
  return { id, name, os, status, busy, ephemeral, version, runner_group_id: groupNumber, labels }
}

function presentGroup(group: GroupView, scope: RunnerScope, address: string) {
  const { id, name, visibility, isDefault, allowsPublicRepositories } = group
  return {
    id,
    name,
    visibility,
    default: isDefault,
    runners_url: `${address}/${id}/runners`,
    hosted_runners_url: `${address}/${id}/hosted-runners`,
    ...(scope.kind !== 'enterprise' && { inherited: false }),
    allows_public_repositories: allowsPublicRepositories,
    restricted_to_workflows: false,
    selected_workflows: [],
    workflow_restrictions_read_only: false,
    // Read by config.sh (runner-protocol.md 2.3).
    is_hosted: false,
  }
}

/** The scope that a path names, by name or by number. */
function scopeOf(request: FastifyRequest): RunnerScopeRef {
  const params = request.params as Record<string, string>
  if (params['enterprise'] !== undefined) return { kind: 'enterprise', slug: params['enterprise'] }
  if (params['org'] !== undefined) return { kind: 'organization', login: params['org'] }
  if (params['organization_id'] !== undefined) return { kind: 'organization', id: idOf(params['organization_id']) }
  if (params['repository_id'] !== undefined) return { kind: 'repository', repository: { id: idOf(params['repository_id']) } }
  return { kind: 'repository', repository: { owner: params['owner'] ?? '', name: params['repo'] ?? '' } }
}

/** A positive whole number, or not found: GitHub's router does not match anything else (rest-api.md 1.1). */
export function idOf(text: string): number {
  const id = Number(text)
  if (!/^[1-9]\d{0,15}$/.test(text) || !Number.isSafeInteger(id)) throw new AppError('not_found', 'Not Found')
  return id
}

function canonical(deps: RestDeps, request: FastifyRequest, scope: RunnerScope): string {
  const api = apiOf(deps, request)
  if (scope.kind === 'enterprise') return `${api}/enterprises/${scope.enterprise.slug}`
  return scope.kind === 'organization' ? `${api}/organizations/${scope.id}` : `${api}/repositories/${scope.id}`
}
