import { enableCompileCache, flushCompileCache } from 'node:module'
import path from 'node:path'
import { pino } from 'pino'
import type { RunningApp } from '../app.ts'
import { loadConfig, type Config } from '../config/config.ts'
import { ConfigError } from '../config/env.ts'

/** systemd passes listening sockets from this descriptor on. */
const FIRST_INHERITED_FD = 3

/**
 * Runs the server until SIGTERM or SIGINT, then ends polls, finishes requests and answers 0; or until a later version changes the database
 * in a way that this one does not know, and answers 2. A start that cannot go on is one line on standard error and 2.
 */
export async function serveCommand(argv: string[]): Promise<number> {
  if (argv.length > 0) {
    const isHelp = argv[0] === '--help'
    ;(isHelp ? process.stdout : process.stderr).write(
      'usage: fleetfoot serve\n\nIt is configured by FLEETFOOT_… variables: see docs/operate/README.md\n',
    )
    return isHelp ? 0 : 2
  }
  const logger = pino({ level: 'info', base: { pid: process.pid } })
  let config: Config
  let running: RunningApp
  try {
    config = loadConfig(process.env)
    // In the data folder, and before the server's modules are read: the next start is twice as fast.
    enableCompileCache(path.join(config.dataDir, 'compile-cache'))
    const { startApp } = await import('../app.ts')
    running = await startApp(config, { logger, inherited: inheritedSockets() })
  } catch (error) {
    process.stderr.write(`fleetfoot: ${error instanceof ConfigError ? error.message : startFailure(error as NodeJS.ErrnoException)}\n`)
    return 2
  }
  logger.info({ addresses: running.addresses, url: config.url }, 'listening')
  // Else it is written at the end, which a server that is killed does not reach.
  flushCompileCache()
  const { adminTokenFile } = config.secrets
  if (adminTokenFile !== undefined) logger.info({ file: adminTokenFile }, "the administrator's token is in this file")

  const signalled = new Promise<{ signal: string }>((resolve) => {
    for (const name of ['SIGTERM', 'SIGINT'] as const) process.once(name, () => resolve({ signal: name }))
  })
  const why = await Promise.race([signalled, running.outdated.then((problem) => ({ problem }))])
  if ('problem' in why) logger.error(why, 'stopping')
  else logger.info(why, 'stopping')
  await running[Symbol.asyncDispose]()
  logger.info('stopped')
  return 'problem' in why ? 2 : 0
}

function inheritedSockets(): number[] {
  if (process.env['LISTEN_PID'] !== String(process.pid)) return []
  return Array.from({ length: Number(process.env['LISTEN_FDS'] ?? 0) }, (_, index) => FIRST_INHERITED_FD + index)
}

function startFailure(error: NodeJS.ErrnoException & { port?: number; address?: string }): string {
  if (error.code === 'EADDRINUSE')
    return `FLEETFOOT_LISTEN: ${error.address}:${error.port} is in use: stop what listens there or choose another port`
  if (error.code === 'EADDRNOTAVAIL')
    return `FLEETFOOT_LISTEN: ${error.address}:${error.port} is no address of this machine: name one that is, or 0.0.0.0`
  if (error.code === 'EACCES' && error.port)
    return `FLEETFOOT_LISTEN: port ${error.port} needs rights that this user lacks: choose one above 1023`
  if (isDatabaseFailure(error)) return `FLEETFOOT_DATABASE_URL: the database cannot be used: ${firstLine(error)}`
  if (error.code === 'ERR_SQLITE_ERROR') return `FLEETFOOT_DATA_DIR: the database in it cannot be used: ${firstLine(error)}`
  return firstLine(error)
}

/** Networks, and PostgreSQL's own codes of five characters: no such host, wrong password, no such database … */
function isDatabaseFailure({ code = '', message }: NodeJS.ErrnoException): boolean {
  const isNetwork = ['ECONNREFUSED', 'ECONNRESET', 'ENOTFOUND', 'EAI_AGAIN', 'ETIMEDOUT', 'EHOSTUNREACH', 'ENETUNREACH'].includes(code)
  return isNetwork || /^[0-9A-Z]{5}$/.test(code) || /timeout exceeded when trying to connect|^Connection terminated/.test(message)
}

/** A name with several addresses fails with an error per address and no message of its own. */
function firstLine(error: Error): string {
  const { message } = error instanceof AggregateError && error.message === '' ? (error.errors[0] as Error) : error
  return message.split('\n')[0] ?? 'unknown error'
}
