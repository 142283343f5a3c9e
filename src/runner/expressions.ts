import { createHash } from 'node:crypto'
import { globSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'

import { data, Evaluator, Lexer, Parser } from '@actions/expressions'

import type { WireData, WireToken } from './wire.ts'

/**
 * Evaluates what the job message leaves to the runner: template tokens (texts, mappings, expressions) and the
 * conditions of steps, over the contexts of the job.
 */
export type ExpressionData = data.ExpressionData

/** The function type of the expression package, which it does not export from its root. */
type ExpressionFunction = { name: string; minArgs: number; maxArgs: number; call: (...args: ExpressionData[]) => ExpressionData }

/** Plain values: what a token becomes. */
export type Value = string | number | boolean | null | Value[] | { [name: string]: Value }

/** What an expression sees. Contexts that are missing are null, as in the official runner. */
export interface Scope {
  contexts: Readonly<Record<string, ExpressionData>>
  status: 'success' | 'failure' | 'cancelled'
  /** Where `hashFiles` looks. */
  workspace: string
}

const CONTEXT_NAMES = ['github', 'env', 'needs', 'inputs', 'runner', 'job', 'steps', 'vars', 'matrix', 'strategy', 'secrets', 'jobs']

/** The evaluator's limits, which the package does not enforce. */
const MAX_EXPRESSION_LENGTH = 21_000

/** Decodes context data of the job message. */
export function decodeContext(value: WireData | undefined): ExpressionData {
  if (value === null || value === undefined) return new data.Null()
  if (typeof value === 'string') return new data.StringData(value)
  if (typeof value === 'number') return new data.NumberData(value)
  if (typeof value === 'boolean') return new data.BooleanData(value)
  switch (value.t ?? 0) {
    case 1:
      return new data.Array(...(value.a ?? []).map(decodeContext))
    case 2:
    case 5:
      return new data.Dictionary(...(value.d ?? []).map(({ k, v }) => ({ key: k, value: decodeContext(v) })))
    case 3:
      return new data.BooleanData(value.b ?? false)
    case 4:
      return new data.NumberData(value.n ?? 0)
    default:
      return new data.StringData(value.s ?? '')
  }
}

/** Plain values as expressions see them. */
export function toData(value: Value | undefined): ExpressionData {
  if (value === null || value === undefined) return new data.Null()
  if (typeof value === 'string') return new data.StringData(value)
  if (typeof value === 'number') return new data.NumberData(value)
  if (typeof value === 'boolean') return new data.BooleanData(value)
  if (Array.isArray(value)) return new data.Array(...value.map(toData))
  return new data.Dictionary(...Object.entries(value).map(([key, item]) => ({ key, value: toData(item) })))
}

/** What an expression gave, as plain values. */
export function toValue(result: ExpressionData): Value {
  if (result instanceof data.Null) return null
  if (result instanceof data.StringData || result instanceof data.NumberData || result instanceof data.BooleanData) return result.value
  if (result instanceof data.Array) return result.values().map(toValue)
  // No prototype: `__proto__` is a name like any other here.
  const object: { [name: string]: Value } = Object.create(null) as { [name: string]: Value }
  for (const { key, value } of result.pairs()) object[key] = toValue(value)
  return object
}

/** Evaluates an expression without its `${{ }}`. */
export function evaluateExpression(expression: string, scope: Scope): ExpressionData {
  if (expression.length > MAX_EXPRESSION_LENGTH)
    throw new Error(`The expression is longer than ${MAX_EXPRESSION_LENGTH} characters and so cannot be evaluated.`)
  const functions = ownFunctions(scope)
  const tree = new Parser(new Lexer(expression).lex().tokens, CONTEXT_NAMES, functions).parse()
  const contexts = new data.Dictionary(...CONTEXT_NAMES.map((name) => ({ key: name, value: scope.contexts[name] ?? new data.Null() })))
  return new Evaluator(tree, contexts, new Map(functions.map((known) => [known.name.toLowerCase(), known]))).evaluate()
}

/** Evaluates the condition of a step: null, false, 0, NaN and the empty text are no, everything else is yes. */
export function evaluateCondition(condition: string | undefined, scope: Scope): boolean {
  if (!condition) throw new Error('The template is not valid. The step has no condition.')
  const value = toValue(evaluateExpression(condition, scope))
  return typeof value === 'number' ? value !== 0 && !Number.isNaN(value) : Boolean(value)
}

/** Evaluates a token tree. */
export function evaluateToken(token: WireToken | undefined, scope: Scope): Value {
  if (token === null || token === undefined || typeof token !== 'object') return token ?? null
  switch (token.type ?? 0) {
    case 1:
      return (token.seq ?? []).map((item) => evaluateToken(item, scope))
    case 2:
      return Object.fromEntries(evaluatePairs(token, scope))
    case 3:
      return toValue(evaluateExpression(token.expr ?? '', scope))
    case 5:
      return token.bool ?? false
    case 6:
      return token.num ?? 0
    case 7:
      return null
    default:
      return token.lit ?? ''
  }
}

/** Evaluates a mapping to texts, or an expression that gives an object; the order is kept. */
export function evaluateTexts(token: WireToken | undefined, scope: Scope): [string, string][] {
  if (token === null || token === undefined) return []
  if (typeof token === 'object' && token.type === 2) return evaluatePairs(token, scope).map(([name, value]) => [name, toText(value)])
  const value = evaluateToken(token, scope)
  if (value === null || value === '') return []
  if (typeof value !== 'object' || Array.isArray(value)) throw new Error('The template is not valid. A mapping was expected')
  return Object.entries(value).map(([name, item]) => [name, toText(item)])
}

/** The text of a value where the runner's schema says text. */
export function toText(value: Value): string {
  if (value === null) return ''
  if (typeof value === 'object') throw new Error('The template is not valid. A text was expected, not a collection')
  return toData(value).coerceString()
}

function evaluatePairs(token: WireToken & object, scope: Scope): [string, Value][] {
  const pairs: [string, Value][] = []
  for (const entry of token.map ?? []) {
    const key = entry.Key ?? entry.key
    const value = evaluateToken(entry.Value ?? entry.value, scope)
    if (key !== null && typeof key === 'object' && key.type === 4) {
      if (value !== null && typeof value === 'object' && !Array.isArray(value)) pairs.push(...Object.entries(value))
    } else pairs.push([toText(evaluateToken(key, scope)), value])
  }
  return pairs
}

function ownFunctions({ status, workspace }: Scope): ExpressionFunction[] {
  const answering = (name: string, answer: boolean): ExpressionFunction => ({
    name,
    minArgs: 0,
    maxArgs: 0,
    call: () => new data.BooleanData(answer),
  })
  return [
    answering('success', status === 'success'),
    answering('failure', status === 'failure'),
    answering('cancelled', status === 'cancelled'),
    answering('always', true),
    {
      name: 'hashFiles',
      minArgs: 1,
      maxArgs: 255,
      call: (...patterns) =>
        new data.StringData(
          hashFiles(
            workspace,
            patterns.map((pattern) => pattern.coerceString()),
          ),
        ),
    },
  ]
}

/** The SHA-256 over the SHA-256 of each file, in the order of their names; empty when no file matches. */
function hashFiles(workspace: string, patterns: readonly string[]): string {
  const lines = patterns
    .flatMap((pattern) => pattern.split('\n').map((line) => line.trim()))
    .filter((line) => line && !line.startsWith('#'))
  const wanted = lines.filter((line) => !line.startsWith('!'))
  const exclude = lines.filter((line) => line.startsWith('!')).map((line) => line.slice(1))
  const names = new Set(wanted.flatMap((pattern) => globSync(pattern, { cwd: workspace, exclude })))
  const whole = createHash('sha256')
  let found = false
  for (const name of [...names].sort()) {
    const path = join(workspace, name)
    if (!statSync(path).isFile()) continue
    whole.update(createHash('sha256').update(readFileSync(path)).digest())
    found = true
  }
  return found ? whole.digest('hex') : ''
}
