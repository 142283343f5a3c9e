/**
 * The decision about a job whose needs are done, without an expression engine: it decides what the values mean, and most
 * jobs have no expressions at all. This file must not import `@actions/*`, so that the server's main thread can use it.
 */
import type { JobContexts, JobDecision, NeedResult, PlannedJob, RunsOn, Token } from './plan.ts'

const MAX_NAME = 100
const MAX_LABELS = 100
const MAX_LABEL = 256
const DEFAULT_TIMEOUT_MINUTES = 360
const DEFAULT_CANCEL_TIMEOUT_MINUTES = 5

/** How to come from tokens to values. */
export interface Evaluation {
  condition: (expression: string) => boolean
  value: (token: Token) => unknown
}

/** What a job does that all of its needs have ended; what cannot be evaluated is a problem, said for people. */
export function decideJob(job: PlannedJob, { condition, value }: Evaluation): JobDecision {
  try {
    if (!labelled('if', () => condition(job.if))) return { decision: 'skip' }
    const optional = (token: Token | undefined) => (token === undefined ? undefined : value(token))
    return {
      decision: 'run',
      name: shortened(labelled('name', () => textOf(optional(job.name) ?? '')) || job.id),
      runsOn: labelled('runs-on', () => readRunsOn(value(job.runsOn))),
      timeoutMinutes: labelled('timeout-minutes', () => readMinutes(optional(job.timeoutMinutes), DEFAULT_TIMEOUT_MINUTES)),
      cancelTimeoutMinutes: labelled('cancel-timeout-minutes', () =>
        readMinutes(optional(job.cancelTimeoutMinutes), DEFAULT_CANCEL_TIMEOUT_MINUTES),
      ),
      continueOnError: labelled('continue-on-error', () => readBoolean(optional(job.continueOnError))),
    }
  } catch (error) {
    if (error instanceof UnsuitableValue) return { problem: `job '${job.id}': ${error.message}` }
    throw error
  }
}

/** The same for a job without expressions, whose condition is `success()`; `undefined` when it has any. */
export function decideLiteralJob(job: PlannedJob, contexts: JobContexts): JobDecision | undefined {
  if (job.if !== 'success()') return undefined
  const evaluated = [job.name, job.runsOn, job.timeoutMinutes, job.cancelTimeoutMinutes, job.continueOnError]
  if (!evaluated.every((token) => token === undefined || isLiteral(token))) return undefined
  return decideJob(job, { condition: () => succeeded(contexts, []), value: literalValue })
}

/** Whether there is nothing to evaluate in a token. */
export function isLiteral(token: Token): boolean {
  if (token === null || typeof token !== 'object') return true
  if (token.type === 1) return (token.seq ?? []).every(isLiteral)
  if (token.type === 2) return (token.map ?? []).every(({ Key, Value }) => isLiteral(Key) && isLiteral(Value))
  return false
}

function literalValue(token: Token): unknown {
  if (token === null || typeof token !== 'object') return token
  if (token.type === 1) return (token.seq ?? []).map(literalValue)
  if (token.type !== 2) throw new Error('not a literal')
  return Object.fromEntries((token.map ?? []).map(({ Key, Value }) => [textOf(literalValue(Key)), literalValue(Value)]))
}

/** `success()` of a job: nothing before it failed, was cancelled or skipped. With names, only those count. */
export function succeeded({ ancestors, runCancelled }: JobContexts, names: string[]): boolean {
  const results = resultsOf(ancestors, names)
  const known = new Set(names.map((name) => name.toLowerCase())).size <= results.length
  return !runCancelled && known && results.every((result) => result === 'success')
}

/** `failure()` of a job: something before it failed. With names, one of those. */
export function failed({ ancestors, runCancelled }: JobContexts, names: string[]): boolean {
  return !runCancelled && resultsOf(ancestors, names).includes('failure')
}

function resultsOf(ancestors: JobContexts['ancestors'], names: string[]): NeedResult[] {
  const wanted = new Set(names.map((name) => name.toLowerCase()))
  return ancestors.filter(({ id }) => wanted.size === 0 || wanted.has(id.toLowerCase())).map(({ result }) => result)
}

/** A value of the wrong kind, or an expression that failed; the message is for the author of the workflow. */
export class UnsuitableValue extends Error {
  override name = 'UnsuitableValue'
}

function labelled<T>(key: string, read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (error instanceof UnsuitableValue) throw new UnsuitableValue(`'${key}': ${error.message}`)
    throw error
  }
}

/** A value as text, as expressions make it. */
export function textOf(value: unknown): string {
  if (value === null || value === undefined) return ''
  if (typeof value === 'number') return String(Number(value.toPrecision(15)))
  if (typeof value === 'string' || typeof value === 'boolean') return String(value)
  return Array.isArray(value) ? 'Array' : 'Object'
}

/** At most 100 characters, the last three of a longer text being dots. */
export function shortened(text: string): string {
  return text.length > MAX_NAME ? `${text.slice(0, MAX_NAME - 3)}...` : text
}

function readRunsOn(value: unknown): RunsOn {
  const isMap = typeof value === 'object' && value !== null && !Array.isArray(value)
  const fields = isMap ? new Map(Object.entries(value).map(([key, of]) => [key.toLowerCase(), of as unknown])) : new Map()
  const group = textOf(fields.get('group')).trim()
  const labels = readLabels(isMap ? fields.get('labels') : value)
  if (labels.length === 0 && !group) throw new UnsuitableValue('names neither a label nor a group')
  return group ? { group: checkedGroup(group), labels } : { labels }
}

function readLabels(value: unknown): string[] {
  const labels = new Map<string, string>()
  for (const item of Array.isArray(value) ? (value as unknown[]) : [value]) {
    if (typeof item === 'object' && item !== null) throw new UnsuitableValue('a label must be a text')
    const label = textOf(item).trim()
    if (label.length > MAX_LABEL) throw new UnsuitableValue(`a label may not be longer than ${MAX_LABEL} characters`)
    if (label && !labels.has(label.toLowerCase())) labels.set(label.toLowerCase(), label)
  }
  if (labels.size > MAX_LABELS) throw new UnsuitableValue(`more than ${MAX_LABELS} labels`)
  return [...labels.values()]
}

const GROUP_PREFIXES = ['org', 'organization', 'ent', 'enterprise']

function checkedGroup(group: string): string {
  const [prefix = '', name, ...more] = group.split('/')
  const fits = name === undefined || (GROUP_PREFIXES.includes(prefix) && name !== '' && more.length === 0)
  if (!fits)
    throw new UnsuitableValue(`'${group.slice(0, MAX_NAME)}' is not a group: expected a name, 'organization/name' or 'enterprise/name'`)
  return group
}

function readMinutes(value: unknown, fallback: number): number {
  if (value === undefined) return fallback
  if (typeof value !== 'number' || !Number.isFinite(value) || value < 0) throw new UnsuitableValue('must be a number of minutes')
  return value
}

function readBoolean(value: unknown): boolean {
  if (value === undefined) return false
  if (typeof value !== 'boolean') throw new UnsuitableValue('must be true or false')
  return value
}
