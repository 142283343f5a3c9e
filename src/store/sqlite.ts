import { DatabaseSync, type StatementSync, type SQLInputValue } from 'node:sqlite'
import {
  SqliteAdapter,
  SqliteIntrospector,
  SqliteQueryCompiler,
  type CompiledQuery,
  type DatabaseConnection,
  type Dialect,
  type Driver,
  type QueryResult,
} from 'kysely'

/** Prepared statements kept per connection; the product has a few hundred query texts. */
const STATEMENTS_KEPT = 1000

/**
 * SQLite for Kysely through `node:sqlite`, with two connections. One writes, and transactions that end in the same turn of the event loop
 * share one commit (group commit): a commit costs many times what the statements in it cost, and a job makes some twenty. Nobody is
 * answered before the shared commit. The other connection reads what is committed, at once.
 */
export function sqliteDialect(file: string, sync: 'normal' | 'full'): Dialect {
  const driver = new SqliteDriver(file, sync)
  return {
    createDriver: () => driver,
    createQueryCompiler: () => new SqliteQueryCompiler(),
    createAdapter: () => new ManyConnections(driver),
    createIntrospector: (db) => new SqliteIntrospector(db),
  }
}

/**
 * Holds a database for one server: a lock on a file beside it, which ends with the process however that ends.
 *
 * @throws Error with one line for the operator when another has it, also after waiting for one that is about to stop
 */
export function lockSqlite(file: string, waitMs: number): Disposable {
  const lock = new DatabaseSync(`${file}.lock`, { timeout: waitMs })
  try {
    lock.exec('begin exclusive')
  } catch (error) {
    lock.close()
    throw new Error(`${file} is in use by another server: stop that one, or use PostgreSQL for several`, { cause: error })
  }
  return { [Symbol.dispose]: () => lock.close() }
}

/** Kysely would let only one query at a time through to a driver with one connection. */
class ManyConnections extends SqliteAdapter {
  readonly driver: SqliteDriver

  constructor(driver: SqliteDriver) {
    super()
    this.driver = driver
  }

  override get supportsMultipleConnections(): boolean {
    return true
  }
}

/**
 * Answers a query outside of a transaction at once, by the connection that reads: what Kysely does around a query takes longer than SQLite
 * does. Undefined for PostgreSQL, and before the database was first used.
 */
export function readerOf(adapter: object): { run<Row>(query: CompiledQuery): QueryResult<Row> } | undefined {
  return adapter instanceof ManyConnections ? adapter.driver.reader : undefined
}

class SqliteDriver implements Driver {
  readonly #file: string
  readonly #sync: 'normal' | 'full'
  #writer: Writer | undefined
  #reader: Statements | undefined

  constructor(file: string, sync: 'normal' | 'full') {
    this.#file = file
    this.#sync = sync
  }

  get reader(): Statements | undefined {
    return this.#reader
  }

  async init(): Promise<void> {
    const writer = new DatabaseSync(this.#file)
    writer.exec(`pragma journal_mode = wal; pragma synchronous = ${this.#sync}; pragma foreign_keys = on; pragma busy_timeout = 5000;
      pragma cache_size = -16000; pragma temp_store = memory;`)
    this.#writer = new Writer(writer)
    const reader = new DatabaseSync(this.#file, { readOnly: true })
    reader.exec('pragma busy_timeout = 5000; pragma cache_size = -16000; pragma temp_store = memory;')
    this.#reader = new Statements(reader)
  }

  async acquireConnection(): Promise<SqliteConnection> {
    if (!this.#writer || !this.#reader) throw new Error('database is not open')
    return new SqliteConnection(this.#writer, this.#reader)
  }

  beginTransaction(connection: SqliteConnection): Promise<void> {
    return connection.begin()
  }

  commitTransaction(connection: SqliteConnection): Promise<void> {
    return connection.commit()
  }

  rollbackTransaction(connection: SqliteConnection): Promise<void> {
    return connection.rollback()
  }

  async releaseConnection(): Promise<void> {}

  async destroy(): Promise<void> {
    this.#reader?.close()
    this.#reader = undefined
    this.#writer?.close()
  }
}

class SqliteConnection implements DatabaseConnection {
  readonly #writer: Writer
  readonly #reader: Statements
  #isInTransaction = false

  constructor(writer: Writer, reader: Statements) {
    this.#writer = writer
    this.#reader = reader
  }

  async executeQuery<Row>(query: CompiledQuery): Promise<QueryResult<Row>> {
    if (this.#isInTransaction) return this.#writer.run(query)
    if (query.sql.startsWith('select')) return this.#reader.run(query)
    await this.#writer.enter()
    let result: QueryResult<Row>
    try {
      // A statement that fails takes back what it did itself.
      result = this.#writer.run(query)
    } catch (error) {
      await this.#writer.leaveUndone()
      throw error
    }
    await this.#writer.leaveWithCommit()
    return result
  }

  // oxlint-disable-next-line require-yield
  async *streamQuery(): AsyncIterableIterator<never> {
    throw new Error('queries are not streamed from SQLite')
  }

  async begin(): Promise<void> {
    await this.#writer.enter()
    try {
      this.#writer.command('savepoint one')
    } catch (error) {
      await this.#writer.leaveUndone()
      throw error
    }
    this.#isInTransaction = true
  }

  async commit(): Promise<void> {
    this.#isInTransaction = false
    try {
      this.#writer.command('release one')
    } catch (error) {
      await this.#writer.leaveUndone()
      throw error
    }
    await this.#writer.leaveWithCommit()
  }

  /** Kysely calls this also after a commit that failed: then there is nothing left to undo. */
  async rollback(): Promise<void> {
    if (!this.#isInTransaction) return
    this.#isInTransaction = false
    try {
      this.#writer.undo()
    } finally {
      await this.#writer.leaveUndone()
    }
  }
}

/** The one connection that writes. A transaction has it for itself between `enter` and `leave`; those that left wait for one commit. */
class Writer {
  readonly #database: DatabaseSync
  readonly #statements: Statements
  #isTaken = false
  readonly #waiting: (() => void)[] = []
  #left: PromiseWithResolvers<void>[] = []
  #flush: NodeJS.Immediate | undefined

  constructor(database: DatabaseSync) {
    this.#database = database
    this.#statements = new Statements(database)
  }

  async enter(): Promise<void> {
    if (this.#isTaken) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#isTaken = true
    if (this.#database.isTransaction) return
    try {
      this.command('begin immediate')
    } catch (error) {
      this.#leave()
      throw error
    }
  }

  run<Row>(query: CompiledQuery): QueryResult<Row> {
    // Else a transaction that SQLite undid would go on as single statements.
    if (!this.#database.isTransaction) throw new Error('the transaction was undone')
    try {
      return this.#statements.run(query)
    } catch (error) {
      // A full disk makes SQLite undo everything since `begin`, also what those did who left.
      if (!this.#database.isTransaction) this.#reject(error)
      throw error
    }
  }

  command(text: string): void {
    this.#statements.command(text)
  }

  /** Takes back what was done since `savepoint one`. */
  undo(): void {
    if (!this.#database.isTransaction) return
    try {
      this.command('rollback to one')
      this.command('release one')
    } catch (error) {
      // What belongs to whom cannot be told apart any more.
      this.#undoAll(error)
    }
  }

  #leave(): void {
    this.#flush ??= setImmediate(() => this.#commit())
    const next = this.#waiting.shift()
    this.#isTaken = next !== undefined
    next?.()
  }

  /** Lets the next in, and resolves when what was done is committed. */
  leaveWithCommit(): Promise<void> {
    const committed = Promise.withResolvers<void>()
    this.#left.push(committed)
    this.#leave()
    return committed.promise
  }

  /**
   * Lets the next in; what was done since `enter` must have been undone. Resolves after the commit, too: who lost to another transaction
   * reads what that one did when it looks again, and does not turn in circles until the end of this turn of the event loop.
   */
  async leaveUndone(): Promise<void> {
    await this.leaveWithCommit().catch(() => {})
  }

  /** Once in each turn of the event loop in which somebody left. Whoever is inside still comes to leave, and is asked then. */
  #commit(): void {
    this.#flush = undefined
    if (this.#isTaken) return
    try {
      // Where SQLite undid everything, those who are left have undone what they did, and only wait for their turn to look again.
      if (this.#database.isTransaction) this.command('commit')
    } catch (error) {
      this.#undoAll(error)
      return
    }
    for (const { resolve } of this.#left.splice(0)) resolve()
  }

  #undoAll(error: unknown): void {
    try {
      if (this.#database.isTransaction) this.command('rollback')
    } finally {
      this.#reject(error)
    }
  }

  #reject(error: unknown): void {
    for (const { reject } of this.#left.splice(0)) reject(error)
  }

  close(): void {
    clearImmediate(this.#flush)
    this.#commit()
    this.#statements.close()
  }
}

/** Statements of one connection, prepared once per text: it runs one at a time, so none is in use twice. */
class Statements {
  readonly #database: DatabaseSync
  readonly #prepared = new Map<string, { statement: StatementSync; reads: boolean }>()

  constructor(database: DatabaseSync) {
    this.#database = database
  }

  run<Row>({ sql, parameters }: CompiledQuery): QueryResult<Row> {
    const { statement, reads } = this.#prepare(sql)
    const values = parameters as SQLInputValue[]
    if (reads) return { rows: statement.all(...values) as Row[] }
    const { changes, lastInsertRowid } = statement.run(...values)
    return { numAffectedRows: BigInt(changes), insertId: BigInt(lastInsertRowid), rows: [] }
  }

  command(text: string): void {
    this.#prepare(text).statement.run()
  }

  close(): void {
    this.#prepared.clear()
    this.#database.close()
  }

  #prepare(text: string): { statement: StatementSync; reads: boolean } {
    let prepared = this.#prepared.get(text)
    if (!prepared) {
      const statement = this.#database.prepare(text)
      prepared = { statement, reads: statement.columns().length > 0 }
      if (this.#prepared.size >= STATEMENTS_KEPT) this.#prepared.clear()
      this.#prepared.set(text, prepared)
    }
    return prepared
  }
}
