import { AppError } from '../errors.ts'
import type { DispatchInput, Triggers } from './plan.ts'

const MAX_INPUTS = 25
const MAX_TEXT = 65_535

/** What a run sees of its inputs: `inputs`, where booleans are booleans, and `github.event.inputs`, all texts. */
export interface DispatchedInputs {
  inputs: Record<string, string | boolean>
  eventInputs: Record<string, string>
}

/** Fits the inputs of a dispatch to those that the workflow declares; throws with GitHub's words when they do not fit. */
export function dispatchInputs(on: Triggers, given: Record<string, unknown>): DispatchedInputs {
  if (!on.workflowDispatch) throw invalid(`Workflow does not have 'workflow_dispatch' trigger`)
  const declared = on.workflowDispatch.inputs
  const values = new Map(Object.entries(given).map(([name, value]) => [name.toLowerCase(), value]))
  if (values.size > MAX_INPUTS) throw invalid(`Too many inputs provided: at most ${MAX_INPUTS} are allowed`)

  const known = new Set(declared.map(({ name }) => name.toLowerCase()))
  const unexpected = Object.keys(given).filter((name) => !known.has(name.toLowerCase()))
  if (unexpected.length > 0) throw invalid(`Unexpected inputs provided: ${JSON.stringify(unexpected)}`)

  const texts = declared.map((input): [string, string] => [input.name, valueOf(input, values.get(input.name.toLowerCase()))])
  if (texts.reduce((sum, [name, text]) => sum + name.length + text.length, 0) > MAX_TEXT) {
    throw invalid(`inputs are too large: at most ${MAX_TEXT} characters are allowed`)
  }
  const isBoolean = new Set(declared.filter(({ type }) => type === 'boolean').map(({ name }) => name))
  return {
    inputs: Object.fromEntries(texts.map(([name, text]) => [name, isBoolean.has(name) ? text === 'true' : text])),
    eventInputs: Object.fromEntries(texts),
  }
}

function valueOf(input: DispatchInput, given: unknown): string {
  if (given === undefined || given === null || (given === '' && input.required)) {
    if (input.required && input.default === undefined) throw invalid(`Required input '${input.name}' not provided`)
    return String(input.default ?? emptyOf(input))
  }
  if (typeof given !== 'string' && typeof given !== 'number' && typeof given !== 'boolean') {
    throw invalid(`Provided value for input '${input.name}' must be a string`)
  }
  const text = String(given)
  if (!fits(input, text)) throw invalid(`Provided value '${text.slice(0, 100)}' for input '${input.name}' ${EXPECTED[input.type]}`)
  return text
}

const EXPECTED = {
  string: 'must be a string',
  choice: 'not in the list of allowed values',
  boolean: 'must be true or false',
  number: 'must be a number',
} as const satisfies Record<DispatchInput['type'], string>

function fits({ type, options }: DispatchInput, text: string): boolean {
  if (type === 'choice') return options?.includes(text) ?? false
  if (type === 'boolean') return text === 'true' || text === 'false'
  return type === 'string' || (text.trim() !== '' && Number.isFinite(Number(text)))
}

function emptyOf({ type, options }: DispatchInput): string {
  return { string: '', choice: options?.[0] ?? '', boolean: 'false', number: '0' }[type]
}

function invalid(message: string): AppError {
  return new AppError('invalid', message)
}
