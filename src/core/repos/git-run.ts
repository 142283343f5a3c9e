import { spawn, type ChildProcess, type SpawnOptions } from 'node:child_process'
import { AppError } from '../../model/errors.ts'
import type { Gate } from './gate.ts'

export interface GitResult {
  code: number
  stdout: Buffer
  stderr: string
  /** Output was more than was asked for; what is there is its beginning. */
  cut: boolean
}

export interface RunOptions {
  cwd: string
  env: NodeJS.ProcessEnv
  input?: string | Buffer
  /** Ends git when it has written this much. */
  maxBytes?: number
  timeoutMs?: number
  /** Exit codes that are answers; any other is an error. */
  codes?: number[]
}

/** A question of ours takes milliseconds; one that takes this long hangs. */
const TIMEOUT_MS = 60_000
const MAX_BYTES = 64 * 1024 * 1024
const MAX_STDERR_BYTES = 16 * 1024

/** Runs git to its end. @throws AppError unavailable when it cannot be started or hangs */
export async function runGit(gate: Gate, args: string[], options: RunOptions): Promise<GitResult> {
  const leave = await gate.enter()
  try {
    const result = await collect(args, options)
    if (!result.cut && !(options.codes ?? [0]).includes(result.code)) {
      throw new Error(`git ${args[0]} ended with ${result.code}: ${result.stderr.trim()}`)
    }
    return result
  } finally {
    leave()
  }
}

async function collect(args: string[], { cwd, env, input, maxBytes = MAX_BYTES, timeoutMs = TIMEOUT_MS }: RunOptions): Promise<GitResult> {
  const child = await startGit(args, { cwd, env, stdio: 'pipe' })
  const chunks: Buffer[] = []
  let size = 0
  let cut = false
  let late = false
  let stderr = ''

  const timer = setTimeout(() => {
    late = true
    child.kill('SIGKILL')
  }, timeoutMs)
  const code = await new Promise<number>((resolve) => {
    child.stdout?.on('data', (chunk: Buffer) => {
      if (cut) return
      chunks.push(chunk)
      size += chunk.length
      if (size <= maxBytes) return
      cut = true
      child.kill('SIGKILL')
    })
    child.stderr?.on('data', (chunk: Buffer) => {
      if (stderr.length < MAX_STDERR_BYTES) stderr += chunk.toString()
    })
    // git may end without reading all.
    child.stdin?.on('error', () => {})
    child.stdin?.end(input)
    child.on('close', (code) => resolve(code ?? -1))
  })
  clearTimeout(timer)
  if (late) throw new AppError('unavailable', 'The git repository did not answer in time.', { cause: new Error(`git ${args[0]} hung`) })
  return { code, stdout: Buffer.concat(chunks), stderr, cut }
}

/** Starts git. @throws AppError unavailable when it cannot be */
export async function startGit(args: string[], options: SpawnOptions): Promise<ChildProcess> {
  let child: ChildProcess
  try {
    child = spawn('git', args, options)
    await new Promise<void>((resolve, reject) => {
      child.once('spawn', resolve)
      child.once('error', reject)
    })
  } catch (cause) {
    throw new AppError('unavailable', 'Git is not available at the moment.', { cause })
  }
  return child
}
