import { spawn, type ChildProcess } from 'node:child_process'
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs'
import { createServer } from 'node:net'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { makeGitClient } from '../../test/support/git-client.ts'
import type { BenchOptions } from './row.ts'
import type { State } from './seed.ts'
import { callJson, type Answer } from './http.ts'

const root = path.resolve(import.meta.dirname, '../..')

/** A child process with an address. */
export interface Child extends AsyncDisposable {
  url: string
  pid: number
  /** Resident memory in bytes. */
  rss(): number
  /** Milliseconds of processor that it has used, all threads together. */
  cpuMs(): number
}

/** The product, `bin/fleetfoot serve`, in a process of its own. */
export interface Product extends Child {
  state: State
  /** Milliseconds from the spawn to the first 200 of `/readyz`. */
  startMs: number
  api(method: string, path: string, body?: unknown): Promise<Answer>
}

export interface ProductOptions {
  sync?: 'normal' | 'full'
  env?: Record<string, string>
  /** Collects garbage at SIGUSR2. */
  collects?: boolean
}

export async function startProduct(state: State, bench: BenchOptions, options: ProductOptions = {}): Promise<Product> {
  const port = await freePort()
  const url = `http://127.0.0.1:${port}`
  const env: Record<string, string> = {
    ...plainEnvironment(),
    FLEETFOOT_LISTEN: `127.0.0.1:${port}`,
    FLEETFOOT_URL: url,
    FLEETFOOT_DATA_DIR: state.folder,
    FLEETFOOT_SECRET_KEY: state.secretKey,
    ...(state.database.kind === 'postgres' ? { FLEETFOOT_DATABASE_URL: state.database.url } : {}),
    ...(options.sync && { FLEETFOOT_SQLITE_SYNC: options.sync }),
    ...(options.collects && { NODE_OPTIONS: collectOptions() }),
    ...(bench.profileDir !== undefined && { NODE_OPTIONS: profileOptions(bench.profileDir) }),
    ...options.env,
  }
  const log = openSync(path.join(state.folder, 'server.log'), 'a')
  const began = performance.now()
  const child = spawn(path.join(root, 'bin/fleetfoot'), ['serve'], { cwd: state.folder, env, stdio: ['ignore', log, log] })
  closeSync(log)
  try {
    await ready(child, url, () => readFileSync(path.join(state.folder, 'server.log'), 'utf8').slice(-2000))
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  }
  const startMs = performance.now() - began
  return {
    ...childOf(child, url),
    state,
    startMs,
    api: (method, target, body) => callJson(`${url}/api/v3${target}`, { method, token: state.token, body }),
  }
}

/** Pushes files to the main branch of acme/rocket. */
export async function pushFiles(product: Product, files: Record<string, string>): Promise<void> {
  using client = makeGitClient()
  const { host } = new URL(product.url)
  await client.git('.', 'init', '--quiet', '--initial-branch', 'main', 'work')
  await client.commit('work', 'first', files)
  await client.git('work', 'push', '--quiet', `http://x-access-token:${product.state.token}@${host}/acme/rocket`, 'HEAD:refs/heads/main')
}

async function ready(child: ChildProcess, url: string, log: () => string): Promise<void> {
  for (let i = 0; i < 4000; i++) {
    if (child.exitCode !== null) throw new Error(`the server ended at its start:\n${log()}`)
    const answer = await callJson(`${url}/readyz`, { method: 'GET' }).catch(() => undefined)
    if (answer?.status === 200) return
    await delay(5)
  }
  throw new Error(`the server did not get ready:\n${log()}`)
}

/** A bare `node:http` server to compare with; it writes its port to standard output. */
export async function startBare(file: string, args: string[], options: { collects?: boolean } = {}): Promise<Child> {
  const env = { ...plainEnvironment(), ...(options.collects && { NODE_OPTIONS: collectOptions() }) }
  const child = spawn(path.join(root, 'bin/node'), [path.join(root, 'bench/support', file), ...args], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const port = await new Promise<number>((resolve, reject) => {
    child.stdout.once('data', (chunk: Buffer) => resolve(Number(chunk.toString())))
    child.once('exit', () => reject(new Error(`${file} ended at its start`)))
  })
  return childOf(child, `http://127.0.0.1:${port}`)
}

function childOf(child: ChildProcess, url: string): Child {
  const pid = child.pid ?? 0
  return {
    url,
    pid,
    rss: () => residentBytes(pid),
    cpuMs: () => processorMs(pid),
    async [Symbol.asyncDispose]() {
      if (child.exitCode !== null) return
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), 20_000)
      await ended
      clearTimeout(timer)
    },
  }
}

export function residentBytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(match?.[1] ?? Number.NaN) * 1024
}

/** User and system time; Linux counts in hundredths of a second. */
function processorMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
    .replace(/^.*\) /, '')
    .split(' ')
  return (Number(fields[11]) + Number(fields[12])) * 10
}

/** Waits until a server that just started has nothing left to do: its evaluator is warm, its pool of keys full. */
export async function settled(child: Child): Promise<void> {
  for (let i = 0; i < 60; i++) {
    const before = child.cpuMs()
    await delay(1000)
    if (child.cpuMs() - before <= 30) return
  }
  throw new Error('the server does not come to rest')
}

/** Lets a child that was started with `collects` collect its garbage, and gives what it holds afterwards. */
export async function settledBytes(child: Child): Promise<number> {
  for (let i = 0; i < 4; i++) {
    process.kill(child.pid, 'SIGUSR2')
    await delay(500)
  }
  return child.rss()
}

/** Nothing of what this process was configured with reaches a child. */
export function plainEnvironment(): Record<string, string> {
  const { PATH = '', HOME = '', LANG = 'C.UTF-8', TMPDIR } = process.env
  return { PATH, HOME, LANG, ...(TMPDIR !== undefined && { TMPDIR }) }
}

function collectOptions(): string {
  return `--expose-gc --import=${path.join(import.meta.dirname, 'collect-on-signal.ts')}`
}

function profileOptions(folder: string): string {
  mkdirSync(folder, { recursive: true })
  return `--cpu-prof --cpu-prof-dir=${path.resolve(folder)}`
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  await new Promise((resolve) => server.close(resolve))
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}
