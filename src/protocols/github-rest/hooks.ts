import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import { getDelivery, listDeliveries, redeliver } from '../../core/hooks/deliveries.ts'
import {
  createHook,
  deleteHook,
  getAppHook,
  getHook,
  listHooks,
  pingHookAt,
  testHook,
  updateHook,
  type HookConfig,
  type HookOwner,
  type HookPlace,
} from '../../core/hooks/hooks.ts'
import { linkPages, PageQuery, pageOf } from '../../http/paging.ts'
import type { App } from '../../http/server.ts'
import { needs, type Need } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import { hooksUrl, presentDelivery, presentHook, presentHookConfig, presentWholeDelivery, type HookHome } from './present-hook.ts'
import { summaryOf } from './operation-words.ts'
import { apiOf, type RestDeps } from './room.ts'
import { idOf } from '../../http/places.ts'
import { basesOf, repositoryOf } from './runs.ts'
import { NoBody } from '../../http/answers.ts'
import { DeliveryBody, HookBody, HookConfigBody, WholeDeliveryBody } from './shapes-hook.ts'

const CONFIG = {
  url: Type.Optional(Type.String({ maxLength: 2048 })),
  content_type: Type.Optional(Type.Union([Type.Literal('json'), Type.Literal('form')])),
  secret: Type.Optional(Type.String({ maxLength: 1024 })),
  insecure_ssl: Type.Optional(Type.Union([Type.Literal('0'), Type.Literal('1'), Type.Literal(0), Type.Literal(1)])),
}
type ConfigBody = Static<typeof ConfigBody>
const ConfigBody = Type.Object(CONFIG)

const Events = Type.Optional(Type.Array(Type.String({ maxLength: 100 }), { maxItems: 100 }))
const NewHook = Type.Object({
  name: Type.Optional(Type.String({ maxLength: 100 })),
  config: Type.Optional(ConfigBody),
  events: Events,
  active: Type.Optional(Type.Boolean()),
})
/** The name is asked for everywhere but at repositories. */
const NewNamedHook = Type.Object({ ...NewHook.properties, name: Type.String({ maxLength: 100 }), config: ConfigBody })
const HookChange = Type.Object({ ...NewHook.properties, add_events: Events, remove_events: Events })

const HookParams = Type.Object({ hook_id: Type.String() })
const DeliveryParams = Type.Object({ hook_id: Type.String(), delivery_id: Type.String() })
const DeliveriesQuery = Type.Object({
  per_page: Type.Optional(Type.String()),
  cursor: Type.Optional(Type.String({ maxLength: 100 })),
  status: Type.Optional(Type.String({ maxLength: 100 })),
})

interface Place {
  path: string
  kind: HookPlace['kind']
  read: Need
  write: Need
  docs: string
  /** The name of an operation in GitHub's description, where it has one. */
  operation: (verb: string) => string | undefined
}

const repositories = (path: string): Place => ({
  path,
  kind: 'repository',
  read: needs.repositoryHooksRead,
  write: needs.repositoryHooksWrite,
  docs: 'repos/webhooks',
  operation: (verb) => `repos/${verb.replace(/config$/, 'config-for-repo')}`,
})
const organizations = (path: string): Place => ({
  path,
  kind: 'organization',
  read: needs.organizationHooksRead,
  write: needs.organizationHooks,
  docs: 'orgs/webhooks',
  operation: (verb) => `orgs/${verb.replace(/config$/, 'config-for-org')}`,
})

/** Enterprises have no webhooks in GitHub's API: ours are like those of organizations (rest-api.md §5.4). */
const PLACES: Place[] = [
  repositories('/repos/:owner/:repo'),
  repositories('/repositories/:repository_id'),
  organizations('/orgs/:org'),
  organizations('/organizations/:organization_id'),
  {
    path: '/enterprises/:enterprise',
    kind: 'enterprise',
    read: needs.enterpriseHooks,
    write: needs.enterpriseHooks,
    docs: 'orgs/webhooks',
    operation: () => undefined,
  },
  {
    path: '/admin',
    kind: 'global',
    read: needs.globalHooks,
    write: needs.globalHooks,
    docs: 'enterprise-admin/global-webhooks',
    operation: (verb) =>
      /config|deliver/.test(verb)
        ? undefined
        : `enterprise-admin/${verb.replace('webhooks', 'global-webhooks').replace(/webhook$/, 'global-webhook')}`.replace(
            'global-global',
            'global',
          ),
  },
]

/** Webhooks and their deliveries: https://docs.github.com/rest/repos/webhooks */
export function hookRoutes(app: App, deps: RestDeps): void {
  appHookRoutes(app, deps)
  for (const place of PLACES) {
    crudRoutes(app, deps, place)
    configRoutes(app, deps, place)
    deliveryRoutes(app, deps, place)
    sendRoutes(app, deps, place)
  }
}

/** What a route of a place declares. */
function declare({ docs, operation, ...place }: Place, to: 'read' | 'write', verb: string) {
  const operationId = operation(verb)
  return {
    config: { access: { by: 'actor' as const, need: place[to] }, docs: `${docs}#${verb}` },
    schema: operationId === undefined ? declareOwn(place.kind, verb) : { operationId },
  }
}

/** Where GitHub has no such operation. */
function declareOwn(kind: Place['kind'], verb: string) {
  return {
    operationId: `fleetfoot/${verb.replace('webhook', `${kind}-webhook`)}`,
    summary: `${summaryOf(`fleetfoot/${verb}`)} of ${kind === 'global' ? 'the server' : 'the enterprise'}`,
    tags: ['enterprise-admin'],
  }
}

function crudRoutes(app: App, deps: RestDeps, place: Place): void {
  const hooks = `${place.path}/hooks`
  const list = declare(place, 'read', 'list-webhooks')
  app.get(
    hooks,
    { config: list.config, schema: { ...list.schema, querystring: PageQuery, response: { 200: Type.Array(HookBody) } } },
    async (request, reply) => {
      const page = pageOf(request.query)
      const listed = await listHooks(deps, request.actor, placeOf(place, request), page)
      linkPages(reply, canonical(deps, request, listed.owner), request.query, page, listed.total)
      return listed.hooks.map((hook) => presentHook(basesOf(deps, request), homeOf(listed.owner), hook))
    },
  )

  const create = declare(place, 'write', 'create-webhook')
  const body = place.kind === 'repository' ? NewHook : NewNamedHook
  app.post(hooks, { config: create.config, schema: { ...create.schema, body, response: { 201: HookBody } } }, async (request, reply) => {
    const { name, config, events, active } = request.body
    requireWeb(name)
    const input = { config: configOf(config), events: events ?? (place.kind === 'global' ? ['user', 'organization'] : undefined), active }
    const { owner, hook } = await createHook(deps, request.actor, placeOf(place, request), input)
    const presented = presentHook(basesOf(deps, request), homeOf(owner), hook)
    return reply.code(201).header('Location', presented.url).send(presented)
  })

  const get = declare(place, 'read', 'get-webhook')
  // Those of repositories tell how the last request ended.
  const getConfig = { ...get.config, isLive: place.kind === 'repository' }
  app.get(
    `${hooks}/:hook_id`,
    { config: getConfig, schema: { ...get.schema, params: HookParams, response: { 200: HookBody } } },
    async (request) => {
      const { owner, hook } = await getHook(deps, request.actor, placeOf(place, request), idOf(request.params.hook_id))
      return presentHook(basesOf(deps, request), homeOf(owner), hook)
    },
  )

  const update = declare(place, 'write', 'update-webhook')
  app.patch(
    `${hooks}/:hook_id`,
    { config: update.config, schema: { ...update.schema, params: HookParams, body: HookChange, response: { 200: HookBody } } },
    async (request) => {
      const { name, config, events, add_events, remove_events, active } = request.body
      requireWeb(name)
      const { owner, hook } = await updateHook(deps, request.actor, placeOf(place, request), idOf(request.params.hook_id), {
        config: config && configOf(config),
        // A secret that is not given again is taken away, as the documentation of GitHub warns.
        replacesConfig: true,
        events,
        addEvents: add_events,
        removeEvents: remove_events,
        active,
      })
      return presentHook(basesOf(deps, request), homeOf(owner), hook)
    },
  )

  const remove = declare(place, 'write', 'delete-webhook')
  app.delete(
    `${hooks}/:hook_id`,
    { config: remove.config, schema: { ...remove.schema, params: HookParams, response: { 204: NoBody } } },
    async (request, reply) => {
      await deleteHook(deps, request.actor, placeOf(place, request), idOf(request.params.hook_id))
      return reply.code(204).send()
    },
  )
}

function configRoutes(app: App, deps: RestDeps, place: Place): void {
  const path = `${place.path}/hooks/:hook_id/config`
  const get = declare(place, 'read', 'get-webhook-config')
  app.get(
    path,
    { config: get.config, schema: { ...get.schema, params: HookParams, response: { 200: HookConfigBody } } },
    async (request) => {
      const { hook } = await getHook(deps, request.actor, placeOf(place, request), idOf(request.params.hook_id))
      return presentHookConfig(hook)
    },
  )

  const update = declare(place, 'write', 'update-webhook-config')
  app.patch(
    path,
    { config: update.config, schema: { ...update.schema, params: HookParams, body: ConfigBody, response: { 200: HookConfigBody } } },
    async (request) => {
      const change = { config: configOf(request.body), replacesConfig: false }
      const { hook } = await updateHook(deps, request.actor, placeOf(place, request), idOf(request.params.hook_id), change)
      return presentHookConfig(hook)
    },
  )
}

function deliveryRoutes(app: App, deps: RestDeps, place: Place): void {
  const deliveries = `${place.path}/hooks/:hook_id/deliveries`
  const list = declare(place, 'read', 'list-webhook-deliveries')
  app.get(
    deliveries,
    {
      config: list.config,
      schema: { ...list.schema, params: HookParams, querystring: DeliveriesQuery, response: { 200: Type.Array(DeliveryBody) } },
    },
    async (request, reply) => {
      const { status, cursor } = request.query
      const { limit } = pageOf(request.query)
      const filter = { before: cursorOf(cursor), succeeded: succeededOf(status), limit }
      const listed = await listDeliveries(deps, request.actor, placeOf(place, request), idOf(request.params.hook_id), filter)
      const last = listed.deliveries.at(-1)
      if (listed.isMore && last)
        linkNext(reply, `${canonical(deps, request, listed.owner)}/${listed.hook.id}/deliveries`, request.query, last.id)
      return listed.deliveries.map(presentDelivery)
    },
  )

  const get = declare(place, 'read', 'get-webhook-delivery')
  app.get(
    `${deliveries}/:delivery_id`,
    { config: get.config, schema: { ...get.schema, params: DeliveryParams, response: { 200: WholeDeliveryBody } } },
    async (request) => presentWholeDelivery(await getDelivery(deps, request.actor, placeOf(place, request), idsOf(request.params))),
  )

  const again = declare(place, 'write', 'redeliver-webhook-delivery')
  app.post(
    `${deliveries}/:delivery_id/attempts`,
    { config: again.config, schema: { ...again.schema, params: DeliveryParams, response: { 202: Type.Object({}) } } },
    async (request, reply) => {
      await redeliver(deps, request.actor, placeOf(place, request), idsOf(request.params))
      return reply.code(202).send({})
    },
  )
}

function sendRoutes(app: App, deps: RestDeps, place: Place): void {
  const hook = `${place.path}/hooks/:hook_id`
  const ping = declare(place, 'write', 'ping-webhook')
  app.post(
    `${hook}/pings`,
    { config: ping.config, schema: { ...ping.schema, params: HookParams, response: { 204: NoBody } } },
    async (request, reply) => {
      await pingHookAt(deps, request.actor, placeOf(place, request), idOf(request.params.hook_id))
      return reply.code(204).send()
    },
  )
  if (place.kind !== 'repository') return
  const test = declare(place, 'write', 'test-push-webhook')
  // `test_url` of a webhook names the first, the documentation the second.
  for (const word of ['test', 'tests']) {
    app.post(
      `${hook}/${word}`,
      { config: test.config, schema: { ...test.schema, params: HookParams, response: { 204: NoBody } } },
      async (request, reply) => {
        await testHook(deps, request.actor, repositoryOf(request), idOf(request.params.hook_id))
        return reply.code(204).send()
      },
    )
  }
}

/** The one webhook of an App: it is made with the App. */
function appHookRoutes(app: App, deps: RestDeps): void {
  const place = { kind: 'app' } as const
  const declared = (operation: string) => ({
    config: { access: { by: 'actor' as const, need: needs.app }, docs: `apps/webhooks#${operation}` },
    schema: { operationId: `apps/${operation}` },
  })
  const get = declared('get-webhook-config-for-app')
  app.get('/app/hook/config', { ...get, schema: { ...get.schema, response: { 200: HookConfigBody } } }, async (request) =>
    presentHookConfig(await getAppHook(deps, request.actor)),
  )

  const update = declared('update-webhook-config-for-app')
  app.patch(
    '/app/hook/config',
    { ...update, schema: { ...update.schema, body: ConfigBody, response: { 200: HookConfigBody } } },
    async (request) => {
      const { id } = await getAppHook(deps, request.actor)
      const change = { config: configOf(request.body), replacesConfig: false }
      return presentHookConfig((await updateHook(deps, request.actor, place, id, change)).hook)
    },
  )

  const deliveries = '/app/hook/deliveries'
  const list = declared('list-webhook-deliveries')
  app.get(
    deliveries,
    { ...list, schema: { ...list.schema, querystring: DeliveriesQuery, response: { 200: Type.Array(DeliveryBody) } } },
    async (request, reply) => {
      const hook = await getAppHook(deps, request.actor)
      const { status, cursor } = request.query
      const filter = { before: cursorOf(cursor), succeeded: succeededOf(status), limit: pageOf(request.query).limit }
      const listed = await listDeliveries(deps, request.actor, place, hook.id, filter)
      const last = listed.deliveries.at(-1)
      if (listed.isMore && last) linkNext(reply, `${apiOf(deps, request)}${deliveries}`, request.query, last.id)
      return listed.deliveries.map(presentDelivery)
    },
  )

  const one = declared('get-webhook-delivery')
  const params = Type.Object({ delivery_id: Type.String() })
  app.get(
    `${deliveries}/:delivery_id`,
    { ...one, schema: { ...one.schema, params, response: { 200: WholeDeliveryBody } } },
    async (request) => {
      const hook = await getAppHook(deps, request.actor)
      return presentWholeDelivery(await getDelivery(deps, request.actor, place, { hookId: hook.id, id: idOf(request.params.delivery_id) }))
    },
  )

  const again = declared('redeliver-webhook-delivery')
  app.post(
    `${deliveries}/:delivery_id/attempts`,
    { ...again, schema: { ...again.schema, params, response: { 202: Type.Object({}) } } },
    async (request, reply) => {
      const hook = await getAppHook(deps, request.actor)
      await redeliver(deps, request.actor, place, { hookId: hook.id, id: idOf(request.params.delivery_id) })
      return reply.code(202).send({})
    },
  )
}

/** The two words of the filter (rest-api.md §5.4). */
function succeededOf(status: string | undefined): boolean | undefined {
  if (status === undefined || status === '') return undefined
  if (status === 'success' || status === 'failure') return status === 'success'
  throw new AppError('invalid', `status must be success or failure, not ${JSON.stringify(status)}`)
}

function placeOf({ kind }: Place, request: FastifyRequest): HookPlace {
  const params = request.params as Record<string, string>
  if (kind === 'repository') return { kind, repository: repositoryOf(request) }
  if (kind === 'enterprise') return { kind, slug: params['enterprise'] ?? '' }
  if (kind === 'global' || kind === 'app') return { kind }
  const id = params['organization_id']
  return { kind, organization: id === undefined ? { login: params['org'] ?? '' } : { id: idOf(id) } }
}

function homeOf({ repository, organization, enterprise }: HookOwner): HookHome {
  return { repository, organization, enterprise }
}

/** The numeric alias, which `Link` names. */
function canonical(deps: RestDeps, request: FastifyRequest, owner: HookOwner): string {
  const api = apiOf(deps, request)
  if (owner.kind === 'repository') return `${api}/repositories/${owner.id}/hooks`
  if (owner.kind === 'organization') return `${api}/organizations/${owner.id}/hooks`
  return hooksUrl(basesOf(deps, request), homeOf(owner))
}

function configOf({ url, content_type, secret, insecure_ssl }: ConfigBody = {}): HookConfig {
  return { url, contentType: content_type, secret, insecureSsl: insecure_ssl === undefined ? undefined : String(insecure_ssl) === '1' }
}

function requireWeb(name: string | undefined): void {
  if (name === undefined || name === 'web') return
  const detail = { resource: 'Hook', code: 'custom', field: 'name', message: 'name must be web' }
  throw new AppError('invalid', 'Validation Failed', { details: [detail] })
}

const idsOf = (params: Static<typeof DeliveryParams>) => ({ hookId: idOf(params.hook_id), id: idOf(params.delivery_id) })

/** The cursor is the id of the last delivery that was shown. */
function cursorOf(text: string | undefined): number | undefined {
  if (text === undefined || text === '') return undefined
  if (!/^\d{1,15}$/.test(text)) throw new AppError('malformed', 'Invalid cursor')
  return Number(text)
}

function linkNext(reply: FastifyReply, address: string, query: Record<string, unknown>, cursor: number): void {
  const kept = Object.entries(query).filter(([name, value]) => name !== 'cursor' && value !== undefined)
  const text = [...kept, ['cursor', cursor]].map(([name, value]) => `${String(name)}=${encodeURIComponent(String(value))}`).join('&')
  reply.header('Link', `<${address}?${text}>; rel="next"`)
}
