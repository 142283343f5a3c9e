import { spawn, type ChildProcess } from 'node:child_process'
import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

/** An unpacked official runner; the suite that needs one is skipped without it. */
export const officialRunnerDir = process.env['FLEETFOOT_RUNNER_DIR']

export interface Finished {
  code: number | null
  output: string
}

/** A copy of the official runner in a folder of its own, unmodified; only its own scripts are called. */
export interface OfficialRunner extends AsyncDisposable {
  folder: string
  config(...args: string[]): Promise<Finished>
  /** Starts `run.sh` in a process group of its own. */
  start(...args: string[]): void
  output(): string
  /** Ends `run.sh` as Ctrl-C does and waits for it. */
  stop(): Promise<void>
  /** Kills the whole group, listener and worker, at once. */
  kill(): void
  /** Waits for `run.sh` to end by itself. */
  ended(): Promise<Finished>
  diagnostics(): string
}

export function makeOfficialRunner(): OfficialRunner {
  if (!officialRunnerDir) throw new Error('FLEETFOOT_RUNNER_DIR is not set')
  const folder = mkdtempSync(path.join(tmpdir(), 'official-runner-'))
  for (const entry of readdirSync(officialRunnerDir)) {
    // The large, read-only part is shared; everything that the runner writes beside stays here.
    if (entry === 'externals') symlinkSync(path.join(officialRunnerDir, entry), path.join(folder, entry))
    else if (entry !== '_work' && entry !== '_diag')
      cpSync(path.join(officialRunnerDir, entry), path.join(folder, entry), { recursive: true })
  }
  const env = { ...runnerEnvironment(), RUNNER_ALLOW_RUNASROOT: '1' }
  let child: ChildProcess | undefined
  let text = ''
  let end: Promise<Finished> = Promise.resolve({ code: null, output: '' })

  const runner: OfficialRunner = {
    folder,
    config: (...args) => run(path.join(folder, 'config.sh'), args, folder, env),
    start(...args) {
      text = ''
      // A shell in the background ignores SIGINT without job control: `set -m` in a group of its own.
      const started = spawn(path.join(folder, 'run.sh'), args, { cwd: folder, env, detached: true, stdio: ['ignore', 'pipe', 'pipe'] })
      child = started
      for (const stream of [started.stdout, started.stderr]) stream?.on('data', (chunk: Buffer) => (text += chunk.toString()))
      end = new Promise((resolve) => started.on('close', (code) => resolve({ code, output: text })))
    },
    output: () => text,
    async stop() {
      if (!child?.pid || child.exitCode !== null) return
      signalGroup(child.pid, 'SIGINT')
      const timer = setTimeout(() => child?.pid && signalGroup(child.pid, 'SIGKILL'), 20_000)
      await end
      clearTimeout(timer)
    },
    kill() {
      if (child?.pid) signalGroup(child.pid, 'SIGKILL')
    },
    ended: () => end,
    diagnostics() {
      const diag = path.join(folder, '_diag')
      if (!existsSync(diag)) return ''
      return readdirSync(diag)
        .filter((name) => name.endsWith('.log'))
        .map((name) => readFileSync(path.join(diag, name), 'utf8'))
        .join('\n')
    },
    async [Symbol.asyncDispose]() {
      runner.kill()
      rmSync(folder, { recursive: true, force: true, maxRetries: 5, retryDelay: 200 })
    },
  }
  return runner
}

/** Without what a test's own process was given. */
function runnerEnvironment(): Record<string, string> {
  const env: Record<string, string> = {}
  for (const [name, value] of Object.entries(process.env)) {
    if (value !== undefined && !/^(?:FLEETFOOT_|NODE_|VITEST|npm_)/.test(name)) env[name] = value
  }
  return env
}

function run(command: string, args: string[], cwd: string, env: Record<string, string>): Promise<Finished> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()))
    child.on('close', (code) => resolve({ code, output }))
  })
}

function signalGroup(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(-pid, signal)
  } catch {
    // Gone already.
  }
}
