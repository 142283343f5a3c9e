import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { styleText } from 'node:util'
import { pino } from 'pino'
import { loadConfig } from '../config/config.ts'
import { callPages, makeClient, type ApiClient } from './api-client.ts'
import { CommandError, ownCommand, parseCommand, takeArguments, UsageError } from './command.ts'
import { initialize, registrationToken, type Initialized } from './init.ts'
import { runPrinter } from './print-run.ts'
import { watchRun, type RunBody, type WatchEvent } from './watch-run.ts'

/**
 * The whole life of a job in one command, through the same doors as everybody: the server, the REST API, the real git, and the portable
 * runner as a process of its own. Everything lives in one folder that is deleted at the end, also after Ctrl-C and after a failure.
 */

const USAGE = `usage: fleetfoot demo [--keep]

  Starts a server on a free port with a throw-away data folder, makes an organization and a repository, pushes a workflow of
  two jobs with git, registers the portable runner, follows the run to its end and deletes everything. Needs git and bash,
  no network.

  --keep   leaves the server up until Ctrl-C, and prints what to try`

const OWNER = 'acme'
const REPOSITORY = 'rocket'
const USER = 'mona'
const RUNNER = 'demo-runner'

const WORKFLOW = `name: CI
on: push
jobs:
  build:
    runs-on: self-hosted
    outputs:
      version: \${{ steps.version.outputs.version }}
    steps:
      - id: version
        name: Choose a version
        run: |
          echo "building commit \${GITHUB_SHA::7} of $GITHUB_REPOSITORY"
          echo "version=1.0.$GITHUB_RUN_NUMBER" >> "$GITHUB_OUTPUT"
      - name: Test
        run: for part in engine fuel nose; do echo "testing the $part ... ok"; sleep 0.2; done
  launch:
    needs: build
    runs-on: self-hosted
    steps:
      - name: Launch
        run: |
          echo "launching version \${{ needs.build.outputs.version }}"
          echo "lift-off"
`

/** `fleetfoot demo`. Gives the exit code: 0 when the run ended in success. */
export async function demoCommand(argv: string[]): Promise<number> {
  let keep: boolean
  try {
    const { values, positionals } = parseCommand(argv, { keep: { type: 'boolean' } })
    if (values.help) {
      console.log(USAGE)
      return 0
    }
    takeArguments(positionals)
    keep = values.keep ?? false
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    console.error(`fleetfoot: ${error.message}\n\n${USAGE}`)
    return 2
  }
  const stop = new AbortController()
  const onSignal = () => stop.abort()
  for (const name of ['SIGINT', 'SIGTERM'] as const) process.on(name, onSignal)
  try {
    requireProgram('git', 'the demo pushes with it: install git and try again')
    requireProgram('bash', 'the demo’s steps run in it: install bash and try again')
    return await runDemo(keep, stop.signal)
  } catch (error) {
    if (!stop.signal.aborted) throw error
    console.error('\nstopped; everything is deleted')
    return 130
  } finally {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.off(name, onSignal)
  }
}

async function runDemo(keep: boolean, signal: AbortSignal): Promise<number> {
  const startedAt = performance.now()
  await using stack = new AsyncDisposableStack()
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-demo-'))
  const remove = () => rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
  stack.defer(remove)
  // Where a fault ends the process before the stack is.
  process.once('exit', remove)

  const client = await startServer(stack, folder)
  const { url } = client.config
  signal.throwIfAborted()

  heading('An organization, a repository and a token', `fleetfoot init ${OWNER}/${REPOSITORY} --user ${USER}`)
  const done = await initialize(client, { owner: OWNER, name: REPOSITORY, user: USER })
  say(`made ${done.made.join(', ')}, and a token of ${done.user}`)
  signal.throwIfAborted()

  const pushedAt = await pushWorkflow(folder, url, done, signal)
  const run = await newestRun(client, done)

  heading('The job waits, and says why', `fleetfoot runs watch ${run.id}`)
  const moments = await followRun(client, { folder, done, run, stack, signal })

  const listed = await client.call<{ runners: { id: number }[] }>('GET', `/repos/${done.repository}/actions/runners`)
  const api = `/repos/${done.repository}/actions/runners`
  heading('The runner leaves', `DELETE ${api}/${listed.runners[0]?.id ?? ''}`)
  for (const { id } of listed.runners) await client.call('DELETE', `${api}/${id}`)
  say('its registration is gone')

  heading('Result')
  const { conclusion } = moments.run
  say(`conclusion: ${styleText(conclusion === 'success' ? 'green' : 'red', conclusion ?? '')}`)
  if (moments.firstLineAt !== undefined && moments.runnerAt !== undefined) {
    say(`from push to first log line: ${seconds(moments.firstLineAt - pushedAt)}`)
    say(
      `  of it until there was a runner: ${seconds(moments.onlineAt - pushedAt)} (its process started ${seconds(moments.runnerAt - pushedAt)} after the push)`,
    )
    say(`  of it from runner online to first log line: ${seconds(moments.firstLineAt - moments.onlineAt)}`)
  }
  if (!keep) {
    await stack.disposeAsync()
    say(`everything is deleted; all of it took ${seconds(performance.now() - startedAt)}`)
    return conclusion === 'success' ? 0 : 1
  }
  await stayUp(client, done, folder, signal)
  return conclusion === 'success' ? 0 : 1
}

/** The real server in this process, silent, in the folder. */
async function startServer(stack: AsyncDisposableStack, folder: string): Promise<ApiClient> {
  const port = await freePort()
  const dataDir = path.join(folder, 'data')
  const environment = { FLEETFOOT_LISTEN: `127.0.0.1:${port}`, FLEETFOOT_DATA_DIR: dataDir }
  heading('A server with a data folder of its own', `FLEETFOOT_LISTEN=127.0.0.1:${port} FLEETFOOT_DATA_DIR=${dataDir} fleetfoot serve`)
  const config = loadConfig(environment)
  const before = performance.now()
  const { startApp } = await import('../app.ts')
  const app = await startApp(config, { logger: pino({ level: 'silent' }) })
  stack.use(app)
  const { url, secrets } = config
  const { version } = JSON.parse(readFileSync(path.join(import.meta.dirname, '../../package.json'), 'utf8')) as { version: string }
  say(`fleetfoot ${version} is ready at ${url} after ${seconds(performance.now() - before)}`)
  return makeClient({ url, dataDir, token: secrets.adminToken, tokenFile: secrets.adminTokenFile })
}

/** Commits a workflow and pushes it. Gives the moment when git was answered. */
async function pushWorkflow(folder: string, url: string, done: Initialized, signal: AbortSignal): Promise<number> {
  const clone = path.join(folder, 'rocket')
  mkdirSync(path.join(clone, '.github/workflows'), { recursive: true })
  writeFileSync(path.join(clone, '.github/workflows/ci.yml'), WORKFLOW)
  const remote = new URL(`/${done.repository}.git`, url)
  remote.username = done.user
  remote.password = done.token
  const shown = remote.href.replace(done.token, '$TOKEN')

  heading('A workflow of two jobs, pushed with git', `git init rocket && git add .github && git commit`)
  say('.github/workflows/ci.yml: job build, then job launch, which needs it')
  await git(clone, signal, 'init', '--quiet', '--initial-branch=main')
  await git(clone, signal, 'add', '.')
  await git(clone, signal, 'commit', '--quiet', '--message', 'Add the workflow')
  command(`git push ${shown} main`)
  const output = await git(clone, signal, 'push', remote.href, 'main')
  const at = performance.now()
  for (const line of output.split('\n').filter((text) => text.startsWith('remote: '))) say(line.trimEnd())
  return at
}

async function newestRun(client: ApiClient, { repository }: Initialized): Promise<RunBody> {
  const [run] = await callPages<RunBody>(client, `/repos/${repository}/actions/runs`, 'workflow_runs', 1)
  if (!run) throw new CommandError('the push started no run', 'this is a fault of the server')
  return run
}

interface Moments {
  run: RunBody
  runnerAt: number | undefined
  onlineAt: number
  firstLineAt: number | undefined
}

/** Follows the run; when its first job has said why it waits, the runner is started. When the run ends, the runner is told to leave. */
async function followRun(
  client: ApiClient,
  demo: { folder: string; done: Initialized; run: RunBody; stack: AsyncDisposableStack; signal: AbortSignal },
): Promise<Moments> {
  const moments: Omit<Moments, 'run'> = { runnerAt: undefined, onlineAt: 0, firstLineAt: undefined }
  const print = runPrinter(say)
  let runner: Promise<RunnerProcess> | undefined
  const broken = new AbortController()
  const onEvent = (event: WatchEvent) => {
    if (event.kind === 'log') moments.firstLineAt ??= performance.now()
    print(event)
    if (event.kind !== 'job' || event.job.waiting_reason === null || event.job.status !== 'queued') return
    // After the other jobs have said why they wait.
    queueMicrotask(() => {
      moments.runnerAt ??= performance.now()
      runner ??= startRunner(client, demo, () => (moments.onlineAt ||= performance.now()))
      runner.catch((error: unknown) => broken.abort(error))
    })
  }
  const signal = AbortSignal.any([demo.signal, broken.signal])
  const run = await watchRun(client, { repository: demo.done.repository, runId: demo.run.id, onEvent, signal, pollMs: 150 })
  heading('The runner is told to end', 'kill -INT, as Ctrl-C does')
  const ended = await (await runner)?.end()
  say(`it deleted its session and ended with ${ended ?? 'nothing'}`)
  return { run, ...moments }
}

interface RunnerProcess {
  /** Tells it to end, and gives its exit code. */
  end(): Promise<number | null>
}

/** The portable runner, as its users start it. */
async function startRunner(
  client: ApiClient,
  { folder, done, stack, signal }: { folder: string; done: Initialized; stack: AsyncDisposableStack; signal: AbortSignal },
  onOnline: () => void,
): Promise<RunnerProcess> {
  heading('A runner registers and goes online', `POST /repos/${done.repository}/actions/runners/registration-token`)
  const token = await registrationToken(client, done)
  const target = `${client.config.url}/${done.repository}`
  command(`fleetfoot runner --url ${target} --token $TOKEN --name ${RUNNER}`)
  const args = ['runner', '--url', target, '--token', token, '--name', RUNNER, '--work', path.join(folder, 'work')]
  signal.throwIfAborted()
  // A group of its own: Ctrl-C reaches the demo, which ends the runner in good order.
  const child = spawn(process.execPath, [path.join(import.meta.dirname, 'fleetfoot.ts'), ...args], {
    cwd: folder,
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  stack.defer(async () => void (await endProcess(child)))
  process.once('exit', () => killGroup(child))
  const show = (bytes: Buffer) => {
    for (const line of bytes
      .toString()
      .split('\n')
      .filter((text) => text.trim() !== '')) {
      if (line.includes('Listening for Jobs')) onOnline()
      say(`${styleText('dim', 'runner:')} ${line}`)
    }
  }
  child.stdout.on('data', show)
  child.stderr.on('data', show)
  return { end: () => endProcess(child) }
}

/** Ctrl-C, and after some seconds the end of its whole group. */
async function endProcess(child: ChildProcess): Promise<number | null> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return child.exitCode
  const exited = once(child, 'exit')
  child.kill('SIGINT')
  const limit = setTimeout(() => killGroup(child), 8000)
  await exited
  clearTimeout(limit)
  return child.exitCode
}

function killGroup({ pid, exitCode, signalCode }: ChildProcess): void {
  if (pid !== undefined && exitCode === null && signalCode === null) process.kill(-pid, 'SIGKILL')
}

async function stayUp(client: ApiClient, done: Initialized, folder: string, signal: AbortSignal): Promise<void> {
  const { url, dataDir, tokenFile } = client.config
  const own = ownCommand()
  const token = await registrationToken(client, done)
  heading('The server stays up until Ctrl-C; to try, in another terminal')
  for (const line of [
    `export FLEETFOOT_URL=${url} FLEETFOOT_DATA_DIR=${dataDir}`,
    `curl -H "Authorization: Bearer $(cat ${tokenFile ?? ''})" ${url}/api/v3/repos/${done.repository}/actions/runs`,
    `${own} runner --url ${url}/${done.repository} --token ${token} --work ${path.join(folder, 'work')}`,
    `cd ${path.join(folder, 'rocket')} && git commit --allow-empty -m again && git push http://${done.user}:${done.token}@${new URL(url).host}/${done.repository}.git main`,
    `${own} runs watch ${done.repository}`,
    `${own} runs list ${done.repository}`,
    `${own} admin --help`,
  ])
    say(line)
  await new Promise<void>((resolve) => {
    if (signal.aborted) resolve()
    signal.addEventListener('abort', () => resolve())
  })
  console.log('\nstopping; everything is deleted')
}

/** Runs git without anybody's configuration; gives what it wrote to both streams. */
async function git(at: string, signal: AbortSignal, ...args: string[]): Promise<string> {
  const who = { NAME: 'Mona', EMAIL: 'mona@example.com' }
  const child = spawn('git', args, {
    cwd: at,
    stdio: ['ignore', 'pipe', 'pipe'],
    env: {
      PATH: process.env['PATH'],
      HOME: at,
      GIT_CONFIG_NOSYSTEM: '1',
      GIT_TERMINAL_PROMPT: '0',
      LC_ALL: 'C',
      GIT_AUTHOR_NAME: who.NAME,
      GIT_AUTHOR_EMAIL: who.EMAIL,
      GIT_COMMITTER_NAME: who.NAME,
      GIT_COMMITTER_EMAIL: who.EMAIL,
    },
    signal,
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => (output += bytes.toString()))
  const [code] = (await once(child, 'close')) as [number | null]
  if (code !== 0) throw new CommandError(`git ${args[0] ?? ''} ended with ${code ?? 'a signal'}: ${output.trim()}`)
  return output
}

function requireProgram(name: string, hint: string): void {
  const isThere = (process.env['PATH'] ?? '').split(path.delimiter).some((folder) => existsSync(path.join(folder, name)))
  if (!isThere) throw new CommandError(`${name} is not on the PATH`, hint)
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  server.close()
  await once(server, 'close')
  if (address === null || typeof address === 'string') throw new Error('no port')
  return address.port
}

function heading(text: string, call?: string): void {
  console.log(`\n${styleText('bold', `▶ ${text}`)}`)
  if (call !== undefined) command(call)
}

function command(text: string): void {
  console.log(`  ${styleText('cyan', `$ ${text}`)}`)
}

function say(line: string): void {
  console.log(`    ${line}`)
}

const seconds = (ms: number) => `${(ms / 1000).toFixed(2)} s`
