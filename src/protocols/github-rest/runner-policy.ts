import { Type } from 'typebox'
import {
  changePolicyRepository,
  getEnterpriseRunnerPolicy,
  getOrganizationRunnerPolicy,
  listPolicyRepositories,
  setEnterpriseRunnerPolicy,
  setOrganizationRunnerPolicy,
  setPolicyRepositories,
} from '../../core/runners/runner-policy.ts'
import { linkPages, PageQuery, pageOf } from '../../http/paging.ts'
import type { App } from '../../http/server.ts'
import '../../http/access.ts'
import { needs, type Need } from '../../model/access.ts'
import { basesOf } from './runs.ts'
import { presentRepository } from './present-repository.ts'
import { apiOf, type RestDeps } from './room.ts'
import { idOf, organizationOf } from '../../http/places.ts'
import { CountedRepositoriesBody } from './shapes-repository.ts'

const Enabled = Type.Union([Type.Literal('all'), Type.Literal('selected'), Type.Literal('none')])
const Ids = Type.Array(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER }), { maxItems: 10_000 })
const RepositoryParams = Type.Object({ repository_id: Type.String() })

/** Who may have repository-level runners: https://docs.github.com/rest/actions/permissions (rest-api.md 2.6). */
export function runnerPolicyRoutes(app: App, deps: RestDeps): void {
  for (const path of ['/orgs/:org', '/organizations/:organization_id']) organizationRoutes(app, deps, path)
  enterpriseRoutes(app, deps)
}

const config = (need: Need, verb: string) => ({ access: { by: 'actor' as const, need }, docs: `actions/permissions#${verb}` })

function organizationRoutes(app: App, deps: RestDeps, path: string): void {
  const policy = `${path}/actions/permissions/self-hosted-runners`
  const need = needs.organizationPolicy

  app.get(
    policy,
    {
      config: config(needs.organizationPolicyRead, 'get-self-hosted-runners-settings-for-an-organization'),
      schema: {
        operationId: 'actions/get-self-hosted-runners-permissions-organization',
        response: { 200: Type.Object({ enabled_repositories: Enabled, selected_repositories_url: Type.Optional(Type.String()) }) },
      },
    },
    async (request) => {
      const { organization, policy: enabled } = await getOrganizationRunnerPolicy(deps, request.actor, organizationOf(request))
      return {
        enabled_repositories: enabled,
        ...(enabled === 'selected' && {
          selected_repositories_url: `${apiOf(deps, request)}/organizations/${organization.id}/actions/permissions/self-hosted-runners/repositories`,
        }),
      }
    },
  )
  app.put(
    policy,
    {
      config: config(need, 'set-self-hosted-runners-settings-for-an-organization'),
      schema: {
        operationId: 'actions/set-self-hosted-runners-permissions-organization',
        body: Type.Object({ enabled_repositories: Enabled }),
      },
    },
    async (request, reply) => {
      await setOrganizationRunnerPolicy(deps, request.actor, organizationOf(request), request.body.enabled_repositories)
      return reply.code(204).send()
    },
  )
  app.get(
    `${policy}/repositories`,
    {
      config: config(needs.organizationPolicyRead, 'list-repositories-allowed-to-use-self-hosted-runners-in-an-organization'),
      schema: {
        operationId: 'actions/list-selected-repositories-self-hosted-runners-organization',
        response: { 200: CountedRepositoriesBody },
        querystring: PageQuery,
      },
    },
    async (request, reply) => {
      const page = pageOf(request.query)
      const listed = await listPolicyRepositories(deps, request.actor, organizationOf(request), page)
      const address = `${apiOf(deps, request)}/organizations/${listed.organization.id}/actions/permissions/self-hosted-runners/repositories`
      linkPages(reply, address, request.query, page, listed.total)
      const bases = basesOf(deps, request)
      return { total_count: listed.total, repositories: listed.repositories.map((each) => presentRepository(bases, each, 'admin')) }
    },
  )
  app.put(
    `${policy}/repositories`,
    {
      config: config(need, 'set-repositories-allowed-to-use-self-hosted-runners-in-an-organization'),
      schema: {
        operationId: 'actions/set-selected-repositories-self-hosted-runners-organization',
        body: Type.Object({ selected_repository_ids: Ids }),
      },
    },
    async (request, reply) => {
      await setPolicyRepositories(deps, request.actor, organizationOf(request), request.body.selected_repository_ids)
      return reply.code(204).send()
    },
  )
  for (const [method, verb, word] of [
    ['PUT', 'add', 'enable'],
    ['DELETE', 'remove', 'disable'],
  ] as const) {
    app.route({
      method,
      url: `${policy}/repositories/:repository_id`,
      config: config(
        need,
        `${verb}-a-repository-${verb === 'add' ? 'to' : 'from'}-the-list-of-repositories-allowed-to-use-self-hosted-runners`,
      ),
      schema: { operationId: `actions/${word}-selected-repository-self-hosted-runners-organization`, params: RepositoryParams },
      handler: async (request, reply) => {
        const { repository_id } = request.params
        await changePolicyRepository(deps, request.actor, organizationOf(request), { repositoryId: idOf(repository_id), change: verb })
        return reply.code(204).send()
      },
    })
  }
}

function enterpriseRoutes(app: App, deps: RestDeps): void {
  const policy = '/enterprises/:enterprise/actions/permissions/self-hosted-runners'
  const Params = Type.Object({ enterprise: Type.String() })
  app.get(
    policy,
    {
      config: config(needs.enterprisePolicy, 'get-self-hosted-runners-permissions-for-an-enterprise'),
      schema: {
        operationId: 'enterprise-admin/get-self-hosted-runners-permissions',
        response: { 200: Type.Object({ disable_self_hosted_runners_for_all_orgs: Type.Boolean() }) },
        params: Params,
      },
    },
    async (request) => ({
      disable_self_hosted_runners_for_all_orgs: await getEnterpriseRunnerPolicy(deps, request.actor, request.params.enterprise),
    }),
  )
  app.put(
    policy,
    {
      config: config(needs.enterprisePolicy, 'set-self-hosted-runners-permissions-for-an-enterprise'),
      schema: {
        operationId: 'enterprise-admin/set-self-hosted-runners-permissions',
        params: Params,
        body: Type.Object({ disable_self_hosted_runners_for_all_orgs: Type.Boolean() }),
      },
    },
    async (request, reply) => {
      const { disable_self_hosted_runners_for_all_orgs: disabled } = request.body
      await setEnterpriseRunnerPolicy(deps, request.actor, request.params.enterprise, disabled)
      return reply.code(204).send()
    },
  )
}
