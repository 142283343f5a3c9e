import { spawn, spawnSync, type ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { makeClient } from '../../src/cli/api-client.ts'
import { initialize, registrationToken } from '../../src/cli/init.ts'
import { watchRun, type WatchEvent } from '../../src/cli/watch-run.ts'
import { eventually } from '../support/eventually.ts'
import { makeGitClient } from '../support/git-client.ts'
import { startPortableRunner } from '../support/portable-runner.ts'
import { makeServerProcess, type ServerProcess } from '../support/server-process.ts'
import { freePort, startServer } from '../support/start-server.ts'
import { wireRunner } from '../support/wire-runner.ts'

/**
 * The files of docs/operate as they stand, with other addresses and without TLS, before the real server. What each proxy must let
 * through: whole jobs of a runner (held polls, the live log's WebSocket, uploads), server-sent events, large bodies; and 503 while the
 * server is away.
 */

const OPERATE = path.join(import.meta.dirname, '../../docs/operate')

interface Addresses {
  folder: string
  near: number
  far: number
}

const PROXIES = {
  nginx: {
    args({ folder, near, far }: Addresses): string[] {
      const site = readFileSync(path.join(OPERATE, 'nginx.conf'), 'utf8')
        .replace('server 127.0.0.1:8080', `server 127.0.0.1:${far}`)
        .replace('listen 443 ssl;', `listen 127.0.0.1:${near};`)
        .replaceAll(/^ *ssl_certificate.*$/gm, '')
      writeFileSync(path.join(folder, 'fleetfoot.conf'), site)
      const user = process.getuid?.() === 0 ? 'user root;' : ''
      const temp = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map((name) => `${name}_temp_path ${folder}/${name};`).join(' ')
      writeFileSync(
        path.join(folder, 'nginx.conf'),
        `${user} daemon off; pid ${folder}/pid; error_log stderr; events {} http { access_log off; ${temp} include ${folder}/fleetfoot.conf; }`,
      )
      return ['-p', folder, '-e', 'stderr', '-c', path.join(folder, 'nginx.conf')]
    },
  },
  caddy: {
    args({ folder, near, far }: Addresses): string[] {
      const site = readFileSync(path.join(OPERATE, 'Caddyfile'), 'utf8')
        .replace(/^fleetfoot\.example\.com \{/m, `{\n\tadmin off\n}\n\nhttp://127.0.0.1:${near} {`)
        .replace('reverse_proxy 127.0.0.1:8080', `reverse_proxy 127.0.0.1:${far}`)
      writeFileSync(path.join(folder, 'Caddyfile'), site)
      return ['run', '--adapter', 'caddyfile', '--config', path.join(folder, 'Caddyfile')]
    },
  },
}

type ProxyName = keyof typeof PROXIES

interface Proxy extends AsyncDisposable {
  url: string
  output: () => string
}

/** The proxy on a port of its own, before a server that may start later. */
async function startProxy(name: ProxyName, near: number, far: string): Promise<Proxy> {
  const folder = mkdtempSync(path.join(tmpdir(), `fleetfoot-${name}-`))
  const args = PROXIES[name].args({ folder, near, far: Number(new URL(far).port) })
  const child = spawn(name, args, { env: { ...process.env, HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder } })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => (output += bytes.toString()))
  const url = `http://127.0.0.1:${near}`
  const proxy = {
    url,
    output: () => output,
    async [Symbol.asyncDispose]() {
      await end(child)
      rmSync(folder, { recursive: true, force: true })
    },
  }
  try {
    await eventually(async () => expect((await fetch(`${url}/readyz`)).status).toBe(200))
    return proxy
  } catch (error) {
    await proxy[Symbol.asyncDispose]()
    throw new Error(`${name} does not reach the server: ${output}`, { cause: error })
  }
}

interface Proxied extends AsyncDisposable {
  server: ServerProcess
  url: string
}

/** The server as a process of its own behind the proxy, told of it as the documentation says. */
async function startProxied(name: ProxyName): Promise<Proxied> {
  const near = await freePort()
  const url = `http://127.0.0.1:${near}`
  const server = await makeServerProcess({ url, env: { FLEETFOOT_TRUSTED_PROXIES: '127.0.0.1' } })
  await server.start()
  const proxy = await startProxy(name, near, server.url)
  return {
    server,
    url,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
    },
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  const limit = setTimeout(() => child.kill('SIGKILL'), 3000)
  await exited
  clearTimeout(limit)
}

const WORKFLOW = `on: push
jobs:
  a:
    runs-on: self-hosted
    steps:
      - run: for i in 1 2 3 4 5; do echo "line $i"; sleep 0.3; done
`

const hasProgram = (name: string) => spawnSync(name, ['version'], { stdio: 'ignore' }).error === undefined

for (const name of ['nginx', 'caddy'] as const) {
  const isThere = hasProgram(name)
  if (!isThere) console.warn(`test/operate: ${name} is not installed: its file in docs/operate is not tested (apt-get install ${name})`)

  describe.skipIf(!isThere)(name, { timeout: 90_000 }, () => {
    test('a pushed job runs behind it, and its lines come live', async () => {
      await using proxied = await startProxied(name)
      const { url, server } = proxied
      const client = makeClient({ url, dataDir: '', token: server.adminToken, tokenFile: undefined })
      const done = await initialize(client, { owner: 'acme', name: 'rocket', user: 'mona' })
      await using _runner = await startPortableRunner(`${url}/acme/rocket`, await registrationToken(client, done))
      using git = makeGitClient()
      await git.git('.', 'init', '--quiet', 'work')
      // More than git sends in one piece: the push is chunked.
      await git.commit('work', 'first', { '.github/workflows/ci.yml': WORKFLOW, big: randomBytes(5 * 1024 * 1024) })
      await git.git('work', 'push', `http://mona:${done.token}@${new URL(url).host}/acme/rocket.git`, 'HEAD:main')

      const came: number[] = []
      const onEvent = (event: WatchEvent) => {
        if (event.kind === 'log') for (const line of event.lines) if (/^line \d$/.test(line)) came.push(performance.now())
      }
      const run = await watchRun(client, { repository: done.repository, runId: 1, onEvent, pollMs: 200 })

      expect(run.conclusion).toBe('success')
      expect(came).toHaveLength(5)
      expect((came.at(-1) ?? 0) - (came[0] ?? 0), 'lines were held back').toBeGreaterThan(600)
      // The addresses in answers are the proxy's.
      const body = await client.call<{ url: string }>('GET', '/repos/acme/rocket')
      expect(body.url).toBe(`${url}/api/v3/repos/acme/rocket`)
    })

    // The product's own 50 s were tried by hand; here the poll is held long enough to see that it is not cut or buffered.
    test('a held poll is answered 202 when its time is over', async () => {
      const near = await freePort()
      const url = `http://127.0.0.1:${near}`
      await using server = await startServer({ times: { pollHeld: 3000 }, config: { url, trustedProxies: ['127.0.0.1'] } })
      await using _proxy = await startProxy(name, near, `http://${server.running.addresses[0] ?? ''}`)
      await server.organization('acme')
      const runner = await wireRunner({ ...server, url }, 'acme')
      await runner.connect()

      const before = performance.now()
      const answer = await runner.pollRaw()

      expect(answer.status).toBe(202)
      expect(performance.now() - before).toBeGreaterThan(2500)
    })

    test('a body of 100 MB goes through', async () => {
      await using proxied = await startProxied(name)
      const { url, server } = proxied
      const file = 'actions-runner-linux-x64-2.336.0.tar.gz'

      const answer = await fetch(`${url}/api/fleetfoot/runner-packages/${file}`, {
        method: 'PUT',
        headers: { Authorization: `token ${server.adminToken}`, 'User-Agent': 'test', 'Content-Type': 'application/octet-stream' },
        body: Buffer.alloc(100 * 1024 * 1024, 'fleetfoot'),
      })

      expect(await answer.json()).toMatchObject({ size: 100 * 1024 * 1024 })
      expect(answer.status).toBe(201)
      const part = await fetch(`${url}/_packages/${file}`, { headers: { Range: 'bytes=9-17' } })
      expect([part.status, await part.text()]).toEqual([206, 'fleetfoot'])
    })

    test('while the server is away the answer is 503, and it is back at once', async () => {
      await using proxied = await startProxied(name)
      const { url, server } = proxied
      await server.stop()

      const away = await fetch(`${url}/twirp/results.services.receiver.Receiver/GetStepLogsSignedBlobURL`, { method: 'POST', body: '{}' })
      await server.start()

      expect([away.status, away.headers.get('retry-after'), await away.text()]).toEqual([
        503,
        '2',
        'Fleetfoot is starting or stopping\n'.slice(0, name === 'caddy' ? -1 : undefined),
      ])
      await eventually(async () => expect((await fetch(`${url}/readyz`)).status).toBe(200), { withinMs: 4000 })
    })
  })
}

const activate = 'systemd-socket-activate'
const hasActivate = spawnSync(activate, ['--version'], { stdio: 'ignore' }).error === undefined
if (!hasActivate) console.warn(`test/operate: ${activate} is not installed: socket activation is not tested (apt-get install systemd)`)

test.skipIf(!hasActivate)('a listening socket may come from systemd', async () => {
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-systemd-'))
  const port = await freePort()
  const variables = { FLEETFOOT_URL: `http://127.0.0.1:${port}`, FLEETFOOT_DATA_DIR: folder }
  const settings = Object.entries(variables).flatMap(([name, value]) => ['-E', `${name}=${value}`])
  const child = spawn(activate, ['-l', `127.0.0.1:${port}`, ...settings, 'bin/fleetfoot', 'serve'], { stdio: 'ignore' })

  await eventually(async () => expect((await fetch(`http://127.0.0.1:${port}/readyz`)).status).toBe(200))
  const exited = once(child, 'exit')
  child.kill('SIGTERM')

  expect(await exited).toEqual([0, null])
  rmSync(folder, { recursive: true })
})
