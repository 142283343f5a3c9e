import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import type { JobContexts, ParsedWorkflow, PlannedJob } from '../../model/workflow/plan.ts'
import { openEvaluator } from './evaluator.ts'

const GOOD = `
run-name: By \${{ github.actor }}
on: push
jobs:
  a: { runs-on: '\${{ github.event.label }}', steps: [{ run: x }] }
`
// The parser counts the lines before each expression of a text.
const SLOW = `on: push
jobs:
  a:
    runs-on: x
    steps:
      - run: |
${'          ${{ github.ref }}\n'.repeat(30_000)}`

const contexts: JobContexts = {
  github: { actor: 'mona', event: { label: 'linux' } },
  inputs: {},
  needs: {},
  ancestors: [],
  runCancelled: false,
}

function jobOf(parsed: ParsedWorkflow): PlannedJob {
  if (!('plan' in parsed)) throw new Error(JSON.stringify(parsed.problems))
  return parsed.plan.jobs[0]!
}

test('a file is read and its expressions are evaluated in the worker', async () => {
  await using evaluator = openEvaluator()

  const parsed = await evaluator.parse({ path: 'a.yml', content: GOOD })
  const decided = await evaluator.evaluateJob({ job: jobOf(parsed), contexts })
  const title = 'plan' in parsed ? await evaluator.runTitle({ plan: parsed.plan, contexts }) : undefined

  expect(decided).toMatchObject({ decision: 'run', runsOn: { labels: ['linux'] } })
  expect(title).toBe('By mona')
})

test('a file that takes too long is a problem of its own, and the files behind it are read', async () => {
  await using evaluator = openEvaluator({ timeoutMs: 500 })
  const start = performance.now()

  const [slow, good, again] = await Promise.all([
    evaluator.parse({ path: 'slow.yml', content: SLOW }),
    evaluator.parse({ path: 'good.yml', content: GOOD }),
    evaluator.parse({ path: 'good.yml', content: GOOD }),
  ])

  expect(slow).toEqual({ problems: [{ line: 1, column: 1, message: 'the workflow took longer than 0.5 s to read' }] })
  expect([jobOf(good).id, jobOf(again).id]).toEqual(['a', 'a'])
  expect(performance.now() - start).toBeLessThan(10_000)
})

test('the event loop goes on while a file is read', async () => {
  await using evaluator = openEvaluator({ timeoutMs: 700 })
  let beats = 0
  const heart = setInterval(() => beats++, 10)

  await evaluator.parse({ path: 'slow.yml', content: SLOW })

  clearInterval(heart)
  expect(beats).toBeGreaterThan(20)
})

test('an expression that would take too much memory is a problem of its job', async () => {
  await using evaluator = openEvaluator()
  const format = (times: number, inner: string) => `format('${'{0}'.repeat(times)}', ${inner})`
  const name = format(60, `fromJSON(format('[${'{0}'.repeat(1000)}0]', ${format(1000, format(20, "'1,'"))}))[0]`)
  const job: PlannedJob = { id: 'a', needs: [], if: 'success()', runsOn: 'x', name: { type: 3, expr: name }, steps: [] }

  expect(await evaluator.evaluateJob({ job, contexts })).toEqual({
    problem: "job 'a': 'name': the expression makes more than 2 MiB of text",
  })
})

test('pushes match on the calling side when that is cheap, else in the worker', async () => {
  await using evaluator = openEvaluator()
  const changedPaths = Array.from({ length: 3000 }, (_, index) => `docs/${'a'.repeat(50)}/${index}`)
  const matches = (paths: string[], changed: string[]) =>
    evaluator.matchesPush({ on: { push: { paths }, others: [] }, pushed: { ref: 'refs/heads/main', changedPaths: changed } })

  expect(await matches(['src/**'], ['src/a'])).toBe(true)
  expect(await matches(['src/**'.repeat(5), '**/2999'], changedPaths)).toBe(true)
})

test('an evaluator that is closed refuses what waits and what comes', async () => {
  const evaluator = openEvaluator()
  const waiting = evaluator.parse({ path: 'a.yml', content: GOOD })
  const refused = expect(waiting).rejects.toThrow('the server is shutting down')

  await evaluator[Symbol.asyncDispose]()

  await refused
  await expect(evaluator.parse({ path: 'a.yml', content: GOOD })).rejects.toThrow('the server is shutting down')
})

test('under plain Node a warm worker answers and does not keep the process alive', async () => {
  const script = `
    const { openEvaluator } = await import(${JSON.stringify(new URL('./evaluator.ts', import.meta.url))})
    const evaluator = openEvaluator()
    evaluator.warm()
    const parsed = await evaluator.parse({ path: 'a.yml', content: ${JSON.stringify(GOOD)} })
    console.log(parsed.plan.jobs[0].id)
  `

  const { stdout } = await promisify(execFile)('bin/node', ['--input-type=module', '-e', script], { timeout: 20_000 })

  expect(stdout.trim()).toBe('a')
})
