import { newKey } from '../../src/runner/key.ts'
import { createHttp } from '../../src/runner/http.ts'
import { runListener } from '../../src/runner/listener.ts'
import { registerRunner } from '../../src/runner/registration.ts'
import { scriptedExecutor } from '../../src/runner/scripted.ts'
import { makePostgresDatabase } from '../support/postgres.ts'
import type { Bench, BenchOptions, Row } from '../support/row.ts'
import { makeState, type SeedOptions } from '../support/seed.ts'
import { pushFiles, settled, startProduct, type Product } from '../support/server.ts'
import { loadMeter, median } from '../support/stats.ts'

const RUNNERS = 24
const JOBS_PER_RUN = 100

/** One `run` step per job; one run holds a hundred jobs. */
const WORKFLOW = `on: workflow_dispatch
jobs:
${Array.from({ length: JOBS_PER_RUN }, (_, index) => `  j${index}:\n    runs-on: self-hosted\n    steps:\n      - run: echo ${index}\n`).join('')}`

/** Whole jobs a second with all calls of the official runner. */
export const jobs: Bench = {
  name: 'jobs',
  async run(options) {
    const rows = [await sqlite(options, 'normal', 150), await sqlite(options, 'full', undefined)]
    const database = await makePostgresDatabase()
    if (!database) {
      const what = 'whole jobs a second, all calls of one run step, PostgreSQL'
      const remark = 'there is no PostgreSQL: set FLEETFOOT_TEST_DATABASE_URL or install it'
      return [...rows, { what, measured: 'NO NUMBER', aim: '≥ 80', met: false, remark }]
    }
    await using postgres = database
    const measured = await measure(options, { database: { kind: 'postgres', url: postgres.url } }, {})
    return [...rows, rowOf(`PostgreSQL (${postgres.durability})`, measured, 80)]
  },
}

async function sqlite(options: BenchOptions, sync: 'normal' | 'full', aim: number | undefined): Promise<Row> {
  const measured = await measure(options, {}, { sync })
  return rowOf(`SQLite, WAL, synchronous = ${sync}`, measured, aim)
}

interface Measured {
  rate: number
  calls: number
  load: number
  /** Processor of the server for a job. */
  cpuMs: number
  p50: number
}

function rowOf(where: string, { rate, calls, load, cpuMs, p50 }: Measured, aim: number | undefined): Row {
  return {
    what: `whole jobs a second, all calls of one run step, ${where}`,
    measured: `${rate.toFixed(0)} jobs/s`,
    aim: aim === undefined ? '' : `≥ ${aim}`,
    met: aim === undefined ? undefined : rate >= aim,
    remark: `${RUNNERS} runners, ${calls} calls a job (token, poll, acquire, renew, 2 step updates, 4 logs of 3 calls, complete, and the poll that tells busy), a job takes ${p50.toFixed(0)} ms and ${cpuMs.toFixed(1)} ms of the server's processor; the load process used ${Math.round(load * 100)} % of one core`,
  }
}

async function measure(options: BenchOptions, seed: SeedOptions, server: { sync?: 'normal' | 'full' }): Promise<Measured> {
  await using state = await makeState(seed)
  await using product = await startProduct(state, options, server)
  await pushFiles(product, { '.github/workflows/many.yml': WORKFLOW })
  await settled(product)
  const runs = options.quick ? 2 : 8
  // The first jobs warm server and load up.
  await drive(product, 1)
  const results: Measured[] = []
  for (let round = 0; round < (options.quick ? 1 : 3); round++) {
    const result = await drive(product, runs)
    results.push(result)
    options.say(
      `jobs: ${result.rate.toFixed(1)} jobs/s, ${result.cpuMs.toFixed(1)} ms processor a job, load ${Math.round(result.load * 100)} %`,
    )
  }
  const rate = median(results.map((result) => result.rate))
  return results.find((result) => result.rate === rate) ?? { rate, calls: 0, load: 0, cpuMs: 0, p50: 0 }
}

/** Queues jobs, then lets runners loose on them; from the first message to the last completion. */
async function drive(product: Product, runs: number): Promise<Measured> {
  for (let i = 0; i < runs; i++) {
    const answer = await product.api('POST', '/repos/acme/rocket/actions/workflows/many.yml/dispatches', { ref: 'main' })
    if (answer.status !== 204) throw new Error(`dispatch: ${answer.status} ${answer.body}`)
  }
  const token = await product.api('POST', '/orgs/acme/actions/runners/registration-token')
  const http = createHttp()
  const key = await newKey()
  const configs = []
  for (let i = 0; i < RUNNERS; i++) {
    const registered = { url: `${product.url}/acme`, token: token.json<{ token: string }>().token, name: `r-${i}`, replace: true }
    configs.push(await registerRunner({ ...registered, key, http }))
  }

  const jobs = runs * JOBS_PER_RUN
  const stop = new AbortController()
  let began: number | undefined
  let ended = 0
  let done = 0
  let calls = 0
  let failed = 0
  const times: number[] = []
  const meter = loadMeter()
  const cpuBefore = product.cpuMs()
  const finished = Promise.withResolvers<void>()
  const limit = setTimeout(() => finished.reject(new Error(`${done} of ${jobs} jobs ended within 120 s`)), 120_000)
  const listeners = configs.map((config) => {
    let given = 0
    return runListener(config, {
      http,
      signal: stop.signal,
      executor: scriptedExecutor({ onDone: (_run, made) => (calls += made) }),
      onEvent: (event) => {
        if (event.kind === 'message') {
          given = performance.now()
          began ??= given
        } else if (event.kind === 'job-completed') {
          times.push(performance.now() - given)
          if (event.result !== 'succeeded') failed++
          if (++done === jobs) {
            ended = performance.now()
            finished.resolve()
          }
        } else if (event.kind === 'job-dropped') failed++
      },
    })
  })
  const outcome = await finished.promise.then(
    () => undefined,
    (error: Error) => error,
  )
  clearTimeout(limit)
  const load = meter()
  const cpuMs = (product.cpuMs() - cpuBefore) / jobs
  stop.abort()
  await Promise.all(listeners)
  http.agents.http.destroy()
  if (outcome) throw outcome
  if (failed > 0) throw new Error(`${failed} jobs failed`)
  await requireSuccess(product, runs)
  // Of the listener: token and acquire for each job, renew, poll as Online and as Busy.
  return { rate: jobs / ((ended - (began ?? 0)) / 1000), calls: Math.round(calls / jobs) + 5, load, cpuMs, p50: median(times) }
}

/** A fast server that loses jobs is no result. */
async function requireSuccess(product: Product, runs: number): Promise<void> {
  for (let i = 0; i < 50; i++) {
    const listed = (await product.api('GET', `/repos/acme/rocket/actions/runs?per_page=${runs}`)).json<{
      workflow_runs: { conclusion: string | null }[]
    }>()
    if (listed.workflow_runs.length === runs && listed.workflow_runs.every(({ conclusion }) => conclusion === 'success')) return
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  throw new Error('the runs did not end in success')
}
