import { spawn } from 'node:child_process'
import type { CommandOutcome } from './run-command.ts'

export interface ProgramOptions {
  env?: Record<string, string>
  cwd?: string
  /** Written to its standard input; else that is closed. */
  input?: string
}

/**
 * Runs a client program to its end, with none of our variables but those given. One that is not installed is an error that names the package
 * to install, never a test that passes by not running.
 */
export function runProgram(program: string, args: string[], { env, cwd, input }: ProgramOptions = {}): Promise<CommandOutcome> {
  const { PATH = '', HOME = '', LANG = 'C.UTF-8' } = process.env
  const child = spawn(program, args, { env: { PATH, HOME, LANG, ...env }, stdio: 'pipe', ...(cwd !== undefined && { cwd }) })
  const written = { stdout: '', stderr: '' }
  child.stdout.on('data', (bytes: Buffer) => (written.stdout += bytes.toString()))
  child.stderr.on('data', (bytes: Buffer) => (written.stderr += bytes.toString()))
  child.stdin.on('error', () => {})
  child.stdin.end(input)
  return new Promise((resolve, reject) => {
    child.once('error', (cause) =>
      reject(new Error(`${program} does not start: apt-get install ${PACKAGES[program] ?? program}`, { cause })),
    )
    child.once('close', (code) => resolve({ code, ...written }))
  })
}

const PACKAGES: Record<string, string> = { '/usr/bin/python3': 'python3-github', ruby: 'ruby-octokit' }
