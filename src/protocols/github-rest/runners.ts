import { Type, type Static } from 'typebox'
import { generateJitConfig } from '../../core/runners/jit-config.ts'
import { createRegistrationToken, runnerNeeds, runnerReadNeeds } from '../../core/runners/registration-tokens.ts'
import { listApplications } from '../../core/runners/runner-packages.ts'
import { deleteRunner, getRunner, listRunners } from '../../core/runners/runners.ts'
import type { RunnerScope } from '../../core/access/authorize.ts'
import { baseOf, contentBaseOf } from '../../http/addresses.ts'
import { linkPages, PageQuery, pageOf } from '../../http/paging.ts'
import type { App } from '../../http/server.ts'
import '../../http/access.ts'
import { orRegistration, type Need } from '../../model/access.ts'
import { isOnline, type Runner } from '../../model/runner.ts'
import { encodeJitConfig } from './jit-config.ts'
import type { RestDeps } from './room.ts'
import { idOf, scopeOf } from '../../http/places.ts'
import { canonical, OPERATIONS, SCOPES, WORDS } from './runner-scopes.ts'
import { Time } from '../../http/answers.ts'

export const LabelBody = Type.Object(
  { id: Type.Integer(), name: Type.String(), type: Type.Union([Type.Literal('read-only'), Type.Literal('custom')]) },
  { title: 'RunnerLabel' },
)

export type RunnerBody = Static<typeof RunnerBody>
export const RunnerBody = Type.Object(
  {
    id: Type.Integer(),
    name: Type.String(),
    os: Type.String(),
    status: Type.Union([Type.Literal('online'), Type.Literal('offline')]),
    busy: Type.Boolean(),
    ephemeral: Type.Boolean(),
    version: Type.Union([Type.String(), Type.Null()]),
    runner_group_id: Type.Integer(),
    labels: Type.Array(LabelBody),
  },
  { title: 'Runner' },
)

export const RunnersBody = Type.Object({ total_count: Type.Integer(), runners: Type.Array(RunnerBody) })

const ApplicationsBody = Type.Array(
  Type.Object(
    {
      os: Type.String(),
      architecture: Type.String(),
      download_url: Type.String(),
      filename: Type.String(),
      sha256_checksum: Type.Optional(Type.String()),
    },
    { title: 'RunnerApplication' },
  ),
)

const TokenBody = Type.Object({ token: Type.String(), expires_at: Time }, { title: 'RegistrationToken' })

const JitRequest = Type.Object({
  name: Type.String(),
  runner_group_id: Type.Integer({ minimum: 1, maximum: 2_147_483_647 }),
  labels: Type.Array(Type.String(), { minItems: 1, maxItems: 100 }),
  work_folder: Type.Optional(Type.String({ maxLength: 1024 })),
})

const ListQuery = Type.Object({ ...PageQuery.properties, name: Type.Optional(Type.String()) })
const RunnerParams = Type.Object({ runner_id: Type.String() })

const DELETES = {
  enterprise: 'enterprise-admin/delete-self-hosted-runner-from-enterprise',
  organization: 'actions/delete-self-hosted-runner-from-org',
  repository: 'actions/delete-self-hosted-runner-from-repo',
}
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
        response: { 201: Type.Object({ runner: RunnerBody, encoded_jit_config: Type.String() }, { title: 'JitConfig' }) },
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
    `${runners}/deprecations/:version`,
    {
      config: route('get-the-deprecation-of-a-runner-version', read),
      schema: {
        operationId: `${scope === 'enterprise' ? 'enterprise-admin' : 'actions'}/get-runner-version-deprecation-${operation('x').split('/x-')[1] ?? ''}`,
        params: Type.Object({ version: Type.String({ maxLength: 100 }) }),
        response: {
          200: Type.Object({ runner_version: Type.String(), registration_deprecates_at: Type.Null(), runtime_deprecates_at: Type.Null() }),
        },
      },
    },
    async (request) => {
      await listApplications(deps, request.actor, scopeOf(request))
      // This server ends no version's life, so every version is asked for in vain (rest-api.md 2.3).
      return { runner_version: request.params.version, registration_deprecates_at: null, runtime_deprecates_at: null }
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
}

export function presentRunner(runner: Runner, now: number, { times }: Pick<RestDeps, 'times'>): RunnerBody {
  const { id, name, os, busy, ephemeral, version, groupNumber, labels } = runner
  const status = isOnline(runner, now, times) ? 'online' : 'offline'
  return { id, name, os, status, busy, ephemeral, version, runner_group_id: groupNumber, labels }
}
