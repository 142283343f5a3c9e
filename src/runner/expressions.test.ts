import { expect, test } from 'vitest'

import { decodeContext, evaluateCondition, evaluateTexts, evaluateToken, toData, toValue, type Scope } from './expressions.ts'

function scope(status: Scope['status'] = 'success'): Scope {
  return {
    contexts: {
      github: toData({ ref: 'refs/heads/main', event: { n: 5 } }),
      env: toData({ LEVEL: 'info' }),
      matrix: toData({ node: 20 }),
      steps: toData({ a: { outputs: { r: 'ok' }, outcome: 'failure', conclusion: 'success' } }),
    },
    status,
    workspace: import.meta.dirname,
  }
}

test('context data is decoded with all its type codes', () => {
  const decoded = decodeContext({
    t: 2,
    d: [
      { k: 'os', v: { t: 1, a: ['a', { t: 0, s: 'b' }] } },
      { k: 'none', v: null },
      { k: 'yes', v: { t: 3, b: true } },
      { k: 'n', v: { t: 4, n: 1.5 } },
      { k: 'empty', v: { t: 2 } },
    ],
  })

  expect(toValue(decoded)).toEqual({ os: ['a', 'b'], none: null, yes: true, n: 1.5, empty: {} })
})

test.each([
  ['a text', 'as it is ${{ not.evaluated }}', 'as it is ${{ not.evaluated }}'],
  ['a number', { type: 6, num: 5 }, 5],
  ['a boolean', { type: 5, bool: true }, true],
  ['null', { type: 7 }, null],
  ['a long text', { type: 0, lit: 'x', file: 1, line: 3, col: 4 }, 'x'],
  ['an expression', { type: 3, expr: "format('{0}-{1}', steps.a.outputs.r, matrix.node)" }, 'ok-20'],
  ['a context that nobody sent', { type: 3, expr: 'inputs.missing' }, null],
  ['a sequence', { type: 1, seq: ['a', { type: 3, expr: 'matrix.node' }] }, ['a', 20]],
  ['a mapping', { type: 2, map: [{ Key: 'k', Value: { type: 3, expr: 'env.LEVEL' } }] }, { k: 'info' }],
  [
    'a mapping with inserted pairs',
    { type: 2, map: [{ Key: { type: 4, directive: 'insert' }, Value: { type: 3, expr: 'matrix' } }] },
    { node: 20 },
  ],
])('a template token of %s is evaluated', (_name, token, value) => {
  expect(evaluateToken(token, scope())).toEqual(value)
})

test('values of an environment become texts in their order', () => {
  const token = {
    type: 2,
    map: [
      { Key: 'Z', Value: 1.5 },
      { Key: 'A', Value: true },
      { Key: 'N', Value: null },
    ],
  }

  expect(evaluateTexts(token, scope())).toEqual([
    ['Z', '1.5'],
    ['A', 'true'],
    ['N', ''],
  ])
})

test.each([
  ['success()', 'success', true],
  ['success()', 'failure', false],
  ['failure()', 'failure', true],
  ['cancelled()', 'cancelled', true],
  ['success() || cancelled()', 'cancelled', true],
  ['always()', 'cancelled', true],
  ["success() && (github.ref == 'REFS/HEADS/MAIN')", 'success', true],
  ["failure() && steps.a.outcome == 'failure'", 'failure', true],
  ["success() && ('')", 'success', false],
  ['success() && (github.event)', 'success', true],
] as const)('the condition %s of a job in %s is %s', (condition, status, expected) => {
  expect(evaluateCondition(condition, scope(status))).toBe(expected)
})

test('a step without a condition is an error, as in the official runner', () => {
  expect(() => evaluateCondition(undefined, scope())).toThrow('The template is not valid')
})

test('hashFiles of one file is the digest of its digest, of none the empty text', () => {
  const hash = evaluateToken({ type: 3, expr: "hashFiles('wire.ts')" }, scope())

  expect(hash).toMatch(/^[0-9a-f]{64}$/)
  expect(evaluateToken({ type: 3, expr: "hashFiles('*.nothing')" }, scope())).toBe('')
})
