import { Type } from 'typebox'
import { API_VERSIONS, ENTERPRISE_VERSION } from '../../http/github-manners.ts'
import type { RateResource } from '../../http/rate-limits.ts'
import type { App } from '../../http/server.ts'
import { needs } from '../../model/access.ts'
import type { RestDeps } from './room.ts'
import { basesOf } from './runs.ts'
import { mediaTypes } from '../../http/answers.ts'

const anyone = { access: { by: 'actor' as const, need: needs.anyone } }

const Addresses = Type.Record(Type.String(), Type.String())
const RateLimit = Type.Object(
  {
    limit: Type.Integer(),
    used: Type.Integer(),
    remaining: Type.Integer(),
    reset: Type.Integer({ description: 'In seconds since 1970.' }),
  },
  { title: 'RateLimit' },
)
const RateLimitsBody = Type.Object({ resources: Type.Record(Type.String(), RateLimit), rate: RateLimit })

/** Of our own making. */
export const ZEN = [
  'A queue is a promise to everyone in it.',
  'The fastest job is the one that starts.',
  'Small logs tell long stories.',
  'A runner that rests is ready.',
  'Measure the wait, not the work.',
]

/** What clients ask a server first: https://docs.github.com/rest/meta */
export function metaRoutes(app: App, deps: RestDeps): void {
  app.get(
    '/',
    { config: { ...anyone, docs: 'meta/meta#github-api-root' }, schema: { operationId: 'meta/root', response: { 200: Addresses } } },
    async (request) => {
      const { api, web } = basesOf(deps, request)
      return rootOf(api, web)
    },
  )
  app.get(
    '/meta',
    {
      config: { ...anyone, docs: 'meta/meta' },
      schema: {
        operationId: 'meta/get',
        response: { 200: Type.Object({ verifiable_password_authentication: Type.Boolean(), installed_version: Type.String() }) },
      },
    },
    async () => ({
      verifiable_password_authentication: false,
      installed_version: ENTERPRISE_VERSION,
    }),
  )
  app.get(
    '/versions',
    {
      config: { ...anyone, docs: 'meta/meta' },
      schema: {
        operationId: 'fleetfoot/list-api-versions',
        summary: 'List the versions of the API',
        tags: ['meta'],
        response: { 200: Type.Array(Type.String()) },
      },
    },
    async () => API_VERSIONS.toSorted(),
  )
  app.get(
    '/rate_limit',
    {
      config: { ...anyone, docs: 'rate-limit/rate-limit', freeOfCharge: true },
      schema: { operationId: 'rate-limit/get', response: { 200: RateLimitsBody } },
    },
    async (request) => {
      const counted = (resource: RateResource) => deps.rateLimits.state(request, resource)
      const core = counted('core')
      const unused = (limit: number) => ({ limit, used: 0, remaining: limit, reset: core.reset })
      const resources = {
        core,
        search: unused(30),
        graphql: counted('graphql'),
        integration_manifest: unused(5000),
        source_import: unused(100),
        actions_runner_registration: counted('actions_runner_registration'),
        scim: unused(15_000),
        dependency_snapshots: unused(100),
        code_search: unused(10),
        code_scanning_autofix: unused(10),
      }
      return { resources, rate: core }
    },
  )
  app.get(
    '/zen',
    {
      config: { ...anyone, docs: 'meta/meta' },
      schema: { operationId: 'meta/get-zen', response: { 200: mediaTypes({ 'text/plain': Type.String() }) } },
    },
    async (_request, reply) => {
      const index = Math.floor(deps.now() / 1000) % ZEN.length
      return reply.type('text/plain; charset=utf-8').send(ZEN[index])
    },
  )
  app.get(
    '/octocat',
    {
      config: { ...anyone, docs: 'meta/meta' },
      schema: {
        operationId: 'meta/get-octocat',
        response: { 200: mediaTypes({ 'application/octocat-stream': Type.String() }) },
        querystring: Type.Object({ s: Type.Optional(Type.String()) }),
      },
    },
    async (request, reply) => reply.type('application/octocat-stream').send(hare(request.query.s ?? 'Ready, set, run.')),
  )
  app.get(
    '/emojis',
    { config: { ...anyone, docs: 'emojis/emojis' }, schema: { operationId: 'emojis/get', response: { 200: Addresses } } },
    async () => ({}),
  )
}

/** The root document: all addresses as templates. */
function rootOf(api: string, web: string) {
  const search = '{?q,page,per_page,sort,order}'
  return {
    current_user_url: `${api}/user`,
    current_user_authorizations_html_url: `${web}/settings/connections/applications{/client_id}`,
    authorizations_url: `${api}/authorizations`,
    code_search_url: `${api}/search/code${search}`,
    commit_search_url: `${api}/search/commits${search}`,
    emails_url: `${api}/user/emails`,
    emojis_url: `${api}/emojis`,
    events_url: `${api}/events`,
    feeds_url: `${api}/feeds`,
    followers_url: `${api}/user/followers`,
    following_url: `${api}/user/following{/target}`,
    gists_url: `${api}/gists{/gist_id}`,
    hub_url: `${api}/hub`,
    issue_search_url: `${api}/search/issues${search}`,
    issues_url: `${api}/issues`,
    keys_url: `${api}/user/keys`,
    label_search_url: `${api}/search/labels{?q,repository_id,page,per_page}`,
    notifications_url: `${api}/notifications`,
    organization_url: `${api}/orgs/{org}`,
    organization_repositories_url: `${api}/orgs/{org}/repos{?type,page,per_page,sort}`,
    organization_teams_url: `${api}/orgs/{org}/teams`,
    public_gists_url: `${api}/gists/public`,
    rate_limit_url: `${api}/rate_limit`,
    repository_url: `${api}/repos/{owner}/{repo}`,
    repository_search_url: `${api}/search/repositories${search}`,
    current_user_repositories_url: `${api}/user/repos{?type,page,per_page,sort}`,
    starred_url: `${api}/user/starred{/owner}{/repo}`,
    starred_gists_url: `${api}/gists/starred`,
    topic_search_url: `${api}/search/topics{?q,page,per_page}`,
    user_url: `${api}/users/{user}`,
    user_organizations_url: `${api}/user/orgs`,
    user_repositories_url: `${api}/users/{user}/repos{?type,page,per_page,sort}`,
    user_search_url: `${api}/search/users${search}`,
  }
}

const MAX_SAYING = 200

/** A drawing that says something: ours is a hare. */
function hare(text: string): string {
  const saying = text.replace(/\p{Cc}/gu, ' ').slice(0, MAX_SAYING)
  const line = '-'.repeat(saying.length + 2)
  return ['', `   (\\(\\     ${line}`, `   ( -.-)  < ${saying} |`, `   o_(")(") ${line}`, ''].join('\n')
}
