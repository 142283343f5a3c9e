import { Type } from 'typebox'
import { getApp, getOwnApp } from '../../core/apps/apps.ts'
import { createInstallationToken, revokeInstallationToken } from '../../core/apps/installation-tokens.ts'
import {
  deleteInstallation,
  getInstallation,
  getInstallationAt,
  getInstallationOfRepository,
  listInstallations,
  listInstallationsOfOrganization,
  listRepositoriesOfInstallation,
  suspendInstallation,
} from '../../core/apps/installations.ts'
import { convertManifest } from '../../core/apps/manifests.ts'
import { linkPages, PageQuery, pageOf } from '../../http/paging.ts'
import type { App } from '../../http/server.ts'
import { needs, type Need } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import { presentApp, presentInstallation, presentNewApp } from './present-app.ts'
import { presentRepository } from './present-repository.ts'
import { apiOf, type RestDeps } from './room.ts'
import { basesOf, repositoryOf } from './runs.ts'
import { idOf, organizationOf, isoTime } from '../../http/places.ts'
import { NoBody } from '../../http/answers.ts'
import { AppBody, InstallationBody, InstallationsBody, InstallationTokenBody, NewAppBody } from './shapes-app.ts'
import { CountedRepositoriesBody } from './shapes-repository.ts'

const InstallationParams = Type.Object({ installation_id: Type.String() })
const MAX_ID = 2 ** 53 - 1
const TokenRequest = Type.Object({
  repositories: Type.Optional(Type.Array(Type.String({ maxLength: 200 }), { maxItems: 500 })),
  repository_ids: Type.Optional(Type.Array(Type.Integer({ minimum: 1, maximum: MAX_ID }), { maxItems: 500 })),
  /** What is no object is a body that cannot be read, not one that does not fit (rest-api.md 2.17). */
  permissions: Type.Optional(Type.Unknown()),
})

const config = (need: Need, docs: string) => ({ access: { by: 'actor' as const, need }, docs })

/** GitHub Apps and their installations: https://docs.github.com/rest/apps */
export function appRoutes(app: App, deps: RestDeps): void {
  ownRoutes(app, deps)
  installationRoutes(app, deps)
  tokenRoutes(app, deps)
  whereRoutes(app, deps)
}

function ownRoutes(app: App, deps: RestDeps): void {
  app.post(
    '/app-manifests/:code/conversions',
    {
      config: config(needs.anyone, 'apps/apps#create-a-github-app-from-a-manifest'),
      schema: { operationId: 'apps/create-from-manifest', response: { 201: NewAppBody }, params: Type.Object({ code: Type.String() }) },
    },
    async (request, reply) => {
      const made = await convertManifest(deps, request.actor, request.params.code)
      return reply
        .code(201)
        .header('Cache-Control', 'no-store')
        .send(presentNewApp(basesOf(deps, request), made))
    },
  )
  app.get(
    '/app',
    // It tells how often the App is installed.
    {
      config: { ...config(needs.app, 'apps/apps#get-the-authenticated-app'), isLive: true },
      schema: { operationId: 'apps/get-authenticated', response: { 200: AppBody } },
    },
    async (request) => presentApp(basesOf(deps, request), await getOwnApp(deps, request.actor)),
  )
  app.get(
    '/apps/:app_slug',
    {
      config: { ...config(needs.anyone, 'apps/apps#get-an-app'), isLive: true },
      schema: { operationId: 'apps/get-by-slug', response: { 200: AppBody }, params: Type.Object({ app_slug: Type.String() }) },
    },
    async (request) => presentApp(basesOf(deps, request), await getApp(deps, request.params.app_slug)),
  )
}

function installationRoutes(app: App, deps: RestDeps): void {
  app.get(
    '/app/installations',
    {
      config: config(needs.app, 'apps/apps#list-installations-for-the-authenticated-app'),
      schema: { operationId: 'apps/list-installations', response: { 200: InstallationsBody }, querystring: PageQuery },
    },
    async (request, reply) => {
      const page = pageOf(request.query)
      const { installations, total } = await listInstallations(deps, request.actor, page)
      linkPages(reply, `${apiOf(deps, request)}/app/installations`, request.query, page, total)
      const bases = basesOf(deps, request)
      return installations.map((view) => presentInstallation(bases, view))
    },
  )
  const installation = '/app/installations/:installation_id'
  app.get(
    installation,
    {
      config: config(needs.app, 'apps/apps#get-an-installation-for-the-authenticated-app'),
      schema: { operationId: 'apps/get-installation', response: { 200: InstallationBody }, params: InstallationParams },
    },
    async (request) => {
      const id = idOf(request.params.installation_id)
      return presentInstallation(basesOf(deps, request), await getInstallation(deps, request.actor, id))
    },
  )
  app.delete(
    installation,
    {
      config: config(needs.app, 'apps/apps#delete-an-installation-for-the-authenticated-app'),
      schema: { operationId: 'apps/delete-installation', response: { 202: NoBody, 204: NoBody }, params: InstallationParams },
    },
    async (request, reply) => {
      await deleteInstallation(deps, request.actor, idOf(request.params.installation_id))
      // One of the few things that the newer version changed (rest-api.md 1.4).
      return reply.code(request.apiVersion === '2026-03-10' ? 202 : 204).send()
    },
  )
  for (const [method, suspended] of [
    ['PUT', true],
    ['DELETE', false],
  ] as const) {
    const operation = suspended ? 'suspend' : 'unsuspend'
    app.route({
      method,
      url: `${installation}/suspended`,
      config: config(needs.app, `apps/apps#${operation}-an-app-installation`),
      schema: { operationId: `apps/${operation}-installation`, params: InstallationParams, response: { 204: NoBody } },
      handler: async (request, reply) => {
        await suspendInstallation(deps, request.actor, { id: idOf(request.params.installation_id), suspended })
        return reply.code(204).send()
      },
    })
  }
}

function tokenRoutes(app: App, deps: RestDeps): void {
  app.post(
    '/app/installations/:installation_id/access_tokens',
    {
      config: config(needs.app, 'apps/apps#create-an-installation-access-token-for-an-app'),
      schema: {
        operationId: 'apps/create-installation-access-token',
        response: { 201: InstallationTokenBody },
        params: InstallationParams,
        body: TokenRequest,
      },
    },
    async (request, reply) => {
      const { permissions, repositories, repository_ids } = request.body
      const made = await createInstallationToken(deps, request.actor, {
        installationId: idOf(request.params.installation_id),
        permissions: permissionsOf(permissions),
        repositories,
        repositoryIds: repository_ids,
      })
      const bases = basesOf(deps, request)
      return reply
        .code(201)
        .header('Cache-Control', 'no-store')
        .send({
          token: made.text,
          expires_at: isoTime(made.expiresAt),
          permissions: made.permissions,
          repository_selection: made.selection,
          ...(made.repositories && { repositories: made.repositories.map((repository) => presentRepository(bases, repository)) }),
        })
    },
  )
  app.get(
    '/installation/repositories',
    {
      config: config(needs.installation, 'apps/installations#list-repositories-accessible-to-the-app-installation'),
      schema: {
        operationId: 'apps/list-repos-accessible-to-installation',
        response: {
          200: Type.Object({
            ...CountedRepositoriesBody.properties,
            repository_selection: InstallationBody.properties.repository_selection,
          }),
        },
        querystring: PageQuery,
      },
    },
    async (request, reply) => {
      const page = pageOf(request.query)
      const { repositories, total, selection } = await listRepositoriesOfInstallation(deps, request.actor, page)
      linkPages(reply, `${apiOf(deps, request)}/installation/repositories`, request.query, page, total)
      const bases = basesOf(deps, request)
      return {
        total_count: total,
        repository_selection: selection,
        repositories: repositories.map((repository) => presentRepository(bases, repository)),
      }
    },
  )
  app.delete(
    '/installation/token',
    {
      config: config(needs.installation, 'apps/installations#revoke-an-installation-access-token'),
      schema: { operationId: 'apps/revoke-installation-access-token' },
    },
    async (request, reply) => {
      await revokeInstallationToken(deps, request.actor)
      return reply.code(204).send()
    },
  )
}

/** Where the App is installed, asked for by the account or the repository; and what is installed in an organization. */
function whereRoutes(app: App, deps: RestDeps): void {
  const docs = (whose: string) => `apps/apps#get-${whose}-installation-for-the-authenticated-app`
  for (const path of ['/orgs/:org', '/organizations/:organization_id']) {
    app.get(
      `${path}/installation`,
      {
        config: config(needs.app, docs('an-organization')),
        schema: { operationId: 'apps/get-org-installation', response: { 200: InstallationBody } },
      },
      async (request) => {
        const at = { ...organizationOf(request), kind: 'organization' as const }
        return presentInstallation(basesOf(deps, request), await getInstallationAt(deps, request.actor, at))
      },
    )
    app.get(
      `${path}/installations`,
      {
        config: config(needs.organizationInstallations, 'orgs/orgs#list-app-installations-for-an-organization'),
        schema: {
          operationId: 'orgs/list-app-installations',
          response: { 200: Type.Object({ total_count: Type.Integer(), installations: InstallationsBody }) },
          querystring: PageQuery,
        },
      },
      async (request, reply) => {
        const page = pageOf(request.query)
        const listed = await listInstallationsOfOrganization(deps, request.actor, organizationOf(request), page)
        const address = `${apiOf(deps, request)}/organizations/${listed.organization.id}/installations`
        linkPages(reply, address, request.query, page, listed.total)
        const bases = basesOf(deps, request)
        return { total_count: listed.total, installations: listed.installations.map((view) => presentInstallation(bases, view)) }
      },
    )
  }
  for (const path of ['/repos/:owner/:repo', '/repositories/:repository_id']) {
    app.get(
      `${path}/installation`,
      {
        config: config(needs.app, docs('a-repository')),
        schema: { operationId: 'apps/get-repo-installation', response: { 200: InstallationBody } },
      },
      async (request) =>
        presentInstallation(basesOf(deps, request), await getInstallationOfRepository(deps, request.actor, repositoryOf(request))),
    )
  }
  for (const path of ['/users/:username', '/user/:user_id']) {
    app.get(
      `${path}/installation`,
      {
        config: config(needs.app, docs('a-user')),
        schema: { operationId: 'apps/get-user-installation', response: { 200: InstallationBody } },
      },
      async (request) => {
        const params = request.params as Record<string, string>
        const ref = params['user_id'] === undefined ? { login: params['username'] ?? '' } : { id: idOf(params['user_id']) }
        return presentInstallation(basesOf(deps, request), await getInstallationAt(deps, request.actor, ref))
      },
    )
  }
}

function permissionsOf(value: unknown): Record<string, unknown> | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'object' || Array.isArray(value)) throw new AppError('malformed', 'Problems parsing JSON')
  return value as Record<string, unknown>
}
