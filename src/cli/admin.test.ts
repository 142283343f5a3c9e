import { createHash } from 'node:crypto'
import { mkdtempDisposableSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, test } from 'vitest'
import { appJwt } from '../../test/support/apps.ts'
import { commandFor, runCommand } from '../../test/support/run-command.ts'
import { startServer } from '../../test/support/start-server.ts'

test('an organization with an owner and repositories is made, and its owner can see them', async () => {
  await using server = await startServer()
  const { run } = commandFor(server)

  expect(await run('admin', 'users', 'create', 'mona')).toMatchObject({ code: 0, stdout: 'user mona made\n' })
  expect(await run('admin', 'organizations', 'create', 'acme', '--admin', 'mona')).toMatchObject({
    code: 0,
    stdout: 'organization acme made, owned by mona\n',
  })
  const secret = await run('admin', 'repositories', 'create', 'acme/rocket')
  const open = await run('admin', 'repositories', 'create', 'acme/site', '--public', '--json')
  const own = await run('admin', 'repositories', 'create', 'mona/notes', '--internal')
  const token = await run('admin', 'tokens', 'create', 'mona', '--scopes', 'repo,read:org')

  expect(secret.stdout).toBe(`private repository acme/rocket made: ${server.url}/acme/rocket.git\n`)
  expect(JSON.parse(open.stdout)).toMatchObject({ full_name: 'acme/site', visibility: 'public' })
  expect(own).toMatchObject({ code: 0, stderr: '' })
  const mona = server.call(token.stdout.trim())
  const names = ((await (await mona('GET', '/user/repos')).json()) as { full_name: string }[]).map(({ full_name }) => full_name)
  expect(names.sort()).toEqual(['acme/rocket', 'acme/site', 'mona/notes'])
})

test('a token is shown once, listed without its text, and void when deleted', async () => {
  await using server = await startServer()
  await server.user('mona')
  const { run } = commandFor(server)

  const made = await run('admin', 'tokens', 'create', 'mona', '--name', 'laptop', '--scopes', 'repo, workflow', '--expires', '30')
  const text = made.stdout.trim()
  const listed = JSON.parse((await run('admin', 'tokens', 'list', 'mona', '--json')).stdout) as Record<string, unknown>[]
  const laptop = listed.find(({ name }) => name === 'laptop')

  expect(text).toMatch(/^ghp_[A-Za-z0-9]+$/)
  expect(laptop).toMatchObject({ scopes: ['repo', 'workflow'] })
  expect(JSON.stringify(listed)).not.toContain(text)
  const days = (Date.parse(String(laptop?.['expires_at'])) - Date.now()) / (24 * 60 * 60_000)
  expect(Math.round(days)).toBe(30)
  expect((await server.call(text)('GET', '/user')).status).toBe(200)

  expect(await run('admin', 'tokens', 'delete', 'mona', String(laptop?.['id']))).toMatchObject({ code: 0 })
  expect((await server.call(text)('GET', '/user')).status).toBe(401)
  // The one that repositories of a user are made with leaves no trace.
  await run('admin', 'repositories', 'create', 'mona/notes')
  const left = JSON.parse((await run('admin', 'tokens', 'list', 'mona', '--json')).stdout) as { name: string }[]
  expect(left.map(({ name }) => name)).toEqual(['test'])
})

test('a user becomes a site administrator, and no longer one', async () => {
  await using server = await startServer()
  const { call } = await server.user('mona')
  const { run } = commandFor(server)
  const isAdmin = async () => ((await (await call('GET', '/user')).json()) as { site_admin: boolean }).site_admin

  expect(await run('admin', 'users', 'promote', 'mona')).toMatchObject({ code: 0 })
  expect(await isAdmin()).toBe(true)
  expect(await run('admin', 'users', 'demote', 'mona')).toMatchObject({ code: 0 })
  expect(await isAdmin()).toBe(false)
})

test('added runner packages take the place of the public releases, with their checksum', async () => {
  await using server = await startServer()
  const { run } = commandFor(server)
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-cli-'))
  const file = path.join(folder, 'actions-runner-linux-x64-2.336.0.tar.gz')
  writeFileSync(file, 'not really a runner')
  const sum = createHash('sha256').update('not really a runner').digest('hex')

  const missing = await run('admin', 'runner-packages', 'add', file, path.join(folder, 'absent.tar.gz'))
  const misnamed = await run('admin', 'runner-packages', 'add', import.meta.filename)
  const added = await run('admin', 'runner-packages', 'add', file)
  const listed = await run('admin', 'runner-packages', 'list')
  rmSync(folder, { recursive: true })

  expect(missing).toMatchObject({ code: 1, stdout: '' })
  expect(misnamed.code).toBe(1)
  expect(misnamed.stderr).toContain('must be named as upstream names it')
  expect(added.stdout).toBe(`actions-runner-linux-x64-2.336.0.tar.gz added: linux x64 2.336.0, SHA-256 ${sum}\n`)
  expect(listed.stdout).toMatch(new RegExp(`^linux +x64 .* ${sum} +${server.url}/`, 'm'))
})

test('what the server refuses is said in its words, with a hint and 1', async () => {
  await using server = await startServer()
  const { env, run } = commandFor(server)

  const taken = await run('admin', 'users', 'create', 'admin')
  const unknown = await run('admin', 'tokens', 'list', 'nobody')
  const stranger = await runCommand(['admin', 'tokens', 'list', 'admin'], {
    ...env,
    FLEETFOOT_ADMIN_TOKEN: 'ghp_0123456789012345678901234567890123456789',
  })

  expect(taken).toMatchObject({ code: 1, stdout: '' })
  expect(taken.stderr).toMatch(/^fleetfoot: .*\(422 to POST \/admin\/users\)/)
  expect(unknown.stderr).toMatch(/^fleetfoot: Not Found \(404 .*\n {2}look at the names/)
  expect(stranger.stderr).toMatch(/^fleetfoot: Bad credentials \(401 .*\n {2}the token in FLEETFOOT_ADMIN_TOKEN is not one of/)
})

test('the token is the one in the data folder when none is given', async () => {
  await using server = await startServer()
  const { token } = await server.user('root', { siteAdmin: true })
  writeFileSync(path.join(server.dataDir, 'admin-token'), `${token}\n`)

  const here = await runCommand(['admin', 'tokens', 'list', 'root'], { FLEETFOOT_URL: server.url, FLEETFOOT_DATA_DIR: server.dataDir })
  const elsewhere = await runCommand(['admin', 'tokens', 'list', 'root'], { FLEETFOOT_URL: server.url, FLEETFOOT_DATA_DIR: '/nowhere' })

  expect(here.code).toBe(0)
  expect(elsewhere).toMatchObject({ code: 1, stdout: '' })
  expect(elsewhere.stderr).toContain("there is no administrator's token at /nowhere/admin-token\n  set FLEETFOOT_DATA_DIR")
})

test('an App is made, its key written down, installed, and gone', async () => {
  await using server = await startServer()
  const acme = await server.organization('acme')
  await server.repository('acme', 'rocket')
  const { run } = commandFor(server)
  using folder = mkdtempDisposableSync(path.join(tmpdir(), 'fleetfoot-cli-'))
  const file = path.join(folder.path, 'fleet.pem')

  const permissions = 'organization_self_hosted_runners=write, actions=read'
  const made = await run('admin', 'apps', 'create', 'Fleet bot', '--owner', 'acme', '--permissions', permissions, '--key-file', file)
  const again = await run('admin', 'apps', 'create', 'Other', '--owner', 'acme', '--key-file', file)
  const installed = await run('admin', 'apps', 'install', 'fleet-bot', 'acme', '--repositories', 'rocket')
  const listed = await run('admin', 'apps', 'list')
  const second = await run('admin', 'apps', 'key', 'fleet-bot')
  const keys = JSON.parse((await run('admin', 'apps', 'keys', 'fleet-bot', '--json')).stdout) as { id: number }[]

  expect(made).toMatchObject({ code: 0, stdout: '' })
  expect(made.stderr).toMatch(/^App fleet-bot made: id \d+, client id Iv23li\w{14}, client secret [0-9a-f]{40}\n/)
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('fleet.pem is there already') })
  expect(statSync(file).mode & 0o777).toBe(0o600)
  expect(installed.stdout).toMatch(/^App fleet-bot is installed at acme, installation \d+: actions=read,metadata=read,organization_self_/)
  expect(listed.stdout).toMatch(/^1 +fleet-bot +acme +1 installations +actions=read/)
  expect(second.stdout).toMatch(/^-----BEGIN RSA PRIVATE KEY-----\n[^]+-----END RSA PRIVATE KEY-----\n$/)

  const id = JSON.parse((await run('admin', 'apps', 'list', '--json')).stdout)[0].id as number
  const app = { id, pem: readFileSync(file, 'utf8') }
  const found = await server.call(undefined)('GET', '/orgs/acme/installation', undefined, { Authorization: `Bearer ${appJwt(app)}` })
  expect(await found.json()).toMatchObject({ target_id: acme.id, repository_selection: 'selected' })
  expect(await run('admin', 'apps', 'delete-key', 'fleet-bot', String(keys[1]?.id))).toMatchObject({ code: 0 })
  const suspendedAt = async () =>
    (
      (await (
        await server.call(undefined)('GET', '/orgs/acme/installation', undefined, { Authorization: `Bearer ${appJwt(app)}` })
      ).json()) as { suspended_at: string | null }
    ).suspended_at
  expect(await run('admin', 'apps', 'suspend', 'fleet-bot', 'acme')).toMatchObject({
    code: 0,
    stdout: 'App fleet-bot is suspended at acme\n',
  })
  expect(await suspendedAt()).not.toBeNull()
  expect(await run('admin', 'apps', 'unsuspend', 'fleet-bot', 'acme')).toMatchObject({ code: 0 })
  expect(await suspendedAt()).toBeNull()
  expect(await run('admin', 'apps', 'uninstall', 'fleet-bot', 'acme')).toMatchObject({ code: 0 })
  expect(await run('admin', 'apps', 'delete', 'fleet-bot')).toMatchObject({ code: 0 })
  expect((await run('admin', 'apps', 'list')).stdout).toBe('')
})

test('a manifest becomes a code, and the code an App', async () => {
  await using server = await startServer()
  const { run } = commandFor(server)
  using folder = mkdtempDisposableSync(path.join(tmpdir(), 'fleetfoot-cli-'))
  const file = path.join(folder.path, 'manifest.json')
  writeFileSync(file, JSON.stringify({ name: 'Probot', url: 'https://probot.example', default_permissions: { contents: 'read' } }))

  const code = await run('admin', 'apps', 'manifest', file, '--owner', 'admin')
  const bad = await run('admin', 'apps', 'manifest', import.meta.filename, '--owner', 'admin')

  expect(bad).toMatchObject({ code: 1, stderr: expect.stringContaining('cannot be read as JSON') })
  const made = await server.call(undefined)('POST', `/app-manifests/${code.stdout.trim()}/conversions`)
  expect(await made.json()).toMatchObject({ slug: 'probot', permissions: { contents: 'read', metadata: 'read' } })
})

test('a fine-grained token is made with permissions, and listed with them', async () => {
  await using server = await startServer()
  await server.user('mona')
  await server.organization('acme', { mona: 'owner' })
  await server.repository('acme', 'rocket')
  const { run } = commandFor(server)
  const create = (...options: string[]) => run('admin', 'tokens', 'create', 'mona', ...options)

  const made = await create('--permissions', 'actions=read', '--owner', 'acme', '--repositories', 'rocket', '--name', 'ci')
  expect(made.stdout).toMatch(/^github_pat_\w{22}_\w{59}\n$/)
  expect((await run('admin', 'tokens', 'list', 'mona')).stdout).toMatch(/ci +acme\/\{rocket\}: actions=read,metadata=read +does not expire/)
  expect((await server.call(made.stdout.trim())('GET', '/repos/acme/rocket/actions/runs')).status).toBe(200)
  for (const options of [
    ['--permissions', 'actions'],
    ['--permissions', 'actions=read', '--scopes', 'repo'],
    ['--owner', 'acme'],
  ])
    expect(await create(...options)).toMatchObject({ code: 2, stdout: '' })
})
