import { execFileSync } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'

const VERSIONS = '/usr/lib/postgresql'

/** A PostgreSQL server of its own in a temporary folder, that can go away and come back. */
export interface PostgresServer {
  url: string
  /** Ends it as a crash would: connections break. */
  halt(): void
  /** Starts it again, at the same address and with what it held. */
  resume(): void
  /** Ends it and removes the folder. */
  stop(): void
}

/** @throws Error when there is no PostgreSQL server program on the machine */
export async function startPostgres(): Promise<PostgresServer> {
  const version = existsSync(VERSIONS) ? readdirSync(VERSIONS).sort((a, b) => Number(b) - Number(a))[0] : undefined
  if (version === undefined)
    throw new Error('there is no PostgreSQL server program: install postgresql, or set FLEETFOOT_TEST_DATABASE_URL')
  const programs = path.join(VERSIONS, version, 'bin')
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-postgres-'))
  const data = path.join(folder, 'data')
  // PostgreSQL refuses to run as root.
  const isRoot = process.getuid?.() === 0
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }))
  const as = isRoot ? { uid: id('-u'), gid: id('-g') } : {}
  if (isRoot) chownSync(folder, as.uid ?? 0, as.gid ?? 0)

  const port = await freePort()
  const run = (program: string, ...rest: string[]) =>
    execFileSync(path.join(programs, program), rest, { ...as, stdio: 'pipe', cwd: folder })
  run('initdb', '-D', data, '-A', 'trust', '-U', 'postgres', '--no-sync')
  // Nothing here must outlive a loss of power: `halt` ends processes, not the machine.
  const fast = '-c fsync=off -c full_page_writes=off'
  const settings = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=${folder} -c max_connections=300 ${fast}`
  const resume = () => void run('pg_ctl', '-D', data, '-o', settings, '-l', path.join(folder, 'log'), '-w', 'start')
  const halt = () => void run('pg_ctl', '-D', data, '-m', 'immediate', '-w', 'stop')
  resume()
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    halt,
    resume,
    stop() {
      if (existsSync(path.join(data, 'postmaster.pid'))) halt()
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const probe = createServer()
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === 'object' && address ? address.port : 0))
    })
  })
}
