import { execFileSync, spawn } from 'node:child_process'
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'

/*
 * Runs a command with a PostgreSQL server of its own in a temporary folder: `bin/node tools/with-postgres.ts COMMAND ARGS…`. The command
 * finds it in FLEETFOOT_TEST_DATABASE_URL. A server that the variable names already is used as it is.
 */

const VERSIONS = '/usr/lib/postgresql'

const [command, ...args] = process.argv.slice(2)
if (command === undefined) {
  console.error('usage: with-postgres.ts COMMAND ARGS…')
  process.exit(2)
}
const given = process.env['FLEETFOOT_TEST_DATABASE_URL']
const server = given ? undefined : await startPostgres()
const url = given ?? server?.url ?? ''
const child = spawn(command, args, { stdio: 'inherit', env: { ...process.env, FLEETFOOT_TEST_DATABASE_URL: url } })
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
const code = await new Promise<number>((resolve) => child.on('close', (status) => resolve(status ?? 1)))
server?.stop()
process.exit(code)

async function startPostgres(): Promise<{ url: string; stop: () => void }> {
  const version = existsSync(VERSIONS) ? readdirSync(VERSIONS).sort((a, b) => Number(b) - Number(a))[0] : undefined
  if (version === undefined) {
    console.error('with-postgres: there is no PostgreSQL server program: install postgresql, or set FLEETFOOT_TEST_DATABASE_URL')
    process.exit(2)
  }
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
  const settings = `-p ${port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=${folder} -c max_connections=300`
  run('pg_ctl', '-D', data, '-o', settings, '-l', path.join(folder, 'log'), '-w', 'start')
  return {
    url: `postgres://postgres@127.0.0.1:${port}/postgres`,
    stop() {
      run('pg_ctl', '-D', data, '-m', 'immediate', 'stop')
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
