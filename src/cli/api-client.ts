import { loadClientConfig, type ClientConfig } from '../config/client.ts'
import { CommandError } from './command.ts'

/** A call that the server answered with an error. */
export class ApiError extends CommandError {
  override name = 'ApiError'
  readonly status: number

  constructor(status: number, message: string, hint: string | undefined) {
    super(message, hint)
    this.status = status
  }
}

/** The running server, called as any client calls it. Paths begin with `/api/…`, or are below `/api/v3`. */
export interface ApiClient {
  config: ClientConfig
  /** The answer's JSON. @throws ApiError for every status but 2xx; CommandError when no server answers */
  call<T>(method: string, path: string, body?: unknown): Promise<T>
  /** The answer itself, for streams; errors as with `call`. */
  fetch(path: string, init?: RequestInit): Promise<Response>
  /** The same server with another token. */
  as(token: string): ApiClient
}

/** A client for the server and the administrator's token that the environment names. */
export function openClient(env: NodeJS.ProcessEnv = process.env): ApiClient {
  return makeClient(loadClientConfig(env))
}

export function makeClient(config: ClientConfig): ApiClient {
  const send = async (path: string, init: RequestInit = {}): Promise<Response> => {
    const headers = new Headers(init.headers)
    headers.set('User-Agent', 'fleetfoot-cli')
    if (config.token !== undefined) headers.set('Authorization', `Bearer ${config.token}`)
    const target = new URL(path.startsWith('/api/') || path === '/healthz' ? path : `/api/v3${path}`, config.url)
    try {
      return await fetch(target, { ...init, headers })
    } catch (error) {
      if (init.signal?.aborted) throw error
      throw unreachable(config, error)
    }
  }
  const checked = async (path: string, init?: RequestInit): Promise<Response> => {
    if (config.token === undefined) {
      await send('/healthz')
      throw noToken(config)
    }
    const answer = await send(path, init)
    if (!answer.ok) throw await apiError(config, answer, `${init?.method ?? 'GET'} ${path}`)
    return answer
  }
  return {
    config,
    fetch: checked,
    async call<T>(method: string, path: string, body?: unknown) {
      const answer = await checked(path, {
        method,
        ...(body !== undefined && { body: JSON.stringify(body), headers: { 'Content-Type': 'application/json' } }),
      })
      const text = await answer.text()
      return (text === '' ? undefined : JSON.parse(text)) as T
    },
    as: (token) => makeClient({ ...config, token }),
  }
}

/** Makes a call and gives undefined where the thing is not there. */
export async function unlessMissing<T>(call: Promise<T>): Promise<T | undefined> {
  try {
    return await call
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined
    throw error
  }
}

/** All pages of a list that says `total_count`, or of a plain one. */
export async function callPages<T>(client: ApiClient, path: string, key?: string, limit = Infinity): Promise<T[]> {
  const found: T[] = []
  const perPage = Math.min(100, limit)
  for (let page = 1; found.length < limit; page++) {
    const answer = await client.call<Record<string, unknown> | T[]>(
      'GET',
      `${path}${path.includes('?') ? '&' : '?'}per_page=${perPage}&page=${page}`,
    )
    const items = (Array.isArray(answer) ? answer : answer[key ?? '']) as T[]
    found.push(...items)
    if (items.length < perPage) break
  }
  return found.slice(0, limit)
}

function unreachable({ url }: ClientConfig, error: unknown): CommandError {
  const cause = error instanceof Error ? error.cause : undefined
  const code = codeOf(cause)
  if (code === 'ECONNREFUSED' || code === 'ENOTFOUND')
    return new CommandError(`no server answers at ${url}`, "start it with 'npm start', or set FLEETFOOT_URL to where it is", {
      cause: error,
    })
  const isCertificate = /CERT|SELF_SIGNED|UNABLE_TO_VERIFY/.test(code)
  return new CommandError(
    `${url} cannot be reached: ${cause instanceof Error ? cause.message : String(error)}`,
    isCertificate ? 'set NODE_EXTRA_CA_CERTS to the file of your certificate authority' : undefined,
    { cause: error },
  )
}

function codeOf(cause: unknown): string {
  // Both addresses of `localhost` failed: the reasons are inside.
  const inner = cause instanceof AggregateError ? (cause.errors[0] as unknown) : cause
  return typeof inner === 'object' && inner !== null && 'code' in inner ? String(inner.code) : ''
}

function noToken({ tokenFile }: ClientConfig): CommandError {
  return new CommandError(
    `there is no administrator's token at ${tokenFile ?? ''}`,
    'set FLEETFOOT_DATA_DIR to the data folder of the server, or FLEETFOOT_ADMIN_TOKEN',
  )
}

async function apiError(config: ClientConfig, answer: Response, what: string): Promise<ApiError> {
  const text = await answer.text()
  let message = text.trim().slice(0, 200)
  try {
    const body = JSON.parse(text) as { message?: string; errors?: unknown[] }
    message = [body.message ?? '', ...(body.errors ?? []).map(detailText)].filter(Boolean).join(': ')
  } catch {
    // A proxy's page: its first words will do.
  }
  return new ApiError(answer.status, `${message || answer.statusText} (${answer.status} to ${what})`, hintFor(config, answer.status))
}

function detailText(detail: unknown): string {
  if (typeof detail === 'string') return detail
  if (typeof detail !== 'object' || detail === null) return ''
  const { message, field, code } = detail as Record<string, unknown>
  return typeof message === 'string' ? message : [field, code].filter((part) => typeof part === 'string').join(' ')
}

function hintFor({ url, tokenFile }: ClientConfig, status: number): string | undefined {
  if (status === 401) {
    const where = tokenFile === undefined ? 'in FLEETFOOT_ADMIN_TOKEN' : `in ${tokenFile}`
    return `the token ${where} is not one of ${url}: set FLEETFOOT_DATA_DIR to the data folder of that server, or FLEETFOOT_ADMIN_TOKEN`
  }
  if (status === 403) return 'the token lacks a scope or its owner the right: use the administrator’s token'
  if (status === 404) return 'look at the names: what a token may not see is not found either'
  if (status === 502 || status === 503) return 'the server is starting, stopping or in trouble: try again; its /readyz says more'
  if (status >= 500) return 'this is a fault of the server: its log says more'
  return undefined
}
