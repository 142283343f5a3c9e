import { expect, test } from 'vitest'
import { parseWorkflow } from './parse.ts'
import { problemText, type WorkflowPlan } from './plan.ts'

function plan(content: string): WorkflowPlan {
  const parsed = parseWorkflow({ path: '.github/workflows/ci.yml', content })
  if ('problems' in parsed) throw new Error(parsed.problems.map(problemText).join('\n'))
  return parsed.plan
}

function problems(content: string): string[] {
  const parsed = parseWorkflow({ path: 'ci.yml', content })
  return 'problems' in parsed ? parsed.problems.map((problem) => problemText(problem).replace(/, column \d+/, '')) : []
}

/** A workflow of one job with these lines in it; the first of them is line 5 of the file. */
function job(...lines: string[]): string {
  return ['on: push', 'jobs:', '  a:', '    runs-on: x', ...lines.map((line) => `    ${line}`)].join('\n')
}

const STEPS = ['steps:', '  - run: echo']

const WHOLE = `
name: CI
run-name: Push by \${{ github.actor }}
on:
  push: { branches: [main, '!x'], tags-ignore: v*, paths: ['src/**'] }
  workflow_dispatch:
    inputs:
      level: { type: choice, options: [info, debug], default: info, required: true }
      count: { type: number, default: 3, description: How often }
      dry: { type: boolean, default: true }
      note:
  schedule: [{ cron: '0 0 * * *' }]
env: { LEVEL: info }
defaults: { run: { shell: bash, working-directory: top } }
permissions: { contents: read, issues: none }
jobs:
  Prepare:
    runs-on: self-hosted
    outputs: { tag: '\${{ steps.t.outputs.tag }}' }
    steps:
      - id: t
        run: echo
        shell: sh
  test:
    name: Test \${{ inputs.level }}
    needs: [prepare, prepare]
    if: needs.prepare.outputs.tag == 'v1'
    runs-on: { group: big, labels: [linux] }
    defaults: { run: { working-directory: app } }
    timeout-minutes: 5
    continue-on-error: true
    env: { TAG: '\${{ needs.prepare.outputs.tag }}' }
    steps:
      - uses: actions/checkout@v4
        with: { fetch-depth: 0 }
      - uses: owner/repo/sub/dir@main
      - uses: ./.github/actions/upload
        name: Upload
        if: failure()
      - name: Say \${{ github.sha }}
        env: { A: '1' }
        timeout-minutes: 10
        continue-on-error: \${{ github.actor == 'x' }}
        working-directory: lib
        run: echo \${{ secrets.GITHUB_TOKEN }}
`

test('a plan holds all that runner and server need, also what the conversion of the parser loses', () => {
  const script = (...map: object[]) => ({ type: 2, map })

  expect(plan(WHOLE)).toEqual({
    path: '.github/workflows/ci.yml',
    name: 'CI',
    runName: { type: 3, expr: "format('Push by {0}', github.actor)" },
    on: {
      push: { branches: ['main', '!x'], tagsIgnore: ['v*'], paths: ['src/**'] },
      workflowDispatch: {
        inputs: [
          { name: 'level', type: 'choice', required: true, options: ['info', 'debug'], default: 'info' },
          { name: 'count', type: 'number', required: false, description: 'How often', default: '3' },
          { name: 'dry', type: 'boolean', required: false, default: true },
          { name: 'note', type: 'string', required: false },
        ],
      },
      others: [{ event: 'schedule', line: expect.any(Number) as number }],
    },
    env: script({ Key: 'LEVEL', Value: 'info' }),
    jobs: [
      {
        id: 'Prepare',
        needs: [],
        if: 'success()',
        runsOn: 'self-hosted',
        defaults: { shell: 'bash', 'working-directory': 'top' },
        outputs: script({ Key: 'tag', Value: { type: 3, expr: 'steps.t.outputs.tag' } }),
        steps: [
          {
            contextName: 't',
            kind: 'script',
            reference: { type: 'script' },
            condition: 'success()',
            inputs: script({ Key: 'script', Value: 'echo' }, { Key: 'shell', Value: 'sh' }),
          },
        ],
      },
      {
        id: 'test',
        needs: ['Prepare'],
        if: "success() && (needs.prepare.outputs.tag == 'v1')",
        name: { type: 3, expr: "format('Test {0}', inputs.level)" },
        runsOn: script({ Key: 'group', Value: 'big' }, { Key: 'labels', Value: { type: 1, seq: ['linux'] } }),
        defaults: { shell: 'bash', 'working-directory': 'app' },
        timeoutMinutes: 5,
        continueOnError: true,
        env: script({ Key: 'TAG', Value: { type: 3, expr: 'needs.prepare.outputs.tag' } }),
        steps: [
          {
            contextName: '__actions_checkout',
            kind: 'action',
            reference: { type: 'repository', repositoryType: 'GitHub', name: 'actions/checkout', ref: 'v4', path: '' },
            condition: 'success()',
            inputs: script({ Key: 'fetch-depth', Value: '0' }),
          },
          {
            contextName: '__owner_repo',
            kind: 'action',
            reference: { type: 'repository', repositoryType: 'GitHub', name: 'owner/repo', ref: 'main', path: 'sub/dir' },
            condition: 'success()',
          },
          {
            contextName: '__self',
            kind: 'action',
            reference: { type: 'repository', repositoryType: 'self', path: './.github/actions/upload' },
            condition: 'failure()',
            displayName: 'Upload',
          },
          {
            contextName: '__run',
            kind: 'script',
            reference: { type: 'script' },
            condition: 'success()',
            displayName: { type: 3, expr: "format('Say {0}', github.sha)" },
            inputs: script(
              { Key: 'script', Value: { type: 3, expr: "format('echo {0}', secrets.GITHUB_TOKEN)" } },
              { Key: 'workingDirectory', Value: 'lib' },
            ),
            env: script({ Key: 'A', Value: '1' }),
            continueOnError: { type: 3, expr: "github.actor == 'x'" },
            timeoutMinutes: 10,
          },
        ],
      },
    ],
  })
})

test('a script over several lines keeps its own indentation around expressions', () => {
  const lines = [
    'steps:',
    '  - run: |',
    '      if true:',
    '        print(${{ github.sha }})',
    '      x',
    '  - run: >',
    '      a',
    '      ${{ github.ref }}',
  ]

  const scripts = plan(job(...lines)).jobs[0]!.steps.map(({ inputs }) => (inputs as { map: { Value: unknown }[] }).map[0]!.Value)

  expect(scripts).toEqual([
    { type: 3, expr: "format('if true:\n  print({0})\nx\n', github.sha)" },
    { type: 3, expr: "format('a {0}\n', github.ref)" },
  ])
})

test.each([
  ['', 'success()'],
  ["''", 'success()'],
  ['false', 'success() && (false)'],
  ["${{ 'false' }}", 'success() && (false)'],
  ["${{ '' }}", 'success()'],
  ['always()', 'always()'],
  ['${{ failure() }}', 'failure()'],
  ["!cancelled() && github.ref == 'a'", "!cancelled() && github.ref == 'a'"],
  ['contains(github.ref, failure())', 'contains(github.ref, failure())'],
  ["github.ref == 'always()'", "success() && (github.ref == 'always()')"],
  ["${{ github.ref }} == 'x'", "success() && (format('{0} == ''x''', github.ref))"],
])('the condition %j becomes %j', (condition, normalised) => {
  const { jobs } = plan(job(`if: ${condition.startsWith('!') ? JSON.stringify(condition) : condition}`, ...STEPS))

  expect(jobs[0]!.if).toBe(normalised)
})

test.each<[about: string, content: string, expected: string]>([
  ['a matrix', job('strategy:', '  matrix: { a: [1] }', ...STEPS), `line 5: 'strategy' is not offered by this version of Fleetfoot yet`],
  ['containers', job('container: node', ...STEPS), `line 5: 'container' is not offered`],
  ['services', job('services: { r: { image: r } }', ...STEPS), `line 5: 'services' is not offered`],
  ['concurrency of a job', job('concurrency: x', ...STEPS), `line 5: 'concurrency' is not offered`],
  ['concurrency of a workflow', `concurrency: x\n${job(...STEPS)}`, `line 1: 'concurrency' is not offered`],
  ['an environment', job('environment: prod', ...STEPS), `line 5: 'environment' is not offered`],
  ['reusable workflows', 'on: push\njobs:\n  a:\n    uses: ./.github/workflows/b.yml', `line 4: 'uses' is not offered`],
  ['write permissions', job('permissions: { contents: write }', ...STEPS), `line 5: 'permissions: contents: write' is not offered`],
  ['all permissions', `permissions: write-all\n${job(...STEPS)}`, `line 1: 'permissions: write-all' is not offered`],
  ['other secrets', job('steps:', '  - run: echo ${{ secrets.KEY }}'), `line 6: 'secrets.KEY' is not offered`],
  ['all secrets', job('steps:', '  - run: echo ${{ toJSON(secrets) }}'), `line 6: 'secrets' is not offered`],
  ['variables', job('if: vars.X', ...STEPS), `line 5: 'vars' is not offered`],
  ['docker actions', job('steps:', '  - uses: docker://alpine'), `line 6: 'uses: docker://' is not offered`],
  ['own-repository actions', job('steps:', '  - uses: $/a'), `line 6: 'uses: $/' is not offered`],
])('%s give a problem with line and feature', (_about, content, expected) => {
  expect(problems(content).join('\n')).toContain(expected)
})

test.each<[about: string, content: string, expected: RegExp]>([
  ['broken YAML', 'on: push\njobs: [\n', /^line [23]: /],
  ['an unknown key', job('stepz: 1', ...STEPS), /^line 5: Unexpected value 'stepz'/],
  ['an unknown need', job('needs: b', ...STEPS), /^line 5: job 'a' needs 'b', which is not a job/],
  ['a circle', job('needs: a', ...STEPS), /^line 3: job 'a' can never start/],
  ['a bad job id', job(...STEPS).replace('  a:', '  1a:'), /^line 3: The identifier '1a' is invalid/],
  ['a step id twice', job('steps:', '  - { id: a, run: x }', '  - { id: A, run: x }'), /^line 7: the step id 'A' is used twice/],
  ['no steps', job('steps: []'), /^line 3: job 'a' has no steps/],
  ['no job', 'on: push\njobs: {}', /^line 2: the workflow has no jobs/],
  ['no file', '', /^line 1: the file is empty/],
  ['uses without ref', job('steps:', '  - uses: owner/repo'), /^line 6: 'owner\/repo' is not an action/],
  ['uses with two refs', job('steps:', '  - uses: owner/repo@a@b'), /^line 6: .* is not an action/],
  ['uses of one segment', job('steps:', '  - uses: foo@v4'), /^line 6: 'foo@v4' is not an action/],
  [
    'branches with branches-ignore',
    job(...STEPS).replace('push', '{ push: { branches: a, branches-ignore: b } }'),
    /^line 1: 'branches' and/,
  ],
  ['only negative patterns', job(...STEPS).replace('push', "{ push: { paths: ['!a'] } }"), /^line 1: 'paths' needs at least one pattern/],
  ['a bad pattern', job(...STEPS).replace('push', "{ push: { tags: '[a' } }"), /^line 1: '\[a' is not a pattern/],
  ['an unknown function', job('if: foo()', ...STEPS), /^line 5: .*foo/],
  ['an unknown context', job('if: env.X', ...STEPS), /^line 5: .*env/],
  ['a long expression', job('steps:', `  - run: "\${{ github.sha }}${'x'.repeat(21_000)}"`), /^line 6: an expression may not be longer/],
  ['a longer one', job('steps:', `  - run: \${{ '${'x'.repeat(30_000)}' }}`), /^line 6: an expression may not be longer/],
  ['a deep one', job(`if: ${'('.repeat(60)}1${')'.repeat(60)}`, ...STEPS), /^line 5: Exceeded max expression depth 50/],
  ['an alias in itself', 'on: push\njobs: &a\n  b: *a', /^line 3: an alias stands inside/],
  ['a key that is a list', 'on: push\n? [a]\n: b', /^line 2: a key must be a plain text/],
  [
    'a choice without options',
    job(...STEPS).replace('push', '{ workflow_dispatch: { inputs: { a: { type: choice } } } }'),
    /has no options/,
  ],
  [
    'a default that is no option',
    job(...STEPS).replace('push', '{ workflow_dispatch: { inputs: { a: { type: choice, options: [b], default: c } } } }'),
    /^line 1: the default 'c' is not an option/,
  ],
])('%s gives a problem with its line', (_about, content, expected) => {
  expect(problems(content).join('\n')).toMatch(expected)
})

test('a file with problems still says its name and what starts it', () => {
  const parsed = parseWorkflow({ path: 'ci.yml', content: `name: CI\n${job('container: x', ...STEPS)}` })

  expect(parsed).toMatchObject({ name: 'CI', on: { push: {}, others: [] } })
})

test('needs name jobs in any case, and aliases and keys that are numbers are read', () => {
  const { jobs } = plan(`on: push
jobs:
  One: &one
    runs-on: x
    env: { 1: a }
    steps: [{ run: x }]
  two: { runs-on: x, needs: ONE, steps: [{ run: x }] }
  three: *one
`)

  expect(jobs.map(({ id, needs }) => [id, needs])).toEqual([
    ['One', []],
    ['two', ['One']],
    ['three', []],
  ])
  expect(jobs[2]!.env).toEqual({ type: 2, map: [{ Key: '1', Value: 'a' }] })
})

function aliasBomb(): string {
  const levels = Array.from({ length: 25 }, (_, i) => `  a${i + 1}: &a${i + 1} [${Array(9).fill(`*a${i}`).join(', ')}]`)
  return ['x:', '  a0: &a0 [x]', ...levels].join('\n')
}

function quickly(content: string): string[] {
  const start = performance.now()
  const found = problems(content)
  expect(performance.now() - start).toBeLessThan(2000)
  return found
}

test('what would take too long or too much is refused quickly', () => {
  const steps = (count: number) => job('steps:', ...Array<string>(count).fill('  - run: x'))

  expect(quickly(aliasBomb())[0]).toMatch(/line \d+: more than 10,000 values/)
  expect(quickly(steps(10_000))[0]).toContain('more than 10,000 values')
  expect(quickly(steps(1001))[0]).toBe("line 6: job 'a' has more than 1,000 steps")
  expect(quickly(steps(1000))[0]).toContain('a thousand steps need ids')
  expect(quickly(steps(999))).toEqual([])
  expect(quickly('x'.repeat(1024 * 1024 + 1))).toEqual(['line 1: the file is larger than 1 MiB'])
  expect(quickly('ü'.repeat(1024 * 600))).toEqual(['line 1: the file is larger than 1 MiB'])
  expect(quickly('['.repeat(1_000_000))).toEqual(['line 1: more than 100 levels deep'])
  expect(quickly('- '.repeat(50_000))[0]).toContain('nested too deeply')
  expect(quickly('- '.repeat(500_000))).toEqual(['line 1: the file has too many parts'])
  expect(quickly(`a: [${'[],'.repeat(300_000)}]`)).toEqual(['line 1: the file has too many parts'])
  expect(quickly(`a: ${'['.repeat(200)}${']'.repeat(200)}`)[0]).toContain('more than 100 levels')
  const text = `x: &t ${'x'.repeat(100_000)}\ny: [${Array(20).fill('*t').join(', ')}]`
  expect(quickly(text)[0]).toContain('more than 1 MiB of text')
})

test('a megabyte of script is read', () => {
  const { jobs } = plan(job('steps:', '  - run: |', ...Array<string>(20_000).fill(`      echo ${'x'.repeat(30)}`)))

  expect(JSON.stringify(jobs).length).toBeGreaterThan(700_000)
})
