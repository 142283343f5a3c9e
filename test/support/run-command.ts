import { spawn, type ChildProcess } from 'node:child_process'
import path from 'node:path'
import type { TestServer } from './start-server.ts'

export interface CommandOutcome {
  code: number | null
  stdout: string
  stderr: string
}

/** A command under way: what it wrote so far, and how it ends. */
export interface RunningCommand {
  child: ChildProcess
  written: { stdout: string; stderr: string }
  ended: Promise<CommandOutcome>
}

const BINARY = path.join(import.meta.dirname, '../../bin/fleetfoot')

/** Starts the real command, with none of our variables but those given. */
export function startCommand(args: string[], env: Record<string, string> = {}, cwd?: string): RunningCommand {
  const inherited = Object.entries(process.env).filter(([name]) => !/^(FLEETFOOT_|VITEST|NODE_)|^TEST$/.test(name))
  const child = spawn(BINARY, args, {
    env: { ...Object.fromEntries(inherited), NO_COLOR: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    ...(cwd !== undefined && { cwd }),
  })
  const written = { stdout: '', stderr: '' }
  child.stdout.on('data', (bytes: Buffer) => (written.stdout += bytes.toString()))
  child.stderr.on('data', (bytes: Buffer) => (written.stderr += bytes.toString()))
  const ended = new Promise<CommandOutcome>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', (code) => resolve({ code, ...written }))
  })
  return { child, written, ended }
}

/** Runs the real command to its end. */
export function runCommand(args: string[], env?: Record<string, string>, cwd?: string): Promise<CommandOutcome> {
  return startCommand(args, env, cwd).ended
}

/** The command as the administrator of a test's server calls it. */
export function commandFor(server: TestServer): {
  env: Record<string, string>
  run(...args: string[]): Promise<CommandOutcome>
  start(...args: string[]): RunningCommand
} {
  const env = { FLEETFOOT_URL: server.url, FLEETFOOT_ADMIN_TOKEN: server.adminToken }
  return { env, run: (...args) => runCommand(args, env), start: (...args) => startCommand(args, env) }
}
