import { spawn } from 'node:child_process'
import { startPostgres } from './postgres-server.ts'

/*
 * Runs a command with a PostgreSQL server of its own in a temporary folder: `bin/node tools/with-postgres.ts COMMAND ARGS…`. The command
 * finds it in FLEETFOOT_TEST_DATABASE_URL. A server that the variable names already is used as it is.
 */

const [command, ...args] = process.argv.slice(2)
if (command === undefined) {
  console.error('usage: with-postgres.ts COMMAND ARGS…')
  process.exit(2)
}
const given = process.env['FLEETFOOT_TEST_DATABASE_URL']
const server = given
  ? undefined
  : await startPostgres().catch((error: Error) => {
      console.error(`with-postgres: ${error.message}`)
      process.exit(2)
    })
const url = given ?? server?.url ?? ''
const child = spawn(command, args, { stdio: 'inherit', env: { ...process.env, FLEETFOOT_TEST_DATABASE_URL: url } })
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, () => child.kill(signal))
const code = await new Promise<number>((resolve) => child.on('close', (status) => resolve(status ?? 1)))
server?.stop()
process.exit(code)
