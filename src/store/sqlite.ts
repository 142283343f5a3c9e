import { DatabaseSync, type StatementSync, type SQLInputValue } from 'node:sqlite'
import type { SqliteDatabase, SqliteStatement } from 'kysely'

/** Prepared statements kept per database; the product has a few hundred query texts. */
const STATEMENTS_KEPT = 1000

/**
 * `node:sqlite` in the shape that Kysely's SQLite dialect takes. Statements are prepared once per text: Kysely has one connection
 * here and runs one query at a time, so a statement is never in use twice.
 */
export function openSqlite(file: string, sync: 'normal' | 'full'): SqliteDatabase & { raw: DatabaseSync } {
  const database = new DatabaseSync(file)
  database.exec(`pragma journal_mode = wal; pragma synchronous = ${sync}; pragma foreign_keys = on; pragma busy_timeout = 5000;
    pragma cache_size = -32000; pragma temp_store = memory;`)
  const statements = new Map<string, SqliteStatement>()
  return {
    raw: database,
    close: () => database.close(),
    prepare(text: string): SqliteStatement {
      let statement = statements.get(text)
      if (!statement) {
        statement = text === 'rollback' ? rollback(database) : wrap(database.prepare(text))
        if (statements.size >= STATEMENTS_KEPT) statements.clear()
        statements.set(text, statement)
      }
      return statement
    },
  }
}

function wrap(statement: StatementSync): SqliteStatement {
  return {
    reader: statement.columns().length > 0,
    all: (parameters) => statement.all(...(parameters as SQLInputValue[])),
    run: (parameters) => statement.run(...(parameters as SQLInputValue[])),
    iterate: (parameters) => statement.iterate(...(parameters as SQLInputValue[])),
  }
}

/**
 * A full disk makes SQLite undo a transaction by itself; Kysely then undoes it once more, and the failure of that would hide why: passing
 * trouble would look like a fault of ours.
 */
function rollback(database: DatabaseSync): SqliteStatement {
  const statement = wrap(database.prepare('rollback'))
  const isOpen = () => database.isTransaction
  return {
    reader: false,
    all: (parameters) => (isOpen() ? statement.all(parameters) : []),
    run: (parameters) => (isOpen() ? statement.run(parameters) : { changes: 0n, lastInsertRowid: 0n }),
    iterate: (parameters) => statement.iterate(parameters),
  }
}
