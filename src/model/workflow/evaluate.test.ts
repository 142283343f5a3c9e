import { expect, test } from 'vitest'
import { evaluateJob, evaluateToken, runTitle } from './evaluate.ts'
import { decideLiteralJob } from './literal.ts'
import { parseWorkflow } from './parse.ts'
import type { JobContexts, NeedResult, PlannedJob, Token } from './plan.ts'

const contexts: JobContexts = {
  github: { ref: 'refs/heads/main', text: 'x'.repeat(500), actor: 'mona', event: { labels: ['a', 'b'], constructor: 'x' } },
  inputs: { level: 'info', dry: true },
  needs: { build: { result: 'success', outputs: { tag: 'v1', labels: '["x","y"]' } } },
  ancestors: [{ id: 'build', result: 'success' }],
  runCancelled: false,
}

const job: PlannedJob = { id: 'test', needs: ['build'], if: 'success()', runsOn: 'linux', steps: [] }

const expr = (expr: string): Token => ({ type: 3, expr })
const map = (values: Record<string, Token>): Token => ({ type: 2, map: Object.entries(values).map(([Key, Value]) => ({ Key, Value })) })

function runs(condition: string, results: Record<string, NeedResult>, runCancelled = false): boolean | string {
  const ancestors = Object.entries(results).map(([id, result]) => ({ id, result }))
  const decided = evaluateJob({ ...job, if: condition }, { ...contexts, ancestors, runCancelled })
  return 'problem' in decided ? decided.problem : decided.decision === 'run'
}

test.each<[condition: string, results: Record<string, NeedResult>, runs: boolean, cancelled?: boolean]>([
  ['success()', {}, true],
  ['success()', { a: 'success', b: 'success' }, true],
  ['success()', { a: 'failure', b: 'success' }, false],
  ['success()', { a: 'skipped', b: 'success' }, false],
  ['success()', { a: 'cancelled' }, false],
  ['success()', { a: 'success' }, false, true],
  ["success('b')", { a: 'failure', b: 'success' }, true],
  ["success('b', 'B')", { a: 'failure', b: 'success' }, true],
  ["success('A')", { a: 'failure', b: 'success' }, false],
  ["success('unknown')", { a: 'success' }, false],
  ['failure()', { a: 'failure', b: 'success' }, true],
  ['failure()', { a: 'skipped', b: 'cancelled' }, false],
  ['failure()', { a: 'failure' }, false, true],
  ["failure('b')", { a: 'failure', b: 'success' }, false],
  ['cancelled()', { a: 'cancelled' }, false],
  ['cancelled()', {}, true, true],
  ['always()', { a: 'failure', b: 'skipped' }, true],
  ['always()', {}, true, true],
  ['!cancelled() && failure()', { a: 'failure' }, true],
  ["success() && (github.ref == 'REFS/HEADS/MAIN')", {}, true],
  ['success() && (false)', {}, false],
  ["success() && (needs.build.outputs.tag == 'v1')", { build: 'success' }, true],
  ["success() && (inputs.dry == 'true')", {}, false],
  ['success() && (inputs.missing)', {}, false],
  ['success() && (vars.missing)', {}, false],
  ['always() && contains(needs.*.result, needs.build.result)', {}, true],
  ["always() && github.event.constructor == 'x' && !github.constructor", {}, true],
])('the condition %s after %j runs the job: %s (run cancelled: %s)', (condition, results, expected, cancelled) => {
  expect(runs(condition, results, cancelled)).toBe(expected)
})

test.each([
  ['foo()', /^job 'test': 'if': .*foo/],
  ['env.X', /^job 'test': 'if': .*env/],
  ["fromJSON('{')", /^job 'test': 'if': /],
])('the condition %s is a problem', (condition, problem) => {
  expect(runs(condition, {})).toMatch(problem)
})

function decide(fields: Partial<PlannedJob>): unknown {
  const decided = evaluateJob({ ...job, ...fields }, contexts)
  return 'problem' in decided ? decided.problem : decided
}

test.each([
  ["format('BIG', format('BIG', format('BIG', 'x')))".replaceAll('BIG', '{0}'.repeat(1500)), 'makes more than 2 MiB'],
  [
    "join(fromJSON(format('[BIG1]', '1,')), format('LONG', 'x'))".replace('BIG', '{0}'.repeat(5000)).replace('LONG', '{0}'.repeat(1000)),
    '2 MiB',
  ],
  ["format('BIG', toJSON(github))".replace('BIG', '{0}'.repeat(6000)), 'the expression makes'],
  [`fromJSON('${'['.repeat(200)}')`, 'more than 100 levels'],
])('an expression that grows is a problem (%#)', (name, problem) => {
  expect(decide({ name: expr(name), if: 'always()' })).toContain(problem)
})

test('a job without more runs under its id, for six hours at most', () => {
  expect(decide({})).toEqual({
    decision: 'run',
    name: 'test',
    runsOn: { labels: ['linux'] },
    timeoutMinutes: 360,
    cancelTimeoutMinutes: 5,
    continueOnError: false,
  })
})

test.each<[fields: Partial<PlannedJob>, decided: object]>([
  [{ name: expr("format('Test {0}', inputs.level)") }, { name: 'Test info' }],
  [{ name: expr('inputs.missing') }, { name: 'test' }],
  [{ name: 'n'.repeat(101) }, { name: `${'n'.repeat(97)}...` }],
  [{ runsOn: expr('inputs.level') }, { runsOn: { labels: ['info'] } }],
  [{ runsOn: { type: 1, seq: ['a', ' A ', 'b', ''] } }, { runsOn: { labels: ['a', 'b'] } }],
  [{ runsOn: expr('fromJSON(needs.build.outputs.labels)') }, { runsOn: { labels: ['x', 'y'] } }],
  [{ runsOn: { type: 1, seq: ['a', expr('github.event.labels')] } }, { runsOn: { labels: ['a', 'b'] } }],
  [{ runsOn: map({ group: 'org/big' }) }, { runsOn: { group: 'org/big', labels: [] } }],
  [{ runsOn: map({ group: 'big', labels: expr('inputs.level') }) }, { runsOn: { group: 'big', labels: ['info'] } }],
  [{ timeoutMinutes: expr('fromJSON(5)') }, { timeoutMinutes: 5 }],
  [{ continueOnError: expr('inputs.dry') }, { continueOnError: true }],
])('%j becomes %j', (fields, decided) => {
  expect(decide(fields)).toMatchObject(decided)
})

test.each<[fields: Partial<PlannedJob>, problem: string]>([
  [{ runsOn: expr('inputs.missing') }, "job 'test': 'runs-on': names neither a label nor a group"],
  [{ runsOn: { type: 1, seq: Array.from({ length: 101 }, (_, i) => `l${i}`) } }, "job 'test': 'runs-on': more than 100 labels"],
  [{ runsOn: 'l'.repeat(257) }, "job 'test': 'runs-on': a label may not be longer than 256 characters"],
  [
    { runsOn: map({ group: 'a/b' }) },
    "job 'test': 'runs-on': 'a/b' is not a group: expected a name, 'organization/name' or 'enterprise/name'",
  ],
  [{ timeoutMinutes: '5' }, "job 'test': 'timeout-minutes': must be a number of minutes"],
  [{ continueOnError: expr('inputs.level') }, "job 'test': 'continue-on-error': must be true or false"],
])('%j is a problem', (fields, problem) => {
  expect(decide(fields)).toBe(problem)
})

test('a job without expressions is decided without the engine, and alike', () => {
  const literal: PlannedJob = { ...job, name: 'A', runsOn: map({ group: 'g', labels: { type: 1, seq: ['a'] } }), timeoutMinutes: 3 }
  const afterSkip: JobContexts = { ...contexts, ancestors: [{ id: 'build', result: 'skipped' }] }

  expect(decideLiteralJob(literal, contexts)).toEqual(evaluateJob(literal, contexts))
  expect(decideLiteralJob(literal, afterSkip)).toEqual({ decision: 'skip' })
  expect(decideLiteralJob({ ...literal, if: 'always()' }, contexts)).toBeUndefined()
  expect(decideLiteralJob({ ...literal, name: expr('github.ref') }, contexts)).toBeUndefined()
})

test('a token tree takes in arrays and inserted mappings and refuses a key twice', async () => {
  const { data } = await import('@actions/expressions')
  const scope = { contexts: new data.Dictionary(), functions: [] }
  const insert: Token = {
    type: 2,
    map: [
      { Key: { type: 4 }, Value: map({ a: 1 }) },
      { Key: 'b', Value: null },
    ],
  }
  const twice: Token = {
    type: 2,
    map: [
      { Key: { type: 4 }, Value: map({ a: 1 }) },
      { Key: 'A', Value: null },
    ],
  }

  expect(evaluateToken({ type: 1, seq: ['x', expr("fromJSON('[[1],2]')")] }, scope)).toEqual(['x', [1], 2])
  expect(evaluateToken(insert, scope)).toEqual({ a: 1, b: null })
  expect(() => evaluateToken(twice, scope)).toThrow("'A' is given twice")
})

test.each([
  ['run-name: Deploy ${{ inputs.level }} by ${{ github.actor }}\n', 'Deploy info by mona'],
  ['run-name: ${{ inputs.missing }}\n', undefined],
  ["run-name: ${{ fromJSON('{') }}\n", undefined],
  ['', undefined],
])('the run name %j gives the title %s', (line, title) => {
  const parsed = parseWorkflow({ path: 'a.yml', content: `${line}on: push\njobs: { a: { runs-on: x, steps: [{ run: x }] } }` })

  expect('plan' in parsed && runTitle(parsed.plan, contexts)).toBe(title)
})
