import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import {
  createApp,
  createAppKey,
  deleteApp,
  deleteAppKey,
  listAppKeys,
  listApps,
  updateApp,
  type AppRequest,
  type AppView,
} from '../../core/apps/apps.ts'
import { installApp, suspendApp, uninstallApp, type InstallationView } from '../../core/apps/installations.ts'
import { createManifest } from '../../core/apps/manifests.ts'
import type { Deps } from '../../core/deps.ts'
import { isoTime } from '../../http/places.ts'
import type { App } from '../../http/server.ts'
import type { AppKey } from '../../model/app.ts'
import { needs } from '../../model/access.ts'

const Permissions = Type.Record(Type.String({ maxLength: 100 }), Type.Unknown(), { maxProperties: 100 })
const Events = Type.Array(Type.String({ maxLength: 100 }), { maxItems: 100 })
const OptionalText = Type.Optional(Type.Union([Type.String({ maxLength: 2000 }), Type.Null()]))

export type AppBody = Static<typeof AppBody>
export const AppBody = Type.Object({
  id: Type.Integer(),
  slug: Type.String(),
  name: Type.String(),
  owner: Type.String(),
  client_id: Type.String(),
  permissions: Type.Record(Type.String(), Type.String()),
  events: Type.Array(Type.String()),
  installations_count: Type.Integer(),
  created_at: Type.String(),
})

export type NewAppBody = Static<typeof NewAppBody>
export const NewAppBody = Type.Object({
  ...AppBody.properties,
  client_secret: Type.String(),
  webhook_secret: Type.Union([Type.String(), Type.Null()]),
  pem: Type.String(),
})

export type KeyBody = Static<typeof KeyBody>
export const KeyBody = Type.Object({ id: Type.Integer(), fingerprint: Type.String(), created_at: Type.String() })

export type NewKeyBody = Static<typeof NewKeyBody>
export const NewKeyBody = Type.Object({ ...KeyBody.properties, pem: Type.String() })

export type InstallationBody = Static<typeof InstallationBody>
export const InstallationBody = Type.Object({
  id: Type.Integer(),
  app: Type.String(),
  account: Type.String(),
  repository_selection: Type.String(),
  permissions: Type.Record(Type.String(), Type.String()),
})

export type ManifestCodeBody = Static<typeof ManifestCodeBody>
export const ManifestCodeBody = Type.Object({ code: Type.String(), expires_at: Type.String() })

const NewAppRequest = Type.Object({
  name: Type.String({ maxLength: 200 }),
  owner: Type.String({ maxLength: 200 }),
  description: OptionalText,
  url: Type.Optional(Type.String({ maxLength: 2000 })),
  hook_url: OptionalText,
  permissions: Type.Optional(Permissions),
  events: Type.Optional(Events),
})

const AppChangeRequest = Type.Object({
  description: OptionalText,
  url: Type.Optional(Type.String({ maxLength: 2000 })),
  hook_url: OptionalText,
  hook_active: Type.Optional(Type.Boolean()),
  permissions: Type.Optional(Permissions),
  events: Type.Optional(Events),
})

/** The manifest that GitHub documents: https://docs.github.com/apps/sharing-github-apps/registering-a-github-app-from-a-manifest */
const ManifestRequest = Type.Object({
  owner: Type.String({ maxLength: 200 }),
  manifest: Type.Object({
    name: Type.String({ maxLength: 200 }),
    url: Type.String({ maxLength: 2000 }),
    description: OptionalText,
    hook_attributes: Type.Optional(
      Type.Object({ url: Type.Optional(Type.String({ maxLength: 2000 })), active: Type.Optional(Type.Boolean()) }),
    ),
    default_permissions: Type.Optional(Permissions),
    default_events: Type.Optional(Events),
  }),
})

const InstallRequest = Type.Object({
  account: Type.String({ maxLength: 200 }),
  repositories: Type.Optional(Type.Array(Type.String({ maxLength: 200 }), { maxItems: 500 })),
  repository_selection: Type.Optional(Type.Literal('all')),
})

const AppParams = Type.Object({ app_slug: Type.String() })
const KeyParams = Type.Object({ app_slug: Type.String(), key_id: Type.String({ pattern: '^[1-9][0-9]{0,14}$' }) })
const AccountParams = Type.Object({ app_slug: Type.String(), account: Type.String() })
const config = { access: { by: 'actor' as const, need: needs.siteAdmin } }

/** Makes, installs and ends GitHub Apps, which GitHub has pages for and no API. */
export function appRoutes(app: App, deps: Deps): void {
  app.get('/apps', { config, schema: { response: { 200: Type.Array(AppBody) } } }, async (request) =>
    (await listApps(deps, request.actor)).map(presentApp),
  )
  app.post('/apps', { config, schema: { body: NewAppRequest, response: { 201: NewAppBody } } }, async (request, reply) => {
    const { name, owner, description, url, hook_url, permissions = {}, events = [] } = request.body
    const input = { name, owner, description, externalUrl: url, hookUrl: hook_url, permissions, events }
    const made = await createApp(deps, request.actor, input)
    return reply
      .code(201)
      .send({ ...presentApp(made), client_secret: made.clientSecret, webhook_secret: made.webhookSecret, pem: made.privateKey })
  })
  app.patch(
    '/apps/:app_slug',
    { config, schema: { params: AppParams, body: AppChangeRequest, response: { 200: AppBody } } },
    async (request) => {
      const { url, hook_url, hook_active, ...rest } = request.body
      const change = { ...rest, externalUrl: url, hookUrl: hook_url, hookActive: hook_active }
      return presentApp(await updateApp(deps, request.actor, request.params.app_slug, change))
    },
  )
  app.delete('/apps/:app_slug', { config, schema: { params: AppParams } }, async (request, reply) => {
    await deleteApp(deps, request.actor, request.params.app_slug)
    return reply.code(204).send()
  })
  app.post('/app-manifests', { config, schema: { body: ManifestRequest, response: { 201: ManifestCodeBody } } }, async (request, reply) => {
    const { owner, manifest } = request.body
    const { code, expiresAt } = await createManifest(deps, request.actor, { owner, app: appOf(manifest) })
    return reply.code(201).send({ code, expires_at: isoTime(expiresAt) })
  })
  keyRoutes(app, deps)
  installationRoutes(app, deps)
  suspensionRoutes(app, deps)
}

function keyRoutes(app: App, deps: Deps): void {
  app.get('/apps/:app_slug/keys', { config, schema: { params: AppParams, response: { 200: Type.Array(KeyBody) } } }, async (request) =>
    (await listAppKeys(deps, request.actor, request.params.app_slug)).map(presentKey),
  )
  app.post('/apps/:app_slug/keys', { config, schema: { params: AppParams, response: { 201: NewKeyBody } } }, async (request, reply) => {
    const { key, privateKey } = await createAppKey(deps, request.actor, request.params.app_slug)
    return reply.code(201).send({ ...presentKey(key), pem: privateKey })
  })
  app.delete('/apps/:app_slug/keys/:key_id', { config, schema: { params: KeyParams } }, async (request, reply) => {
    await deleteAppKey(deps, request.actor, { slug: request.params.app_slug, keyId: Number(request.params.key_id) })
    return reply.code(204).send()
  })
}

function installationRoutes(app: App, deps: Deps): void {
  app.post(
    '/apps/:app_slug/installations',
    { config, schema: { params: AppParams, body: InstallRequest, response: { 201: InstallationBody } } },
    async (request, reply) => {
      const { account, repositories, repository_selection: selection } = request.body
      const view = await installApp(deps, request.actor, { slug: request.params.app_slug, account, repositories, selection })
      return reply.code(201).send(presentInstallation(view))
    },
  )
  app.delete('/apps/:app_slug/installations/:account', { config, schema: { params: AccountParams } }, async (request, reply) => {
    await uninstallApp(deps, request.actor, { slug: request.params.app_slug, account: request.params.account })
    return reply.code(204).send()
  })
}

function suspensionRoutes(app: App, deps: Deps): void {
  const suspend =
    (suspended: boolean) => async (request: FastifyRequest<{ Params: Static<typeof AccountParams> }>, reply: FastifyReply) => {
      await suspendApp(deps, request.actor, { slug: request.params.app_slug, account: request.params.account, suspended })
      return reply.code(204).send()
    }
  const url = '/apps/:app_slug/installations/:account/suspended'
  app.put(url, { config, schema: { params: AccountParams } }, suspend(true))
  app.delete(url, { config, schema: { params: AccountParams } }, suspend(false))
}

function appOf(manifest: Static<typeof ManifestRequest>['manifest']): AppRequest {
  const { name, url, description, hook_attributes, default_permissions = {}, default_events = [] } = manifest
  return {
    name,
    description,
    externalUrl: url,
    hookUrl: hook_attributes?.url,
    hookActive: hook_attributes?.active,
    permissions: default_permissions,
    events: default_events,
  }
}

function presentApp({ app, owner, installations }: AppView): AppBody {
  const { id, slug, name, clientId, permissions, events, createdAt } = app
  return {
    id,
    slug,
    name,
    owner: owner.login,
    client_id: clientId,
    permissions,
    events,
    installations_count: installations,
    created_at: isoTime(createdAt),
  }
}

function presentKey({ id, fingerprint, createdAt }: AppKey): KeyBody {
  return { id, fingerprint, created_at: isoTime(createdAt) }
}

function presentInstallation({ installation, app, account }: InstallationView): InstallationBody {
  const { id, repositorySelection, permissions } = installation
  return { id, app: app.slug, account: account.login, repository_selection: repositorySelection, permissions }
}
