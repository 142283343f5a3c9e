import { openAsBlob } from 'node:fs'
import { readFile, stat, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { AppBody, InstallationBody, KeyBody, ManifestCodeBody, NewAppBody, NewKeyBody } from '../protocols/console/apps.ts'
import type { PackageBody } from '../protocols/console/runner-packages.ts'
import type { NewTokenBody, TokenBody } from '../protocols/console/tokens.ts'
import { openClient, type ApiClient } from './api-client.ts'
import { CommandError, parseCommand, printJson, printTable, splitFullName, takeArguments, UsageError, withUsage } from './command.ts'

const USAGE = `usage: fleetfoot admin <command>

  organizations create LOGIN --admin USER
  users create LOGIN
  users promote LOGIN | users demote LOGIN      make a user a site administrator, or no longer one
  tokens create LOGIN [--name N] [--scopes a,b] [--expires DAYS]
                                                a classic token
  tokens create LOGIN --permissions a=read,b=write [--owner ORG] [--repositories a,b] [--name N] [--expires DAYS]
                                                a fine-grained one
  tokens list LOGIN
  tokens delete LOGIN ID
  repositories create OWNER/NAME [--public | --internal]
  apps create NAME --owner LOGIN [--permissions a=read,b=write] [--events a,b] [--url U] [--hook-url U]
      [--key-file FILE]
  apps update SLUG [--permissions a=read,b=write] [--events a,b] [--url U] [--hook-url U]
                                                installing it again gives what it asks for since
  apps list
  apps key SLUG [--key-file FILE]               one more key
  apps keys SLUG | apps delete-key SLUG ID
  apps install SLUG ACCOUNT [--repositories a,b | --all-repositories]
  apps suspend SLUG ACCOUNT | apps unsuspend SLUG ACCOUNT
  apps uninstall SLUG ACCOUNT
  apps manifest FILE --owner LOGIN              a code, for the program that makes the App of the manifest
  apps delete SLUG
  runner-packages add FILE…                     named as upstream names them: actions-runner-linux-x64-2.336.0.tar.gz
  runner-packages list

  create and list take --json. tokens create prints the token alone on standard output, apps create and apps key the private key, unless
  --key-file names a file for it: they are shown only then.
  The server is FLEETFOOT_URL; the token FLEETFOOT_ADMIN_TOKEN, or the one in the data folder (FLEETFOOT_DATA_DIR).`

const OPTIONS = {
  admin: { type: 'string' },
  name: { type: 'string' },
  scopes: { type: 'string' },
  expires: { type: 'string' },
  public: { type: 'boolean' },
  internal: { type: 'boolean' },
  owner: { type: 'string' },
  permissions: { type: 'string' },
  repositories: { type: 'string' },
  'all-repositories': { type: 'boolean' },
  events: { type: 'string' },
  url: { type: 'string' },
  'hook-url': { type: 'string' },
  'key-file': { type: 'string' },
  json: { type: 'boolean' },
} as const

type Values = Partial<{
  admin: string
  name: string
  scopes: string
  expires: string
  public: boolean
  internal: boolean
  owner: string
  permissions: string
  repositories: string
  'all-repositories': boolean
  events: string
  url: string
  'hook-url': string
  'key-file': string
  json: boolean
}>

interface Verb {
  /** Options that it knows beside `--json`. */
  options?: (keyof Values)[]
  run: (client: ApiClient, given: string[], values: Values) => Promise<void>
}

const VERBS: Record<string, Verb> = {
  'organizations create': { options: ['admin'], run: createOrganization },
  'users create': { run: createUser },
  'users promote': { run: (client, given) => setSiteAdmin(client, given, 'PUT') },
  'users demote': { run: (client, given) => setSiteAdmin(client, given, 'DELETE') },
  'tokens create': { options: ['name', 'scopes', 'expires', 'permissions', 'owner', 'repositories'], run: createToken },
  'tokens list': { run: listTokens },
  'tokens delete': { run: deleteToken },
  'repositories create': { options: ['public', 'internal'], run: createRepository },
  'apps create': { options: ['owner', 'permissions', 'events', 'url', 'hook-url', 'key-file'], run: createApp },
  'apps update': { options: ['permissions', 'events', 'url', 'hook-url'], run: updateApp },
  'apps list': { run: listApps },
  'apps delete': { run: deleteApp },
  'apps key': { options: ['key-file'], run: createKey },
  'apps keys': { run: listKeys },
  'apps delete-key': { run: deleteKey },
  'apps install': { options: ['repositories', 'all-repositories'], run: installApp },
  'apps suspend': { run: (client, given) => setSuspended(client, given, 'PUT') },
  'apps unsuspend': { run: (client, given) => setSuspended(client, given, 'DELETE') },
  'apps uninstall': { run: uninstallApp },
  'apps manifest': { options: ['owner'], run: createManifest },
  'runner-packages add': { run: addPackages },
  'runner-packages list': { run: listPackages },
}

const DEFAULT_SCOPES = 'repo,workflow'

/** `fleetfoot admin …`: what an administrator does, through the same calls that any client may make. Gives the exit code. */
export function adminCommand(argv: string[]): Promise<number> {
  return withUsage(USAGE, argv, async () => {
    const { values, positionals } = parseCommand(argv, OPTIONS)
    const [noun = '', verb = '', ...given] = positionals
    const known = VERBS[`${noun} ${verb}`]
    if (!known) throw new UsageError(`there is no command 'admin ${[noun, verb].join(' ').trim()}'`)
    for (const option of Object.keys(values)) {
      const isKnown = option === 'json' || known.options?.includes(option as keyof Values)
      if (!isKnown) throw new UsageError(`'admin ${noun} ${verb}' has no option --${option}`)
    }
    await known.run(openClient(), given, values)
    return 0
  })
}

interface AccountBody {
  login: string
  id: number
  type?: string
}

async function createOrganization(client: ApiClient, given: string[], { admin, json }: Values): Promise<void> {
  const [login] = takeArguments(given, 'LOGIN')
  if (admin === undefined) throw new UsageError('--admin USER is missing: who owns the organization')
  const made = await client.call<AccountBody>('POST', '/admin/organizations', { login, admin })
  say(json, made, `organization ${made.login} made, owned by ${admin}`)
}

async function createUser(client: ApiClient, given: string[], { json }: Values): Promise<void> {
  const [login] = takeArguments(given, 'LOGIN')
  const made = await client.call<AccountBody>('POST', '/admin/users', { login })
  say(json, made, `user ${made.login} made`)
}

async function setSiteAdmin(client: ApiClient, given: string[], method: 'PUT' | 'DELETE'): Promise<void> {
  const [login] = takeArguments(given, 'LOGIN')
  await client.call(method, `/users/${encodeURIComponent(login)}/site_admin`)
  console.log(method === 'PUT' ? `${login} is a site administrator` : `${login} is no site administrator`)
}

async function createToken(client: ApiClient, given: string[], values: Values): Promise<void> {
  const [login] = takeArguments(given, 'LOGIN')
  const { name, expires, json } = values
  const made = await client.call<NewTokenBody>('POST', tokensOf(login), {
    name: name ?? `fleetfoot admin ${new Date().toISOString().slice(0, 16)}`,
    ...reachOf(values),
    ...(expires !== undefined && { expires_at: expiryOf(expires) }),
  })
  if (json) printJson(made)
  else console.log(made.token)
}

/** What a token may: scopes, or permissions on what one account owns. */
function reachOf({ scopes, permissions, owner, repositories }: Values): object {
  if (permissions === undefined) {
    if (owner !== undefined || repositories !== undefined) throw new UsageError('--owner and --repositories go with --permissions')
    return { scopes: wordsOf(scopes ?? DEFAULT_SCOPES) }
  }
  if (scopes !== undefined) throw new UsageError('--scopes and --permissions exclude each other')
  return {
    permissions: permissionsOf(permissions),
    ...(owner !== undefined && { resource_owner: owner }),
    ...(repositories !== undefined && { repositories: wordsOf(repositories) }),
  }
}

function wordsOf(text: string): string[] {
  return text
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '')
}

function permissionsOf(text: string): Record<string, string> {
  return Object.fromEntries(
    wordsOf(text).map((word) => {
      const match = /^([a-z_]+)=(read|write|admin)$/.exec(word)
      if (!match) throw new UsageError(`--permissions: '${word}' is not like actions=read`)
      return [match[1] ?? '', match[2] ?? '']
    }),
  )
}

function expiryOf(days: string): string {
  if (!/^[1-9]\d{0,3}$/.test(days)) throw new UsageError(`--expires: '${days}' is no number of days from 1 to 9999`)
  return new Date(Date.now() + Number(days) * 24 * 60 * 60_000).toISOString()
}

async function listTokens(client: ApiClient, given: string[], { json }: Values): Promise<void> {
  const [login] = takeArguments(given, 'LOGIN')
  const tokens = await client.call<TokenBody[]>('GET', tokensOf(login))
  if (json) printJson(tokens)
  else printTable(tokens.map((token) => [String(token.id), token.name, mayOf(token), token.expires_at ?? 'does not expire']))
}

function mayOf({ scopes, permissions, resource_owner, repositories }: TokenBody): string {
  if (permissions === undefined) return scopes.join(',')
  const where = repositories === undefined ? '' : `/{${repositories.join(',')}}`
  return `${resource_owner ?? ''}${where}: ${listOf(permissions)}`
}

const listOf = (permissions: Record<string, string>) =>
  Object.entries(permissions)
    .map(([key, level]) => `${key}=${level}`)
    .join(',')

async function deleteToken(client: ApiClient, given: string[]): Promise<void> {
  const [login, id] = takeArguments(given, 'LOGIN', 'ID')
  if (!/^[1-9]\d{0,14}$/.test(id)) throw new UsageError(`'${id}' is no token: 'admin tokens list ${login}' shows their numbers`)
  await client.call('DELETE', `${tokensOf(login)}/${id}`)
  console.log(`token ${id} of ${login} is void`)
}

const tokensOf = (login: string) => `/api/fleetfoot/users/${encodeURIComponent(login)}/tokens`

interface RepositoryBody {
  full_name: string
  visibility: string
  clone_url: string
}

async function createRepository(client: ApiClient, given: string[], values: Values): Promise<void> {
  const { owner, name } = splitFullName(takeArguments(given, 'OWNER/NAME')[0])
  if (values.public && values.internal) throw new UsageError('--public and --internal exclude each other')
  const visibility = values.public ? 'public' : values.internal ? 'internal' : 'private'
  const body = { name, visibility, private: visibility === 'private' }
  const account = await client.call<AccountBody>('GET', `/users/${owner}`)
  const made =
    account.type === 'Organization'
      ? await client.call<RepositoryBody>('POST', `/orgs/${owner}/repos`, body)
      : await asUser(client, owner, (user) => user.call<RepositoryBody>('POST', '/user/repos', body))
  say(values.json, made, `${visibility} repository ${made.full_name} made: ${made.clone_url}`)
}

/** The call for one's own repositories makes them for whoever calls, so it is made with a token of that user that lives as long as the call. */
async function asUser<T>(client: ApiClient, login: string, work: (user: ApiClient) => Promise<T>): Promise<T> {
  const token = await client.call<NewTokenBody>('POST', tokensOf(login), {
    name: `fleetfoot admin ${process.pid}-${Date.now()}`,
    scopes: ['repo'],
    expires_at: new Date(Date.now() + 24 * 60 * 60_000).toISOString(),
  })
  try {
    return await work(client.as(token.token))
  } finally {
    await client.call('DELETE', `${tokensOf(login)}/${token.id}`)
  }
}

const APPS = '/api/fleetfoot/apps'
const appPath = (slug: string) => `${APPS}/${encodeURIComponent(slug)}`

async function createApp(client: ApiClient, given: string[], values: Values): Promise<void> {
  const [name] = takeArguments(given, 'NAME')
  const { owner, permissions = '', events = '', url, json } = values
  if (owner === undefined) throw new UsageError('--owner LOGIN is missing: the user or organization that the App belongs to')
  await requireNoFile(values['key-file'])
  const addresses = { ...(url !== undefined && { url }), ...(values['hook-url'] !== undefined && { hook_url: values['hook-url'] }) }
  const body = { name, owner, permissions: permissionsOf(permissions), events: wordsOf(events), ...addresses }
  const made = await client.call<NewAppBody>('POST', APPS, body)
  if (json) printJson(made)
  else {
    const hook = made.webhook_secret === null ? '' : `, webhook secret ${made.webhook_secret}`
    console.error(`App ${made.slug} made: id ${made.id}, client id ${made.client_id}, client secret ${made.client_secret}${hook}`)
  }
  await giveKey(made.pem, values)
}

async function updateApp(
  client: ApiClient,
  given: string[],
  { permissions, events, url, 'hook-url': hookUrl, json }: Values,
): Promise<void> {
  const [slug] = takeArguments(given, 'SLUG')
  const made = await client.call<AppBody>('PATCH', appPath(slug), {
    ...(permissions !== undefined && { permissions: permissionsOf(permissions) }),
    ...(events !== undefined && { events: wordsOf(events) }),
    ...(url !== undefined && { url }),
    ...(hookUrl !== undefined && { hook_url: hookUrl }),
  })
  say(json, made, `App ${made.slug} asks for ${listOf(made.permissions)}: 'admin apps install' gives it`)
}

async function listApps(client: ApiClient, given: string[], { json }: Values): Promise<void> {
  takeArguments(given)
  const apps = await client.call<AppBody[]>('GET', APPS)
  if (json) printJson(apps)
  else
    printTable(
      apps.map((app) => [String(app.id), app.slug, app.owner, `${app.installations_count} installations`, listOf(app.permissions)]),
    )
}

async function deleteApp(client: ApiClient, given: string[]): Promise<void> {
  const [slug] = takeArguments(given, 'SLUG')
  await client.call('DELETE', appPath(slug))
  console.log(`App ${slug} is gone, and its installations and tokens with it`)
}

async function createKey(client: ApiClient, given: string[], values: Values): Promise<void> {
  const [slug] = takeArguments(given, 'SLUG')
  await requireNoFile(values['key-file'])
  const made = await client.call<NewKeyBody>('POST', `${appPath(slug)}/keys`)
  if (values.json) printJson(made)
  else console.error(`key ${made.id} of ${slug} made: ${made.fingerprint}`)
  await giveKey(made.pem, values)
}

async function listKeys(client: ApiClient, given: string[], { json }: Values): Promise<void> {
  const [slug] = takeArguments(given, 'SLUG')
  const keys = await client.call<KeyBody[]>('GET', `${appPath(slug)}/keys`)
  if (json) printJson(keys)
  else printTable(keys.map((key) => [String(key.id), key.fingerprint, key.created_at]))
}

async function deleteKey(client: ApiClient, given: string[]): Promise<void> {
  const [slug, id] = takeArguments(given, 'SLUG', 'ID')
  if (!/^[1-9]\d{0,14}$/.test(id)) throw new UsageError(`'${id}' is no key: 'admin apps keys ${slug}' shows their numbers`)
  await client.call('DELETE', `${appPath(slug)}/keys/${id}`)
  console.log(`key ${id} of ${slug} is void`)
}

/** Asked before the server makes a key that could not be kept. */
async function requireNoFile(file: string | undefined): Promise<void> {
  if (file !== undefined && (await stat(file).catch(() => undefined)))
    throw new CommandError(`${file} is there already`, 'name another file, or move it away')
}

async function giveKey(pem: string, { 'key-file': file, json }: Values): Promise<void> {
  if (file === undefined) return void (json || process.stdout.write(pem))
  await writeFile(file, pem, { mode: 0o600, flag: 'wx' })
  console.error(`its private key is in ${file}`)
}

async function installApp(client: ApiClient, given: string[], values: Values): Promise<void> {
  const [slug, account] = takeArguments(given, 'SLUG', 'ACCOUNT')
  const { repositories, 'all-repositories': all, json } = values
  if (all && repositories !== undefined) throw new UsageError('--repositories and --all-repositories exclude each other')
  const body = {
    account,
    ...(repositories !== undefined && { repositories: wordsOf(repositories) }),
    ...(all && { repository_selection: 'all' }),
  }
  const made = await client.call<InstallationBody>('POST', `${appPath(slug)}/installations`, body)
  say(json, made, `App ${made.app} is installed at ${made.account}, installation ${made.id}: ${listOf(made.permissions)}`)
}

async function setSuspended(client: ApiClient, given: string[], method: 'PUT' | 'DELETE'): Promise<void> {
  const [slug, account] = takeArguments(given, 'SLUG', 'ACCOUNT')
  await client.call(method, `${appPath(slug)}/installations/${encodeURIComponent(account)}/suspended`)
  console.log(method === 'PUT' ? `App ${slug} is suspended at ${account}` : `App ${slug} goes on at ${account}`)
}

async function uninstallApp(client: ApiClient, given: string[]): Promise<void> {
  const [slug, account] = takeArguments(given, 'SLUG', 'ACCOUNT')
  await client.call('DELETE', `${appPath(slug)}/installations/${encodeURIComponent(account)}`)
  console.log(`App ${slug} is no longer installed at ${account}`)
}

async function createManifest(client: ApiClient, given: string[], { owner, json }: Values): Promise<void> {
  const [file] = takeArguments(given, 'FILE')
  if (owner === undefined) throw new UsageError('--owner LOGIN is missing: the user or organization that the App belongs to')
  const made = await client.call<ManifestCodeBody>('POST', '/api/fleetfoot/app-manifests', { owner, manifest: await readManifest(file) })
  if (json) return printJson(made)
  console.error(`good until ${made.expires_at}, once: POST /app-manifests/CODE/conversions`)
  console.log(made.code)
}

async function readManifest(file: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(file, 'utf8'))
  } catch (error) {
    throw new CommandError(`${file} cannot be read as JSON`, 'write the manifest as GitHub documents it', { cause: error })
  }
}

async function addPackages(client: ApiClient, given: string[], { json }: Values): Promise<void> {
  if (given.length === 0) throw new UsageError('FILE is missing')
  const files: string[] = []
  for (const file of given) {
    const found = await stat(file).catch(() => undefined)
    if (!found?.isFile()) throw new CommandError(`there is no file ${file}`, 'nothing was added')
    files.push(file)
  }
  const added: PackageBody[] = []
  for (const file of files) {
    const answer = await client.fetch(`/api/fleetfoot/runner-packages/${encodeURIComponent(path.basename(file))}`, {
      method: 'PUT',
      headers: { 'Content-Type': 'application/octet-stream' },
      body: await openAsBlob(file),
    })
    const entry = (await answer.json()) as PackageBody
    added.push(entry)
    if (!json) console.log(`${entry.filename} added: ${entry.os} ${entry.architecture} ${entry.version}, SHA-256 ${entry.sha256_checksum}`)
  }
  if (json) printJson(added)
}

interface ApplicationBody {
  os: string
  architecture: string
  filename: string
  download_url: string
  sha256_checksum?: string
}

async function listPackages(client: ApiClient, given: string[], { json }: Values): Promise<void> {
  takeArguments(given)
  // The enterprise by its number, so that its name need not be known here.
  const applications = await client.call<ApplicationBody[]>('GET', '/enterprises/1/actions/runners/downloads')
  if (json) printJson(applications)
  else
    printTable(
      applications.map((entry) => [entry.os, entry.architecture, entry.filename, entry.sha256_checksum ?? '-', entry.download_url]),
    )
}

function say(json: boolean | undefined, made: unknown, text: string): void {
  if (json) printJson(made)
  else console.log(text)
}
