import { randomUUID } from 'node:crypto'
import { access, constants, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import { platform } from 'node:os'
import { delimiter, isAbsolute, join } from 'node:path'

import { commandAnnotation, parseCommand, parseFileCommand, parseOldCommand } from './commands.ts'
import {
  evaluateCondition,
  evaluateTexts,
  evaluateToken,
  toData,
  toText,
  type ExpressionData,
  type Scope,
  type Value,
} from './expressions.ts'
import { JobAbortedError, type JobRun } from './listener.ts'
import { LogStream, preciseTime, type UploadQueue } from './log.ts'
import type { Masker } from './masker.ts'
import { runProgram } from './process.ts'
import { uploadSummary, type Results } from './results.ts'
import type { JobStep, TaskResult } from './wire.ts'
import type { StepConsole, StepRecord, StepReporter } from './worker.ts'

/** What the steps of a job share, and change. */
export interface JobState {
  run: JobRun
  masker: Masker
  results: Results | undefined
  uploads: UploadQueue
  reporter: StepReporter
  openConsole: (record: StepRecord) => StepConsole
  /** Contexts that do not change in the course of the job. */
  contexts: Record<string, ExpressionData>
  github: Record<string, Value>
  runner: Record<string, Value>
  job: Record<string, Value>
  /** `env` of workflow and job, and what steps wrote to `GITHUB_ENV`. */
  env: Map<string, string>
  /** What steps wrote to `GITHUB_PATH`, the last one first. */
  path: string[]
  steps: Record<string, { outputs: Record<string, string>; outcome: string; conclusion: string }>
  defaults: { shell?: string; workingDirectory?: string }
  /** Variables that every process of the job gets: `RUNNER_*`, `ACTIONS_*`. */
  processEnv: Record<string, string>
  workspace: string
  tempDir: string
  toolDir: string
  result: TaskResult
}

/** What a step's expressions see: `env` is that of the job, with the step's own on top where it is known. */
export function scopeOf(state: JobState, stepEnv: readonly [string, string][] = []): Scope {
  const env = new Map(state.env)
  for (const [name, value] of stepEnv) env.set(name, value)
  const status = state.result === 'canceled' ? 'cancelled' : state.result === 'failed' ? 'failure' : 'success'
  return {
    contexts: {
      ...state.contexts,
      github: toData(state.github),
      runner: toData(state.runner),
      job: toData({ ...state.job, status }),
      env: toData(Object.fromEntries(env)),
      steps: toData(state.steps),
    },
    status,
    workspace: state.workspace,
  }
}

/** The name that a step is shown with; an expression that cannot be evaluated yet stays out of it. */
export function displayName(step: JobStep, state: JobState): string {
  if (step.displayName) return step.displayName
  try {
    const given = step.displayNameToken === undefined ? '' : toText(evaluateToken(step.displayNameToken, scopeOf(state)))
    if (given) return state.masker.mask(given)
  } catch {
    // shown by what it runs
  }
  const reference = step.reference
  if (reference && !isScript(step)) {
    if (reference.image) return `Run ${reference.image}`
    const name =
      reference.repositoryType?.toLowerCase() === 'self' ? reference.path : [reference.name, reference.path].filter(Boolean).join('/')
    return `Run ${name ?? ''}${reference.ref ? `@${reference.ref}` : ''}`
  }
  return `Run ${state.masker.mask(firstLine(scriptText(step, state)))}`
}

/** Runs one step, or skips it, and brings the job's state up to date. */
export async function runStep(step: JobStep, record: StepRecord, state: JobState): Promise<void> {
  record.startedAt = preciseTime()
  const console = state.openConsole(record)
  let outcome: TaskResult
  let outputs: Record<string, string> = {}
  let isCovered = true

  state.github['action'] = step.name ?? ''
  try {
    const env = evaluateEnv(step, state)
    if (!wantsToRun(step, env, state)) {
      finish(record, 'skipped', 'skipped', {}, step, state)
      return
    }
    record.name = displayName(step, state)
    state.reporter.changed(record)
    ;({ outcome, outputs } = await execute(step, env, record, console, state))
  } catch (error) {
    outcome = 'failed'
    isCovered = !(error instanceof UncoveredError)
    console.annotate('failure', error instanceof Error ? error.message : String(error))
  }

  const conclusion = outcome === 'failed' && isCovered && continuesOnError(step, state, console) ? 'succeeded' : outcome
  finish(record, outcome, conclusion, outputs, step, state)
  console.end()
}

/** What fails a step in spite of its `continue-on-error`: its `env` and its condition. */
class UncoveredError extends Error {}

function finish(
  record: StepRecord,
  outcome: TaskResult,
  conclusion: TaskResult,
  outputs: Record<string, string>,
  step: JobStep,
  state: JobState,
): void {
  record.result = conclusion
  record.completedAt = preciseTime()
  state.reporter.changed(record)
  if (conclusion === 'failed' && state.result === 'succeeded') state.result = 'failed'
  const context = step.contextName ?? ''
  // Generated names are not recorded.
  if (context && !context.startsWith('__'))
    state.steps[context] = { outputs, outcome: contextWord(outcome), conclusion: contextWord(conclusion) }
}

function contextWord(result: TaskResult): string {
  const words: Partial<Record<TaskResult, string>> = { failed: 'failure', canceled: 'cancelled', skipped: 'skipped' }
  return words[result] ?? 'success'
}

function evaluateEnv(step: JobStep, state: JobState): [string, string][] {
  try {
    return evaluateTexts(step.environment, scopeOf(state))
  } catch (error) {
    throw new UncoveredError(error instanceof Error ? error.message : String(error), { cause: error })
  }
}

function wantsToRun(step: JobStep, env: [string, string][], state: JobState): boolean {
  try {
    return evaluateCondition(step.condition, scopeOf(state, env))
  } catch (error) {
    throw new UncoveredError(error instanceof Error ? error.message : String(error), { cause: error })
  }
}

function continuesOnError(step: JobStep, state: JobState, console: StepConsole): boolean {
  try {
    return evaluateToken(step.continueOnError, scopeOf(state)) === true
  } catch (error) {
    console.annotate('failure', error instanceof Error ? error.message : String(error))
    return false
  }
}

interface Executed {
  outcome: TaskResult
  outputs: Record<string, string>
}

async function execute(
  step: JobStep,
  env: [string, string][],
  record: StepRecord,
  console: StepConsole,
  state: JobState,
): Promise<Executed> {
  if (!isScript(step)) {
    console.write(`##[group]${displayName(step, state)}`)
    console.write('##[endgroup]')
    throw new Error('the portable runner runs `run` steps only; use the official runner for actions')
  }
  const scope = scopeOf(state, env)
  const inputs = new Map(evaluateTexts(step.inputs, scope))
  const script = inputs.get('script') ?? ''
  const givenShell = inputs.get('shell') || state.defaults.shell
  const shell = await findShell(givenShell, state)
  record.type = 'run'
  record.actionName = givenShell ? (givenShell.trim().split(/\s+/)[0] ?? 'sh') : 'sh'

  const minutes = evaluateToken(step.timeoutInMinutes, scope)
  if (minutes !== null && typeof minutes !== 'number') throw new Error('timeout-minutes is not a number')
  const cwd = workingDirectory(inputs.get('workingDirectory') ?? state.defaults.workingDirectory, state)
  const files = await makeFiles(script, shell, state)
  const shown = [...state.env, ...env]
  writeHeader(console, script, shell, shown)

  const time = limitedTime(minutes, state)
  try {
    const exitCode = await runProgram({
      command: shell.program,
      args: shell.args(files.script),
      cwd,
      env: environment(env, files, state),
      onLine: lineHandler(console, state),
      cancel: time.signal,
      death: state.run.death,
      interruptMs: state.run.http.pauses.interruptMs,
      terminateMs: state.run.http.pauses.terminateMs,
    })
    const isFine = await applyFiles(files, record, console, state)
    const outcome = outcomeOf(exitCode, isFine.ok, time, minutes, console, state)
    return { outcome, outputs: isFine.outputs }
  } finally {
    time.end()
    await removeFiles(files)
  }
}

function outcomeOf(
  exitCode: number,
  filesFine: boolean,
  time: StepTime,
  minutes: number | null,
  console: StepConsole,
  state: JobState,
): TaskResult {
  if (time.hasRunOut()) {
    console.annotate('failure', `The action '${console.record.name}' has timed out after ${minutes} minutes.`)
    return 'failed'
  }
  if (time.wasAborted()) {
    const { reason } = state.run.signal
    if (reason instanceof JobAbortedError && reason.abort === 'shutdown') {
      console.annotate('failure', SHUTDOWN_MESSAGE)
      return 'failed'
    }
    console.annotate('failure', 'The operation was canceled.')
    state.result = 'canceled'
    return 'canceled'
  }
  if (exitCode !== 0) {
    console.annotate('failure', `Process completed with exit code ${exitCode}.`)
    return 'failed'
  }
  return filesFine ? 'succeeded' : 'failed'
}

const SHUTDOWN_MESSAGE =
  'The runner has received a shutdown signal. This can happen when the runner service is stopped, or a manually started runner is canceled.'

/** What may end a step before its program does. */
interface StepTime {
  signal: AbortSignal
  hasRunOut: () => boolean
  wasAborted: () => boolean
  end: () => void
}

/** A step that began after its job was cancelled is left alone: its condition asked for that. */
function limitedTime(minutes: number | null, state: JobState): StepTime {
  const controller = new AbortController()
  let cause: 'time' | 'job' | undefined
  const endBy = (why: 'time' | 'job'): void => {
    cause ??= why
    controller.abort()
  }
  const { signal } = state.run
  const onAbort = (): void => endBy('job')
  if (!signal.aborted) signal.addEventListener('abort', onAbort, { once: true })
  const timer = minutes !== null && minutes > 0 ? setTimeout(() => endBy('time'), minutes * 60_000) : undefined
  return {
    signal: controller.signal,
    hasRunOut: () => cause === 'time',
    wasAborted: () => cause === 'job',
    end: () => {
      clearTimeout(timer)
      signal.removeEventListener('abort', onAbort)
    },
  }
}

// ---- shells

interface Shell {
  program: string
  /** As the log shows it, with `{0}` for the script. */
  shown: string
  extension: string
  args: (script: string) => string[]
}

const KNOWN_SHELLS: Record<string, { args: string; extension: string }> = {
  bash: { args: '--noprofile --norc -e -o pipefail {0}', extension: '.sh' },
  sh: { args: '-e {0}', extension: '.sh' },
  python: { args: '{0}', extension: '.py' },
  node: { args: '{0}', extension: '.js' },
  pwsh: { args: '-command ". \'{0}\'"', extension: '.ps1' },
}

async function findShell(given: string | undefined, state: JobState): Promise<Shell> {
  if (!given) {
    const bash = await findProgram('bash', state)
    return makeShell(bash ?? (await needProgram('sh', state)), '-e {0}', '.sh')
  }
  const known = KNOWN_SHELLS[given.trim()]
  if (known) return makeShell(await needProgram(given.trim(), state), known.args, known.extension)

  const [program = '', ...rest] = given.trim().split(/\s+/)
  if (!given.includes('{0}'))
    throw new Error(
      "Invalid shell option. Shell must be a valid built-in (bash, sh, node, python, pwsh) or a format string containing '{0}'",
    )
  return makeShell(await needProgram(program, state), rest.join(' '), KNOWN_SHELLS[program]?.extension ?? '.sh')
}

function makeShell(program: string, template: string, extension: string): Shell {
  const parts = template.match(/"[^"]*"|\S+/g) ?? []
  return {
    program,
    shown: `${program} ${template}`,
    extension,
    args: (script) => parts.map((part) => part.replace(/^"(.*)"$/, '$1').replaceAll('{0}', script)),
  }
}

async function needProgram(name: string, state: JobState): Promise<string> {
  const found = await findProgram(name, state)
  if (found) return found
  // On systems without a `python` the one that is there is called python3.
  const other = name === 'python' ? await findProgram('python3', state) : undefined
  if (other) return other
  throw new Error(`${name}: command not found`)
}

async function findProgram(name: string, state: JobState): Promise<string | undefined> {
  if (isAbsolute(name)) return name
  const folders = [...state.path, ...(process.env['PATH'] ?? '').split(delimiter)].filter(Boolean)
  const endings = platform() === 'win32' ? ['.exe', '.cmd', ''] : ['']
  for (const folder of folders)
    for (const ending of endings) {
      const path = join(folder, `${name}${ending}`)
      const isThere = await access(path, constants.X_OK).then(
        () => true,
        () => false,
      )
      if (isThere) return path
    }
  return undefined
}

function workingDirectory(given: string | undefined, state: JobState): string {
  if (!given) return state.workspace
  return isAbsolute(given) ? given : join(state.workspace, given)
}

function writeHeader(console: StepConsole, script: string, shell: Shell, env: [string, string][]): void {
  const lines = script.replace(/\s+$/, '').split(/\r?\n/)
  console.write(`##[group]Run ${firstLine(script)}`)
  for (const line of lines) console.write(`\u001B[36;1m${line}\u001B[0m`)
  console.write(`shell: ${shell.shown}`)
  if (env.length > 0) {
    console.write('env:')
    for (const [name, value] of new Map(env)) console.write(`  ${name}: ${value}`)
  }
  console.write('##[endgroup]')
}

// ---- environment and files

interface StepFiles {
  script: string
  env: string
  path: string
  output: string
  summary: string
  state: string
}

async function makeFiles(script: string, shell: Shell, { tempDir }: JobState): Promise<StepFiles> {
  const id = randomUUID()
  const commands = join(tempDir, '_runner_file_commands')
  await mkdir(commands, { recursive: true })
  const files: StepFiles = {
    script: join(tempDir, `${id}${shell.extension}`),
    env: join(commands, `set_env_${id}`),
    path: join(commands, `add_path_${id}`),
    output: join(commands, `set_output_${id}`),
    summary: join(commands, `step_summary_${id}`),
    state: join(commands, `save_state_${id}`),
  }
  await writeFile(files.script, script.endsWith('\n') ? script : `${script}\n`, { mode: 0o700 })
  for (const file of [files.env, files.path, files.output, files.summary, files.state]) await writeFile(file, '')
  return files
}

async function removeFiles(files: StepFiles): Promise<void> {
  for (const file of Object.values(files) as string[]) await rm(file, { force: true })
}

/** The variables of `github` that become `GITHUB_*`, when they are texts or booleans. */
// prettier-ignore
const GITHUB_VARIABLES = [
  'action', 'actor', 'actor_id', 'api_url', 'base_ref', 'event_name', 'event_path', 'graphql_url', 'head_ref', 'job', 'ref', 'ref_name',
  'ref_protected', 'ref_type', 'repository', 'repository_id', 'repository_owner', 'repository_owner_id', 'retention_days', 'run_attempt',
  'run_id', 'run_number', 'server_url', 'sha', 'triggering_actor', 'workflow', 'workflow_ref', 'workflow_sha', 'workspace',
]

function environment(stepEnv: [string, string][], files: StepFiles, state: JobState): Record<string, string> {
  const env: Record<string, string> = {}
  for (const [name, value] of Object.entries(process.env)) {
    // In a demo the runner shares its process with a server, whose secrets are not the job's.
    if (value !== undefined && !name.startsWith('FLEETFOOT_')) env[name] = value
  }
  env['CI'] ??= 'true'
  for (const [name, value] of [...state.env, ...stepEnv]) env[name] = value
  if (state.path.length > 0) env['PATH'] = [...state.path, env['PATH'] ?? ''].join(delimiter)

  for (const name of GITHUB_VARIABLES) {
    const value = state.github[name]
    if (typeof value === 'string' || typeof value === 'boolean') env[`GITHUB_${name.toUpperCase()}`] = String(value)
  }
  return {
    ...env,
    ...state.processEnv,
    GITHUB_ACTIONS: 'true',
    GITHUB_ENV: files.env,
    GITHUB_PATH: files.path,
    GITHUB_OUTPUT: files.output,
    GITHUB_STEP_SUMMARY: files.summary,
    GITHUB_STATE: files.state,
  }
}

/** Takes over what the step wrote to its files. One that cannot be read fails the step. */
async function applyFiles(
  files: StepFiles,
  record: StepRecord,
  console: StepConsole,
  state: JobState,
): Promise<{ ok: boolean; outputs: Record<string, string> }> {
  const outputs: Record<string, string> = Object.create(null) as Record<string, string>
  let ok = true
  const apply = async (name: string, file: string, take: (text: string) => void): Promise<void> => {
    try {
      take(await readFile(file, 'utf8').catch(() => ''))
    } catch (error) {
      ok = false
      console.annotate('failure', `Unable to process file command '${name}' successfully.`)
      console.annotate('failure', error instanceof Error ? error.message : String(error))
    }
  }
  await apply('env', files.env, (text) => {
    for (const [name, value] of parseFileCommand(text)) {
      if (name.toUpperCase() === 'NODE_OPTIONS')
        console.annotate('failure', "Can't store NODE_OPTIONS output parameter using '$GITHUB_ENV' command.")
      else state.env.set(name, value)
    }
  })
  await apply('path', files.path, (text) => {
    for (const line of text.split(/\r?\n/)) if (line) state.path = [line, ...state.path.filter((known) => known !== line)]
  })
  await apply('output', files.output, (text) => {
    for (const [name, value] of parseFileCommand(text)) outputs[name] = value
  })
  await sendSummary(files.summary, record, console, state)
  return { ok, outputs }
}

const MAX_SUMMARY_BYTES = 1024 * 1024

async function sendSummary(file: string, record: StepRecord, console: StepConsole, { results, uploads, masker }: JobState): Promise<void> {
  const text = await readFile(file, 'utf8').catch(() => '')
  if (!text) return
  const bytes = Buffer.from(masker.mask(text))
  if (bytes.length > MAX_SUMMARY_BYTES) {
    const size = Math.floor(bytes.length / 1024)
    console.annotate(
      'failure',
      `$GITHUB_STEP_SUMMARY upload aborted, supports content up to a size of 1024k, got ${size}k. For more information see: https://docs.github.com/actions/using-workflows/workflow-commands-for-github-actions#adding-a-markdown-summary`,
    )
  } else if (results) uploads.add(() => uploadSummary(results, record.id, bytes))
}

// ---- output

/** Handles each line of a step's output: commands do what they say, everything else is written. */
function lineHandler(console: StepConsole, { masker }: JobState): (line: string) => void {
  let stopToken: string | undefined
  return (line) => {
    if (stopToken !== undefined) {
      if (line.trim() === `::${stopToken}::`) stopToken = undefined
      console.write(line)
      return
    }
    const command = parseCommand(line) ?? parseOldCommand(line)
    if (!command) return console.write(line)
    switch (command.name) {
      case 'add-mask':
        masker.add(command.message)
        return
      case 'error':
      case 'warning':
      case 'notice': {
        const made = commandAnnotation(command, 0, console.record.number)
        return console.annotate(made.level, made.message, (logLine) => commandAnnotation(command, logLine, console.record.number))
      }
      case 'group':
      case 'endgroup':
        return console.write(`##[${command.name}]${command.message}`)
      case 'debug':
      case 'echo':
        return
      case 'stop-commands':
        stopToken = command.message
        return console.write(line)
      default:
        return console.write(line)
    }
  }
}

function isScript(step: JobStep): boolean {
  const type = step.reference?.type
  return type === 3 || (typeof type === 'string' && type.toLowerCase() === 'script')
}

/** The script, evaluated as far as the job has got; one that cannot be yet is shown as it is written. */
function scriptText(step: JobStep, state: JobState): string {
  if (step.inputs === null || typeof step.inputs !== 'object') return ''
  const entry = step.inputs.map?.find((pair) => (pair.Key ?? pair.key) === 'script')
  const token = entry?.Value ?? entry?.value
  try {
    return toText(evaluateToken(token, scopeOf(state)))
  } catch {
    return token !== null && typeof token === 'object' ? (token.expr ?? '') : ''
  }
}

function firstLine(text: string): string {
  return text.trimStart().split(/\r?\n/, 1)[0]?.trimEnd() ?? ''
}

/** The log of a step. */
export function stepLog(record: StepRecord, results: Results | undefined, uploads: UploadQueue): LogStream {
  return new LogStream({ stepId: record.id }, results, uploads)
}
