import { createHash, randomBytes } from 'node:crypto'
import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import pg from 'pg'
import { migrate } from '../../src/store/migrate.ts'
import { openDatabase, type DatabaseConfig } from '../../src/store/open.ts'

export interface TestDatabase extends AsyncDisposable {
  config: DatabaseConfig
}

/**
 * A database of its own: SQLite in a temporary folder, or, where the suite runs for PostgreSQL (see vitest.config.ts), a new database on the
 * server that FLEETFOOT_TEST_DATABASE_URL names. Empty, or a copy of one that was migrated once, which is many times faster.
 */
export async function makeTestDatabase({ migrated = false } = {}): Promise<TestDatabase> {
  const server = process.env['FLEETFOOT_TEST_DATABASE_URL']
  return server && process.env['FLEETFOOT_TEST_DATABASE_KIND'] === 'postgres' ? makePostgres(server, migrated) : makeSqlite(migrated)
}

/** Names the schema of this checkout. */
const schemaHash = createHash('sha256')
const STORE = path.resolve(import.meta.dirname, '../../src/store')
for (const file of ['migrate.ts', ...readdirSync(path.join(STORE, 'migrations')).map((name) => path.join('migrations', name))].sort()) {
  schemaHash.update(readFileSync(path.join(STORE, file)))
}
const SCHEMA = schemaHash.digest('hex').slice(0, 16)

async function makeSqlite(migrated: boolean): Promise<TestDatabase> {
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-test-'))
  const file = path.join(folder, 'test.sqlite')
  if (migrated) copyFileSync(await sqliteTemplate(), file)
  return {
    config: { kind: 'sqlite', file, sync: 'normal' },
    async [Symbol.asyncDispose]() {
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function sqliteTemplate(): Promise<string> {
  const template = path.join(tmpdir(), `fleetfoot-test-template-${process.getuid?.() ?? 0}-${SCHEMA}.sqlite`)
  if (existsSync(template)) return template
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-test-'))
  const file = path.join(folder, 'template.sqlite')
  await migrateNew({ kind: 'sqlite', file, sync: 'normal' })
  // Several test files may come to this at the same time: each makes a whole one.
  renameSync(file, template)
  rmSync(folder, { recursive: true, force: true })
  return template
}

async function makePostgres(server: string, migrated: boolean): Promise<TestDatabase> {
  const name = `fleetfoot_${randomBytes(6).toString('hex')}`
  const template = migrated ? await postgresTemplate(server) : 'template1'
  await onServer(server, async (client) => {
    const version = await client.query<{ server_version_num: string }>('show server_version_num')
    // Copies files instead of logging every page; older servers do so anyway.
    const strategy = Number(version.rows[0]?.server_version_num) >= 150_000 ? 'strategy file_copy' : ''
    await client.query(`create database ${name} template ${template} ${strategy}`)
  })
  return {
    config: { kind: 'postgres', url: databaseUrl(server, name) },
    async [Symbol.asyncDispose]() {
      await onServer(server, (client) => client.query(`drop database if exists ${name} with (force)`))
    },
  }
}

let templateMade: Promise<string> | undefined
/** Any fixed number. */
const TEMPLATE_LOCK = 4_771_231

function postgresTemplate(server: string): Promise<string> {
  const template = `fleetfoot_template_${SCHEMA}`
  templateMade ??= onServer(server, async (client) => {
    await client.query('select pg_advisory_lock($1)', [TEMPLATE_LOCK])
    const found = await client.query('select 1 from pg_database where datname = $1', [template])
    if (found.rowCount === 0) {
      const making = `${template}_${randomBytes(4).toString('hex')}`
      await client.query(`create database ${making}`)
      await migrateNew({ kind: 'postgres', url: databaseUrl(server, making) })
      await client.query(`alter database ${making} rename to ${template}`)
    }
    return template
  })
  return templateMade
}

async function migrateNew(config: DatabaseConfig): Promise<void> {
  const db = openDatabase(config)
  await migrate(db, Date.now())
  await db.destroy()
}

function databaseUrl(server: string, name: string): string {
  const url = new URL(server)
  url.pathname = `/${name}`
  return url.href
}

async function onServer<T>(server: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const client = new pg.Client({ connectionString: server })
  await client.connect()
  try {
    return await work(client)
  } finally {
    await client.end()
  }
}
