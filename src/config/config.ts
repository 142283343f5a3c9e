import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { BlockList, isIP } from 'node:net'
import path from 'node:path'
import { createSecureContext } from 'node:tls'
import { parseAllowedTargets, publicTargetsOnly, type AllowedTargets } from '../model/allowed-targets.ts'
import { defaultTimes, type Times } from '../model/times.ts'
import { newPersonalToken } from '../model/secret-text.ts'
import { ConfigError, readVariable, type Environment } from './env.ts'

export interface ListenAddress {
  host: string
  port: number
}

/** What the operator decided, checked and nested. Nothing else in the product reads the environment. */
export interface Config {
  listen: ListenAddress[]
  /** The base that clients use, without a trailing slash. */
  url: string
  /** What jobs see as GITHUB_SERVER_URL (job-services.md 3.9). */
  jobServerUrl: string
  dataDir: string
  database: { kind: 'sqlite'; file: string; sync: 'normal' | 'full' } | { kind: 'postgres'; url: string }
  blobsDir: string
  reposDir: string
  enterprise: string
  trustedProxies: string[]
  contentUrl: string | undefined
  retentionMs: number
  /** Requests an hour of one user or App; more are refused. Undefined: none is. */
  rateLimit: number | undefined
  webhooks: { allowed: AllowedTargets; retries: number }
  tls: { certFile: string; keyFile: string } | undefined
  times: Times
  secrets: {
    /** 32 bytes: everything signed is signed with keys derived from it. */
    key: Buffer
    adminToken: string
    /** Where a generated administrator's token is kept; undefined when the operator gave one. */
    adminTokenFile: string | undefined
  }
}

const DAY_MS = 24 * 60 * 60 * 1000

/** Reads the configuration, or fails with one line that names the variable and the mend. Makes the data folder and the secrets in it. */
export function loadConfig(env: Environment): Config {
  const get = (name: string) => readVariable(env, name)
  refuseUnknown(env)

  const listen = parseListen(get('FLEETFOOT_LISTEN') ?? '127.0.0.1:8080')
  const tls = parseTls(get('FLEETFOOT_TLS_CERT'), get('FLEETFOOT_TLS_KEY'))
  const url = clientUrl(env)
  const dataDir = path.resolve(get('FLEETFOOT_DATA_DIR') ?? './data')
  const database = parseDatabase(get('FLEETFOOT_DATABASE_URL'), get('FLEETFOOT_SQLITE_SYNC'), dataDir)
  const blobsDir = parseBlobs(get('FLEETFOOT_BLOBS_URL'), dataDir)
  const reposDir = path.resolve(get('FLEETFOOT_REPOS_DIR') ?? path.join(dataDir, 'repos'))
  const retentionDays = parseWhole('FLEETFOOT_RETENTION_DAYS', get('FLEETFOOT_RETENTION_DAYS') ?? '90', 1, 3650)
  makeFolder('FLEETFOOT_DATA_DIR', dataDir)
  makeFolder('FLEETFOOT_BLOBS_URL', blobsDir)
  makeFolder('FLEETFOOT_REPOS_DIR', reposDir)

  const contentUrl = get('FLEETFOOT_CONTENT_URL')
  const rateLimit = get('FLEETFOOT_RATE_LIMIT')
  return {
    listen,
    url,
    jobServerUrl: parseJobServerUrl(get('FLEETFOOT_JOB_SERVER_URL'), url),
    dataDir,
    database,
    blobsDir,
    reposDir,
    enterprise: parseSlug(get('FLEETFOOT_ENTERPRISE') ?? 'fleetfoot'),
    trustedProxies: parseProxies(get('FLEETFOOT_TRUSTED_PROXIES')),
    contentUrl: contentUrl === undefined ? undefined : parseBase('FLEETFOOT_CONTENT_URL', contentUrl),
    retentionMs: retentionDays * DAY_MS,
    rateLimit: rateLimit === undefined ? undefined : parseWhole('FLEETFOOT_RATE_LIMIT', rateLimit, 60, 10_000_000),
    webhooks: {
      allowed: parseTargets(get('FLEETFOOT_WEBHOOK_ALLOW')),
      retries: parseWhole('FLEETFOOT_WEBHOOK_RETRIES', get('FLEETFOOT_WEBHOOK_RETRIES') ?? '5', 0, 20),
    },
    tls,
    times: defaultTimes,
    secrets: {
      key: secretKey(get('FLEETFOOT_SECRET_KEY'), database.kind, dataDir),
      ...adminToken(get('FLEETFOOT_ADMIN_TOKEN'), dataDir),
    },
  }
}

const KNOWN = new Set(
  `LISTEN URL DATA_DIR DATABASE_URL BLOBS_URL REPOS_DIR ADMIN_TOKEN SECRET_KEY TLS_CERT TLS_KEY SQLITE_SYNC ENTERPRISE TRUSTED_PROXIES
  RATE_LIMIT CONTENT_URL RETENTION_DAYS WEBHOOK_ALLOW WEBHOOK_RETRIES JOB_SERVER_URL RUNNER_DIR TEST_DATABASE_URL`
    .split(/\s+/)
    .map((name) => `FLEETFOOT_${name}`),
)

/** A misspelt variable would be silently without effect, so it ends the start. */
function refuseUnknown(env: Environment): void {
  for (const name of Object.keys(env)) {
    if (!name.startsWith('FLEETFOOT_') || KNOWN.has(name) || KNOWN.has(name.replace(/_FILE$/, ''))) continue
    throw new ConfigError(`${name}: there is no such variable: correct its name or unset it`)
  }
}

/** The base that clients use: FLEETFOOT_URL, or what follows from where the server listens. */
export function clientUrl(env: Environment): string {
  const given = readVariable(env, 'FLEETFOOT_URL')
  if (given !== undefined) return parseBase('FLEETFOOT_URL', given)
  const listen = parseListen(readVariable(env, 'FLEETFOOT_LISTEN') ?? '127.0.0.1:8080')
  return defaultUrl(listen, readVariable(env, 'FLEETFOOT_TLS_CERT') !== undefined)
}

function parseListen(text: string): ListenAddress[] {
  const addresses = text.split(',').map((part) => {
    const match = /^(?:(\[[0-9a-fA-F:.]+\]|[^\s:]+):)?(\d{1,5})$/.exec(part.trim())
    const port = Number(match?.[2])
    if (!match || port > 65_535) throw new ConfigError(`FLEETFOOT_LISTEN: '${part.trim()}' is no address: write host:port, comma-separated`)
    return { host: (match[1] ?? '127.0.0.1').replace(/^\[|\]$/g, ''), port }
  })
  return addresses
}

function defaultUrl(listen: ListenAddress[], tls: boolean): string {
  const port = listen[0]?.port ?? 8080
  const standard = tls ? 443 : 80
  return `${tls ? 'https' : 'http'}://localhost${port === standard ? '' : `:${port}`}`
}

function parseBase(name: string, text: string): string {
  if (!URL.canParse(text)) throw new ConfigError(`${name}: '${text}' is no address: write one like https://fleetfoot.example.com`)
  const url = new URL(text)
  if (url.protocol !== 'http:' && url.protocol !== 'https:') throw new ConfigError(`${name}: '${text}' must begin with http:// or https://`)
  if (url.pathname !== '/' || url.search || url.hash || url.username) {
    throw new ConfigError(`${name}: '${text}' must be the root of a host: leave out everything after the host and port`)
  }
  return url.origin
}

function parseJobServerUrl(text: string | undefined, url: string): string {
  if (text !== undefined) return parseBase('FLEETFOOT_JOB_SERVER_URL', text)
  const { hostname, port, protocol } = new URL(url)
  if (!isLoopbackName(hostname)) return url
  return `${protocol}//fleetfoot.ghe.localhost${port ? `:${port}` : ''}`
}

/** The names of this very machine, as they stand in a URL. */
export function isLoopbackName(hostname: string): boolean {
  return hostname === 'localhost' || hostname === '127.0.0.1' || hostname === '[::1]' || hostname === '::1'
}

function parseDatabase(url: string | undefined, sync: string | undefined, dataDir: string): Config['database'] {
  if (sync !== undefined && sync !== 'normal' && sync !== 'full') {
    throw new ConfigError(`FLEETFOOT_SQLITE_SYNC: '${sync}' is not known: write normal or full`)
  }
  if (url === undefined) return { kind: 'sqlite', file: path.join(dataDir, 'fleetfoot.sqlite'), sync: sync ?? 'normal' }
  if (!/^postgres(ql)?:\/\//.test(url) || !URL.canParse(url)) {
    throw new ConfigError('FLEETFOOT_DATABASE_URL: only postgres://user:password@host:port/name is known: unset it for SQLite')
  }
  return { kind: 'postgres', url }
}

function parseBlobs(url: string | undefined, dataDir: string): string {
  if (url === undefined) return path.join(dataDir, 'blobs')
  if (url.startsWith('s3://')) throw new ConfigError('FLEETFOOT_BLOBS_URL: s3:// is not offered by this version: name a folder')
  if (url.startsWith('file://')) return path.resolve(new URL(url).pathname)
  if (/^[a-z0-9]+:/i.test(url)) throw new ConfigError(`FLEETFOOT_BLOBS_URL: '${url}' is not known: name a folder`)
  return path.resolve(url)
}

function parseTls(certFile: string | undefined, keyFile: string | undefined): Config['tls'] {
  if (certFile === undefined && keyFile === undefined) return undefined
  if (certFile === undefined) throw new ConfigError('FLEETFOOT_TLS_KEY is set without FLEETFOOT_TLS_CERT: set both')
  if (keyFile === undefined) throw new ConfigError('FLEETFOOT_TLS_CERT is set without FLEETFOOT_TLS_KEY: set both')
  for (const [name, file] of [
    ['FLEETFOOT_TLS_CERT', certFile],
    ['FLEETFOOT_TLS_KEY', keyFile],
  ] as const) {
    if (!existsSync(file)) throw new ConfigError(`${name}: there is no file ${file}: name a PEM file`)
    if (!readFileSync(file, 'utf8').includes('-----BEGIN ')) throw new ConfigError(`${name}: ${file} is not PEM: name a PEM file`)
  }
  try {
    createSecureContext({ cert: readFileSync(certFile), key: readFileSync(keyFile) })
  } catch (error) {
    throw new ConfigError(`FLEETFOOT_TLS_CERT: ${certFile} and ${keyFile} do not go together (${(error as Error).message}): name a pair`)
  }
  return { certFile, keyFile }
}

function parseSlug(text: string): string {
  if (!/^[a-z0-9](?:[a-z0-9-]{0,37}[a-z0-9])?$/i.test(text)) {
    throw new ConfigError(`FLEETFOOT_ENTERPRISE: '${text}' is no slug: use letters, digits and inner hyphens, 39 at most`)
  }
  return text
}

function parseProxies(text: string | undefined): string[] {
  if (text === undefined) return []
  const check = new BlockList()
  return text.split(',').map((part) => {
    const entry = part.trim()
    const [address = '', prefix] = entry.split('/')
    const family = isIP(address) === 6 ? 'ipv6' : 'ipv4'
    try {
      if (!isIP(address)) throw new Error('no address')
      if (prefix === undefined) check.addAddress(address, family)
      else check.addSubnet(address, Number(prefix), family)
    } catch {
      throw new ConfigError(`FLEETFOOT_TRUSTED_PROXIES: '${entry}' is no address or network: write 10.0.0.0/8, comma-separated`)
    }
    return entry
  })
}

function parseTargets(text: string | undefined): AllowedTargets {
  if (text === undefined) return publicTargetsOnly
  try {
    return parseAllowedTargets(text)
  } catch (error) {
    const entry = (error as Error).message
    throw new ConfigError(`FLEETFOOT_WEBHOOK_ALLOW: '${entry}' is no network, host name or 'private': write 10.0.0.0/8, comma-separated`)
  }
}

function parseWhole(name: string, text: string, min: number, max: number): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < min || value > max)
    throw new ConfigError(`${name}: '${text}' is no whole number from ${min} to ${max}`)
  return value
}

function makeFolder(name: string, folder: string): void {
  try {
    // Not all at once: in a folder like /proc, where none can be made, Node would try for ever.
    if (existsSync(folder)) return
    makeFolder(name, path.dirname(folder))
    mkdirSync(folder, { mode: 0o750 })
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    // Another node was first.
    if (code === 'EEXIST') return
    if (error instanceof ConfigError) throw error
    throw new ConfigError(`${name}: cannot make ${folder} (${code ?? 'error'}): name a writable folder`)
  }
}

function secretKey(text: string | undefined, databaseKind: string, dataDir: string): Buffer {
  if (text === undefined && databaseKind === 'postgres') {
    throw new ConfigError("FLEETFOOT_SECRET_KEY: required with PostgreSQL, the same on every node: make one with 'openssl rand -base64 32'")
  }
  const given = text ?? keptSecret(path.join(dataDir, 'secret-key'), () => randomBytes(32).toString('base64'))
  const key = Buffer.from(given, 'base64')
  if (key.length !== 32) throw new ConfigError("FLEETFOOT_SECRET_KEY: must be 32 bytes in base64: make one with 'openssl rand -base64 32'")
  return key
}

function adminToken(text: string | undefined, dataDir: string): { adminToken: string; adminTokenFile: string | undefined } {
  if (text !== undefined) {
    if (!/^[\x21-\x7e]{20,255}$/.test(text)) {
      throw new ConfigError('FLEETFOOT_ADMIN_TOKEN: must be 20 to 255 printable characters without blanks')
    }
    return { adminToken: text, adminTokenFile: undefined }
  }
  const file = path.join(dataDir, 'admin-token')
  return { adminToken: keptSecret(file, newPersonalToken), adminTokenFile: file }
}

/** Reads a secret from the data folder, or makes it there with mode 0600. `wx` lets one of two racing starts win. */
function keptSecret(file: string, make: () => string): string {
  try {
    writeFileSync(file, `${make()}\n`, { mode: 0o600, flag: 'wx' })
    chmodSync(file, 0o600)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
      throw new ConfigError(
        `FLEETFOOT_DATA_DIR: cannot write ${file} (${(error as NodeJS.ErrnoException).code ?? 'error'}): name a writable folder`,
      )
    }
  }
  return readFileSync(file, 'utf8').trim()
}
