import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import pg from 'pg'
import type { DatabaseConfig } from '../../src/store/open.ts'

export interface TestDatabase extends AsyncDisposable {
  config: DatabaseConfig
}

/**
 * An empty database of its own: SQLite in a temporary folder, or, where the suite runs for PostgreSQL (see vitest.config.ts), a new database
 * on the server that FLEETFOOT_TEST_DATABASE_URL names.
 */
export async function makeTestDatabase(): Promise<TestDatabase> {
  const server = process.env['FLEETFOOT_TEST_DATABASE_URL']
  return server && process.env['FLEETFOOT_TEST_DATABASE_KIND'] === 'postgres' ? makePostgres(server) : makeSqlite()
}

function makeSqlite(): TestDatabase {
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-test-'))
  return {
    config: { kind: 'sqlite', file: path.join(folder, 'test.sqlite'), sync: 'normal' },
    async [Symbol.asyncDispose]() {
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function makePostgres(server: string): Promise<TestDatabase> {
  const name = `fleetfoot_${randomBytes(6).toString('hex')}`
  await onServer(server, `create database ${name}`)
  const url = new URL(server)
  url.pathname = `/${name}`
  return {
    config: { kind: 'postgres', url: url.href },
    async [Symbol.asyncDispose]() {
      await onServer(server, `drop database if exists ${name} with (force)`)
    },
  }
}

async function onServer(server: string, statement: string): Promise<void> {
  const client = new pg.Client({ connectionString: server })
  await client.connect()
  try {
    await client.query(statement)
  } finally {
    await client.end()
  }
}
