import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { DatabaseSync, type SQLInputValue } from 'node:sqlite'
import { Kysely, type CompiledQuery } from 'kysely'
import type { Schema } from '../../src/store/schema.ts'
import { runnerList } from '../../src/store/runners.ts'
import { sqliteDialect } from '../../src/store/sqlite.ts'

/**
 * The list of runners as a bare `node:http` handler: the very statements of `runnerList`, prepared once, run with `node:sqlite`, and
 * `JSON.stringify` of GitHub's shape. No sign-in, no checks, no headers.
 */
const [file = '', organizationId = ''] = process.argv.slice(2)
const queries: CompiledQuery[] = []
const product = new Kysely<Schema>({
  dialect: sqliteDialect(file, 'normal'),
  log: (event) => void queries.push(event.query),
})
await runnerList(product, { kind: 'organization', id: Number(organizationId) }, { offset: 0, limit: 100 })
await product.destroy()

const database = new DatabaseSync(file, { readOnly: true })
const statements = queries.map(({ sql, parameters }) => ({ statement: database.prepare(sql), parameters: parameters as SQLInputValue[] }))

interface ListedRow {
  id: number
  name: string
  os: string
  version: string | null
  ephemeral: number
  groupNumber: number
  busyAssignment: number | null
  labels: string
}

const server = createServer((_request, response) => {
  let total = 0
  let rows: ListedRow[] = []
  for (const { statement, parameters } of statements) {
    const found = statement.all(...parameters) as unknown as (ListedRow & { count?: number })[]
    if (found[0]?.count === undefined) rows = found
    else total = found[0].count
  }
  const runners = rows.map(({ id, name, os, version, ephemeral, groupNumber, busyAssignment, labels }) => ({
    id,
    name,
    os,
    status: 'online',
    busy: busyAssignment !== null,
    ephemeral: ephemeral === 1,
    version,
    runner_group_id: groupNumber,
    labels: JSON.parse(labels) as unknown,
  }))
  const body = JSON.stringify({ total_count: total, runners })
  response.writeHead(200, { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(body) }).end(body)
})
server.listen(0, '127.0.0.1', () => process.stdout.write(String((server.address() as AddressInfo).port)))
process.on('SIGTERM', () => process.exit(0))
