import { type Expression, Kysely, PostgresDialect, type ReferenceExpression, sql } from 'kysely'
import pg from 'pg'
import type { Schema } from './schema.ts'
import { sqliteDialect } from './sqlite.ts'

/** A database, or an open transaction on it. Inside `db.transaction()` use only the transaction: SQLite has one connection. */
export type Db = Kysely<Schema>

export type DatabaseConfig = { kind: 'sqlite'; file: string; sync: 'normal' | 'full' } | { kind: 'postgres'; url: string }

/** Connections per node. Each request holds one for a few milliseconds at most. */
const POSTGRES_CONNECTIONS = 20
const POSTGRES_CONNECT_MS = 5000

const INT8_OID = 20

/** Opens the database; nothing is read or written yet. `destroy()` it at the end. */
export function openDatabase(config: DatabaseConfig): Db {
  if (config.kind === 'sqlite') {
    return new Kysely<Schema>({ dialect: sqliteDialect(config.file, config.sync) })
  }
  const types = {
    getTypeParser: (oid: number, format?: 'text' | 'binary') => (oid === INT8_OID ? Number : pg.types.getTypeParser(oid, format)),
  }
  const pool = new pg.Pool({
    Client: NamingClient,
    connectionString: config.url,
    max: POSTGRES_CONNECTIONS,
    connectionTimeoutMillis: POSTGRES_CONNECT_MS,
    types,
  })
  // An idle connection that breaks is the pool's to replace; without a listener it would end the process.
  pool.on('error', () => {})
  // One that breaks while it is lent out, between two statements of a transaction, is heard of by nobody else either.
  pool.on('connect', (client) => client.on('error', () => {}))
  const db = new Kysely<Schema>({ dialect: new PostgresDialect({ pool }) })
  postgresDatabases.add(db.getExecutor().adapter)
  return db
}

/** Names of the statements that each connection parses once, by their texts. */
const names = new Map<string, string>()

/** PostgreSQL parses and plans this text once for each connection: half of what a short statement costs it. For texts of ours, which are few. */
export function namePrepared(text: string): void {
  if (!names.has(text)) names.set(text, `fleetfoot_${names.size + 1}`)
}

class NamingClient extends pg.Client {
  override query(...parameters: unknown[]): never {
    const [text, values, ...rest] = parameters
    const name = typeof text === 'string' ? names.get(text) : undefined
    const query = super.query.bind(this) as (...parameters: unknown[]) => never
    return name === undefined ? query(...parameters) : query({ name, text, values }, ...rest)
  }
}

const postgresDatabases = new WeakSet<object>()

/** Whether `db` is PostgreSQL; also inside a transaction, which shares its adapter. */
export function isPostgres(db: Db): boolean {
  return postgresDatabases.has(db.getExecutor().adapter)
}

/** `least(a, b)` of PostgreSQL is `min(a, b)` of SQLite. */
export function smaller(db: Db, column: ReferenceExpression<Schema, keyof Schema>, value: number | Expression<number>) {
  const reference = sql.ref(column as string)
  return isPostgres(db) ? sql<number>`least(${reference}, ${value})` : sql<number>`min(${reference}, ${value})`
}

/** `greatest(a, b)` of PostgreSQL is `max(a, b)` of SQLite. */
export function larger(db: Db, column: ReferenceExpression<Schema, keyof Schema>, value: number) {
  const reference = sql.ref(column as string)
  return isPostgres(db) ? sql<number>`greatest(${reference}, ${value})` : sql<number>`max(${reference}, ${value})`
}

/** True when the statement broke a unique key: the caller lost a race or the name is taken. */
export function isUniqueViolation(error: unknown): boolean {
  const { code, errcode, message } = error as { code?: string; errcode?: number; message?: string }
  return (
    code === '23505' || errcode === 2067 || errcode === 1555 || (code === 'ERR_SQLITE_ERROR' && /UNIQUE constraint/.test(message ?? ''))
  )
}

/** The database's clock, in epoch milliseconds; PostgreSQL only. */
export async function databaseClock(db: Db): Promise<number> {
  const { rows } = await sql<{ at: number }>`select (extract(epoch from clock_timestamp()) * 1000)::bigint as at`.execute(db)
  return rows[0]?.at ?? 0
}
