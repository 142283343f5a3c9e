import { parseArgs } from 'node:util'
import { claims } from './rows/claims.ts'
import { fleet } from './rows/fleet.ts'
import { idle } from './rows/idle.ts'
import { jit } from './rows/jit.ts'
import { jobs } from './rows/jobs.ts'
import { lists } from './rows/lists.ts'
import { memory } from './rows/memory.ts'
import { push } from './rows/push.ts'
import { start } from './rows/start.ts'
import { webhooks } from './rows/webhooks.ts'
import type { Bench, BenchOptions, Row } from './support/row.ts'

/*
 * `npm run bench`: the table of speed. Every row is made by the running product over HTTP: `bin/fleetfoot serve` is a process of its own on
 * a temporary data folder, this process is the load. Ratios are measured in the same run, in turns, and are medians. A missed aim is shown
 * and does not fail; a row that could not be measured ends with 1.
 */
const BENCHES: Bench[] = [lists, fleet, idle, memory, jobs, claims, start, jit, push, webhooks]

const USAGE = `usage: npm run bench -- [--only ${BENCHES.map(({ name }) => name).join('|')}] [--quick] [--profile DIR]`

const { values } = parseArgs({
  options: { only: { type: 'string', multiple: true }, quick: { type: 'boolean' }, profile: { type: 'string' }, help: { type: 'boolean' } },
})
const unknown = values.only?.find((name) => !BENCHES.some((bench) => bench.name === name))
if (values.help || unknown !== undefined) {
  console.error(unknown === undefined ? USAGE : `there is no row '${unknown}'\n${USAGE}`)
  process.exit(values.help ? 0 : 2)
}

const options: BenchOptions = {
  quick: values.quick ?? false,
  profileDir: values.profile,
  say: (text) => console.error(`  ${text}`),
}
const chosen = BENCHES.filter(({ name }) => values.only === undefined || values.only.includes(name))
const rows: Row[] = []
const failures: string[] = []
for (const bench of chosen) {
  console.error(`${bench.name} …`)
  try {
    rows.push(...(await bench.run(options)))
  } catch (error) {
    console.error(error)
    failures.push(bench.name)
  }
}
print(rows)
for (const name of failures) console.log(`\n${name}: NO NUMBER, see standard error`)
process.exit(failures.length > 0 ? 1 : 0)

function print(table: Row[]): void {
  const cells = [['Row', 'Measured', 'Aim', 'Verdict'], ...table.map(({ what, measured, aim, met }) => [what, measured, aim, verdict(met)])]
  const widths = [0, 1, 2, 3].map((column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)))
  const line = (row: string[]) => `| ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join(' | ')} |`
  const [head = [], ...body] = cells
  console.log(line(head))
  console.log(`|${widths.map((width) => '-'.repeat(width + 2)).join('|')}|`)
  for (const row of body) console.log(line(row))
  const remarks = table.filter(({ remark }) => remark !== undefined)
  if (remarks.length > 0) console.log()
  for (const { what, remark } of remarks) console.log(`- ${what}: ${remark}`)
}

function verdict(met: boolean | undefined): string {
  return met === undefined ? 'for information' : met ? 'met' : 'MISSED'
}
