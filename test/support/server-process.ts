import { spawn, type ChildProcess } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { newPersonalToken } from '../../src/model/secret-text.ts'
import type { Caller } from './start-server.ts'
import { eventually } from './eventually.ts'
import { freePort } from './start-server.ts'

/** The server as operators run it, `fleetfoot serve` in a process of its own: it can be killed and started again. */
export interface ServerProcess extends AsyncDisposable {
  url: string
  adminToken: string
  dataDir: string
  admin: Caller
  call(token: string): Caller
  start(): Promise<void>
  /** kill -9. */
  kill(): Promise<void>
  /** Waits until it ends by itself; its exit code. */
  end(): Promise<number | null>
  /** SIGTERM; its exit code. */
  stop(): Promise<number | null>
  output(): string
  pid(): number
}

export interface ProcessOptions {
  env?: Record<string, string>
  /** Of several nodes: the same folder, key, token and database. */
  beside?: ServerProcess
  alsoListen?: string[]
  url?: string
}

export async function makeServerProcess(options: ProcessOptions = {}): Promise<ServerProcess> {
  const port = await freePort()
  const ownUrl = `http://127.0.0.1:${port}`
  const url = options.url ?? ownUrl
  const dataDir = options.beside?.dataDir ?? mkdtempSync(path.join(tmpdir(), 'fleetfoot-process-'))
  const adminToken = options.beside?.adminToken ?? newPersonalToken()
  const env: Record<string, string> = {
    PATH: process.env['PATH'] ?? '',
    HOME: dataDir,
    FLEETFOOT_LISTEN: [`127.0.0.1:${port}`, ...(options.alsoListen ?? [])].join(','),
    FLEETFOOT_URL: url,
    FLEETFOOT_DATA_DIR: dataDir,
    FLEETFOOT_ADMIN_TOKEN: adminToken,
    ...options.env,
  }
  let child: ChildProcess | undefined
  let text = ''
  let ended: Promise<number | null> = Promise.resolve(null)
  const call =
    (token: string): Caller =>
    (method, target, body, headers = {}) =>
      fetch(new URL(target.startsWith('/api/') || target.startsWith('/_') ? target : `/api/v3${target}`, ownUrl), {
        method,
        redirect: 'manual',
        headers: {
          'User-Agent': 'fleetfoot-test',
          Authorization: `token ${token}`,
          ...(body !== undefined && { 'Content-Type': 'application/json' }),
          ...headers,
        },
        ...(body !== undefined && { body: JSON.stringify(body) }),
      })

  const server: ServerProcess = {
    url: ownUrl,
    adminToken,
    dataDir,
    admin: call(adminToken),
    call,
    async start() {
      const started = spawn('bin/fleetfoot', ['serve'], { env, stdio: ['ignore', 'pipe', 'pipe'] })
      child = started
      for (const stream of [started.stdout, started.stderr]) stream.on('data', (chunk: Buffer) => (text += chunk.toString()))
      ended = new Promise((resolve) => started.on('close', (code) => resolve(code)))
      await eventually(async () => {
        if (started.exitCode !== null) throw new Error(`the server ended: ${text}`)
        const ready = await fetch(`${ownUrl}/readyz`)
        if (ready.status !== 200) throw new Error(await ready.text())
      })
    },
    async kill() {
      child?.kill('SIGKILL')
      await ended
    },
    async stop() {
      child?.kill('SIGTERM')
      return ended
    },
    end: () => ended,
    output: () => text,
    pid: () => child?.pid ?? 0,
    async [Symbol.asyncDispose]() {
      await server.kill()
      if (!options.beside) rmSync(dataDir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 })
    },
  }
  return server
}
