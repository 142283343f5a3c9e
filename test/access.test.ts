import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  knownScopes,
  hasScope,
  ownScopes,
  reaches,
  repositoryScopes,
  type Actor,
  type Need,
  type RepositoryRole,
  type UserActor,
} from '../src/model/access.ts'
import type { ServedRoute } from '../src/http/served-route.ts'
import { acceptedPermissions, grants, type PermissionNeed, type Permissions } from '../src/model/permissions.ts'
import { appJwt, asApp, installApp, installationToken, makeApp, type TestApp } from './support/apps.ts'
import { queueRun, oneJob } from './support/queue.ts'
import { readRestTable } from './support/rest-table.ts'
import { startServer, type TestServer } from './support/start-server.ts'
import { wireRunner, type JobMessageBody, type WireRunner } from './support/wire-runner.ts'

/*
 * Every route with every kind of actor. What is expected is worked out from the route's declaration (`config.access`) and what the actor is
 * in the place asked for, by the table of rest-api.md 3.4; the answers come from the product. A route that declares nothing fails.
 */

const SEEN = ['rocket', 'open', 'inner'] as const
type RepositoryName = (typeof SEEN)[number]
const VISIBILITY = { rocket: 'private', open: 'public', inner: 'internal' } as const

interface Person {
  name: string
  /** In the organization. */
  role?: 'owner' | 'member'
  /** In each of its repositories. */
  collaborator?: RepositoryRole
  siteAdmin?: boolean
  scopes: string[]
}

const ALL = [...knownScopes]
const PEOPLE: Person[] = [
  { name: 'site-admin', siteAdmin: true, scopes: ALL },
  { name: 'site-admin-without-scopes', siteAdmin: true, scopes: [] },
  { name: 'owner', role: 'owner', scopes: ALL },
  { name: 'owner-without-scopes', role: 'owner', scopes: [] },
  { name: 'owner-of-repo-scope', role: 'owner', scopes: ['repo'] },
  { name: 'owner-of-org-scope', role: 'owner', scopes: ['admin:org'] },
  { name: 'owner-of-hook-scopes', role: 'owner', scopes: ['admin:repo_hook', 'admin:org_hook'] },
  { name: 'owner-of-hook-reading', role: 'owner', scopes: ['read:repo_hook'] },
  { name: 'member', role: 'member', scopes: ALL },
  { name: 'reader', collaborator: 'read', scopes: ALL },
  { name: 'writer', collaborator: 'write', scopes: ALL },
  { name: 'repo-admin', collaborator: 'admin', scopes: ALL },
  { name: 'repo-admin-of-public-scope', collaborator: 'admin', scopes: ['public_repo'] },
  { name: 'stranger', scopes: ALL },
]

type Verdict = 'allowed' | 401 | 403 | 404

function roleOf(person: Person, name: RepositoryName, need: Need): RepositoryRole | undefined {
  const visibility = VISIBILITY[name]
  if (visibility === 'private' && !hasScope(person.scopes, ['repo', ...ownScopes(need.scopes)])) return undefined
  if (person.role === 'owner' || person.siteAdmin || person.collaborator === 'admin') return 'admin'
  return person.collaborator ?? (visibility !== 'private' || person.role === 'member' ? 'read' : undefined)
}

function verdictFor(person: Person, need: Need, name: RepositoryName): Verdict {
  const scoped = (scopes: readonly string[]) => hasScope(person.scopes, scopes)
  switch (need.on) {
    case 'nothing':
      return need.role === 'owner' ? 404 : scoped(need.scopes) ? 'allowed' : 403
    case 'app':
      return 401
    case 'installation':
      return 403
    case 'site':
      return !person.siteAdmin ? 404 : scoped(need.scopes) ? 'allowed' : 403
    case 'enterprise':
      return person.siteAdmin && scoped(need.scopes) ? 'allowed' : 404
    case 'organization': {
      if (need.role === 'anyone') return 'allowed'
      if (!person.role && !person.siteAdmin) return 404
      const isEnough = person.siteAdmin || person.role === 'owner' || need.role === 'member'
      return isEnough && scoped(need.scopes) ? 'allowed' : 403
    }
    case 'repository': {
      const role = roleOf(person, name, need)
      if (role === undefined) return 404
      const scopes = need.scopes.includes('repo') ? [...repositoryScopes(VISIBILITY[name]), ...ownScopes(need.scopes)] : need.scopes
      return reaches(role, need.role as RepositoryRole) && scoped(scopes) ? 'allowed' : 403
    }
    default:
      throw new Error('there is no such place')
  }
}

/** An App's JWT, a token of an installation, or a fine-grained token of a person: what it was given decides, not scopes. */
interface Granted {
  name: string
  kind: 'app' | 'installation' | 'person'
  /** What it is for: the organization of the paths, another one, or nobody's. */
  at: 'acme' | 'other' | undefined
  permissions: 'all' | 'none'
  /** In `acme`. */
  repositories: readonly RepositoryName[]
  person?: Person
}

const GRANTED: Granted[] = [
  { name: 'App JWT', kind: 'app', at: undefined, permissions: 'none', repositories: [] },
  { name: 'installation with all permissions', kind: 'installation', at: 'acme', permissions: 'all', repositories: SEEN },
  { name: 'installation without a permission', kind: 'installation', at: 'acme', permissions: 'none', repositories: SEEN },
  { name: 'installation for one repository', kind: 'installation', at: 'acme', permissions: 'all', repositories: ['inner'] },
  { name: 'installation token narrowed to one repository', kind: 'installation', at: 'acme', permissions: 'all', repositories: ['rocket'] },
  { name: 'installation elsewhere', kind: 'installation', at: 'other', permissions: 'all', repositories: [] },
  ...(['owner', 'member', 'writer', 'site-admin'] as const).flatMap((who): Granted[] => {
    const person = PEOPLE.find(({ name }) => name === who)
    if (!person) throw new Error(`there is no ${who}`)
    const of = (name: string, rest: Pick<Granted, 'at' | 'permissions' | 'repositories'>): Granted => ({
      name: `fine-grained token of ${who}, ${name}`,
      kind: 'person',
      person,
      ...rest,
    })
    return [
      of('with all permissions', { at: 'acme', permissions: 'all', repositories: SEEN }),
      of('without a permission', { at: 'acme', permissions: 'none', repositories: SEEN }),
      of('for one repository', { at: 'acme', permissions: 'all', repositories: ['inner'] }),
      of('for what is their own', { at: undefined, permissions: 'all', repositories: [] }),
    ]
  }),
]

function grantedVerdict(token: Granted, need: Need, name: RepositoryName, { url }: ServedRoute): Verdict {
  // What is about the asker takes a user (rest-api.md 2.1).
  if (token.kind !== 'person' && url.startsWith('/api/v3/user/memberships/')) return 403
  // The run that it is asked for is not there.
  if (url.startsWith('/api/fleetfoot/runs/') && name !== 'rocket') return 404
  const { kind, person, at } = token
  const has = (permission: PermissionNeed) => grants(token.permissions === 'all' ? everyPermission : { metadata: 'read' }, permission)
  switch (need.on) {
    case 'nothing':
      if (need.registration !== undefined) return 404
      return need.role === 'anyone' || (kind === 'person' && has(need.permission)) ? 'allowed' : 403
    case 'app':
      return kind === 'app' ? 'allowed' : 401
    case 'installation':
      return kind === 'installation' ? 'allowed' : 403
    case 'site':
      return person?.siteAdmin ? 403 : 404
    case 'enterprise':
      return 404
    case 'organization': {
      if (need.role === 'anyone') return 'allowed'
      if (person && !person.role && !person.siteAdmin) return 404
      if (!person) return at !== 'acme' ? 404 : has(need.permission) ? 'allowed' : 403
      const isEnough = person.siteAdmin || person.role === 'owner' || need.role === 'member'
      return isEnough && at === 'acme' && has(need.permission) ? 'allowed' : 403
    }
    case 'repository': {
      const isOpen = VISIBILITY[name] === 'public' && need.role === 'read'
      if (isOpen) return 'allowed'
      if (!token.repositories.includes(name)) return VISIBILITY[name] === 'public' ? 403 : 404
      if (person && roleOf(person, name, need) === undefined) return 404
      const isEnough = !person || reaches(roleOf(person, name, need), need.role as RepositoryRole)
      return isEnough && has(need.permission) ? 'allowed' : 403
    }
    default:
      throw new Error('there is no such place')
  }
}

/** Each key that a route of ours takes, at the higher of its levels. */
const everyPermission: Permissions = {}

let server: TestServer
let app: TestApp
let bareApp: TestApp
let runner: WireRunner
let job: JobMessageBody
let runId = 0
let jobId = 0
const tokens = new Map<string, string>()

beforeAll(async () => {
  server = await startServer({ times: { pollHeld: 50 } })
  for (const person of PEOPLE) {
    tokens.set(person.name, (await server.user(person.name, { scopes: person.scopes, siteAdmin: person.siteAdmin ?? false })).token)
  }
  const members = PEOPLE.filter(({ role }) => role).map(({ name, role }) => [name, role as 'owner' | 'member'])
  await server.organization('acme', Object.fromEntries(members) as Record<string, 'owner' | 'member'>)
  await server.organization('other')
  for (const name of SEEN) {
    const repository = await server.repository('acme', name, VISIBILITY[name])
    for (const person of PEOPLE) if (person.collaborator) await server.collaborator(repository, person.name, person.collaborator)
    if (name !== 'rocket') continue
    runner = await wireRunner(server, 'acme')
    await runner.connect()
    runId = (await queueRun(server, repository, oneJob())).id
    job = await runner.takeJob()
    jobId = (await server.deps.db.selectFrom('job').select('id').executeTakeFirstOrThrow()).id
  }
  for (const { access } of server.running.routes) {
    const [key, level] = access?.by === 'actor' ? access.need.permission.split(':') : []
    if (key !== undefined && level !== undefined) everyPermission[key] = 'write'
  }
  await makeGrantedTokens()
})

async function makeGrantedTokens(): Promise<void> {
  app = await makeApp(server, everyPermission)
  bareApp = await makeApp(server, {}, { name: 'Bare' })
  const selecting = await makeApp(server, everyPermission, { name: 'Selecting' })
  const whole = await installApp(server, app, 'acme')
  const made: Record<string, () => Promise<string>> = {
    'installation with all permissions': () => installationToken(server, app, whole),
    'installation without a permission': async () => installationToken(server, bareApp, await installApp(server, bareApp, 'acme')),
    'installation for one repository': async () =>
      installationToken(server, selecting, await installApp(server, selecting, 'acme', ['inner'])),
    'installation token narrowed to one repository': () => installationToken(server, app, whole, { repositories: ['rocket'] }),
    'installation elsewhere': async () => installationToken(server, app, await installApp(server, app, 'other')),
  }
  for (const { name, person, at, permissions, repositories } of GRANTED) {
    const make = made[name]
    if (make) tokens.set(name, await make())
    else if (!person) tokens.set(name, appJwt(app))
    else tokens.set(name, await fineGrainedToken(person, at, permissions, repositories))
  }
}

/** As a site administrator makes one; for who is in no organization, put into the database: the membership may have ended since. */
async function fineGrainedToken(
  person: Person,
  at: Granted['at'],
  level: Granted['permissions'],
  names: readonly string[],
): Promise<string> {
  const permissions = level === 'all' ? everyPermission : {}
  const repositories = names.length === SEEN.length || at === undefined ? undefined : names
  const isIn = at === undefined || person.role !== undefined || person.siteAdmin === true
  const body = {
    name: 'fine',
    permissions,
    ...(at !== undefined && isIn && { resource_owner: at }),
    ...(isIn && repositories && { repositories }),
  }
  const made = await server.admin('POST', `/api/fleetfoot/users/${person.name}/tokens`, body)
  const { id, token } = (await made.json()) as { id: number; token: string }
  if (isIn) return token
  const { db } = server.deps
  const organization = await db.selectFrom('account').select('id').where('login', '=', at).executeTakeFirstOrThrow()
  const found = await db.selectFrom('repository').select(['id', 'name']).where('ownerId', '=', organization.id).execute()
  const ids = repositories && found.filter((row) => repositories.includes(row.name)).map((row) => row.id)
  await db
    .updateTable('token')
    .set({ ownerId: organization.id, repositories: ids ? JSON.stringify(ids) : null })
    .where('id', '=', id)
    .execute()
  return token
}
afterAll(async () => server[Symbol.asyncDispose]())

/** A path with its parameters filled: the organization and repository are there, what lies below them mostly not. */
function fill(url: string, name: RepositoryName): string {
  const values: Record<string, string> = {
    enterprise: 'fleetfoot',
    org: 'acme',
    owner: 'acme',
    repo: name,
    organization_id: String(ids.acme),
    repository_id: String(ids[name]),
    runner_id: '999999',
    runner_group_id: '1',
    target_id: '999999',
    target: '999999',
    rule_id: '999999',
    run_id: name === 'rocket' ? String(runId) : '999999',
    job_id: name === 'rocket' ? String(jobId) : '999999',
    check_run_id: name === 'rocket' ? String(jobId) : '999999',
    workflow_id: 'absent.yml',
    username: 'stranger',
    tenant: 'acme',
    container: 'jobs',
    name: '1-log',
    planId: 'p',
    jobId: 'j',
    filename: 'actions-runner-linux-x64-2.336.0.tar.gz',
    branch: 'main',
    ref: 'main',
    id: '999999',
    token_id: '999999',
    user_id: '999999',
    installation_id: '999999',
    app_slug: 'absent',
    key_id: '999999',
    account: 'acme',
    code: 'absent',
    hook_id: '999999',
    delivery_id: '999999',
  }
  return url.replace(/:(\w+)/g, (_, key: string) => values[key] ?? 'x').replace(/\*$/, 'heads/main')
}

const ids = { acme: 0, rocket: 0, open: 0, inner: 0 }

function call(route: ServedRoute, target: string, authorization: string | undefined, abort?: AbortSignal) {
  return fetch(server.url + target, {
    method: route.method,
    redirect: 'manual',
    headers: {
      'User-Agent': 'access-test',
      ...(authorization !== undefined && { Authorization: authorization }),
      // Never a good body: an allowed call stops at what it is asked, and changes nothing.
      ...(!['GET', 'DELETE'].includes(route.method) && { 'Content-Type': 'application/json' }),
    },
    ...(!['GET', 'DELETE'].includes(route.method) && {
      body: '{"name":7,"labels":7,"ref":7,"login":7,"scopes":7,"role":7,"permission":7,"url":7}',
    }),
    ...(abort && { signal: abort }),
  })
}

const isActor = (route: ServedRoute) => route.access?.by === 'actor'

/** Called with registration tokens alone, which have neither scopes nor permissions. */
const isRegistration = ({ access }: ServedRoute) =>
  access?.by === 'actor' && access.need.on === 'nothing' && access.need.registration !== undefined

test('every route says who may call it', () => {
  const silent = server.running.routes.filter(({ access }) => access === undefined).map(({ method, url }) => `${method} ${url}`)
  expect(silent).toEqual([])
  expect(server.running.routes.length).toBeGreaterThan(100)
})

test('scopes are those of the reference', () => {
  const rows = new Map(readRestTable().map((row) => [row.operationId, row]))
  const wanted: Record<string, (need: Need) => boolean> = {
    repo: (need) => need.on === 'repository' && need.scopes.includes('repo'),
    'repo*': (need) => need.on !== 'repository' || need.role === 'read' || need.scopes.includes('repo'),
    'admin:org': (need) => need.scopes.includes('admin:org'),
    'admin:enterprise': (need) => need.scopes.includes('admin:enterprise'),
    'manage_runners:enterprise': (need) => need.scopes.includes('manage_runners:enterprise'),
    'read:org': (need) => need.scopes.includes('read:org'),
    none: (need) => need.scopes.length === 0,
    'none (private fields: user)': (need) => need.scopes.length === 0,
    'none (more with read:org)': (need) => need.scopes.length === 0,
    'read:org or user': (need) => need.scopes.includes('read:org') && need.scopes.includes('user'),
    'repo (public_repo for public)': (need) => need.scopes.includes('public_repo'),
    'admin:repo_hook': (need) => need.scopes.some((scope) => scope.endsWith(':repo_hook')),
    'admin:org_hook': (need) => need.scopes.includes('admin:org_hook'),
    delete_repo: (need) => need.scopes.includes('delete_repo'),
    JWT: (need) => need.on === 'app' && need.scopes.length === 0,
    '—': (need) => need.scopes.length === 0,
    'admin:read or admin:org': (need) => need.scopes.includes('admin:org'),
    'site admin': (need) => need.on === 'site' && need.scopes.includes('site_admin'),
  }
  // Making a repository of one's own takes `public_repo`, and `repo` once it is private, which the use-case checks.
  const exceptions = new Set(['repos/create-for-authenticated-user'])
  const wrong: string[] = []
  for (const route of server.running.routes) {
    const row = route.operationId === undefined ? undefined : rows.get(route.operationId)
    if (!row || route.access?.by !== 'actor' || exceptions.has(row.operationId)) continue
    const check = wanted[row.scope]
    if (!check || !check(route.access.need))
      wrong.push(`${row.operationId}: ${row.scope} against ${JSON.stringify(route.access.need.scopes)}`)
  }
  expect(wrong).toEqual([])
})

test('permissions are those of the reference, and every operation of ours is in it', () => {
  const rows = new Map(readRestTable().map((row) => [row.operationId, row]))
  // Not in the tables of the reference.
  const described: Record<string, PermissionNeed> = {
    'orgs/list-for-user': 'public',
    'repos/list-for-user': 'public',
    'repos/download-tarball-archive': 'contents:read',
    'repos/download-zipball-archive': 'contents:read',
    'actions/list-self-hosted-runner-groups-for-repo': 'administration:read',
    'actions/get-self-hosted-runner-group-for-repo': 'administration:read',
    'apps/get-by-slug': 'public',
    'apps/create-from-manifest': 'public',
    'apps/delete-installation': 'app JWT',
    'apps/suspend-installation': 'app JWT',
    'apps/unsuspend-installation': 'app JWT',
  }
  const wrong: string[] = []
  for (const { operationId, access } of server.running.routes) {
    if (operationId === undefined || operationId.startsWith('fleetfoot/') || access?.by !== 'actor') continue
    const wanted = rows.get(operationId)?.permission.replace(/ \(.*\)$/, '') ?? described[operationId]
    if (access.need.permission !== wanted) wrong.push(`${operationId}: ${wanted} against ${access.need.permission}`)
  }
  expect(wrong).toEqual([])
})

/** Where each kind of actor and of a user's token is walked through every route: a new one does not compile without a line here. */
const WALKED = {
  anonymous: 'nobody, and somebody with a bad or expired token',
  user: 'people',
  job: 'machines',
  app: 'Apps and fine-grained tokens',
  installation: 'Apps and fine-grained tokens',
  registration: 'machines',
  system: 'has no credentials',
  personal: 'people',
  // The administrator's and impersonation tokens are personal ones with another origin.
  admin: 'people',
  impersonation: 'people',
  fine_grained: 'Apps and fine-grained tokens',
} satisfies Record<Actor['kind'] | UserActor['token']['kind'], string>

describe(WALKED.installation, () => {
  test.each(GRANTED)('$name gets what the declarations say, everywhere', async (token) => {
    await loadIds()
    const wrong: string[] = []
    for (const route of server.running.routes) {
      if (route.access?.by !== 'actor') continue
      const { need } = route.access
      for (const name of need.on === 'repository' ? SEEN : (['rocket'] as const)) {
        const verdict = grantedVerdict(token, need, name, route)
        if (verdict === 'allowed' && isDestructive(route)) continue
        const target = fill(route.url, name)
        const abort = new AbortController()
        const answer = await call(route, target, `Bearer ${tokens.get(token.name)}`, abort.signal)
        if (!answer.headers.get('content-type')?.includes('event-stream')) await answer.text()
        abort.abort()
        if (!fits(answer.status, verdict, route, need)) wrong.push(`${route.method} ${target}: ${answer.status}, expected ${verdict}`)
        if (answer.headers.has('x-oauth-scopes')) wrong.push(`${route.method} ${target}: tells scopes`)
        const told = answer.headers.get('x-accepted-github-permissions')
        const wanted = acceptedPermissions(need.permission) ?? null
        if (told !== wanted) wrong.push(`${route.method} ${target}: tells ${told}, not ${wanted}`)
      }
    }
    expect(wrong).toEqual([])
  })

  test('a token of a suspended installation opens nothing, not even what is public', async () => {
    await loadIds()
    const suspended = await makeApp(server, everyPermission, { name: 'Suspended' })
    const id = await installApp(server, suspended, 'acme')
    const token = await installationToken(server, suspended, id)
    await asApp(server, suspended)('PUT', `/app/installations/${id}/suspended`)
    const wrong: string[] = []
    for (const route of server.running.routes.filter(isActor)) {
      const target = fill(route.url, 'open')
      const { status } = await call(route, target, `Bearer ${token}`)
      if (status !== 403) wrong.push(`${route.method} ${target}: ${status}`)
    }
    expect(wrong).toEqual([])
  })
})

describe('people', () => {
  test.each(PEOPLE)('$name gets what the declarations say, everywhere', async (person) => {
    await loadIds()
    const wrong: string[] = []
    for (const route of server.running.routes) {
      if (route.access?.by !== 'actor') continue
      const { need } = route.access
      for (const name of need.on === 'repository' ? SEEN : (['rocket'] as const)) {
        const verdict = verdictFor(person, need, name)
        // What would really be done is tried where it is refused only; see the tests of the routes for the rest.
        if (verdict === 'allowed' && isDestructive(route)) continue
        const target = fill(route.url, name)
        const abort = new AbortController()
        const answer = await call(route, target, `token ${tokens.get(person.name)}`, abort.signal)
        if (!answer.headers.get('content-type')?.includes('event-stream')) await answer.text()
        abort.abort()
        if (!fits(answer.status, verdict, route, need)) wrong.push(`${route.method} ${target}: ${answer.status}, expected ${verdict}`)
        const told = answer.headers.get('x-accepted-oauth-scopes')
        if (told !== [...need.accepted].sort().join(', ') && !isRegistration(route)) wrong.push(`${route.method} ${target}: tells ${told}`)
      }
    }
    expect(wrong).toEqual([])
  })

  test('nobody, and somebody with a bad or expired token', async () => {
    await loadIds()
    const expired = (await server.user('late', { expiresAt: Date.now() - 1000 })).token
    const wrong: string[] = []
    for (const route of server.running.routes) {
      if (route.access?.by !== 'actor') continue
      const { need } = route.access
      for (const name of need.on === 'repository' ? SEEN : (['rocket'] as const)) {
        const target = fill(route.url, name)
        for (const [who, authorization] of [
          ['bad', 'token ghp_000000000000000000000000000000000000'],
          ['expired', `token ${expired}`],
        ] as const) {
          const refused = await call(route, target, authorization)
          const isRegistration = need.on === 'nothing' && need.registration !== undefined
          if (refused.status !== (isRegistration ? 404 : 401)) wrong.push(`${who} ${route.method} ${target}: ${refused.status}`)
        }
        const isOpen = need.role === 'anyone' || (need.role === 'read' && VISIBILITY[name] === 'public')
        const abort = new AbortController()
        const { status } = await call(route, target, undefined, abort.signal)
        abort.abort()
        const hidden = need.role === 'read' ? 404 : need.on === 'nothing' && need.registration ? 404 : 401
        const isFine = isOpen ? status !== 401 && status !== 403 && status < 500 : status === hidden
        if (!isFine) wrong.push(`nobody ${route.method} ${target}: ${status}`)
      }
    }
    expect(wrong).toEqual([])
  })
})

describe('machines', () => {
  test('a registration or remove token, the token of a runner and of a job open nothing of the REST API but what is theirs', async () => {
    await loadIds()
    const registration = await server.registrationToken('/orgs/acme')
    const removal = ((await (await server.admin('POST', '/orgs/acme/actions/runners/remove-token')).json()) as { token: string }).token
    const jobToken = job.resources.endpoints[0]?.authorization.parameters.AccessToken
    const githubToken = job.variables['system.github.token']?.value
    const wrong: string[] = []
    for (const route of server.running.routes.filter(isActor)) {
      const need = route.access?.by === 'actor' ? route.access.need : undefined
      if (!need) continue
      for (const name of need.on === 'repository' ? SEEN : (['rocket'] as const)) {
        const target = fill(route.url, name)
        const status = async (authorization: string) => {
          const abort = new AbortController()
          const answer = await call(route, target, authorization, abort.signal)
          abort.abort()
          return answer.status
        }
        for (const [who, token, purpose] of [
          ['registration', registration, 'register'],
          ['removal', removal, 'remove'],
        ] as const) {
          const serves = need.registration !== undefined && (purpose === 'register' || need.registration === 'remove')
          const isOpen = need.role === 'anyone' || (serves && (need.on === 'organization' || need.on === 'nothing'))
          const got = await status(`RemoteAuth ${token}`)
          if (isOpen ? got === 401 || got === 403 || got >= 500 : got !== 404) wrong.push(`${who} ${route.method} ${target}: ${got}`)
        }
        const byRunner = await status(`Bearer ${runner.token}`)
        const isRegistration = need.on === 'nothing' && need.registration !== undefined
        if (byRunner !== (isRegistration ? 404 : 401)) wrong.push(`runner ${route.method} ${target}: ${byRunner}`)
        const byJob = await status(`Bearer ${jobToken}`)
        if (byJob !== (isRegistration ? 404 : 401)) wrong.push(`job ${route.method} ${target}: ${byJob}`)

        const byGithubToken = await status(`token ${githubToken}`)
        const mayRead = need.role === 'anyone' || (need.job !== undefined && name !== 'inner')
        const isFine = mayRead
          ? byGithubToken !== 401 && byGithubToken !== 403 && byGithubToken < 500
          : byGithubToken === 404 || byGithubToken === (need.on === 'app' ? 401 : 403)
        if (!isFine) wrong.push(`GITHUB_TOKEN ${route.method} ${target}: ${byGithubToken}`)
      }
    }
    expect(wrong).toEqual([])
  })

  test('calls of runners, jobs, assertions and signed addresses are refused to everybody else', async () => {
    await loadIds()
    const admin = `token ${server.adminToken}`
    const jobToken = job.resources.endpoints[0]?.authorization.parameters.AccessToken
    const others: Record<string, (string | undefined)[]> = {
      runner: [undefined, admin, `Bearer ${jobToken}`, `Bearer ${forge(runner.token)}`],
      job: [undefined, admin, `Bearer ${runner.token}`, `Bearer ${forge(jobToken ?? '')}`],
      signature: [undefined, admin, `Bearer ${runner.token}`],
      assertion: [undefined, admin],
    }
    const wrong: string[] = []
    for (const route of server.running.routes) {
      const by = route.access?.by ?? ''
      for (const authorization of others[by] ?? []) {
        const query = route.url.endsWith('/message') ? '?sessionId=x' : '?sig=x&se=99999999999&sp=rw'
        const { status } = await fetch(server.url + fill(route.url, 'rocket') + query, {
          method: route.method,
          headers: { ...(authorization !== undefined && { Authorization: authorization }), 'Content-Type': 'application/json' },
          ...(route.method !== 'GET' && route.method !== 'DELETE' && { body: bodyFor(route.url) }),
        })
        const refused = by === 'assertion' ? [400] : by === 'signature' ? [403] : [401]
        if (!refused.includes(status))
          wrong.push(`${route.method} ${route.url} with ${authorization?.split(' ')[0] ?? 'nothing'}: ${status}`)
      }
    }
    expect(wrong).toEqual([])
  })
})

/** A body that passes the schema, so that the credentials are what decides. */
function bodyFor(url: string): string {
  const ids = { planId: job.plan.planId, jobId: job.jobId, jobMessageId: 'x', conclusion: 'succeeded' }
  const backend = { workflow_run_backend_id: job.plan.planId, workflow_job_run_backend_id: job.jobId, step_backend_id: job.steps[0]?.id }
  return JSON.stringify(url.startsWith('/twirp') ? backend : url.startsWith('/actions/build') ? { actions: [] } : ids)
}

/** The same claims with another signature. */
function forge(token: string): string {
  const end = token.at(-2) === 'A' ? 'B' : 'A'
  return token.slice(0, -2) + end + token.at(-1)
}

async function loadIds(): Promise<void> {
  const { db } = server.deps
  ids.acme = (await db.selectFrom('account').select('id').where('login', '=', 'acme').executeTakeFirstOrThrow()).id
  for (const { id, name } of await db.selectFrom('repository').select(['id', 'name']).execute())
    if (name in ids) ids[name as RepositoryName] = id
}

/** Allowed calls that need no good body to change what the other tests stand on. */
function isDestructive({ method, url }: ServedRoute): boolean {
  return method === 'DELETE' || (method === 'PUT' && !/labels/.test(url)) || url.endsWith('/cancel') || url.endsWith('/authorizations')
}

function fits(status: number, verdict: Verdict, route: ServedRoute, need: Need): boolean {
  if (verdict !== 'allowed') return status === verdict
  if (status >= 500 || status === 401) return false
  // What is below is mostly not there; tokens of others are refused by name.
  return status !== 403 || (need.on === 'nothing' && route.url.includes('/users/:username'))
}
