import { execFile, execFileSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Repository } from '../../src/model/account.ts'
import { eventually } from '../support/eventually.ts'
import { makeOfficialRunner, officialRunnerDir } from '../support/official-runner.ts'
import { freePort, startServer, type TestServer } from '../support/start-server.ts'

/*
 * The official, unmodified runner against the whole product. `config.sh` drops the port of its --url (runner-protocol.md 1.3), so the
 * server also listens on port 80 of a loopback address.
 */

/** A clone of actions/checkout: named by FLEETFOOT_CHECKOUT_DIR, or `actions-checkout` beside the runner's folder. */
const checkoutDir = [
  process.env['FLEETFOOT_CHECKOUT_DIR'],
  officialRunnerDir && path.join(officialRunnerDir, '..', 'actions-checkout'),
].find((folder) => folder !== undefined && existsSync(folder))
if (officialRunnerDir && checkoutDir === undefined) console.warn('there is no clone of actions/checkout: jobs clone with git instead')

/** The step that brings the repository: the official action where there is one. */
const CHECKOUT = checkoutDir
  ? 'uses: acme/checkout@v4'
  : `run: |
          git init --quiet . && git fetch --quiet --depth 1 "\${GITHUB_SERVER_URL/:\\/\\//://x-access-token:\${{ github.token }}@}/$GITHUB_REPOSITORY" "$GITHUB_SHA"
          git checkout --quiet FETCH_HEAD`

const suite = officialRunnerDir ? describe : describe.skip
if (!officialRunnerDir) console.warn('FLEETFOOT_RUNNER_DIR is not set: the tests with the official runner are skipped')

interface JobBody {
  id: number
  name: string
  status: string
  conclusion: string | null
  runner_name: string | null
  labels: string[]
  waiting_reason: string | null
  problem: string | null
  steps: { name: string; status: string; conclusion: string | null; number: number }[]
}

suite('the official runner', () => {
  let server: TestServer
  let token: string
  let repository: Repository

  beforeAll(async () => {
    const port = await freePort()
    server = await startServer({
      background: true,
      config: {
        listen: [
          { host: '127.0.0.1', port },
          { host: '127.0.0.1', port: 80 },
        ],
        url: `http://127.0.0.1:${port}`,
        jobServerUrl: `http://fleetfoot.ghe.localhost:${port}`,
      },
    })
    token = (await server.user('mona')).token
    await server.organization('acme', { mona: 'owner' })
    repository = await server.repository('acme', 'rocket')
  })
  afterAll(async () => server[Symbol.asyncDispose]())

  const get = async <T>(target: string): Promise<T> => (await (await server.call(token)('GET', target)).json()) as T
  const newRepository = (name: string, visibility: Repository['visibility'] = 'private') => server.repository('acme', name, visibility)
  const runs = async (name: string) =>
    (
      await get<{ workflow_runs: { id: number; status: string; conclusion: string; problem: string | null }[] }>(
        `/repos/acme/${name}/actions/runs`,
      )
    ).workflow_runs
  const finished = (name: string, withinMs = 60_000) =>
    eventually(
      async () => {
        const [run] = await runs(name)
        expect(run?.status).toBe('completed')
        return run as { id: number; conclusion: string; problem: string | null }
      },
      { withinMs },
    )
  const jobsOf = async (name: string, runId: number) =>
    (await get<{ jobs: JobBody[] }>(`/repos/acme/${name}/actions/runs/${runId}/jobs`)).jobs
  const logOf = async (name: string, jobId: number) => {
    const redirect = await server.call(token)('GET', `/repos/acme/${name}/actions/jobs/${jobId}/logs`)
    expect(redirect.status).toBe(302)
    return (await fetch(redirect.headers.get('location') ?? '')).text()
  }
  const runnersOf = async (scope: string) =>
    (await (await server.admin('GET', `${scope}/actions/runners`)).json()) as {
      total_count: number
      runners: {
        id: number
        name: string
        status: string
        busy: boolean
        labels: { name: string; type: string }[]
        version: string
        ephemeral: boolean
      }[]
    }

  test.each([
    ['the enterprise', 'enterprises/fleetfoot', '/enterprises/fleetfoot'],
    ['an organization', 'acme', '/orgs/acme'],
    ['a repository', 'acme/rocket', '/repos/acme/rocket'],
  ])('registers with config.sh at %s, goes online, is replaced and removed', async (_where, at, scope) => {
    await using runner = makeOfficialRunner()
    const registration = await server.registrationToken(scope)
    const url = `http://127.0.0.1/${at}`

    const configured = await runner.config(
      '--unattended',
      '--url',
      url,
      '--token',
      registration,
      '--name',
      'box',
      '--labels',
      'gpu,GPU, big one',
    )

    expect(configured.output).toContain('Runner successfully added')
    expect(configured.code).toBe(0)
    expect((await runnersOf(scope)).runners).toMatchObject([
      { name: 'box', status: 'offline', busy: false, version: '2.336.0', ephemeral: false },
    ])
    expect((await runnersOf(scope)).runners[0]?.labels.map(({ name, type }) => [name, type])).toEqual([
      ['self-hosted', 'read-only'],
      ['Linux', 'read-only'],
      ['X64', 'read-only'],
      ['gpu', 'custom'],
      ['big one', 'custom'],
    ])

    runner.start()
    await eventually(async () => expect((await runnersOf(scope)).runners[0]).toMatchObject({ status: 'online' }))
    // One that is interrupted before its first poll does not delete its session.
    await eventually(async () => expect(await (await fetch(`${server.url}/metrics`)).text()).toMatch(/^fleetfoot_waiting_polls [1-9]/m))
    await runner.stop()
    expect((await runnersOf(scope)).runners[0]).toMatchObject({ status: 'offline' })

    await using second = makeOfficialRunner()
    const taken = await second.config('--unattended', '--url', url, '--token', registration, '--name', 'box')
    expect(taken.output).toContain('A runner exists with the same name')
    const replaced = await second.config(
      '--unattended',
      '--url',
      url,
      '--token',
      registration,
      '--name',
      'box',
      '--replace',
      '--labels',
      'new',
    )
    expect(replaced.output).toContain('Successfully replaced the runner')
    const list = await runnersOf(scope)
    expect(list.total_count).toBe(1)
    expect(list.runners[0]?.labels.map(({ name }) => name)).toEqual(['self-hosted', 'Linux', 'X64', 'new'])

    const removal = (await (await server.admin('POST', `${scope}/actions/runners/remove-token`)).json()) as { token: string }
    const removed = await second.config('remove', '--token', removal.token)
    expect(removed.output).toContain('Runner removed successfully')
    expect((await runnersOf(scope)).total_count).toBe(0)
  })

  test('joins a runner group by --runnergroup, and takes the jobs that the group is open to, at once when it is opened', async () => {
    await using runner = makeOfficialRunner()
    const target = await newRepository('grouped')
    const ask = (method: string, at: string, body?: object) => server.admin(method, `/orgs/acme/actions/runner-groups${at}`, body)
    const group = (await (await ask('POST', '', { name: 'Big boxes', visibility: 'selected' })).json()) as { id: number }
    const args = [
      '--unattended',
      '--url',
      'http://127.0.0.1/acme',
      '--token',
      await server.registrationToken('/orgs/acme'),
      '--name',
      'boxed',
    ]
    expect((await runner.config(...args, '--runnergroup', 'Big boxes', '--labels', 'boxed', '--ephemeral')).code).toBe(0)
    const members = (await (await ask('GET', `/${group.id}/runners`)).json()) as { runners: { name: string }[] }
    expect(members.runners.map(({ name }) => name)).toEqual(['boxed'])
    runner.start()
    const workflow = 'on: push\njobs:\n  a:\n    runs-on: {group: big boxes, labels: boxed}\n    steps: [{run: echo hello}]\n'
    await server.push(token, target, { '.github/workflows/ci.yml': workflow })
    await eventually(async () => {
      const [run] = await runs('grouped')
      const [job] = await jobsOf('grouped', run?.id ?? 0)
      expect(job?.waiting_reason).toBe('1 runner matches, but the runner group Big boxes does not serve this repository')
    })

    expect((await ask('PUT', `/${group.id}/repositories/${target.id}`)).status).toBe(204)

    expect((await runner.ended()).code).toBe(0)
    expect((await runs('grouped'))[0]).toMatchObject({ status: 'completed', conclusion: 'success' })
  })

  test('with --no-default-labels has only its own labels, and --ephemeral is gone after its one job', async () => {
    await using runner = makeOfficialRunner()
    const target = await newRepository('ephemeral')
    const registration = await server.registrationToken('/repos/acme/ephemeral')
    const args = ['--unattended', '--url', 'http://127.0.0.1/acme/ephemeral', '--token', registration, '--name', 'once', '--ephemeral']
    expect((await runner.config(...args, '--no-default-labels', '--labels', 'special')).code).toBe(0)
    expect((await runnersOf('/repos/acme/ephemeral')).runners[0]).toMatchObject({
      ephemeral: true,
      labels: [{ name: 'special', type: 'custom' }],
    })

    await server.push(token, target, {
      '.github/workflows/ci.yml':
        'on: push\njobs:\n  a: {runs-on: special, steps: [{run: echo one}]}\n  b: {runs-on: special, steps: [{run: echo two}]}\n',
    })
    runner.start()

    const { code } = await runner.ended()
    expect(code).toBe(0)
    expect((await runnersOf('/repos/acme/ephemeral')).total_count).toBe(0)
    const [run] = await runs('ephemeral')
    const jobs = await jobsOf('ephemeral', run?.id ?? 0)
    expect(jobs.map(({ status }) => status)).toEqual(['completed', 'queued'])
    expect(jobs[1]?.waiting_reason).toBe('no runner is registered for this repository, its organization or the enterprise')
    expect(existsSync(path.join(runner.folder, '.runner'))).toBe(false)
  })

  test.each([
    ['the enterprise', '/enterprises/fleetfoot'],
    ['an organization', '/orgs/acme'],
    ['a repository', '/repos/acme/rocket'],
  ])('starts from a just-in-time configuration of %s, runs one job and is gone', async (_where, scope) => {
    await using runner = makeOfficialRunner()
    const label = `jit-${scope.length}`
    const body = { name: `${label}-runner`, runner_group_id: 1, labels: [label] }
    const made = await server.admin('POST', `${scope}/actions/runners/generate-jitconfig`, body)
    expect(made.status).toBe(201)
    const { encoded_jit_config } = (await made.json()) as { encoded_jit_config: string }
    const target = await newRepository(`jit-${label}`)
    const at = scope.startsWith('/repos') ? repository : target
    await server.push(token, at, {
      '.github/workflows/jit.yml': `on: push\njobs:\n  one: {runs-on: ${label}, steps: [{run: echo just in time}]}\n`,
    })

    runner.start('--jitconfig', encoded_jit_config)

    expect((await runner.ended()).code).toBe(0)
    const run = await finished(at.name)
    expect(run.conclusion).toBe('success')
    expect((await runnersOf(scope)).total_count).toBe(0)
  })

  test('runs a pushed workflow: needs, outputs, continue-on-error, if, summary, mask, checkout', async () => {
    const target = await newRepository('workflow')
    const checkout = await server.repository('acme', 'checkout', 'internal')
    await pushCheckout(server, token, checkout)
    await using runner = makeOfficialRunner()
    await runner.config(
      '--unattended',
      '--url',
      'http://127.0.0.1/acme',
      '--token',
      await server.registrationToken('/orgs/acme'),
      '--name',
      'main',
    )
    runner.start()

    const remote = await server.push(token, target, {
      'src/hello.txt': 'hello from the repository\n',
      '.github/workflows/ci.yml': `name: CI
on: {push: {branches: [main]}}
jobs:
  build:
    runs-on: [self-hosted, linux]
    outputs:
      version: \${{ steps.v.outputs.version }}
    steps:
      - ${CHECKOUT}
      - run: cat src/hello.txt
      - id: v
        run: echo "version=1.2.3" >> "$GITHUB_OUTPUT"
      - name: fails
        run: exit 3
        continue-on-error: true
      - run: |
          echo "::add-mask::hunter2secret"
          echo "the word is hunter2secret"
          echo "## Built" >> "$GITHUB_STEP_SUMMARY"
      - if: failure()
        name: never
        run: echo never
  deploy:
    needs: build
    if: needs.build.outputs.version == '1.2.3'
    runs-on: self-hosted
    steps:
      - run: echo "deploying \${{ needs.build.outputs.version }} of $GITHUB_REPOSITORY at $GITHUB_SERVER_URL"
      - run: 'curl -sf -H "Authorization: token \${{ github.token }}" $GITHUB_API_URL/repos/$GITHUB_REPOSITORY | grep full_name'
`,
    })
    expect(remote).toContain('CI #1 started')

    const run = await finished('workflow')
    const jobs = await jobsOf('workflow', run.id)
    const log = await logOf('workflow', jobs[0]?.id ?? 0)
    expect(`${run.conclusion} ${jobs.map(({ conclusion }) => String(conclusion)).join()}\n${log}`).toContain('success success,success')
    expect(log).toContain('hello from the repository')
    expect(log).toContain('the word is ***')
    // The script itself is shown before the mask is known; what it printed is not.
    expect(log).not.toContain('the word is hunter2secret\n')
    expect(jobs[0]?.steps.map(({ name, conclusion }) => [name, conclusion])).toContainEqual(['fails', 'success'])
    expect(jobs[0]?.steps.map(({ name, conclusion }) => [name, conclusion])).toContainEqual(['never', 'skipped'])
    expect(await logOf('workflow', jobs[1]?.id ?? 0)).toContain('deploying 1.2.3 of acme/workflow')
    const annotations = await get<{ message: string }[]>(`/repos/acme/workflow/check-runs/${jobs[0]?.id}/annotations`)
    expect(annotations.map(({ message }) => message)).toContain('Process completed with exit code 3.')
    const summaries = await server.deps.db
      .selectFrom('stepSummary')
      .selectAll()
      .where('jobId', '=', jobs[0]?.id ?? 0)
      .execute()
    expect(summaries).toHaveLength(1)
    await runner.stop()
  })

  test('runs local, composite and JavaScript actions of repositories on this server, and says which it may not see', async () => {
    const target = await newRepository('uses')
    const tools = await newRepository('tools', 'internal')
    const hidden = await newRepository('hidden')
    const javascript = {
      'js/action.yml':
        'name: js\nruns: {using: node24, main: main.js, post: post.js}\ninputs: {who: {required: true}}\noutputs: {greeting: {description: x}}\n',
      'js/main.js':
        'const fs = require("fs"); fs.appendFileSync(process.env.GITHUB_OUTPUT, `greeting=hello ${process.env.INPUT_WHO}\\n`); console.log("from javascript");',
      'js/post.js': 'console.log("post of javascript")',
      'action.yml':
        'name: outer\nruns:\n  using: composite\n  steps:\n    - run: echo from composite\n      shell: bash\n    - uses: acme/tools/js@main\n      with: {who: nested}\n',
    }
    await server.push(token, tools, javascript)
    await server.push(token, hidden, javascript)
    await using runner = makeOfficialRunner()
    await runner.config(
      '--unattended',
      '--url',
      'http://127.0.0.1/acme/uses',
      '--token',
      await server.registrationToken('/repos/acme/uses'),
      '--name',
      'uses',
    )
    runner.start()

    await server.push(token, target, {
      'local/action.yml': 'name: local\nruns:\n  using: composite\n  steps:\n    - run: echo from the local action\n      shell: bash\n',
      '.github/workflows/ci.yml': `on: push
jobs:
  good:
    runs-on: self-hosted
    steps:
      - ${CHECKOUT}
      - uses: ./local
      - uses: acme/tools@main
      - id: js
        uses: acme/tools/js@main
        with: {who: mona}
      - run: 'echo "\${{ steps.js.outputs.greeting }}, $GITHUB_ACTOR"'
  bad:
    needs: good
    if: always()
    runs-on: self-hosted
    steps:
      - uses: acme/hidden@main
`,
    })

    const run = await finished('uses')
    const [good, bad] = await jobsOf('uses', run.id)
    const log = await logOf('uses', good?.id ?? 0)
    expect(`${good?.conclusion}\n${log}`).toContain('success')
    for (const line of ['from the local action', 'from composite', 'from javascript', 'hello mona, mona', 'post of javascript'])
      expect(log).toContain(line)
    expect(bad?.conclusion).toBe('failure')
    const annotations = await get<{ message: string }[]>(`/repos/acme/uses/check-runs/${bad?.id}/annotations`)
    expect(annotations.map(({ message }) => message)).toContain('Unable to resolve action acme/hidden@main, repository not found')
    await runner.stop()
  })

  test('a log of 100,000 lines arrives complete and in order', async () => {
    const target = await newRepository('long')
    await using runner = makeOfficialRunner()
    await runner.config(
      '--unattended',
      '--url',
      'http://127.0.0.1/acme/long',
      '--token',
      await server.registrationToken('/repos/acme/long'),
      '--name',
      'long',
    )
    runner.start()

    await server.push(token, target, {
      '.github/workflows/ci.yml':
        'on: push\njobs:\n  a:\n    runs-on: self-hosted\n    steps:\n      - run: for i in $(seq 1 100000); do echo "line $i of a long log"; done\n',
    })

    const run = await finished('long', 120_000)
    const [job] = await jobsOf('long', run.id)
    const log = await logOf('long', job?.id ?? 0)
    const numbers = [...log.matchAll(/^\S+ line (\d+) of a long log$/gm)].map((match) => Number(match[1]))
    expect(run.conclusion).toBe('success')
    expect(numbers).toHaveLength(100_000)
    expect(numbers.every((number, index) => number === index + 1)).toBe(true)
    expect(log).not.toContain('\uFEFF')
    await runner.stop()
  })

  test('a run is cancelled in the middle of a step', async () => {
    const target = await newRepository('cancelled')
    await using runner = makeOfficialRunner()
    await runner.config(
      '--unattended',
      '--url',
      'http://127.0.0.1/acme/cancelled',
      '--token',
      await server.registrationToken('/repos/acme/cancelled'),
      '--name',
      'c',
    )
    runner.start()
    await server.push(token, target, {
      '.github/workflows/ci.yml':
        'on: push\njobs:\n  a:\n    runs-on: self-hosted\n    steps:\n      - run: sleep 120\n      - if: always()\n        run: echo cleaned up\n',
    })
    const run = await eventually(async () => {
      const [found] = await runs('cancelled')
      const jobs = await jobsOf('cancelled', found?.id ?? 0)
      expect(jobs[0]?.steps.find(({ name }) => name.includes('sleep'))?.status).toBe('in_progress')
      return found as { id: number }
    })

    expect((await server.call(token)('POST', `/repos/acme/cancelled/actions/runs/${run.id}/cancel`)).status).toBe(202)

    const ended = await finished('cancelled')
    const [job] = await jobsOf('cancelled', run.id)
    expect([ended.conclusion, job?.conclusion]).toEqual(['cancelled', 'cancelled'])
    expect(await logOf('cancelled', job?.id ?? 0)).toContain('cleaned up')
    expect((await runnersOf('/repos/acme/cancelled')).runners[0]).toMatchObject({ status: 'online', busy: false })
    await runner.stop()
  })

  test('a runner that was deleted says so and removes its configuration; a busy one is not deleted', async () => {
    const target = await newRepository('deleted')
    await using runner = makeOfficialRunner()
    await runner.config(
      '--unattended',
      '--url',
      'http://127.0.0.1/acme/deleted',
      '--token',
      await server.registrationToken('/repos/acme/deleted'),
      '--name',
      'd',
    )
    runner.start()
    await server.push(token, target, {
      '.github/workflows/ci.yml': 'on: push\njobs:\n  a: {runs-on: self-hosted, steps: [{run: sleep 5}]}\n',
    })
    const busy = await eventually(async () => {
      const [found] = (await runnersOf('/repos/acme/deleted')).runners
      expect(found?.busy).toBe(true)
      return found as { id: number }
    })
    expect((await server.admin('DELETE', `/repos/acme/deleted/actions/runners/${busy.id}`)).status).toBe(422)
    await finished('deleted')

    await eventually(async () => expect((await server.admin('DELETE', `/repos/acme/deleted/actions/runners/${busy.id}`)).status).toBe(204))

    const { code, output } = await runner.ended()
    expect(output).toContain('no longer exists')
    expect(code).toBe(0)
    expect(existsSync(path.join(runner.folder, '.runner'))).toBe(false)
  })

  test('a second session of a configured runner is refused while the first polls', async () => {
    await newRepository('twice')
    await using runner = makeOfficialRunner()
    await runner.config(
      '--unattended',
      '--url',
      'http://127.0.0.1/acme/twice',
      '--token',
      await server.registrationToken('/repos/acme/twice'),
      '--name',
      't',
    )
    runner.start()
    await eventually(() => expect(runner.output()).toContain('Listening for Jobs'))

    await using copy = makeOfficialRunner()
    for (const file of ['.runner', '.credentials', '.credentials_rsaparams'])
      execFileSync('cp', ['-p', path.join(runner.folder, file), copy.folder])
    copy.start()

    await eventually(() => expect(copy.output()).toContain('A session for this runner already exists'))
    copy.kill()
    await runner.stop()
  })
})

/** The official actions/checkout, pushed as an action of this server; nothing without a clone of it. */
async function pushCheckout(server: TestServer, token: string, checkout: Repository): Promise<void> {
  const source = checkoutDir
  if (source === undefined) return
  const remote = `http://x-access-token:${token}@${new URL(server.url).host}/${checkout.owner.login}/${checkout.name}`
  // Not the synchronous form: the server runs in this process.
  await promisify(execFile)('git', ['-C', source, 'push', '--quiet', remote, 'HEAD:refs/heads/main', 'HEAD:refs/tags/v4'])
}
