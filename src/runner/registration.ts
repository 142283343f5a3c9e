import { hostname } from 'node:os'

import { between, createHttp, httpJson, HttpError, sleep, userAgent, type Http, type HttpRequest } from './http.ts'
import { newKey, publicKeyXml, type RsaParams } from './key.ts'
import type { Credentials } from './oauth.ts'
import { runnerArchitecture, runnerOs } from './platform.ts'
import { PROTOCOL_VERSION } from './wire.ts'

/** A registered runner: all that is needed to listen for jobs. */
export interface RunnerConfig extends Credentials {
  agentName: string
  poolName: string
  /** The broker, with a `/` at its end. */
  serverUrl: string
  gitHubUrl: string
  workFolder: string
  ephemeral: boolean
  disableUpdate: boolean
}

/** What `config.sh` takes as options. */
export interface RegistrationOptions {
  /** Organization, repository or enterprise; its port is kept. */
  url: string
  token: string
  name?: string
  labels?: readonly string[]
  group?: string
  ephemeral?: boolean
  replace?: boolean
  noDefaultLabels?: boolean
  disableUpdate?: boolean
  workFolder?: string
  /** A key to use instead of a new one. */
  key?: RsaParams
  http?: Http
}

/** A registration that cannot be, in words for the person who asked for it. */
export class RegistrationError extends Error {
  override name = 'RegistrationError'
}

/** Makes the calls of `config.sh`, but keeps the port of the URL, which `config.sh` drops. */
export async function registerRunner(options: RegistrationOptions): Promise<RunnerConfig> {
  const http = options.http ?? createHttp()
  const name = options.name ?? hostname()
  const call = <T>(request: HttpRequest): Promise<T | null> => remoteAuth<T>(http, options.token, request)
  const { unscoped, scope } = apiAddresses(options.url)
  if (options.noDefaultLabels && !options.labels?.length)
    throw new RegistrationError('labels are needed when the default labels are left out')

  const tenant = await call<{ url?: string; token?: string; token_schema?: string; use_v2_flow?: boolean }>({
    method: 'POST',
    url: `${unscoped}/actions/runner-registration`,
    body: { url: options.url, runner_event: 'register' },
  })
  if (!tenant?.use_v2_flow) throw new RegistrationError(`${options.url} does not offer the V2 flow (use_v2_flow)`)
  if (!tenant.url || !tenant.token || tenant.token_schema?.toLowerCase() !== 'oauthaccesstoken')
    throw new RegistrationError('the answer to runner-registration lacks url, token or token_schema OAuthAccessToken')

  requireUsableTenant(options.url, tenant.url)

  const group = await chooseGroup(call, scope, options.group)
  const existing = await call<{ runners: { id: number; name: string }[] }>({
    method: 'GET',
    url: `${scope}/runners?name=${encodeURIComponent(name)}`,
  })
  const taken = existing?.runners[0]
  if (taken && !options.replace)
    throw new RegistrationError(`A runner exists with the same name ${name}. Choose another name or replace it (--replace).`)

  const key = options.key ?? (await newKey())
  const runner = await call<{
    id: number
    name?: string
    authorization?: { authorization_url?: string; server_url?: string; client_id?: string }
  }>({
    method: 'POST',
    url: `${unscoped}/actions/runners/register`,
    body: {
      url: options.url,
      group_id: group.id,
      name,
      version: PROTOCOL_VERSION,
      updates_disabled: options.disableUpdate ?? false,
      ephemeral: options.ephemeral ?? false,
      labels: wireLabels(options),
      public_key: publicKeyXml(key),
      ...(taken ? { runner_id: taken.id, replace: true } : {}),
    },
  })
  const authorization = runner?.authorization
  if (!runner?.id || !authorization?.authorization_url || !authorization.server_url || !authorization.client_id)
    throw new RegistrationError('the answer to register lacks id or authorization')
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(authorization.client_id))
    throw new RegistrationError(`the client id ${authorization.client_id} is no GUID`)
  if (authorization.server_url.toLowerCase() !== tenant.url.toLowerCase())
    throw new RegistrationError(
      `${authorization.server_url} differs from ${tenant.url}: the official runner would look for V1 services there`,
    )

  return {
    agentId: runner.id,
    agentName: name,
    poolId: group.id,
    poolName: group.name,
    serverUrl: authorization.server_url,
    gitHubUrl: options.url,
    workFolder: options.workFolder ?? '_work',
    ephemeral: options.ephemeral ?? false,
    disableUpdate: options.disableUpdate ?? false,
    clientId: authorization.client_id.toLowerCase(),
    authorizationUrl: new URL(authorization.authorization_url).href,
    requireFipsCryptography: true,
    key,
  }
}

/** Makes the call of `config.sh remove`; the token is a remove token. */
export async function removeRunner(config: RunnerConfig, token: string, http: Http = createHttp()): Promise<void> {
  const { scope } = apiAddresses(config.gitHubUrl)
  await remoteAuth(http, token, { method: 'DELETE', url: `${scope}/runners/${config.agentId}` })
}

/** Where the REST API of an organization, repository or enterprise is: unscoped, and `{scope}` with `/actions`. */
export function apiAddresses(url: string): { unscoped: string; scope: string } {
  let parsed: URL
  try {
    parsed = new URL(url)
  } catch {
    throw new RegistrationError(`${url} is no URL`)
  }
  if (parsed.protocol !== 'http:' && parsed.protocol !== 'https:') throw new RegistrationError(`${url} is neither http nor https`)

  const unscoped = isHosted(parsed.hostname) ? `${parsed.protocol}//api.${parsed.host}` : `${parsed.protocol}//${parsed.host}/api/v3`
  const [first, second, ...rest] = parsed.pathname.split(/[/\\]/).filter(Boolean)
  if (!first || rest.length > 0) throw new RegistrationError(`${url} should point to an organization, a repository or an enterprise`)
  if (!second) return { unscoped, scope: `${unscoped}/orgs/${first}/actions` }
  const kind = first.toLowerCase() === 'enterprises' ? `enterprises/${second}` : `repos/${first}/${second}`
  return { unscoped, scope: `${unscoped}/${kind}/actions` }
}

function isHosted(host: string): boolean {
  return (
    host === 'github.com' ||
    host === 'www.github.com' ||
    host === 'github.localhost' ||
    host.endsWith('.ghe.com') ||
    host.endsWith('.ghe.localhost')
  )
}

/** What `config.sh` checks of the address that it is given: whose it is, and that it names a service. */
export function requireUsableTenant(url: string, tenantUrl: string): void {
  const [asked, given] = [new URL(url), new URL(tenantUrl)]
  if (!isHosted(asked.hostname) && given.host !== asked.host && !given.host.endsWith(`.${asked.host}`))
    throw new RegistrationError(`GitHub Actions is not properly configured: ${tenantUrl} is not at ${asked.host}`)
  if (!given.pathname.split('/').some(Boolean))
    throw new RegistrationError(`Cannot find GitHub repository/organization name from server url: ${tenantUrl}`)
}

type Call = <T>(request: HttpRequest) => Promise<T | null>

async function chooseGroup(call: Call, scope: string, wanted: string | undefined): Promise<{ id: number; name: string }> {
  const answer = await call<{ runner_groups: { id: number; name: string; default?: boolean; is_hosted?: boolean }[] }>({
    method: 'GET',
    url: `${scope}/runner-groups`,
  })
  const groups = (answer?.runner_groups ?? []).filter((group) => !group.is_hosted)
  const name = wanted ?? groups.find((group) => group.default)?.name ?? 'default'
  const group = groups.find((candidate) => candidate.name.toLowerCase() === name.toLowerCase())
  if (!group) throw new RegistrationError(`Could not find any self-hosted runner group named "${name}".`)
  return group
}

function wireLabels({ labels = [], noDefaultLabels }: RegistrationOptions): { id: number; name: string; type: 'system' | 'user' }[] {
  const system = noDefaultLabels ? [] : ['self-hosted', runnerOs(), runnerArchitecture()]
  const seen = new Set<string>()
  const own = labels.filter((label) => {
    const isNew = label !== '' && !seen.has(label.toLowerCase())
    seen.add(label.toLowerCase())
    return isNew
  })
  return [
    ...system.map((name) => ({ id: 0, name, type: 'system' as const })),
    ...own.map((name) => ({ id: 0, name, type: 'user' as const })),
  ]
}

/** Three tries; a 404 ends them at once. */
async function remoteAuth<T>(http: Http, token: string, request: HttpRequest): Promise<T | null> {
  const headers = { Authorization: `RemoteAuth ${token}`, 'User-Agent': userAgent('Runner') }
  for (let attempt = 1; ; attempt++) {
    try {
      return await httpJson<T>(http, `${request.method} ${request.url}`, { ...request, headers })
    } catch (error) {
      if (attempt === 3 || (error instanceof HttpError && error.status === 404)) throw error
      await sleep(between(http.pauses.registerMs))
    }
  }
}
