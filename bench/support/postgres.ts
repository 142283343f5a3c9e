import { execFileSync, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { chmodSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import pg from 'pg'
import { freePort } from './server.ts'

/** An empty PostgreSQL database: on the server of FLEETFOOT_TEST_DATABASE_URL, or on one that is started from the system's programs. */
export interface PostgresDatabase extends AsyncDisposable {
  url: string
  /** `fsync` and `synchronous_commit` as the server has them. */
  durability: string
}

/** Undefined where there is no PostgreSQL. */
export async function makePostgresDatabase(): Promise<PostgresDatabase | undefined> {
  const given = process.env['FLEETFOOT_TEST_DATABASE_URL']
  const server = given === undefined ? await startPostgres() : { url: given, async [Symbol.asyncDispose]() {} }
  if (!server) return undefined
  const name = `fleetfoot_bench_${randomBytes(4).toString('hex')}`
  const durability = await onServer(server.url, async (client) => {
    await client.query(`create database ${name}`)
    const fsync = (await client.query<{ fsync: string }>('show fsync')).rows[0]?.fsync
    const commit = (await client.query<{ synchronous_commit: string }>('show synchronous_commit')).rows[0]?.synchronous_commit
    return `fsync ${fsync}, synchronous_commit ${commit}`
  })
  const url = new URL(server.url)
  url.pathname = `/${name}`
  return {
    url: url.href,
    durability,
    async [Symbol.asyncDispose]() {
      await onServer(server.url, (client) => client.query(`drop database if exists ${name} with (force)`))
      await server[Symbol.asyncDispose]()
    },
  }
}

async function onServer<T>(url: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: url })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}

const PROGRAMS = '/usr/lib/postgresql'

async function startPostgres(): Promise<({ url: string } & AsyncDisposable) | undefined> {
  const version = existsSync(PROGRAMS) ? readdirSync(PROGRAMS).sort().at(-1) : undefined
  if (version === undefined) return undefined
  const programs = path.join(PROGRAMS, version, 'bin')
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-bench-pg-'))
  // PostgreSQL refuses to run as root.
  const isRoot = process.getuid?.() === 0
  const ids = isRoot ? { uid: idOf('-u'), gid: idOf('-g') } : {}
  if (isRoot) execFileSync('chown', ['postgres', folder])
  chmodSync(folder, 0o700)
  const data = path.join(folder, 'data')
  execFileSync(path.join(programs, 'initdb'), ['-D', data, '-U', 'postgres', '-A', 'trust', '-E', 'UTF8', '--locale=C'], {
    ...ids,
    cwd: folder,
    stdio: 'ignore',
  })
  const port = await freePort()
  const child = spawn(path.join(programs, 'postgres'), ['-D', data, '-p', String(port), '-c', 'listen_addresses=127.0.0.1', '-k', folder], {
    ...ids,
    cwd: folder,
    stdio: 'ignore',
  })
  const url = `postgres://postgres@127.0.0.1:${port}/postgres`
  const stop = async () => {
    const ended = new Promise((resolve) => child.once('exit', resolve))
    if (child.exitCode === null && child.kill('SIGINT')) await ended
    rmSync(folder, { recursive: true, force: true })
  }
  for (let i = 0; i < 100; i++) {
    if (
      await onServer(url, (client) => client.query('select 1')).then(
        () => true,
        () => false,
      )
    )
      return { url, [Symbol.asyncDispose]: stop }
    await delay(100)
  }
  await stop()
  throw new Error('PostgreSQL did not start')
}

function idOf(flag: '-u' | '-g'): number {
  return Number(execFileSync('id', [flag, 'postgres']).toString())
}
