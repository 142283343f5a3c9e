/** What the server evaluates of a workflow: job conditions, names, labels, the run's title. The rest is the runner's. */
import { data, Evaluator, Lexer, Parser, wellKnownFunctions } from '@actions/expressions'
import type { FunctionDefinition } from '@actions/expressions/funcs/info'
import { truthy } from '@actions/expressions/result'
import { decideJob, failed, succeeded, textOf, UnsuitableValue } from './literal.ts'
import type { JobContexts, JobDecision, MappingToken, PlannedJob, Token, WorkflowPlan } from './plan.ts'

/** Whether a job runs and as what, once all of its needs have ended. */
export function evaluateJob(job: PlannedJob, contexts: JobContexts): JobDecision {
  const values = contextsOf({ ...contexts, strategy: SINGLE_JOB, matrix: null })
  const forIf = { contexts: values, functions: statusFunctions(contexts) }
  const forValues = { contexts: values, functions: [] }
  return decideJob(job, {
    condition: (expression) => truthy(evaluateExpression(expression, forIf)),
    value: (token) => evaluateToken(token, forValues),
  })
}

/** The run's title by `run-name`; `undefined` when there is none, it is empty or it cannot be evaluated. */
export function runTitle(plan: Pick<WorkflowPlan, 'runName'>, contexts: Pick<JobContexts, 'github' | 'inputs'>): string | undefined {
  if (plan.runName === undefined) return undefined
  try {
    const title = textOf(evaluateToken(plan.runName, { contexts: contextsOf(contexts), functions: [] }))
    return title.trim().slice(0, MAX_TITLE) || undefined
  } catch (error) {
    if (error instanceof UnsuitableValue) return undefined
    throw error
  }
}

const MAX_TITLE = 1000
const MAX_PRODUCED = 2 * 1024 * 1024
const MAX_JSON_DEPTH = 100
const SINGLE_JOB = { 'fail-fast': true, 'job-index': 0, 'job-total': 1, 'max-parallel': 1 }

interface Scope {
  contexts: data.Dictionary
  functions: FunctionDefinition[]
}

/**
 * The value of a token tree as plain data. An item that is an expression and yields an array gives its items; the key
 * `insert` gives the pairs of its value.
 */
export function evaluateToken(token: Token, scope: Scope): unknown {
  if (token === null || typeof token !== 'object') return token
  if (token.type === 2) return evaluateMapping(token, scope)
  if (token.type === 3) return plainOf(evaluateExpression(token.expr, scope))
  if (token.type === 4) throw new UnsuitableValue(`'insert' is a key, not a value`)
  return (token.seq ?? []).flatMap((item) => {
    const value = evaluateToken(item, scope)
    return isExpression(item) ? value : [value] // flatMap takes one level out
  })
}

function evaluateMapping({ map = [] }: MappingToken, scope: Scope): unknown {
  const pairs = new Map<string, [string, unknown]>()
  const add = (key: string, value: unknown) => {
    if (pairs.has(key.toLowerCase())) throw new UnsuitableValue(`'${key}' is given twice`)
    pairs.set(key.toLowerCase(), [key, value])
  }
  for (const { Key, Value } of map) {
    if (typeof Key === 'object' && Key?.type === 4) {
      const inserted = evaluateToken(Value, scope)
      if (typeof inserted !== 'object' || inserted === null || Array.isArray(inserted))
        throw new UnsuitableValue(`'insert' needs a mapping`)
      for (const [key, value] of Object.entries(inserted)) add(key, value)
      continue
    }
    const key = evaluateToken(Key, scope)
    if (isExpression(Key) && typeof key !== 'string') throw new UnsuitableValue('a key must be a text')
    add(textOf(key), evaluateToken(Value, scope))
  }
  return Object.fromEntries(pairs.values())
}

function isExpression(token: Token): boolean {
  return token !== null && typeof token === 'object' && token.type === 3
}

function evaluateExpression(expression: string, { contexts, functions }: Scope): data.ExpressionData {
  try {
    const names = contexts.pairs().map(({ key }) => key)
    const tree = new Parser(new Lexer(expression).lex().tokens, names, functions).parse()
    const byName = new Map([...boundedFunctions(), ...functions].map((definition) => [definition.name.toLowerCase(), definition]))
    return new Evaluator(tree, contexts, byName).evaluate()
  } catch (error) {
    // The engine throws plain errors for what an expression does wrong: the author is told.
    throw new UnsuitableValue(error instanceof Error ? error.message : String(error))
  }
}

/**
 * The built-in functions that make more out of less, with a budget of characters for one expression. Without it a few
 * nested `format` outgrow any heap, and V8 then may end the whole process, not the worker alone.
 */
function boundedFunctions(): FunctionDefinition[] {
  let left = MAX_PRODUCED
  const bound = (name: string, costOf: (args: data.ExpressionData[]) => number): FunctionDefinition => {
    const builtIn = wellKnownFunctions[name]
    if (!builtIn) throw new Error(`no function ${name}`)
    const call = (...args: data.ExpressionData[]) => {
      left -= costOf(args)
      if (left < 0) throw new Error('the expression makes more than 2 MiB of text')
      return builtIn.call(...args)
    }
    return { ...builtIn, call }
  }
  return [
    bound('format', formatCost),
    bound(
      'join',
      ([list, separator]) => valueCost(list) + (list?.kind === data.Kind.Array ? list.values().length * lengthOf(separator) : 0),
    ),
    bound('tojson', ([value]) => valueCost(value)),
    bound('fromjson', ([text]) => jsonCost(text?.coerceString() ?? '')),
  ]
}

function formatCost([pattern, ...args]: data.ExpressionData[]): number {
  const text = pattern?.coerceString() ?? ''
  const lengths = args.map(lengthOf)
  let cost = text.length
  for (const [, index] of text.matchAll(/\{(\d+)/g)) cost += lengths[Number(index)] ?? 0
  return cost
}

function lengthOf(value: data.ExpressionData | undefined): number {
  return value?.coerceString().length ?? 0
}

/** About the length of a value as indented JSON. */
function valueCost(value: data.ExpressionData | undefined, depth = 1): number {
  if (value?.kind === data.Kind.Array) return value.values().reduce((sum, item) => sum + 2 * depth + valueCost(item, depth + 1), 2)
  if (value?.kind === data.Kind.Dictionary) {
    return value.pairs().reduce((sum, { key, value }) => sum + 2 * depth + key.length + valueCost(value, depth + 1), 2)
  }
  return lengthOf(value)
}

/** What JSON becomes takes several times its length in memory, and its depth is that of our own calls. */
function jsonCost(text: string): number {
  let depth = 0
  for (const character of text) {
    if (character === '[' || character === '{') depth++
    else if (character === ']' || character === '}') depth--
    if (depth > MAX_JSON_DEPTH) throw new Error(`JSON of more than ${MAX_JSON_DEPTH} levels`)
  }
  return 4 * text.length
}

function statusFunctions(contexts: JobContexts): FunctionDefinition[] {
  const define = (name: string, maxArgs: number, holds: (names: string[]) => boolean): FunctionDefinition => ({
    name,
    minArgs: 0,
    maxArgs,
    call: (...args) => new data.BooleanData(holds(args.map((arg) => arg.coerceString()))),
  })
  return [
    define('success', Number.MAX_SAFE_INTEGER, (names) => succeeded(contexts, names)),
    define('failure', Number.MAX_SAFE_INTEGER, (names) => failed(contexts, names)),
    define('cancelled', 0, () => contexts.runCancelled),
    define('always', 0, () => true),
  ]
}

/** Every context that the file may name; the engine fails on one that is declared and missing. */
function contextsOf(given: Partial<Record<'github' | 'inputs' | 'needs' | 'strategy' | 'matrix', unknown>>): data.Dictionary {
  const names = ['github', 'inputs', 'needs', 'strategy', 'matrix', 'vars'] as const
  return dictionaryOf(names.map((name) => [name, name === 'vars' ? {} : given[name]]))
}

function dataOf(value: unknown): data.ExpressionData {
  if (typeof value === 'string') return new data.StringData(value)
  if (typeof value === 'number') return new data.NumberData(value)
  if (typeof value === 'boolean') return new data.BooleanData(value)
  if (Array.isArray(value)) {
    const array = new data.Array()
    for (const item of value) array.add(dataOf(item))
    return array
  }
  return typeof value === 'object' && value !== null ? dictionaryOf(Object.entries(value)) : new data.Null()
}

function dictionaryOf(entries: Iterable<readonly [string, unknown]>): data.Dictionary {
  const dictionary = new data.Dictionary()
  // Its index is a plain object, in which a key such as `constructor` is there before it is added.
  Reflect.set(dictionary, 'indexMap', Object.create(null))
  for (const [key, value] of entries) dictionary.add(key, dataOf(value))
  return dictionary
}

/** Without NUL, which `fromJSON` can make and no name or label has: PostgreSQL takes none in text. */
function plainOf(value: data.ExpressionData): unknown {
  if (value.kind === data.Kind.Null) return null
  if (value.kind === data.Kind.String) return value.value.replaceAll('\0', '')
  if (value.kind === data.Kind.Array) return value.values().map(plainOf)
  if (value.kind !== data.Kind.Dictionary) return value.value
  return Object.fromEntries(value.pairs().map(({ key, value }) => [key, plainOf(value)]))
}
