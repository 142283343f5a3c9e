// Makes src/protocols/github-rest/operations.ts, paths and good statuses of GitHub's operations, from test/conformance/rest-api.json:
//
//   bin/node tools/refresh-operations.ts
import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { readRestTable } from '../test/support/rest-table.ts'

const TARGET = path.join(import.meta.dirname, '../src/protocols/github-rest/operations.ts')

const lines = readRestTable().map(
  ({ operationId, path: at, ok }) => `${JSON.stringify(operationId)}: { path: ${JSON.stringify(at)}, ok: ${JSON.stringify(ok)} },`,
)
const text = `import type { Operation } from '../../http/openapi.ts'

/** GitHub's paths and good statuses by operationId. Made by tools/refresh-operations.ts; do not edit. */
export const OPERATIONS: Readonly<Record<string, Operation>> = {
${lines.join('\n')}
}
`
writeFileSync(TARGET, text)
execFileSync(path.join(import.meta.dirname, '../node_modules/.bin/oxfmt'), [TARGET])
console.log(`${TARGET}: ${lines.length} operations`)
