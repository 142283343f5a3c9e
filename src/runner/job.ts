import { randomUUID } from 'node:crypto'
import { mkdir, rm, writeFile } from 'node:fs/promises'
import { hostname } from 'node:os'
import { join, resolve } from 'node:path'

import { completeJob } from './completion.ts'
import { decodeContext, evaluateTexts, evaluateToken, toData, toText, toValue, type ExpressionData, type Value } from './expressions.ts'
import { Feed } from './feed.ts'
import { userAgent } from './http.ts'
import { JobAbortedError, systemEndpoint, type JobExecutor, type JobRun } from './listener.ts'
import { LogStream, preciseTime, UploadQueue } from './log.ts'
import { Masker } from './masker.ts'
import { runnerArchitecture, runnerOs } from './platform.ts'
import { endOrphans } from './process.ts'
import type { Results } from './results.ts'
import { displayName, runStep, scopeOf, stepLog, type JobState } from './steps.ts'
import { PROTOCOL_VERSION, type JobMessage, type TaskResult, type WireToken } from './wire.ts'
import { newStepRecord, StepConsole, StepReporter, stepResult, type StepRecord } from './worker.ts'

/**
 * The worker: does a job's `run` steps on this machine and reports them.
 *
 *     "Set up job" → steps → "Complete job" → last logs → last step update → feed closed → completejob
 */
export interface WorkerOptions {
  /** The work folder is relative to this one; the current one by default. */
  root?: string
}

/** An executor that runs the steps of jobs in processes. */
export function createWorker({ root = process.cwd() }: WorkerOptions = {}): JobExecutor {
  return (run) => runJob(run, root)
}

/** The results service of a job, if its message names one. */
export function resultsOf({ message, http, death }: JobRun): Results | undefined {
  const baseUrl = variable(message, 'system.github.results_endpoint')
  if (!baseUrl) return undefined
  const sdk = variable(message, 'system.github.results_upload_with_sdk')?.toLowerCase()
  return {
    http,
    baseUrl,
    planId: message.plan.planId,
    jobId: message.jobId,
    headers: jobHeaders(message),
    useSdk: sdk === 'true' || sdk === '1',
    death,
  }
}

async function runJob(run: JobRun, root: string): Promise<TaskResult> {
  const { message, http, death } = run
  const masker = maskerOf(message)
  const results = resultsOf(run)
  const uploads = new UploadQueue()
  const reporter = new StepReporter(results, http.pauses.updateMs)
  const jobLog = new LogStream({ stepId: undefined }, results, uploads)
  const feedUrl = systemEndpoint(message).data?.['FeedStreamUrl']
  const feed =
    results && feedUrl && /^wss?:/.test(feedUrl)
      ? new Feed({ url: feedUrl, headers: feedHeaders(message), flushMs: http.pauses.feedMs, death })
      : undefined
  const openConsole = (record: StepRecord): StepConsole => new StepConsole(record, masker, stepLog(record, results, uploads), jobLog, feed)

  const trackingId = `github_${randomUUID()}`
  const records: StepRecord[] = []
  const state = await prepare(run, root, { masker, results, uploads, reporter, openConsole, trackingId })
  const setUp = newStepRecord(1, 'Set up job')
  records.push(setUp)
  let outcome: Outcome = { outputs: {} }

  if (await setUpJob(setUp, state)) {
    const steps = message.steps.map((step, index) => ({ step, record: newStepRecord(index + 2, displayName(step, state), step.id) }))
    records.push(...steps.map(({ record }) => record))
    reporter.changed(...records)
    for (const { step, record } of steps) {
      noteAbort(state)
      if (!death.aborted) await runStep(step, record, state)
    }
    noteAbort(state)
    const complete = newStepRecord(records.length + 1, 'Complete job')
    records.push(complete)
    outcome = await completeSteps(complete, trackingId, state)
  }

  jobLog.end()
  if (!death.aborted) {
    await uploads.drained()
    await reporter.flush()
    await feed?.close()
  }
  await rm(state.tempDir, { recursive: true, force: true })
  if (death.aborted) return 'abandoned'

  const completion = {
    planId: message.plan.planId,
    jobId: message.jobId,
    conclusion: state.result,
    outputs: outcome.outputs,
    stepResults: records.map(stepResult),
    annotations: [],
    ...(outcome.environmentUrl ? { environmentUrl: outcome.environmentUrl } : {}),
    ...(message.billingOwnerId ? { billingOwnerId: message.billingOwnerId } : {}),
  }
  await completeJob(http, message, completion, death)
  return state.result
}

/** A job that was ended between two steps: later conditions see it. */
function noteAbort(state: JobState): void {
  const { reason } = state.run.signal
  if (!(reason instanceof JobAbortedError) || state.result === 'canceled') return
  if (reason.abort === 'canceled') state.result = 'canceled'
  else state.result = 'failed'
}

// ---- preparation

type Parts = Pick<JobState, 'masker' | 'results' | 'uploads' | 'reporter' | 'openConsole'> & { trackingId: string }

async function prepare(run: JobRun, root: string, { trackingId, ...parts }: Parts): Promise<JobState> {
  const { message, config } = run
  const sent = message.contextData ?? {}
  const github = asObject(toValue(decodeContext(sent['github'])))
  const repository = typeof github['repository'] === 'string' ? github['repository'] : ''
  // The name becomes a folder: what comes after the last slash, and nothing that climbs out of the work folder.
  const name = repository.slice(repository.lastIndexOf('/') + 1)
  const workDir = resolve(root, config.workFolder)
  const isSafe = /^[A-Za-z0-9._-]+$/.test(name) && name !== '.' && name !== '..'
  const pipelineDir = join(workDir, isSafe ? name : '_unnamed')
  const workspace = join(pipelineDir, isSafe ? name : '_unnamed')
  const tempDir = join(workDir, '_temp')
  const toolDir = join(workDir, '_tool')

  const runner = {
    os: runnerOs(),
    arch: runnerArchitecture(),
    name: config.agentName,
    temp: tempDir,
    tool_cache: toolDir,
    workspace: pipelineDir,
    environment: variable(message, 'system.runnerEnvironment') ?? 'self-hosted',
  }
  return {
    run,
    ...parts,
    contexts: { ...mapValues(sent, decodeContext), secrets: secretsOf(message) },
    github: {
      ...github,
      workspace,
      token: github['token'] ?? variable(message, 'system.github.token') ?? '',
      job: github['job'] ?? variable(message, 'system.github.job') ?? '',
      event_path: eventPath(tempDir),
    },
    runner,
    job: asObject(toValue(decodeContext(sent['job']))),
    env: new Map(),
    path: [],
    steps: {},
    defaults: {},
    processEnv: {
      RUNNER_OS: runner.os,
      RUNNER_ARCH: runner.arch,
      RUNNER_NAME: runner.name,
      RUNNER_TEMP: tempDir,
      RUNNER_TOOL_CACHE: toolDir,
      RUNNER_WORKSPACE: pipelineDir,
      RUNNER_ENVIRONMENT: runner.environment,
      RUNNER_TRACKING_ID: trackingId,
      ...idTokenEnv(message),
    },
    workspace,
    tempDir,
    toolDir,
    result: 'succeeded',
  }
}

/** Does "Set up job"; false when it failed, and then nothing else runs. */
async function setUpJob(record: StepRecord, state: JobState): Promise<boolean> {
  const { message, config } = state.run
  record.startedAt = preciseTime()
  record.type = 'runner'
  record.actionName = 'setup_job'
  state.reporter.changed(record)
  const console = state.openConsole(record)
  let isReady = true
  try {
    console.write('Fleetfoot portable runner: runs `run` steps only, no substitute for the official runner')
    console.write(`Current runner version: '${PROTOCOL_VERSION}' (the protocol that is spoken)`)
    console.write(`Runner name: '${config.agentName}'`)
    console.write(`Runner group name: '${variable(message, 'system.runnerGroupName') ?? config.poolName}'`)
    console.write(`Machine name: '${hostname()}'`)
    writePermissions(console, message)
    refuseContainers(message)
    console.write('Prepare workflow directory')
    await makeFolders(state)
    console.write('Prepare all required actions')
    evaluateJobEnv(state)
    state.defaults = runDefaults(message.defaults ?? [], state)
    console.write(`Complete job name: ${message.jobDisplayName ?? message.jobName ?? ''}`)
  } catch (error) {
    isReady = false
    state.result = 'failed'
    console.annotate('failure', error instanceof Error ? error.message : String(error))
  }
  record.result = isReady ? 'succeeded' : 'failed'
  record.completedAt = preciseTime()
  state.reporter.changed(record)
  console.end()
  return isReady
}

function writePermissions(console: StepConsole, message: JobMessage): void {
  const text = variable(message, 'system.github.token.permissions')
  if (!text) return
  console.write('##[group]GITHUB_TOKEN Permissions')
  for (const [name, value] of Object.entries(JSON.parse(text) as Record<string, string>)) console.write(`${name}: ${value}`)
  console.write('##[endgroup]')
}

/** Better a job that says why than steps that run in the wrong place. */
function refuseContainers({ jobContainer, jobServiceContainers }: JobMessage): void {
  const services = jobServiceContainers && typeof jobServiceContainers === 'object' ? (jobServiceContainers.map?.length ?? 1) : 0
  if (jobContainer || services > 0)
    throw new Error('the portable runner runs jobs on the machine itself; use the official runner for containers')
}

async function makeFolders(state: JobState): Promise<void> {
  const clean = state.run.message.workspace?.clean?.toLowerCase()
  if (clean === 'all') await rm(join(state.workspace, '..'), { recursive: true, force: true })
  if (clean === 'resources') await rm(state.workspace, { recursive: true, force: true })
  await rm(state.tempDir, { recursive: true, force: true })
  await mkdir(state.workspace, { recursive: true })
  await mkdir(join(state.tempDir, '_github_workflow'), { recursive: true })
  await mkdir(state.toolDir, { recursive: true })
  await writeFile(eventPath(state.tempDir), JSON.stringify(state.github['event'] ?? {}))
}

function eventPath(tempDir: string): string {
  return join(tempDir, '_github_workflow', 'event.json')
}

/** Workflow `env` first, then that of the job; each sees the ones before it. */
function evaluateJobEnv(state: JobState): void {
  for (const token of state.run.message.environmentVariables ?? [])
    for (const [name, value] of evaluateTexts(token, scopeOf(state))) state.env.set(name, value)
}

/** Each element that has `run` replaces the one before it whole. */
function runDefaults(tokens: readonly WireToken[], state: JobState): JobState['defaults'] {
  let defaults: JobState['defaults'] = {}
  for (const token of tokens) {
    const run = asObject(evaluateToken(token, scopeOf(state)))['run']
    if (run === undefined) continue
    const { shell, 'working-directory': workingDirectory } = asObject(run)
    defaults = { ...(shell ? { shell: toText(shell) } : {}), ...(workingDirectory ? { workingDirectory: toText(workingDirectory) } : {}) }
  }
  return defaults
}

// ---- completion

interface Outcome {
  outputs: Record<string, { value: string }>
  environmentUrl?: string
}

async function completeSteps(record: StepRecord, trackingId: string, state: JobState): Promise<Outcome> {
  record.startedAt = preciseTime()
  record.type = 'runner'
  record.actionName = 'complete_job'
  const console = state.openConsole(record)
  const outcome: Outcome = { outputs: {} }
  record.result = 'succeeded'
  try {
    evaluateOutputs(outcome, console, state)
    const url = state.run.message.actionsEnvironment?.url
    const text = url === undefined ? '' : toText(evaluateToken(url, scopeOf(state)))
    if (text && state.masker.finds(text)) console.annotate('warning', 'Skip setting environment url as environment url may contain secret.')
    else if (text) outcome.environmentUrl = text
  } catch (error) {
    record.result = 'failed'
    state.result = 'failed'
    console.annotate('failure', error instanceof Error ? error.message : String(error))
  }
  console.write('Cleaning up orphan processes')
  await endOrphans(trackingId, (pid) => console.write(`Terminate orphan process: pid (${pid})`))
  record.completedAt = preciseTime()
  state.reporter.changed(record)
  console.end()
  return outcome
}

/** Empty outputs are left out silently, those with a secret in them with a warning. */
function evaluateOutputs(outcome: Outcome, console: StepConsole, state: JobState): void {
  const pairs = evaluateTexts(state.run.message.jobOutputs, scopeOf(state))
  if (pairs.length > 0) console.write('Evaluate and set job outputs')
  for (const [name, value] of pairs) {
    if (!value) continue
    if (state.masker.finds(value)) {
      console.annotate('warning', `Skip output '${name}' since it may contain secret.`)
      continue
    }
    console.write(`Set output '${name}'`)
    outcome.outputs[name] = { value }
  }
}

// ---- the message

/** A variable of the job; names are found in any case. */
export function variable(message: JobMessage, name: string): string | undefined {
  const variables = message.variables ?? {}
  const exact = variables[name] ?? Object.entries(variables).find(([key]) => key.toLowerCase() === name.toLowerCase())?.[1]
  return typeof exact === 'string' ? exact : exact?.value
}

/** The headers of the worker's calls to the results service. */
export function jobHeaders(message: JobMessage): Record<string, string> {
  return {
    Accept: 'application/json',
    'User-Agent': userAgent('Worker'),
    'X-Actions-Session': randomUUID(),
    Authorization: `Bearer ${jobToken(message)}`,
  }
}

function feedHeaders(message: JobMessage): Record<string, string> {
  return { 'User-Agent': userAgent('Worker'), Authorization: `Bearer ${jobToken(message)}` }
}

function jobToken(message: JobMessage): string {
  return systemEndpoint(message).authorization?.parameters?.['AccessToken'] ?? ''
}

function maskerOf(message: JobMessage): Masker {
  const masker = new Masker()
  for (const [name, value] of Object.entries(message.variables ?? {})) {
    const isSwitch = name === 'ACTIONS_STEP_DEBUG' || name === 'ACTIONS_RUNNER_DEBUG'
    if (typeof value !== 'string' && value.isSecret && !isSwitch) masker.add(value.value)
  }
  const token = variable(message, 'system.github.token')
  if (token) masker.add(Buffer.from(`x-access-token:${token}`).toString('base64'))
  for (const { type, value } of message.mask ?? []) if (type.toLowerCase() === 'regex') masker.addPattern(value)
  for (const endpoint of message.resources.endpoints)
    for (const value of Object.values(endpoint.authorization?.parameters ?? {})) masker.add(value)
  return masker
}

/** Every secret variable is `secrets.<name>`, but for the two that belong to the runner. */
function secretsOf(message: JobMessage): ExpressionData {
  const hidden = new Set(['system.accesstoken', 'system.github.token'])
  const secrets: Record<string, Value> = {}
  for (const [name, value] of Object.entries(message.variables ?? {}))
    if (typeof value !== 'string' && value.isSecret && !hidden.has(name.toLowerCase())) secrets[name] = value.value ?? ''
  return toData(secrets)
}

function idTokenEnv(message: JobMessage): Record<string, string> {
  const url = systemEndpoint(message).data?.['GenerateIdTokenUrl']
  return url ? { ACTIONS_ID_TOKEN_REQUEST_URL: url, ACTIONS_ID_TOKEN_REQUEST_TOKEN: jobToken(message) } : {}
}

function asObject(value: Value): Record<string, Value> {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? value : {}
}

function mapValues<A, B>(values: Record<string, A>, map: (value: A) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(values).map(([name, value]) => [name, map(value)]))
}
