import { DatabaseSync } from 'node:sqlite'
import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { request as httpRequest } from 'node:http'
import path from 'node:path'
import { describe, expect, test } from 'vitest'
import { actionsClient, makeRepository, pushFiles } from '../support/actions-client.ts'
import { eventually } from '../support/eventually.ts'
import { makeGitClient } from '../support/git-client.ts'
import { startListeningRunner } from '../support/listening-runner.ts'
import { put, stamped } from '../support/running-job.ts'
import { makeServerProcess, type ServerProcess } from '../support/server-process.ts'
import { wireRunner } from '../support/wire-runner.ts'

/* kill -9 of the server at bad moments. It keeps its state in rows, so each is the same for PostgreSQL; the nodes' own tests are in cluster. */

const oneStep = 'on: push\njobs:\n  a: {runs-on: self-hosted, steps: [{run: echo hi}]}\n'

async function registrationToken(server: ServerProcess, scope: string): Promise<string> {
  return ((await (await server.admin('POST', `${scope}/actions/runners/registration-token`)).json()) as { token: string }).token
}

describe('a push whose server dies becomes a run, once', () => {
  test.each([
    ['after git moved the refs and before the push was settled', true],
    ['before git moved the refs', false],
  ])('%s', async (_name, isMoved) => {
    await using server = await makeServerProcess()
    await server.start()
    await makeRepository(server.admin, 'acme', 'rocket')
    const marker = path.join(server.dataDir, 'in-hook')
    // Between the two hooks git moves the refs; a hook of git's own in the middle holds it there.
    const repositories = path.join(server.dataDir, 'repos')
    await pushFiles(server.url, server.adminToken, 'acme/rocket', { 'README.md': 'first' })
    const hook = findHooks(repositories, isMoved ? 'post-receive' : 'pre-receive')
    const script = `#!/bin/sh\ntouch '${marker}'\nsleep 5\nexit 1\n`
    // With `pre-receive` held after the server recorded the push; with `post-receive` before the server hears of the moved refs.
    const original = hook.text
    writeFileSync(hook.file, isMoved ? script : original.replace(/ok\) exit 0/, `ok) touch '${marker}'; sleep 5; exit 0`))

    using git = makeGitClient()
    const remote = `http://x:${server.adminToken}@${new URL(server.url).host}/acme/rocket`
    await git.git('.', 'clone', '--quiet', remote, 'work')
    await git.commit('work', 'change', { '.github/workflows/ci.yml': oneStep })
    const pushing = git.run('work', 'push', 'origin', 'HEAD:refs/heads/main')
    await eventually(() => expect(existsSync(marker)).toBe(true))
    await server.kill()
    await pushing
    writeFileSync(hook.file, original)
    await server.start()

    const actions = actionsClient(server.admin, 'acme/rocket')
    await eventually(async () => expect(pushStates(server)).not.toContain('received'), { withinMs: 30_000 })
    const isThere = (await git.git('work', 'ls-remote', 'origin', 'refs/heads/main')).startsWith(await git.git('work', 'rev-parse', 'HEAD'))
    // Git may have gone on without its server: what counts is whether the refs moved.
    expect(await actions.runs()).toHaveLength(isThere ? 1 : 0)
    if (isMoved) expect(isThere).toBe(true)
    const again = await git.run('work', 'push', 'origin', 'HEAD:refs/heads/main')
    expect(again.code).toBe(0)
    expect(await actions.runs()).toHaveLength(1)
  })

  test('with the refs moved and the record alone left', async () => {
    await using server = await makeServerProcess()
    await server.start()
    await makeRepository(server.admin, 'acme', 'rocket')
    await pushFiles(server.url, server.adminToken, 'acme/rocket', { '.github/workflows/ci.yml': oneStep })
    await server.kill()
    // As if the server had died before it made the run.
    const database = new DatabaseSync(path.join(server.dataDir, 'fleetfoot.sqlite'))
    for (const table of ['stepReport', 'log', 'logChunk', 'job', 'runAttempt', 'run']) database.exec(`delete from "${table}"`)
    database.exec(`update "push" set "state" = 'received', "settledAt" = null, "createdAt" = "createdAt" - 60000`)
    database.close()

    await server.start()

    const actions = actionsClient(server.admin, 'acme/rocket')
    const [run] = await eventually(async () => {
      const runs = await actions.runs()
      expect(runs).toHaveLength(1)
      return runs
    })
    expect((await actions.jobs(run?.id ?? 0))[0]).toMatchObject({ status: 'queued' })
  })
})

function findHooks(folder: string, name: string): { file: string; text: string } {
  const found = readdirSync(folder, { recursive: true, encoding: 'utf8' }).find((file) => path.basename(file) === name)
  if (found === undefined) throw new Error(`no hook ${name}`)
  const file = path.join(folder, found)
  return { file, text: readFile(file) }
}

function readFile(file: string): string {
  return process.getBuiltinModule('node:fs').readFileSync(file, 'utf8')
}

function pushStates(server: ServerProcess): string[] {
  const database = new DatabaseSync(path.join(server.dataDir, 'fleetfoot.sqlite'), { readOnly: true })
  try {
    return database
      .prepare('select "state" from "push"')
      .all()
      .map(({ state }) => String(state))
  } finally {
    database.close()
  }
}

test('an upload that a death cut off is nothing, its repeat is whole, and blocks that were acknowledged are there', async () => {
  await using server = await makeServerProcess()
  await server.start()
  await makeRepository(server.admin, 'acme', 'rocket')
  await pushFiles(server.url, server.adminToken, 'acme/rocket', { '.github/workflows/ci.yml': oneStep })
  const runner = await wireRunner({ ...server, registrationToken: (scope: string) => registrationToken(server, scope) }, 'acme/rocket')
  await runner.connect()
  const message = await runner.takeJob()
  const ids = { workflow_run_backend_id: message.plan.planId, workflow_job_run_backend_id: message.jobId }
  const address = await runner.jobCall(message, '/twirp/results.services.receiver.Receiver/GetJobLogsSignedBlobURL', ids)
  const { logs_url: url } = (await address.json()) as { logs_url: string }
  await put(url, { headers: { 'x-ms-blob-type': 'AppendBlob' } })
  await put(url, { query: 'comp=appendblock', body: stamped(['one']) })
  const second = stamped(['two', 'x'.repeat(800_000)])
  const cut = new Promise<void>((resolve) => {
    const sent = httpRequest(`${url}&comp=appendblock`, { method: 'PUT', headers: { 'content-length': String(second.length) } })
    sent.on('error', () => resolve())
    sent.write(second.slice(0, 600_000))
  })
  await eventually(() =>
    expect(
      readdirSync(path.join(server.dataDir, 'blobs'), { recursive: true, encoding: 'utf8' }).some((file) => file.endsWith('.tmp')),
    ).toBe(true),
  )

  await server.kill()
  await cut
  await server.start()
  const repeated = await put(url, { query: 'comp=appendblock&seal=true', body: second })
  await runner.jobCall(message, '/twirp/results.services.receiver.Receiver/CreateJobLogsMetadata', { ...ids, line_count: 3 })
  await runner.complete(message)

  expect(repeated.status).toBe(201)
  expect(await actionsClient(server.admin, 'acme/rocket').log(1)).toBe(stamped(['one']) + second)
})

test(
  'a run of three jobs ends in success, each job once, with its whole log, though the server dies ten times',
  { timeout: 240_000 },
  async () => {
    await using server = await makeServerProcess()
    await server.start()
    await makeRepository(server.admin, 'acme', 'rocket')
    const job = (needs: string) =>
      `    runs-on: self-hosted\n${needs}    steps:\n      - run: for i in $(seq 1 40); do echo "line $i"; sleep 0.1; done\n      - run: echo end\n`
    const workflow = `on: push\njobs:\n  a:\n${job('')}  b:\n${job('    needs: a\n')}  c:\n${job('    needs: b\n')}`
    await using runner = await startListeningRunner({ url: `${server.url}/acme`, token: await registrationToken(server, '/orgs/acme') })
    await pushFiles(server.url, server.adminToken, 'acme/rocket', { '.github/workflows/ci.yml': workflow })
    const actions = actionsClient(server.admin, 'acme/rocket')

    let kills = 0
    for (; kills < 10; kills++) {
      // A random moment is what is tested: the kills come at another point of the run each time.
      await new Promise((resolve) => setTimeout(resolve, 300 + Math.random() * 1500))
      await server.kill()
      await server.start()
    }

    const run = await actions.finished(180_000)
    const jobs = await actions.jobs(run.id)
    expect(run.conclusion).toBe('success')
    expect(jobs.map(({ name, conclusion }) => [name, conclusion])).toEqual([
      ['a', 'success'],
      ['b', 'success'],
      ['c', 'success'],
    ])
    expect(runner.events.filter(({ kind }) => kind === 'job-completed')).toHaveLength(3)
    for (const { id } of jobs) {
      const log = await actions.log(id)
      const numbers = [...log.matchAll(/ line (\d+)$/gm)].map(([, number]) => Number(number))
      const isMarked = log.includes('missing here')
      if (!isMarked) expect(numbers).toEqual(Array.from({ length: 40 }, (_, index) => index + 1))
      // Marked or whole, none stands twice and none out of order.
      expect(numbers).toEqual([...new Set(numbers)].sort((a, b) => a - b))
      expect(log).toMatch(/ end$|missing here/m)
    }
  },
)
