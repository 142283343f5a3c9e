import { sql, type CompiledQuery, type QueryResult, type Selectable, type Updateable } from 'kysely'
import { literals } from './literals.ts'
import { isPostgres, namePrepared, type Db } from './open.ts'
import type { Schema } from './schema.ts'
import { readerOf } from './sqlite.ts'

interface Statement<Row> {
  compile: (db: Db) => CompiledQuery<Row>
}

/**
 * A statement that is built and compiled once for each kind of database, and on PostgreSQL parsed once for each connection. Kysely builds
 * one in some 30 to 80 microseconds, more than SQLite takes to answer it: worth it for what every call of a runner asks, and not for plain
 * ones. `build` must make the same statement whatever the parameters are: it sees marks in their place.
 */
export function prepared<Parameters extends object, Row>(
  build: (db: Db, parameters: Parameters) => Statement<Row>,
): (db: Db, parameters: Parameters) => Promise<Row[]> {
  const run = preparedResult(build)
  return async (db, parameters) => (await run(db, parameters)).rows
}

/** As `prepared`, for statements without `returning`: tells how many rows they changed. */
export function preparedChange<Parameters extends object>(
  build: (db: Db, parameters: Parameters) => Statement<unknown>,
): (db: Db, parameters: Parameters) => Promise<number> {
  const run = preparedResult(build)
  return async (db, parameters) => Number((await run(db, parameters)).numAffectedRows ?? 0n)
}

function preparedResult<Parameters extends object, Row>(
  build: (db: Db, parameters: Parameters) => Statement<Row>,
): (db: Db, parameters: Parameters) => Promise<QueryResult<Row>> {
  const compiled = new WeakMap<object, { query: CompiledQuery<Row>; names: unknown[]; isQuery: boolean }>()
  return async (db, parameters) => {
    const { adapter } = db.getExecutor()
    let found = compiled.get(adapter)
    if (!found) compiled.set(adapter, (found = compile(db, build)))
    const { query, names, isQuery } = found
    const values = names.map((name) => (name instanceof Mark ? (parameters as Record<string, unknown>)[name.name] : name))
    const ready = { ...query, parameters: values }
    const reader = isQuery && !db.isTransaction ? readerOf(adapter) : undefined
    return reader ? reader.run(ready) : db.executeQuery<Row>(ready)
  }
}

/** Stands for a parameter while a statement is built. */
class Mark {
  readonly name: string
  constructor(name: string) {
    this.name = name
  }
}

function compile<Parameters extends object, Row>(db: Db, build: (db: Db, parameters: Parameters) => Statement<Row>) {
  const marks = new Proxy({} as Parameters, { get: (_target, name) => new Mark(String(name)) })
  const query = build(db, marks).compile(db)
  if (isPostgres(db)) namePrepared(query.sql)
  return { query, names: [...query.parameters], isQuery: query.sql.startsWith('select') }
}

/** The parameters of an insert, by column: what `build` is given has no keys of its own. */
export function columns<Values extends object, Column extends keyof Values>(
  values: Values,
  names: readonly Column[],
): Pick<Values, Column> {
  return Object.fromEntries(names.map((name) => [name, values[name]])) as Pick<Values, Column>
}

type Guarded = 'job' | 'assignment' | 'run' | 'push'

/**
 * Changes a row that is still in one of the states named, and answers it as it is then; undefined when it is not (another was first). One
 * statement is kept for each set of states and of columns.
 */
export function guardedUpdate<Table extends Guarded, Column extends keyof Selectable<Schema[Table]> & string>(
  table: Table,
  column: Column,
): (
  db: Db,
  id: number,
  from: readonly Selectable<Schema[Table]>[Column][],
  change: Updateable<Schema[Table]>,
) => Promise<Selectable<Schema[Table]> | undefined> {
  const statements = new Map<string, ReturnType<typeof prepared<Record<string, unknown>, Selectable<Schema[Table]>>>>()
  return async (db, id, from, change) => {
    const columns = Object.entries(change).flatMap(([name, value]) => (value === undefined ? [] : [name]))
    const key = `${from.join()} ${columns.join()}`
    let statement = statements.get(key)
    if (!statement) {
      const states = literals(from as readonly string[])
      statement = prepared((_db, values) => {
        const set = sql.join(columns.map((name) => sql`${sql.ref(name)} = ${values[name]}`))
        const where = sql`"id" = ${values['guardedId']} and ${sql.ref(column)} in ${states}`
        return sql<Selectable<Schema[Table]>>`update ${sql.table(table)} set ${set} where ${where} returning *`
      })
      statements.set(key, statement)
    }
    const [row] = await statement(db, { ...change, guardedId: id })
    return row
  }
}
