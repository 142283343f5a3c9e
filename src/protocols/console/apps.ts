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
import { NoBody, orNull, Time, Word } from '../../http/answers.ts'
import { isoTime } from '../../http/places.ts'
import type { App } from '../../http/server.ts'
import type { AppKey } from '../../model/app.ts'
import { needs } from '../../model/access.ts'
import { Taken } from './requests.ts'

const Permissions = Type.Record(Type.String({ maxLength: 100 }), Type.Unknown(), { maxProperties: 100 })
const Events = Type.Array(Type.String({ maxLength: 100 }), { maxItems: 100 })
const OptionalText = Type.Optional(Type.Union([Type.String({ maxLength: 2000 }), Type.Null()]))

const GrantedPermissions = Type.Record(Type.String(), Type.String(), {
  description: 'The level of each permission: `read`, `write` or `admin`.',
})

const APP = {
  id: Type.Integer(),
  slug: Type.String({ description: 'The short name, as addresses have it.' }),
  name: Type.String(),
  owner: Type.String({ description: 'The login of the user or organization that it belongs to.' }),
  client_id: Type.String(),
  permissions: GrantedPermissions,
  events: Type.Array(Type.String(), { description: 'The events that its webhook hears of.' }),
  installations_count: Type.Integer(),
  created_at: Time,
}
export type AppBody = Static<typeof AppBody>
export const AppBody = Type.Object(APP, { title: 'App' })

export type NewAppBody = Static<typeof NewAppBody>
export const NewAppBody = Type.Object(
  {
    ...APP,
    client_secret: Type.String(),
    webhook_secret: orNull(Type.String()),
    pem: Type.String({ description: 'The private key. It is not kept here, and this is the only time that it is shown.' }),
  },
  { title: 'NewApp' },
)

const KEY = { id: Type.Integer(), fingerprint: Type.String({ description: 'SHA-256 of the public half, in base64.' }), created_at: Time }
export type KeyBody = Static<typeof KeyBody>
export const KeyBody = Type.Object(KEY, { title: 'AppKey' })

export type NewKeyBody = Static<typeof NewKeyBody>
export const NewKeyBody = Type.Object(
  { ...KEY, pem: Type.String({ description: 'The private key, shown this once.' }) },
  { title: 'NewAppKey' },
)

export type InstallationBody = Static<typeof InstallationBody>
export const InstallationBody = Type.Object(
  {
    id: Type.Integer(),
    app: Type.String({ description: 'The short name of the App.' }),
    account: Type.String({ description: 'The login of the account that it is installed for.' }),
    repository_selection: Word('all', 'selected'),
    permissions: GrantedPermissions,
  },
  { title: 'AppInstallation' },
)

export type ManifestCodeBody = Static<typeof ManifestCodeBody>
export const ManifestCodeBody = Type.Object({ code: Type.String(), expires_at: Time }, { title: 'ManifestCode' })

const NewAppRequest = Taken({
  name: Type.String({ maxLength: 200 }),
  owner: Type.String({ maxLength: 200 }),
  description: OptionalText,
  url: Type.Optional(Type.String({ maxLength: 2000 })),
  hook_url: OptionalText,
  permissions: Type.Optional(Permissions),
  events: Type.Optional(Events),
})

const AppChangeRequest = Taken({
  description: OptionalText,
  url: Type.Optional(Type.String({ maxLength: 2000 })),
  hook_url: OptionalText,
  hook_active: Type.Optional(Type.Boolean()),
  permissions: Type.Optional(Permissions),
  events: Type.Optional(Events),
})

/** The manifest that GitHub documents, which has more than is used here: https://docs.github.com/apps/sharing-github-apps/registering-a-github-app-from-a-manifest */
const ManifestRequest = Taken({
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

const InstallRequest = Taken({
  account: Type.String({ maxLength: 200 }),
  repositories: Type.Optional(Type.Array(Type.String({ maxLength: 200 }), { maxItems: 500 })),
  repository_selection: Type.Optional(Type.Literal('all')),
})

const AppParams = Type.Object({ app_slug: Type.String() })
const KeyParams = Type.Object({ app_slug: Type.String(), key_id: Type.String({ pattern: '^[1-9][0-9]{0,14}$' }) })
const AccountParams = Type.Object({ app_slug: Type.String(), account: Type.String() })
const tags = ['apps']
const config = { access: { by: 'actor' as const, need: needs.siteAdmin } }

/** Makes, installs and ends GitHub Apps, which GitHub has pages for and no API. */
export function appRoutes(app: App, deps: Deps): void {
  app.get(
    '/apps',
    { config, schema: { operationId: 'fleetfoot/list-apps', summary: 'List GitHub Apps', tags, response: { 200: Type.Array(AppBody) } } },
    async (request) => (await listApps(deps, request.actor)).map(presentApp),
  )
  app.post(
    '/apps',
    {
      config,
      schema: {
        operationId: 'fleetfoot/create-app',
        summary: 'Make a GitHub App',
        description: 'Its secrets and its private key are in this answer and nowhere else.',
        tags,
        body: NewAppRequest,
        response: { 201: NewAppBody },
      },
    },
    async (request, reply) => {
      const { name, owner, description, url, hook_url, permissions = {}, events = [] } = request.body
      const input = { name, owner, description, externalUrl: url, hookUrl: hook_url, permissions, events }
      const made = await createApp(deps, request.actor, input)
      return reply
        .code(201)
        .send({ ...presentApp(made), client_secret: made.clientSecret, webhook_secret: made.webhookSecret, pem: made.privateKey })
    },
  )
  app.patch(
    '/apps/:app_slug',
    {
      config,
      schema: {
        operationId: 'fleetfoot/update-app',
        summary: 'Change what a GitHub App asks for',
        description: 'An installation has what it was installed with, until it is installed again.',
        tags,
        params: AppParams,
        body: AppChangeRequest,
        response: { 200: AppBody },
      },
    },
    async (request) => {
      const { url, hook_url, hook_active, ...rest } = request.body
      const change = { ...rest, externalUrl: url, hookUrl: hook_url, hookActive: hook_active }
      return presentApp(await updateApp(deps, request.actor, request.params.app_slug, change))
    },
  )
  app.delete(
    '/apps/:app_slug',
    {
      config,
      schema: {
        operationId: 'fleetfoot/delete-app',
        summary: 'End a GitHub App, its installations and their tokens',
        tags,
        params: AppParams,
        response: { 204: NoBody },
      },
    },
    async (request, reply) => {
      await deleteApp(deps, request.actor, request.params.app_slug)
      return reply.code(204).send()
    },
  )
  app.post(
    '/app-manifests',
    {
      config,
      schema: {
        operationId: 'fleetfoot/create-app-manifest',
        summary: 'Get a code for the manifest of a GitHub App',
        description: 'With the code a program makes the App, once and within the hour: `POST /api/v3/app-manifests/{code}/conversions`.',
        tags,
        body: ManifestRequest,
        response: { 201: ManifestCodeBody },
      },
    },
    async (request, reply) => {
      const { owner, manifest } = request.body
      const { code, expiresAt } = await createManifest(deps, request.actor, { owner, app: appOf(manifest) })
      return reply.code(201).send({ code, expires_at: isoTime(expiresAt) })
    },
  )
  keyRoutes(app, deps)
  installationRoutes(app, deps)
  suspensionRoutes(app, deps)
}

function keyRoutes(app: App, deps: Deps): void {
  app.get(
    '/apps/:app_slug/keys',
    {
      config,
      schema: {
        operationId: 'fleetfoot/list-app-keys',
        summary: 'List the keys of a GitHub App',
        description: 'Only their public halves are kept.',
        tags,
        params: AppParams,
        response: { 200: Type.Array(KeyBody) },
      },
    },
    async (request) => (await listAppKeys(deps, request.actor, request.params.app_slug)).map(presentKey),
  )
  app.post(
    '/apps/:app_slug/keys',
    {
      config,
      schema: {
        operationId: 'fleetfoot/create-app-key',
        summary: 'Make a key for a GitHub App',
        tags,
        params: AppParams,
        response: { 201: NewKeyBody },
      },
    },
    async (request, reply) => {
      const { key, privateKey } = await createAppKey(deps, request.actor, request.params.app_slug)
      return reply.code(201).send({ ...presentKey(key), pem: privateKey })
    },
  )
  app.delete(
    '/apps/:app_slug/keys/:key_id',
    {
      config,
      schema: {
        operationId: 'fleetfoot/delete-app-key',
        summary: 'End a key of a GitHub App',
        description: 'Not its last one.',
        tags,
        params: KeyParams,
        response: { 204: NoBody },
      },
    },
    async (request, reply) => {
      await deleteAppKey(deps, request.actor, { slug: request.params.app_slug, keyId: Number(request.params.key_id) })
      return reply.code(204).send()
    },
  )
}

function installationRoutes(app: App, deps: Deps): void {
  app.post(
    '/apps/:app_slug/installations',
    {
      config,
      schema: {
        operationId: 'fleetfoot/install-app',
        summary: 'Install a GitHub App for an account, or change where it is installed',
        description: 'It is given what it asks for. A selection of repositories stays until another one is given, or `all`.',
        tags,
        params: AppParams,
        body: InstallRequest,
        response: { 201: InstallationBody },
      },
    },
    async (request, reply) => {
      const { account, repositories, repository_selection: selection } = request.body
      const view = await installApp(deps, request.actor, { slug: request.params.app_slug, account, repositories, selection })
      return reply.code(201).send(presentInstallation(view))
    },
  )
  app.delete(
    '/apps/:app_slug/installations/:account',
    {
      config,
      schema: {
        operationId: 'fleetfoot/uninstall-app',
        summary: 'End the installation of a GitHub App',
        tags,
        params: AccountParams,
        response: { 204: NoBody },
      },
    },
    async (request, reply) => {
      await uninstallApp(deps, request.actor, { slug: request.params.app_slug, account: request.params.account })
      return reply.code(204).send()
    },
  )
}

function suspensionRoutes(app: App, deps: Deps): void {
  const suspend =
    (suspended: boolean) => async (request: FastifyRequest<{ Params: Static<typeof AccountParams> }>, reply: FastifyReply) => {
      await suspendApp(deps, request.actor, { slug: request.params.app_slug, account: request.params.account, suspended })
      return reply.code(204).send()
    }
  const url = '/apps/:app_slug/installations/:account/suspended'
  app.put(
    url,
    {
      config,
      schema: {
        operationId: 'fleetfoot/suspend-app',
        summary: 'Suspend the installation of a GitHub App',
        description: 'Its tokens are refused until that ends.',
        tags,
        params: AccountParams,
        response: { 204: NoBody },
      },
    },
    suspend(true),
  )
  app.delete(
    url,
    {
      config,
      schema: {
        operationId: 'fleetfoot/unsuspend-app',
        summary: 'Let a suspended installation of a GitHub App go on',
        tags,
        params: AccountParams,
        response: { 204: NoBody },
      },
    },
    suspend(false),
  )
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
