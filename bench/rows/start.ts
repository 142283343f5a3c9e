import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createHttp } from '../../src/runner/http.ts'
import { runListener } from '../../src/runner/listener.ts'
import { registerRunner } from '../../src/runner/registration.ts'
import { scriptedExecutor } from '../../src/runner/scripted.ts'
import type { Bench, BenchOptions, Row } from '../support/row.ts'
import { makeState, type State } from '../support/seed.ts'
import { pushFiles, settled, startProduct, type Product } from '../support/server.ts'
import { median } from '../support/stats.ts'

const WORKFLOW = `on: workflow_dispatch\njobs:\n  a:\n    runs-on: self-hosted\n    steps:\n      - run: echo\n`
const MB = 1024 * 1024
const JOBS = 50

/** How long a start takes, and what the server holds with one runner, before and after fifty jobs. */
export const start: Bench = {
  name: 'start',
  async run(options) {
    await using state = await makeState()
    return [...(await starts(options, state)), await residence(options, state)]
  },
}

async function starts(options: BenchOptions, state: State): Promise<Row[]> {
  const cache = mkdtempSync(path.join(tmpdir(), 'fleetfoot-bench-cache-'))
  const once = async () => {
    await using product = await startProduct(state, options, { env: { NODE_COMPILE_CACHE: cache } })
    return product.startMs
  }
  const cold = await once()
  const warm: number[] = []
  for (let i = 0; i < (options.quick ? 3 : 7); i++) warm.push(await once())
  rmSync(cache, { recursive: true, force: true })
  options.say(`start: first ${Math.round(cold)} ms, then ${warm.map(Math.round).join(', ')} ms`)
  const ms = median(warm)
  return [
    {
      what: 'start to ready',
      measured: `${Math.round(ms)} ms (the very first, without compile cache: ${Math.round(cold)} ms)`,
      aim: '< 1 s',
      met: ms < 1000,
      remark: 'from the spawn of bin/fleetfoot to the first 200 of /readyz, asked every 5 ms',
    },
  ]
}

async function residence(options: BenchOptions, state: State): Promise<Row> {
  // What a start compiles it keeps beside the database; an installation's very first start also holds the compiler.
  const [first] = await resident(options, state, (product) => pushFiles(product, { '.github/workflows/one.yml': WORKFLOW }))
  const [before, after, later, largest] = await resident(options, state, async () => {})
  options.say(`start: ${before.toFixed(0)} MB, after 50 jobs ${after.toFixed(0)} MB, after 100 ${later.toFixed(0)} MB`)
  return {
    what: 'resident memory with 1 runner: before, after 50 jobs, after 50 more',
    measured: `${before.toFixed(0)}, ${after.toFixed(0)}, ${later.toFixed(0)} MB (largest ${largest.toFixed(0)})`,
    aim: '< 160 MB, flat',
    met: Math.max(before, largest, later) < 160 && later - after < 16,
    remark: `VmRSS, no forced collection, of a second start (before the first jobs of the very first: ${first.toFixed(0)} MB); flat means less than 16 MB more after the second 50 jobs than after the first`,
  }
}

/** Megabytes: with one runner that waits, after 50 jobs, after 100, and the most that was seen. */
async function resident(
  options: BenchOptions,
  state: State,
  prepare: (product: Product) => Promise<void>,
): Promise<[number, number, number, number]> {
  await using product = await startProduct(state, options)
  await prepare(product)
  const { token } = (await product.api('POST', '/orgs/acme/actions/runners/registration-token')).json<{ token: string }>()
  const http = createHttp()
  const config = await registerRunner({ url: `${product.url}/acme`, token, name: 'one', replace: true, http })
  const stop = new AbortController()
  let completed: () => void = () => {}
  const ended = runListener(config, {
    http,
    signal: stop.signal,
    executor: scriptedExecutor(),
    onEvent: ({ kind }) => kind === 'job-completed' && completed(),
  })
  const runJob = async () => {
    const done = new Promise<void>((resolve) => (completed = resolve))
    const answer = await product.api('POST', '/repos/acme/rocket/actions/workflows/one.yml/dispatches', { ref: 'main' })
    if (answer.status !== 204) throw new Error(`dispatch: ${answer.status} ${answer.body}`)
    await done
  }
  await settled(product)
  const before = product.rss() / MB
  let largest = before
  for (let i = 0; i < JOBS; i++) {
    await runJob()
    largest = Math.max(largest, product.rss() / MB)
  }
  const after = product.rss() / MB
  for (let i = 0; i < JOBS; i++) await runJob()
  const later = product.rss() / MB
  stop.abort()
  await ended
  http.agents.http.destroy()
  return [before, after, later, largest]
}
