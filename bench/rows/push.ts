import { mkdtempSync, rmSync } from 'node:fs'
import { get } from 'node:http'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { writeOfficialFiles } from '../../src/runner/config-files.ts'
import { createWorker } from '../../src/runner/job.ts'
import { createHttp } from '../../src/runner/http.ts'
import { runListener } from '../../src/runner/listener.ts'
import { registerRunner } from '../../src/runner/registration.ts'
import { makeGitClient } from '../../test/support/git-client.ts'
import { makeOfficialRunner, officialRunnerDir } from '../../test/support/official-runner.ts'
import type { Bench } from '../support/row.ts'
import { makeState } from '../support/seed.ts'
import { settled, startProduct, type Product } from '../support/server.ts'
import { median } from '../support/stats.ts'

const WORKFLOW = `on: push\njobs:\n  a:\n    runs-on: self-hosted\n    steps:\n      - run: echo hello\n`

/** From the answer to `git push` to the first live line and to the end of the job. */
export const push: Bench = {
  name: 'push',
  async run(options) {
    await using state = await makeState()
    await using product = await startProduct(state, options)
    await using runner = officialRunnerDir ? await startOfficial(product) : await startPortable(product)
    await online(product)
    await settled(product)
    using client = makeGitClient()
    await client.git('.', 'init', '--quiet', '--initial-branch', 'main', 'work')
    const { host } = new URL(product.url)
    await client.git('work', 'remote', 'add', 'origin', `http://x-access-token:${state.token}@${host}/acme/rocket`)

    const first: number[] = []
    const ended: number[] = []
    const count = options.quick ? 3 : 12
    for (let i = 0; i < count; i++) {
      await client.commit('work', `change ${i}`, { '.github/workflows/ci.yml': WORKFLOW, 'n.txt': String(i) })
      await client.git('work', 'push', '--quiet', 'origin', 'HEAD:refs/heads/main')
      const answered = performance.now()
      const seen = await follow(product, i + 1)
      if (i > 0) {
        first.push(seen.firstLine - answered)
        ended.push(seen.end - answered)
      }
      options.say(`push: first line ${Math.round(seen.firstLine - answered)} ms, end ${Math.round(seen.end - answered)} ms`)
      // The runner cleans up after its job and polls again.
      await delay(1500)
    }
    const [line, end] = [median(first), median(ended)]
    const remark = `median of ${count - 1} pushes with the ${runner.kind} runner, seen over the live log (SSE)`
    return [
      {
        what: `push answered to first line, ${runner.kind} runner`,
        measured: `${(line / 1000).toFixed(2)} s`,
        aim: '≤ 0.75 s',
        met: line <= 750,
        remark,
      },
      {
        what: `push answered to completed, ${runner.kind} runner`,
        measured: `${(end / 1000).toFixed(2)} s`,
        aim: '≤ 1.75 s',
        met: end <= 1750,
        remark,
      },
    ]
  },
}

/** Finds the job of the run with that number and reads its live log to the end. */
async function follow(product: Product, number: number): Promise<{ firstLine: number; end: number }> {
  const jobId = await jobOf(product, number)
  return new Promise((resolve, reject) => {
    let firstLine = 0
    let text = ''
    const limit = setTimeout(() => reject(new Error(`the job did not end within 60 s:\n${text}`)), 60_000)
    const headers = { Authorization: `Bearer ${product.state.token}`, 'User-Agent': 'fleetfoot-bench' }
    get(`${product.url}/api/v3/repos/acme/rocket/actions/jobs/${jobId}/logs/live`, { headers }, (response) => {
      response.setEncoding('utf8')
      response.on('data', (chunk: string) => {
        text += chunk
        if (firstLine === 0 && /^event: lines$/m.test(text)) firstLine = performance.now()
        if (!/^event: end$/m.test(text)) return
        clearTimeout(limit)
        response.destroy()
        if (firstLine === 0 || !/"success"/.test(text)) reject(new Error(`the job did not go well:\n${text}`))
        else resolve({ firstLine, end: performance.now() })
      })
      response.on('error', reject)
    }).on('error', reject)
  })
}

async function jobOf(product: Product, number: number): Promise<number> {
  for (let i = 0; i < 500; i++) {
    const { workflow_runs: runs } = (await product.api('GET', '/repos/acme/rocket/actions/runs?per_page=1')).json<{
      workflow_runs: { id: number; run_number: number }[]
    }>()
    const run = runs[0]
    if (run?.run_number === number) {
      const { jobs } = (await product.api('GET', `/repos/acme/rocket/actions/runs/${run.id}/jobs`)).json<{ jobs: { id: number }[] }>()
      if (jobs[0]) return jobs[0].id
    }
    await delay(5)
  }
  throw new Error(`there is no run ${number}`)
}

async function online(product: Product): Promise<void> {
  for (let i = 0; i < 600; i++) {
    const { runners } = (await product.api('GET', '/orgs/acme/actions/runners')).json<{ runners: { status: string }[] }>()
    if (runners.some(({ status }) => status === 'online')) return delay(1000)
    await delay(50)
  }
  throw new Error('the runner did not come online')
}

async function registered(product: Product, workFolder: string) {
  const { token } = (await product.api('POST', '/orgs/acme/actions/runners/registration-token')).json<{ token: string }>()
  return registerRunner({ url: `${product.url}/acme`, token, name: 'bench', workFolder, disableUpdate: true })
}

async function startOfficial(product: Product): Promise<AsyncDisposable & { kind: string }> {
  const runner = makeOfficialRunner()
  await writeOfficialFiles(runner.folder, await registered(product, '_work'))
  runner.start()
  return {
    kind: 'official',
    async [Symbol.asyncDispose]() {
      await runner.stop()
      await runner[Symbol.asyncDispose]()
    },
  }
}

async function startPortable(product: Product): Promise<AsyncDisposable & { kind: string }> {
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-bench-runner-'))
  const config = await registered(product, folder)
  const stop = new AbortController()
  const ended = runListener(config, { http: createHttp(), executor: createWorker({ root: folder }), signal: stop.signal })
  return {
    kind: 'portable',
    async [Symbol.asyncDispose]() {
      stop.abort()
      await ended
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
