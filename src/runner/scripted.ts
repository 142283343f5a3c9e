import { completeJob } from './completion.ts'
import { resultsOf } from './job.ts'
import type { JobExecutor, JobRun } from './listener.ts'
import { JobAbortedError } from './listener.ts'
import { sleep } from './http.ts'
import { BlockCutter, preciseTime } from './log.ts'
import { sendStepUpdates, uploadLogBlock, type Results } from './results.ts'
import type { TaskResult } from './wire.ts'
import { newStepRecord, stepResult, stepUpdate, type StepRecord } from './worker.ts'

/** The body of a scripted job. */
export interface Script {
  /** How long each step lasts. */
  stepMs?: number
  /** Lines that each step writes. */
  lines?: number
  /** How the job ends; the last step ends the same way. */
  conclusion?: 'succeeded' | 'failed'
  outputs?: Record<string, string>
  /** When each job is seen off, for measuring. */
  onDone?: (run: JobRun, calls: number) => void
}

/**
 * An executor for load tests: no process is started, yet every call is made that the official runner makes for a job
 * of `run` steps: two step updates, three calls for each step's log, for that of "Set up job", of "Complete job" and
 * of the whole job, and completejob. For one step that is 2 + 4 × 3 + 1.
 */
export function scriptedExecutor(script: Script = {}): JobExecutor {
  return (run) => simulateJob(run, script)
}

/** Makes all calls of one job. A call of the results service that fails is lost, as with the official runner. */
export async function simulateJob(run: JobRun, script: Script = {}): Promise<TaskResult> {
  const { message, http, death, signal } = run
  const results = resultsOf(run)
  const setUp = newStepRecord(1, 'Set up job')
  const steps = message.steps.map((step, index) => newStepRecord(index + 2, step.displayName ?? `Run ${step.name ?? index + 1}`, step.id))
  const complete = newStepRecord(steps.length + 2, 'Complete job')
  const records = [setUp, ...steps]
  const lines: string[] = []
  let calls = 0
  const report = async (order: number): Promise<void> => {
    if (!results) return
    calls++
    await sendStepUpdates(results, records.map(stepUpdate), order).catch(() => {})
  }
  const log = async (record: StepRecord | undefined, text: readonly string[]): Promise<void> => {
    if (!results) return
    calls += 3
    await uploadWhole(results, record?.id, text).catch(() => {})
  }

  begin(setUp, 'runner', 'setup_job')
  const setUpLines = timed([
    `Current runner version: scripted`,
    `Runner name: '${run.config.agentName}'`,
    `Complete job name: ${message.jobDisplayName ?? ''}`,
  ])
  lines.push(...setUpLines)
  end(setUp, 'succeeded')
  const first = steps[0]
  if (first) begin(first, 'run', 'sh')
  await report(1)
  await log(setUp, setUpLines)

  let result: TaskResult = 'succeeded'
  for (const record of steps) {
    if (result === 'canceled') {
      begin(record, undefined, undefined)
      end(record, 'skipped')
      continue
    }
    if (!record.startedAt) begin(record, 'run', 'sh')
    if (script.stepMs) await sleep(script.stepMs, AbortSignal.any([signal, death])).catch(() => {})
    if (death.aborted) return 'abandoned'
    if (signal.reason instanceof JobAbortedError) result = signal.reason.abort === 'canceled' ? 'canceled' : 'failed'
    else if (record === steps.at(-1)) result = script.conclusion ?? 'succeeded'
    const text = timed(Array.from({ length: script.lines ?? 10 }, (_, index) => `line ${index + 1} of ${record.name}`))
    lines.push(...text)
    end(record, result)
    await log(record, text)
  }

  begin(complete, 'runner', 'complete_job')
  const lastLines = timed(['Cleaning up orphan processes'])
  lines.push(...lastLines)
  end(complete, 'succeeded')
  records.push(complete)
  await log(complete, lastLines)
  await log(undefined, lines)
  await report(2)
  if (death.aborted) return 'abandoned'

  const outputs = Object.fromEntries(Object.entries(script.outputs ?? {}).map(([name, value]) => [name, { value }]))
  const completion = {
    planId: message.plan.planId,
    jobId: message.jobId,
    conclusion: result,
    outputs,
    stepResults: records.map(stepResult),
    annotations: [],
    ...(message.billingOwnerId ? { billingOwnerId: message.billingOwnerId } : {}),
  }
  await completeJob(http, message, completion, death)
  script.onDone?.(run, calls + 1)
  return result
}

async function uploadWhole(results: Results, stepId: string | undefined, lines: readonly string[]): Promise<void> {
  const cutter = new BlockCutter()
  for (const line of lines) {
    const block = cutter.add(line)
    if (block) await uploadLogBlock(results, { stepId }, block.bytes, block.place, block.lineCount)
  }
  const last = cutter.end()
  if (last) await uploadLogBlock(results, { stepId }, last.bytes, last.place, last.lineCount)
}

function timed(lines: readonly string[]): string[] {
  const time = preciseTime()
  return lines.map((line) => `${time} ${line}`)
}

function begin(record: StepRecord, type: string | undefined, actionName: string | undefined): void {
  record.startedAt = preciseTime()
  record.type = type
  record.actionName = actionName
}

function end(record: StepRecord, result: TaskResult): void {
  record.completedAt = preciseTime()
  record.result = result
}
