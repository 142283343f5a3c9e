import { App, Octokit } from 'octokit'
import { expect, test } from 'vitest'
import { appJwt, asApp, installApp, installationToken, makeApp } from '../../../test/support/apps.ts'
import { fits } from '../../../test/support/fits.ts'
import { startServer } from '../../../test/support/start-server.ts'
import { wireRunner } from '../../../test/support/wire-runner.ts'
import { pruneSpares } from '../../core/maintenance.ts'

const RUNNERS = { organization_self_hosted_runners: 'write', administration: 'write', actions: 'read' }
const HOUR_MS = 60 * 60_000

test('octokit signs in as an App, takes a token of its installation, and makes runners with it', async () => {
  await using server = await startServer()
  await server.organization('acme')
  await server.repository('acme', 'rocket')
  const made = await makeApp(server, RUNNERS)
  const installationId = await installApp(server, made, 'acme')
  const app = new App({ appId: made.id, privateKey: made.pem, Octokit: Octokit.defaults({ baseUrl: `${server.url}/api/v3` }) })

  const self = await app.octokit.request('GET /app')
  const found = await app.octokit.request('GET /orgs/{org}/installation', { org: 'acme' })
  const octokit = await app.getInstallationOctokit(found.data.id)
  const jit = await octokit.request('POST /orgs/{org}/actions/runners/generate-jitconfig', {
    org: 'acme',
    name: 'ghr-1',
    runner_group_id: 1,
    labels: ['linux'],
  })
  const registration = await octokit.request('POST /orgs/{org}/actions/runners/registration-token', { org: 'acme' })
  await wireRunner(server, 'acme', { token: registration.data.token, name: 'by-token' })
  const runners = await octokit.paginate('GET /orgs/{org}/actions/runners', { org: 'acme' })
  const repositories: string[] = []
  for await (const { repository } of app.eachRepository.iterator()) repositories.push(repository.full_name)

  expect(self.data).toMatchObject({ id: made.id, slug: 'fleet', installations_count: 1 })
  expect(found.data).toMatchObject({ id: installationId, target_type: 'Organization', repository_selection: 'all' })
  expect(jit.status).toBe(201)
  expect(jit.data.encoded_jit_config).toMatch(/^[\w+/=]+$/)
  expect(registration.data.token).toMatch(/^A[A-Z2-7]{28}$/)
  expect(runners.map(({ name }) => name)).toEqual(['by-token', 'ghr-1'])
  expect(repositories).toEqual(['acme/rocket'])
})

test('an App finds itself and its installations, and the answers fit the description', async () => {
  await using server = await startServer()
  await server.organization('acme')
  await server.repository('acme', 'rocket')
  await server.repository('acme', 'site', 'public')
  await server.user('mona')
  const app = await makeApp(server, RUNNERS, { owner: 'acme' })
  const other = await makeApp(server, RUNNERS, { name: 'Other App' })
  const id = await installApp(server, app, 'acme', ['rocket'])
  const at = asApp(server, app)

  expect(await fits('apps/get-authenticated', 200, at('GET', '/app'))).toMatchObject({
    owner: { login: 'acme', type: 'Organization' },
    permissions: { ...RUNNERS, metadata: 'read' },
    events: ['workflow_job'],
  })
  expect(await fits('apps/get-by-slug', 200, server.call(undefined)('GET', '/apps/other-app'))).toMatchObject({ id: other.id })
  const installation = await fits('apps/get-installation', 200, at('GET', `/app/installations/${id}`))
  expect(await (await at('GET', '/app/installations')).json()).toEqual([installation])
  await fits('apps/get-org-installation', 200, at('GET', '/orgs/acme/installation'))
  await fits('apps/get-repo-installation', 200, at('GET', '/repos/acme/rocket/installation'))
  const installed = await fits('orgs/list-app-installations', 200, server.admin('GET', '/orgs/acme/installations'))
  expect(installed).toMatchObject({ total_count: 1, installations: [{ id, repository_selection: 'selected' }] })

  // What is not selected, not installed, not an organization, or another's.
  for (const path of [
    '/repos/acme/site/installation',
    '/users/mona/installation',
    '/orgs/mona/installation',
    '/orgs/nobody/installation',
    '/app/installations/999',
    '/app/installations/x',
  ])
    expect({ path, status: (await at('GET', path)).status }).toEqual({ path, status: 404 })
  expect((await asApp(server, other)('GET', `/app/installations/${id}`)).status).toBe(404)

  const userId = await installApp(server, app, 'mona')
  expect(await fits('apps/get-user-installation', 200, at('GET', '/users/mona/installation'))).toMatchObject({
    id: userId,
    target_type: 'User',
  })
})

test('an App that asks where it is installed by a former name of a repository is led on, others are not', async () => {
  await using server = await startServer()
  await server.organization('acme')
  const { id } = await server.repository('acme', 'rocket')
  await server.repository('acme', 'site')
  const app = await makeApp(server, RUNNERS)
  await installApp(server, app, 'acme', ['rocket'])
  const at = asApp(server, app)
  for (const name of ['rocket', 'site']) {
    const renamed = await server.admin('PATCH', `/repos/acme/${name}`, { name: `${name}-2` })
    expect(renamed.status).toBe(200)
  }

  const moved = await at('GET', '/repos/acme/rocket/installation')
  const address = `${server.url}/api/v3/repositories/${id}/installation`
  expect([moved.status, moved.headers.get('location')]).toEqual([301, address])
  await fits('apps/get-repo-installation', 301, at('GET', '/repos/acme/rocket/installation'))
  await fits('apps/get-repo-installation', 200, at('GET', `/repositories/${id}/installation`))
  const other = asApp(server, await makeApp(server, RUNNERS, { name: 'other' }))
  await fits('apps/get-repo-installation', 404, other('GET', '/repos/acme/rocket/installation'))
  await fits('apps/get-repo-installation', 404, at('GET', '/repos/acme/site/installation'))
})

test('a JWT is taken when it is signed with a key of the App and of this hour, else refused in the words that octokit reads', async () => {
  await using server = await startServer()
  const app = await makeApp(server, RUNNERS)
  const other = await makeApp(server, RUNNERS, { name: 'other' })
  const now = Math.floor(Date.now() / 1000)
  const ask = async (token: string, scheme = 'Bearer') => {
    const answer = await server.call(undefined)('GET', '/app', undefined, { Authorization: `${scheme} ${token}` })
    return { status: answer.status, message: ((await answer.json()) as { message?: string }).message }
  }

  for (const iss of [app.id, String(app.id), app.client_id]) expect(await ask(appJwt(app, { iss }))).toMatchObject({ status: 200 })
  expect(await ask(appJwt(app), 'token')).toMatchObject({ status: 200 })
  // A clock that is somewhat wrong.
  expect(await ask(appJwt(app, { iat: now + 30, exp: now + 630 }))).toMatchObject({ status: 200 })

  const expired = { status: 401, message: expect.stringContaining("'Expiration time' claim ('exp') must be a numeric value") }
  for (const exp of [now - 1, undefined, null, 'soon', '9999999999']) expect(await ask(appJwt(app, { exp }))).toEqual(expired)
  const far = { status: 401, message: "'Expiration time' claim ('exp') is too far in the future" }
  for (const exp of [now + 700, 1e300]) expect(await ask(appJwt(app, { exp }))).toEqual(far)
  const issued = { status: 401, message: expect.stringContaining("'Issued at' claim ('iat') must be an Integer") }
  for (const iat of [now + 120, undefined, null, 'now', {}]) expect(await ask(appJwt(app, { iat }))).toEqual(issued)

  const good = appJwt(app)
  const [head = '', body = '', signature = ''] = good.split('.')
  const none = Buffer.from('{"alg":"none"}').toString('base64url')
  const hmac = Buffer.from('{"alg":"HS256"}').toString('base64url')
  const unread = { status: 401, message: 'A JSON web token could not be decoded' }
  for (const token of [
    appJwt({ ...app, id: other.id }),
    appJwt(app, { iss: 999_999 }),
    appJwt(app, { iss: 1e300 }),
    appJwt(app, { iss: '\ud800' }),
    appJwt(app, { iss: [app.id] }),
    appJwt(app, { iss: null }),
    appJwt(app, {}, { alg: 'RS512' }),
    `${none}.${body}.x`,
    `${hmac}.${body}.${signature}`,
    `${head}.${body}.${signature.slice(0, -4)}AAAA`,
    `${head}.${Buffer.from('[]').toString('base64url')}.${signature}`,
    'a.b.c',
  ])
    expect(await ask(token)).toEqual(unread)
})

test('each key of an App is good until it is deleted, and the last one stays', async () => {
  await using server = await startServer()
  const app = await makeApp(server, RUNNERS)
  const keys = `/api/fleetfoot/apps/${app.slug}/keys`
  const second = (await (await server.admin('POST', keys)).json()) as { id: number; pem: string; fingerprint: string }
  const status = async (pem: string) =>
    (await server.call(undefined)('GET', '/app', undefined, { Authorization: `Bearer ${appJwt({ ...app, pem })}` })).status
  const listed = (await (await server.admin('GET', keys)).json()) as { id: number; fingerprint: string }[]

  expect(second.pem).toMatch(/^-----BEGIN RSA PRIVATE KEY-----\n/)
  expect(listed.map(({ fingerprint }) => fingerprint)).toContain(second.fingerprint)
  expect(JSON.stringify(listed)).not.toContain('PRIVATE')
  expect([await status(app.pem), await status(second.pem)]).toEqual([200, 200])
  expect((await server.admin('DELETE', `${keys}/${listed[0]?.id}`)).status).toBe(204)
  expect([await status(app.pem), await status(second.pem)]).toEqual([401, 200])
  expect((await server.admin('DELETE', `${keys}/${second.id}`)).status).toBe(422)
  expect((await server.admin('DELETE', `${keys}/${listed[0]?.id}`)).status).toBe(404)
  expect(await status(second.pem)).toBe(200)
  const stored = JSON.stringify(await server.deps.db.selectFrom('appKey').selectAll().execute())
  expect(stored).not.toContain('PRIVATE')
})

test('a token of an installation has what the installation has, or less, never more', async () => {
  await using server = await startServer()
  await server.organization('acme')
  await server.organization('other')
  const rocket = await server.repository('acme', 'rocket')
  const site = await server.repository('acme', 'site')
  const foreign = await server.repository('other', 'foreign')
  const app = await makeApp(server, RUNNERS)
  const id = await installApp(server, app, 'acme', ['rocket'])
  const make = (body?: unknown) => asApp(server, app)('POST', `/app/installations/${id}/access_tokens`, body)
  const operation = 'apps/create-installation-access-token'

  const whole = await fits(operation, 201, make())
  expect(whole).toMatchObject({ token: expect.stringMatching(/^ghs_\w{36}$/), permissions: { ...RUNNERS, metadata: 'read' } })
  expect(whole).toMatchObject({ repository_selection: 'selected' })
  // As Go's clients send it.
  const empty = await asApp(server, app)('POST', `/app/installations/${id}/access_tokens`, undefined, {
    'Content-Type': 'application/vnd.github+json',
    Accept: 'application/vnd.github.v3+json',
  })
  expect(empty.status).toBe(201)
  const less = await fits(operation, 201, make({ permissions: { actions: 'read' }, repositories: ['rocket'], repository_ids: [rocket.id] }))
  expect(less).toMatchObject({ permissions: { actions: 'read', metadata: 'read' }, repositories: [{ full_name: 'acme/rocket' }] })
  expect(Object.keys(less.permissions)).toHaveLength(2)

  const notGranted = 'The permissions requested are not granted to this installation.'
  for (const permissions of [{ actions: 'write' }, { contents: 'read' }])
    expect(await fits(operation, 422, make({ permissions }))).toMatchObject({ message: notGranted })
  for (const body of [
    { repositories: ['site'] },
    { repositories: ['rocket', 'absent'] },
    { repository_ids: [site.id] },
    { repository_ids: [foreign.id] },
    { repository_ids: [2 ** 53 - 1] },
  ])
    expect(await fits(operation, 422, make(body))).toMatchObject({ message: expect.stringContaining('at least one repository') })
  for (const permissions of ['all', 7, ['actions']])
    expect(await fits(operation, 400, make({ permissions }))).toMatchObject({
      message: 'Problems parsing JSON',
    })
  for (const body of [
    { permissions: { flying: 'read' } },
    { permissions: { actions: 'admin' } },
    { permissions: { __proto__: null, constructor: 'read' } },
    { repositories: 'rocket' },
    { repository_ids: [1e300] },
    { repository_ids: ['1'] },
  ])
    expect({ body, status: (await make(body)).status }).toEqual({ body, status: 422 })
})

test('a token of an installation reaches the selected repositories and its permissions, and says what a call would take', async () => {
  await using server = await startServer()
  await server.organization('acme')
  for (const [name, visibility] of [
    ['rocket', 'private'],
    ['site', 'private'],
    ['open', 'public'],
  ] as const)
    await server.repository('acme', name, visibility)
  const app = await makeApp(server, RUNNERS)
  const id = await installApp(server, app, 'acme', ['rocket'])
  const call = server.call(await installationToken(server, app, id))
  const ask = async (method: string, path: string) => {
    const answer = await call(method, path)
    return [answer.status, answer.headers.get('x-accepted-github-permissions'), answer.headers.get('x-oauth-scopes')]
  }

  expect(await ask('GET', '/repos/acme/rocket/actions/runs')).toEqual([200, 'actions=read', null])
  expect(await ask('POST', '/repos/acme/rocket/actions/runners/registration-token')).toEqual([201, 'administration=write', null])
  expect(await ask('GET', '/repos/acme/rocket/contents/README.md')).toEqual([403, 'contents=read', null])
  expect(await ask('GET', '/repos/acme/site')).toEqual([404, 'metadata=read', null])
  expect(await ask('GET', '/repos/acme/open')).toEqual([200, 'metadata=read', null])
  expect(await ask('POST', '/repos/acme/open/actions/runners/registration-token')).toEqual([403, 'administration=write', null])
  expect(await ask('GET', '/orgs/acme/members')).toEqual([403, 'members=read', null])
  expect(await ask('GET', '/zen')).toEqual([200, 'allows_permissionless_access=true', null])
  expect(await ask('GET', '/enterprises/fleetfoot/actions/runners')).toEqual([404, null, null])
  const refused = await call('GET', '/user')
  expect([refused.status, await refused.json()]).toMatchObject([403, { message: 'Resource not accessible by integration' }])

  const reached = await fits('apps/list-repos-accessible-to-installation', 200, call('GET', '/installation/repositories'))
  expect(reached).toMatchObject({ total_count: 1, repository_selection: 'selected', repositories: [{ name: 'rocket' }] })
  const names = async () => ((await (await call('GET', '/orgs/acme/repos')).json()) as { name: string }[]).map(({ name }) => name).sort()
  expect(await names()).toEqual(['open', 'rocket'])

  // What it makes itself, it reaches.
  expect((await call('POST', '/orgs/acme/repos', { name: 'made', private: true })).status).toBe(201)
  expect(await names()).toEqual(['made', 'open', 'rocket'])
  const narrow = server.call(await installationToken(server, app, id, { repositories: ['rocket'] }))
  expect((await narrow('POST', '/orgs/acme/repos', { name: 'more' })).status).toBe(403)
  expect((await narrow('GET', '/repos/acme/made')).status).toBe(404)
})

test('a token ends when it is revoked, after an hour, while its installation is suspended, and with the installation or the App', async () => {
  let at = Date.now()
  await using server = await startServer({ now: () => at })
  await server.organization('acme')
  const app = await makeApp(server, RUNNERS)
  const id = await installApp(server, app, 'acme')
  const sign = (): string => appJwt(app, { iat: Math.floor(at / 1000), exp: Math.floor(at / 1000) + 60 })
  const asIt = (method: string, path: string) => server.call(undefined)(method, path, undefined, { Authorization: `Bearer ${sign()}` })
  const token = async () => ((await (await asIt('POST', `/app/installations/${id}/access_tokens`)).json()) as { token: string }).token
  const status = async (text: string) => (await server.call(text)('GET', '/orgs/acme/actions/runners')).status
  const [revoked, old] = [await token(), await token()]

  await fits('apps/revoke-installation-access-token', 204, server.call(revoked)('DELETE', '/installation/token'))
  expect([await status(revoked), await status(old)]).toEqual([401, 200])
  at += HOUR_MS
  expect(await status(old)).toBe(401)
  const kept = () => server.deps.db.selectFrom('token').select('id').where('kind', '=', 'installation').execute()
  expect(await kept()).toHaveLength(1)
  at++
  await pruneSpares(server.deps)
  expect(await kept()).toEqual([])

  const last = await token()
  await fits('apps/suspend-installation', 204, asIt('PUT', `/app/installations/${id}/suspended`))
  await fits('apps/suspend-installation', 204, asIt('PUT', `/app/installations/${id}/suspended`))
  expect(await status(last)).toBe(403)
  expect((await asIt('POST', `/app/installations/${id}/access_tokens`)).status).toBe(403)
  const suspended = await fits('apps/get-installation', 200, asIt('GET', `/app/installations/${id}`))
  expect(suspended.suspended_at).toBe(`${new Date(at).toISOString().slice(0, 19)}Z`)
  await fits('apps/unsuspend-installation', 204, asIt('DELETE', `/app/installations/${id}/suspended`))
  expect(await status(last)).toBe(200)

  await fits('apps/delete-installation', 204, asIt('DELETE', `/app/installations/${id}`))
  expect(await status(last)).toBe(401)
  expect(await kept()).toEqual([])
  expect((await asIt('POST', `/app/installations/${id}/access_tokens`)).status).toBe(404)
  expect((await server.admin('DELETE', `/api/fleetfoot/apps/${app.slug}`)).status).toBe(204)
  expect((await asIt('GET', '/app')).status).toBe(401)
  const kinds = await server.deps.db.selectFrom('event').select('kind').where('kind', 'like', 'installation.%').orderBy('id').execute()
  expect(kinds.map(({ kind }) => kind)).toEqual(['created', 'suspended', 'unsuspended', 'deleted'].map((what) => `installation.${what}`))
})

test('what an installation was given counts when a token is used, not when it was made', async () => {
  await using server = await startServer()
  await server.organization('acme')
  await server.repository('acme', 'rocket')
  await server.repository('acme', 'site')
  const app = await makeApp(server, RUNNERS)
  const id = await installApp(server, app, 'acme')
  const call = server.call(await installationToken(server, app, id))
  const status = async (name: string) => (await call('GET', `/repos/acme/${name}/actions/runners`)).status
  expect([await status('rocket'), await status('site')]).toEqual([200, 200])

  await installApp(server, app, 'acme', ['site'])
  expect([await status('rocket'), await status('site')]).toEqual([404, 200])

  // An App that asks for less, or for more, gets it when it is installed again.
  const change = (permissions: object) => server.admin('PATCH', `/api/fleetfoot/apps/${app.slug}`, { permissions })
  expect(await (await change({ actions: 'read', contents: 'write' })).json()).toMatchObject({ permissions: { contents: 'write' } })
  expect(await status('site')).toBe(200)
  await installApp(server, app, 'acme')
  expect(await status('site')).toBe(403)
  const reached = async () => ((await (await call('GET', '/installation/repositories')).json()) as { total_count: number }).total_count
  expect(await reached()).toBe(1)
  const install = (body: object) => server.admin('POST', `/api/fleetfoot/apps/${app.slug}/installations`, { account: 'acme', ...body })
  expect((await install({ repository_selection: 'all', repositories: ['site'] })).status).toBe(422)
  expect((await install({ repository_selection: 'all' })).status).toBe(201)
  expect(await reached()).toBe(2)
  expect((await call('GET', '/repos/acme/site/contents/README.md')).status).toBe(403)
  const later = server.call(await installationToken(server, app, id))
  expect((await later('GET', '/repos/acme/site/contents/README.md')).status).toBe(404)
})

test('registration tokens end with what made them: a suspended user, a suspended or ended installation', async () => {
  await using server = await startServer()
  const { token } = await server.user('mona', { scopes: ['admin:org'] })
  await server.organization('acme', { mona: 'owner' })
  const app = await makeApp(server, { organization_self_hosted_runners: 'write' })
  const id = await installApp(server, app, 'acme')
  const ofUser = await server.registrationToken('/orgs/acme', token)
  const ofApp = await server.registrationToken('/orgs/acme', await installationToken(server, app, id))
  const status = async (registration: string) => {
    const headers = { Authorization: `RemoteAuth ${registration}` }
    const body = { url: `${server.url}/acme`, runner_event: 'register' }
    return (await server.call(undefined)('POST', '/actions/runner-registration', body, headers)).status
  }
  expect([await status(ofUser), await status(ofApp)]).toEqual([200, 200])
  const suspendUser = (suspendedAt: number | null) =>
    server.deps.db.updateTable('account').set({ suspendedAt }).where('login', '=', 'mona').execute()

  await suspendUser(1)
  await asApp(server, app)('PUT', `/app/installations/${id}/suspended`)
  expect([await status(ofUser), await status(ofApp)]).toEqual([404, 404])

  await suspendUser(null)
  await asApp(server, app)('DELETE', `/app/installations/${id}/suspended`)
  expect([await status(ofUser), await status(ofApp)]).toEqual([200, 200])
  await asApp(server, app)('DELETE', `/app/installations/${id}`)
  expect(await status(ofApp)).toBe(404)
})

test('the code of a manifest makes one App, once, within the hour', async () => {
  let at = Date.now()
  await using server = await startServer({ now: () => at })
  const manifest = {
    name: 'Probot here',
    url: 'https://probot.example',
    hook_attributes: { url: 'https://probot.example/hooks', active: true },
    redirect_url: 'https://probot.example/done',
    public: true,
    default_permissions: { actions: 'read' },
    default_events: ['workflow_job'],
  }
  const codeOf = async (name: string) =>
    (
      (await (await server.admin('POST', '/api/fleetfoot/app-manifests', { owner: 'admin', manifest: { ...manifest, name } })).json()) as {
        code: string
      }
    ).code
  const convert = (code: string) => server.call(undefined)('POST', `/app-manifests/${code}/conversions`)
  const code = await codeOf('Probot here')

  const [one, two] = await Promise.all([convert(code), convert(code)])
  expect([one.status, two.status].toSorted((a, b) => a - b)).toEqual([201, 404])
  const made = await fits('apps/create-from-manifest', 201, one.status === 201 ? one : two)
  expect(made).toMatchObject({
    slug: 'probot-here',
    webhook_secret: expect.stringMatching(/^[0-9a-f]{40}$/),
    client_secret: expect.stringMatching(/^[0-9a-f]{40}$/),
  })
  const answer = await server.call(undefined)('GET', '/app', undefined, {
    Authorization: `Bearer ${appJwt(made, { iat: Math.floor(at / 1000) })}`,
  })
  expect(answer.status).toBe(200)

  const [permitted] = await server.deps.db.selectFrom('event').selectAll().where('kind', '=', 'app.manifest_created').execute()
  expect(permitted).toMatchObject({ actorKind: 'user', subjectKind: 'user' })
  const late = await codeOf('Late')
  at += HOUR_MS
  expect([(await convert(late)).status, (await convert('0'.repeat(40))).status]).toEqual([404, 404])
  expect((await convert(await codeOf('probot HERE'))).status).toBe(422)
})

test('Apps are made by site administrators, with what there is', async () => {
  await using server = await startServer()
  const mona = await server.user('mona')
  const make = (body: object) => server.admin('POST', '/api/fleetfoot/apps', { name: 'x', owner: 'admin', ...body })

  expect((await mona.call('POST', '/api/fleetfoot/apps', { name: 'x', owner: 'mona' })).status).toBe(404)
  for (const body of [
    { name: '' },
    { name: '---' },
    { name: 'x'.repeat(35) },
    { name: 'a\nb' },
    { permissions: { flying: 'write' } },
    { permissions: { actions: 7 } },
    { permissions: 'all' },
    { events: ['Not an event'] },
    { url: 'javascript:alert(1)' },
    { hook_url: 'not an address' },
  ])
    expect({ body, status: (await make(body)).status }).toEqual({ body, status: 422 })
  expect((await make({ owner: 'nobody' })).status).toBe(404)
  expect((await make({})).status).toBe(201)
  expect((await make({ name: 'X' })).status).toBe(422)
  // The name of an App that is gone is free, and so is its bot.
  const bot = (await (await server.admin('GET', '/users/x%5Bbot%5D')).json()) as { id: number }
  expect((await server.admin('DELETE', '/api/fleetfoot/apps/x')).status).toBe(204)
  expect((await make({})).status).toBe(201)
  expect(await (await server.admin('GET', '/users/x%5Bbot%5D')).json()).toMatchObject({ id: bot.id })
  // The bot is nobody's account: no token is made of it, and it owns nothing.
  expect(await (await server.admin('GET', '/users/x%5Bbot%5D')).json()).toMatchObject({ login: 'x[bot]', type: 'Bot' })
  expect((await server.admin('POST', '/admin/users/x%5Bbot%5D/authorizations', { scopes: ['repo'] })).status).toBe(404)
  expect((await make({ name: 'y', owner: 'x[bot]' })).status).toBe(404)
})

const WORKFLOW = 'on: [push, workflow_dispatch]\njobs:\n  a:\n    runs-on: self-hosted\n    steps:\n      - run: echo hi\n'
const CI = '.github/workflows/ci.yml'

test('an App pushes and starts workflows as its bot, as far as contents, workflows and actions let it', async () => {
  await using server = await startServer()
  await server.organization('acme')
  const rocket = await server.repository('acme', 'rocket')
  const site = await server.repository('acme', 'site')
  const app = await makeApp(server, { contents: 'write', workflows: 'write', actions: 'write' })
  const id = await installApp(server, app, 'acme', ['rocket'])
  const token = (permissions: Record<string, string>) => installationToken(server, app, id, { permissions })
  const writing = await token({ contents: 'write' })
  const whole = await installationToken(server, app, id)

  await server.push(writing, rocket, { 'README.md': 'by the bot' })
  await expect(server.push(writing, rocket, { [CI]: WORKFLOW })).rejects.toThrow(
    `refusing to allow a GitHub App to create or update workflow \`${CI}\` without \`workflows\` permission`,
  )
  await expect(server.push(await token({ contents: 'read' }), rocket, { a: '1' })).rejects.toThrow('fleet[bot] may read this repository')
  await expect(server.push(await token({ actions: 'write' }), rocket, { a: '1' })).rejects.toThrow('403')
  await expect(server.push(whole, site, { a: '1' })).rejects.toThrow('Repository not found')
  await server.push(whole, rocket, { [CI]: WORKFLOW })

  const call = server.call(whole)
  await fits(
    'actions/create-workflow-dispatch',
    204,
    call('POST', '/repos/acme/rocket/actions/workflows/ci.yml/dispatches', { ref: 'main' }),
  )
  const { workflow_runs: runs } = await fits('actions/list-workflow-runs-for-repo', 200, call('GET', '/repos/acme/rocket/actions/runs'))
  const bot = { login: 'fleet[bot]', type: 'Bot' }
  expect(runs).toMatchObject([
    { event: 'workflow_dispatch', actor: bot },
    { event: 'push', actor: bot },
  ])
  const cancelled = await call('POST', `/repos/acme/rocket/actions/runs/${runs[0].id}/cancel`)
  expect(cancelled.status).toBe(202)
  const events = await server.deps.db.selectFrom('event').selectAll().where('kind', '=', 'run.cancelling').execute()
  const [account] = await server.deps.db.selectFrom('account').select('id').where('login', '=', 'fleet[bot]').execute()
  expect(events).toMatchObject([{ actorKind: 'installation', actorId: account?.id }])
})
