import { hostname } from 'node:os'
import { join, resolve } from 'node:path'
import { parseArgs, type ParseArgsOptionsConfig } from 'node:util'

import { configFromJit, requireOfficialRunner, writeOfficialFiles } from '../runner/config-files.ts'
import { createHttp, HttpError, sleep } from '../runner/http.ts'
import { createWorker } from '../runner/job.ts'
import { runListener, type ListenerEvent } from '../runner/listener.ts'
import { RegistrationError, registerRunner, type RegistrationOptions, type RunnerConfig } from '../runner/registration.ts'

const USAGE = `Usage:
  fleetfoot runner --url URL --token TOKEN [options]       register and run the portable runner
  fleetfoot runner --jitconfig X [--work DIR]              run it from a JIT configuration, for one job
  fleetfoot runner configure DIR --url URL --token TOKEN [options]
                                                           make an unpacked official runner in DIR ready

Options:
  --name NAME      the runner's name (default: this machine's)
  --labels A,B     labels beside self-hosted, the system and the architecture
  --group GROUP    the runner group (default: the default group)
  --ephemeral      one job, then the end
  --replace        take the place of a runner with the same name
  --work DIR       where jobs work, for this runner alone (default: _work/NAME)

The portable runner runs \`run\` steps only. It is no substitute for the official runner.`

const OPTIONS = {
  url: { type: 'string' },
  token: { type: 'string' },
  name: { type: 'string' },
  labels: { type: 'string' },
  group: { type: 'string' },
  ephemeral: { type: 'boolean' },
  replace: { type: 'boolean' },
  jitconfig: { type: 'string' },
  work: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const satisfies ParseArgsOptionsConfig

/** `fleetfoot runner …`: the portable runner, and the setting-up of an official one. Gives the exit code. */
export async function runnerCommand(argv: string[]): Promise<number> {
  let parsed
  try {
    parsed = parseArgs({ args: argv, options: OPTIONS, allowPositionals: true, strict: true })
  } catch (error) {
    return usageError(error instanceof Error ? error.message : String(error))
  }
  const { values, positionals } = parsed
  if (values.help) {
    console.log(USAGE)
    return 0
  }
  const isConfigure = positionals[0] === 'configure'
  const dir = positionals[1]
  if (isConfigure ? !dir || positionals.length > 2 : positionals.length > 0)
    return usageError(`unexpected arguments: ${positionals.join(' ')}`)
  if (values.jitconfig !== undefined && isConfigure)
    return usageError('configure does not take --jitconfig: such a runner ends with its one job')
  if (values.jitconfig === undefined && (!values.url || !values.token)) return usageError('--url and --token are needed')

  try {
    if (isConfigure && dir) return await configure(resolve(dir), values)
    return await run(values)
  } catch (error) {
    if (!(error instanceof RegistrationError) && !(error instanceof HttpError) && !isNetworkError(error)) throw error
    console.error(`fleetfoot runner: ${error.message}`)
    return 1
  }
}

interface Values {
  url?: string
  token?: string
  name?: string
  labels?: string
  group?: string
  ephemeral?: boolean
  replace?: boolean
  jitconfig?: string
  work?: string
}

async function configure(dir: string, values: Values): Promise<number> {
  // Before the server knows of a runner that could not be written.
  await requireOfficialRunner(dir)
  const config = await registerRunner(registration(values))
  await writeOfficialFiles(dir, config)
  console.log('√ Runner successfully added')
  console.log(`√ Settings saved in ${dir}`)
  console.log(`Start it: ${dir}/run.sh`)
  return 0
}

async function run(values: Values): Promise<number> {
  const config = values.jitconfig === undefined ? await registerHere(values) : withWork(configFromJit(values.jitconfig), values.work)
  const stop = new AbortController()
  const onSignal = (): void => {
    console.log('Exiting...')
    stop.abort()
  }
  process.once('SIGINT', onSignal)
  process.once('SIGTERM', onSignal)
  try {
    return await listen(config, stop.signal)
  } finally {
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
}

/** As `run.sh` does: an unexpected end (exit code 2) is followed by another start. */
async function listen(config: RunnerConfig, signal: AbortSignal): Promise<number> {
  for (;;) {
    const end = await runListener(config, { executor: createWorker(), http: createHttp(), signal, onEvent: print })
    if (end.message) console.error(end.message)
    if (end.exitCode !== 2 || signal.aborted) return end.exitCode
    console.error('An error occurred: restart in 5 seconds')
    await sleep(5000, signal).catch(() => {})
  }
}

async function registerHere(values: Values): Promise<RunnerConfig> {
  console.log(`Fleetfoot portable runner ${values.name ?? hostname()}: runs \`run\` steps only`)
  const config = await registerRunner(registration(values))
  console.log('√ Runner successfully added')
  // Each runner clears its folder for temporary files: two that are started in one place must not share it.
  return withWork(config, values.work ?? join('_work', config.agentName.replaceAll(/[^A-Za-z0-9._-]/g, '_')))
}

function registration(values: Values): RegistrationOptions {
  const labels = values.labels?.split(',').map((label) => label.trim()) ?? []
  return {
    url: values.url ?? '',
    token: values.token ?? '',
    labels,
    ephemeral: values.ephemeral ?? false,
    replace: values.replace ?? false,
    ...(values.name === undefined ? {} : { name: values.name }),
    ...(values.group === undefined ? {} : { group: values.group }),
    workFolder: values.work ?? '_work',
  }
}

function withWork(config: RunnerConfig, work: string | undefined): RunnerConfig {
  return work === undefined ? config : { ...config, workFolder: work }
}

function print(event: ListenerEvent): void {
  switch (event.kind) {
    case 'connected':
      console.log('\n√ Connected\n')
      console.log(`${now()}: Listening for Jobs`)
      return
    case 'job-started':
      console.log(`${now()}: Running job: ${event.jobName}`)
      return
    case 'job-completed':
      console.log(`${now()}: Job ${event.jobName} completed with result: ${capitalized(event.result)}`)
      return
    case 'job-dropped':
      console.error(`${now()}: Job ${event.jobId ?? ''} was not run: ${messageOf(event.error)}`)
      return
    case 'session-conflict':
      console.error(`${now()}: A session for this runner already exists.`)
      return
    case 'retrying':
      console.error(`${now()}: Runner connect error: ${messageOf(event.error)}. Retrying until reconnected.`)
      return
    case 'message':
      return
  }
}

function usageError(message: string): number {
  console.error(`fleetfoot runner: ${message}\n\n${USAGE}`)
  return 2
}

function isNetworkError(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && ['ECONNREFUSED', 'ENOTFOUND', 'ECONNRESET', 'EAI_AGAIN'].includes(String(error.code))
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}

function now(): string {
  return `${new Date().toISOString().slice(0, 19).replace('T', ' ')}Z`
}

function capitalized(word: string): string {
  return word.charAt(0).toUpperCase() + word.slice(1)
}
