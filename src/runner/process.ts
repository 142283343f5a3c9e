import { spawn } from 'node:child_process'
import { readdir, readFile } from 'node:fs/promises'
import { platform } from 'node:os'
import { StringDecoder } from 'node:string_decoder'

/** A program of a step: started in a process group of its own, so that a cancellation reaches its children. */
export interface Program {
  command: string
  args: readonly string[]
  cwd: string
  env: Record<string, string>
  onLine: (line: string) => void
  /** SIGINT at once, then SIGTERM, then SIGKILL. */
  cancel: AbortSignal
  /** SIGKILL at once. */
  death: AbortSignal
  interruptMs: number
  terminateMs: number
}

/** A process that ignores its end may leave a child with our pipes: its output is waited for this long. */
const DRAIN_MS = 5000

/** Runs a program to its end and gives its exit code; one that a signal ended has 128 and the signal's number. */
export async function runProgram(program: Program): Promise<number> {
  const child = spawn(program.command, program.args, {
    cwd: program.cwd,
    env: program.env,
    detached: platform() !== 'win32',
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const flushOut = forwardLines(child.stdout, program.onLine)
  const flushErr = forwardLines(child.stderr, program.onLine)

  const timers: NodeJS.Timeout[] = []
  const kill = (signal: NodeJS.Signals): void => signalGroup(child.pid, signal)
  const onCancel = (): void => {
    kill('SIGINT')
    timers.push(
      setTimeout(() => kill('SIGTERM'), program.interruptMs),
      setTimeout(() => kill('SIGKILL'), program.interruptMs + program.terminateMs),
    )
  }
  const onDeath = (): void => kill('SIGKILL')
  program.cancel.addEventListener('abort', onCancel, { once: true })
  program.death.addEventListener('abort', onDeath, { once: true })
  if (program.cancel.aborted) onCancel()
  if (program.death.aborted) onDeath()

  try {
    return await new Promise<number>((resolve, reject) => {
      child.on('error', reject)
      child.on('exit', (code, signal) => {
        const exitCode = code ?? 128 + (SIGNAL_NUMBERS[signal ?? ''] ?? 0)
        const drained = setTimeout(() => {
          child.stdout.destroy()
          child.stderr.destroy()
          resolve(exitCode)
        }, DRAIN_MS)
        child.on('close', () => {
          clearTimeout(drained)
          resolve(exitCode)
        })
      })
    })
  } finally {
    for (const timer of timers) clearTimeout(timer)
    program.cancel.removeEventListener('abort', onCancel)
    program.death.removeEventListener('abort', onDeath)
    flushOut()
    flushErr()
  }
}

/**
 * Ends what steps left running. Such processes are known by the variable that the job put into their environment,
 * never by a number that may belong to someone else by now.
 */
export async function endOrphans(trackingId: string, onFound: (pid: number) => void): Promise<void> {
  if (platform() !== 'linux') return
  const wanted = `RUNNER_TRACKING_ID=${trackingId}`
  for (const name of await readdir('/proc')) {
    if (!/^\d+$/.test(name) || Number(name) === process.pid) continue
    const environment = await readFile(`/proc/${name}/environ`, 'utf8').catch(() => '')
    if (!environment.split('\0').includes(wanted)) continue
    onFound(Number(name))
    try {
      process.kill(Number(name), 'SIGKILL')
    } catch {
      // it ended by itself
    }
  }
}

const SIGNAL_NUMBERS: Record<string, number> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGABRT: 6,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGTERM: 15,
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return
  try {
    process.kill(platform() === 'win32' ? pid : -pid, signal)
  } catch {
    // the group has ended
  }
}

/** Gives each line as it comes; the function returned gives the rest that has no newline. */
function forwardLines(stream: NodeJS.ReadableStream, onLine: (line: string) => void): () => void {
  const decoder = new StringDecoder('utf8')
  let rest = ''
  const take = (text: string): void => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) onLine(line.endsWith('\r') ? line.slice(0, -1) : line)
  }
  stream.on('data', (chunk: Buffer) => take(decoder.write(chunk)))
  return () => {
    take(decoder.end())
    if (rest) onLine(rest)
    rest = ''
  }
}
