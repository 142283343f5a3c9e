import { ConfigError } from '../config/env.ts'
import { CommandError } from './command.ts'

/*
 * The command `fleetfoot`. Each verb is a file of its own, loaded when asked for, so that `serve` does not read what `runs` needs.
 */

const USAGE = `usage: fleetfoot <command>

  serve                       run the server (configuration: FLEETFOOT_… variables, see docs/operate)
  demo [--keep]               the whole life of a job on this machine, without network
  runner --url U --token T    register and run the portable runner
  runner configure DIR …      make an unpacked official runner ready, on any port and without root
  init OWNER/REPO             make owner, repository and token, and print the next commands
  runs watch ID               follow a run: jobs, steps, log; also: list, cancel
  queue list                  jobs that wait, and why; also: expedite, move, pause, rules
  runners list --at ORG       runners; also: pause, drain, resume
  admin …                     users, organizations, tokens, repositories, runner packages

  --help with any command says more.
`

const VERBS: Record<string, () => Promise<(argv: string[]) => Promise<number>>> = {
  serve: async () => (await import('./serve.ts')).serveCommand,
  demo: async () => (await import('./demo.ts')).demoCommand,
  runner: async () => (await import('./runner.ts')).runnerCommand,
  init: async () => (await import('./init.ts')).initCommand,
  runs: async () => (await import('./runs.ts')).runsCommand,
  queue: async () => (await import('./queue.ts')).queueCommand,
  runners: async () => (await import('./runners.ts')).runnersCommand,
  admin: async () => (await import('./admin.ts')).adminCommand,
}

const [verb = '', ...argv] = process.argv.slice(2)
const load = VERBS[verb]
if (load) {
  const command = await load()
  process.exitCode = await command(argv).catch(failure)
} else {
  const isAsked = verb === '--help' || verb === 'help' || verb === '-h'
  const out = isAsked ? process.stdout : process.stderr
  out.write(isAsked || verb === '' ? USAGE : `fleetfoot: there is no command '${verb}'\n\n${USAGE}`)
  process.exitCode = isAsked ? 0 : 2
}

/** What a person can act on is a line, and a second one with what to do; anything else is a bug and keeps its trace. */
function failure(error: unknown): number {
  if (!(error instanceof CommandError) && !(error instanceof ConfigError)) throw error
  process.stderr.write(`fleetfoot: ${error.message}\n`)
  if (error instanceof CommandError && error.hint !== undefined) process.stderr.write(`  ${error.hint}\n`)
  return error instanceof ConfigError ? 2 : 1
}
