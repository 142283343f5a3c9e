import { describe, expect, test } from 'vitest'
import { actionsClient, makeRepository, pushFiles } from '../support/actions-client.ts'
import { eventually } from '../support/eventually.ts'
import { makeOfficialRunner, officialRunnerDir, type OfficialRunner } from '../support/official-runner.ts'
import { makeServerProcess, type ServerProcess } from '../support/server-process.ts'

/* What a death costs a job, with the official runner: of the server in mid-step, and of the runner's whole process group. */

const suite = officialRunnerDir ? describe : describe.skip
const DOWN_MS = 8000

suite('when something dies', () => {
  test('the server, by kill -9 in the middle of a step and 8 s away: the job ends in success with its whole log', async () => {
    await using server = await makeServerProcess({ alsoListen: ['127.0.0.1:80'] })
    await server.start()
    await makeRepository(server.admin, 'acme', 'rocket')
    await using runner = makeOfficialRunner()
    await register(server, runner, 'box', '/repos/acme/rocket', 'acme/rocket')
    runner.start()
    await pushFiles(server.url, server.adminToken, 'acme/rocket', {
      '.github/workflows/ci.yml':
        'on: push\njobs:\n  a:\n    runs-on: self-hosted\n    steps:\n      - run: echo before\n      - run: for i in $(seq 1 200); do echo "line $i"; sleep 0.1; done\n      - run: echo after\n',
    })
    const actions = actionsClient(server.admin, 'acme/rocket')
    const { job } = await actions.running('for i')

    await server.kill()
    await new Promise((resolve) => setTimeout(resolve, DOWN_MS))
    await server.start()

    const run = await actions.finished(90_000)
    const log = await actions.log(job.id)
    expect(run.conclusion).toBe('success')
    expect([...log.matchAll(/ line (\d+)$/gm)].map(([, number]) => Number(number))).toEqual(
      Array.from({ length: 200 }, (_, index) => index + 1),
    )
    expect(log).toContain('after')
    await runner.stop()
  })

  test('the runner, by kill -9 of its process group: the job fails within 90 s and says why, a queued one goes to another runner', async () => {
    await using server = await makeServerProcess({ alsoListen: ['127.0.0.1:80'] })
    await server.start()
    await makeRepository(server.admin, 'acme', 'rocket')
    await using first = makeOfficialRunner()
    await register(server, first, 'first', '/repos/acme/rocket', 'acme/rocket')
    first.start()
    await pushFiles(server.url, server.adminToken, 'acme/rocket', {
      '.github/workflows/ci.yml':
        'on: push\njobs:\n  a: {runs-on: self-hosted, steps: [{run: sleep 600}]}\n  b: {runs-on: self-hosted, steps: [{run: echo second}]}\n',
    })
    const actions = actionsClient(server.admin, 'acme/rocket')
    const { run } = await actions.running('sleep')
    expect((await actions.jobs(run.id))[1]).toMatchObject({ status: 'queued', waiting_reason: '1 runner matches, busy' })

    first.kill()
    const killedAt = Date.now()
    await using second = makeOfficialRunner()
    await register(server, second, 'second', '/repos/acme/rocket', 'acme/rocket')
    second.start()

    await eventually(async () => expect((await actions.jobs(run.id))[1]).toMatchObject({ status: 'completed', runner_name: 'second' }))
    const lost = await eventually(
      async () => {
        const [job] = await actions.jobs(run.id)
        expect(job?.status).toBe('completed')
        return job
      },
      { withinMs: 100_000 },
    )
    expect(Date.now() - killedAt).toBeLessThan(90_000)
    expect(lost).toMatchObject({ conclusion: 'failure' })
    expect(lost?.problem).toContain('The self-hosted runner lost communication')
    expect(await actions.get<{ message: string }[]>(`/check-runs/${lost?.id}/annotations`)).toMatchObject([{ annotation_level: 'failure' }])
    await second.stop()
  })

  test('nothing: a runner that `fleetfoot runner configure` made ready runs on any port', async () => {
    await using server = await makeServerProcess()
    await server.start()
    await makeRepository(server.admin, 'acme', 'rocket')
    await using runner = makeOfficialRunner()
    const { execFile } = await import('node:child_process')
    const { promisify } = await import('node:util')
    const token = await registrationToken(server, '/orgs/acme')
    const args = [
      'runner',
      'configure',
      runner.folder,
      '--url',
      `${server.url}/acme`,
      '--token',
      token,
      '--name',
      'any-port',
      '--labels',
      'gpu',
    ]
    await promisify(execFile)('bin/fleetfoot', args)
    runner.start()

    await pushFiles(server.url, server.adminToken, 'acme/rocket', {
      '.github/workflows/ci.yml': 'on: push\njobs:\n  a: {runs-on: [self-hosted, gpu], steps: [{run: echo on any port}]}\n',
    })

    const actions = actionsClient(server.admin, 'acme/rocket')
    const run = await actions.finished()
    expect(run.conclusion).toBe('success')
    expect((await actions.jobs(run.id))[0]).toMatchObject({ runner_name: 'any-port' })
    await runner.stop()
  })
})

async function registrationToken(server: ServerProcess, scope: string): Promise<string> {
  return ((await (await server.admin('POST', `${scope}/actions/runners/registration-token`)).json()) as { token: string }).token
}

async function register(server: ServerProcess, runner: OfficialRunner, name: string, scope: string, at: string): Promise<void> {
  const token = await registrationToken(server, scope)
  const { code, output } = await runner.config('--unattended', '--url', `http://127.0.0.1/${at}`, '--token', token, '--name', name)
  if (code !== 0) throw new Error(output)
}
