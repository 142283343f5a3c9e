// Makes test/conformance/rest-api.json from the tables of our reference of GitHub's REST API:
//
//   bin/node tools/refresh-rest-table.ts path/to/rest-api.md
//
// Taken are the tables that have a column operationId; the undocumented calls of section 2.5 have none.
import { execFileSync } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import type { RestRow } from '../test/support/rest-table.ts'

const TARGET = path.join(import.meta.dirname, '../test/conformance/rest-api.json')
const HEADER = [
  'P',
  'Method',
  'Path',
  'operationId',
  'Classic scope',
  'App / fine-grained permission',
  'OK',
  'Errors',
  'In',
  'Notes',
].join()

const [input] = process.argv.slice(2)
if (!input) {
  console.error('usage: bin/node tools/refresh-rest-table.ts path/to/rest-api.md')
  process.exit(2)
}

const rows = readTables(readFileSync(input, 'utf8'))
if (new Set(rows.map((row) => row.operationId)).size < rows.length) throw new Error('an operationId is in two rows')
writeFileSync(TARGET, `${JSON.stringify(rows, null, 2)}\n`)
execFileSync(path.join(import.meta.dirname, '../node_modules/.bin/oxfmt'), [TARGET])
console.log(`${TARGET}: ${rows.length} operations`)

function readTables(text: string): RestRow[] {
  const found: RestRow[] = []
  let section = ''
  let inTable = false
  for (const line of text.split('\n')) {
    section = /^#+ ([\d.]*\d)/.exec(line)?.[1] ?? section
    if (!line.startsWith('|')) inTable = false
    else if (cellsOf(line).join() === HEADER) inTable = true
    else if (inTable && !line.startsWith('|---')) found.push(readRow(section, cellsOf(line)))
  }
  return found
}

function readRow(section: string, cells: string[]): RestRow {
  if (cells.length !== 10) throw new Error(`${cells.length} cells instead of 10: ${cells.join(' | ')}`)
  const [priority = '', method = '', route = '', operationId = '', scope = '', permission = '', ok = '', errors = '', where, notes = ''] =
    cells
  if (where !== 'both' && where !== 'cloud' && where !== 'GHES') throw new Error(`${operationId}: unknown description ${where}`)
  const listed = errors.split(', ').filter((status) => status !== '—')
  return {
    section,
    priority,
    method,
    path: route.replaceAll('`', ''),
    operationId,
    scope,
    permission,
    ok: ok.split(', ').map(readStatus),
    errors: listed.map((status) => readStatus(status.replace('+', ''))),
    notDescribed: listed.filter((status) => status.startsWith('+')).map((status) => readStatus(status.slice(1))),
    in: where,
    notes,
  }
}

function readStatus(text: string): number {
  if (!/^[1-5]\d\d$/.test(text)) throw new Error(`not a status: ${text}`)
  return Number(text)
}

function cellsOf(line: string): string[] {
  return line
    .split(/(?<!\\)\|/)
    .slice(1, -1)
    .map((cell) => cell.trim().replaceAll('\\|', '|'))
}
