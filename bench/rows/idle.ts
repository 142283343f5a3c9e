import { DatabaseSync } from 'node:sqlite'
import { callJson, mustCall, pollUrl } from '../support/http.ts'
import type { Bench, BenchOptions, Row } from '../support/row.ts'
import { makeState, runnerAccessToken, seedRunners, type SeededRunner } from '../support/seed.ts'
import { pushFiles, settled, startProduct, type Product } from '../support/server.ts'
import { quantile, wallClock } from '../support/stats.ts'

const POOLS = 40
const SYSTEMS = ['linux', 'windows', 'macos']
const ASKED = 12

/** Runners of many kinds: system, architecture, one of forty pools, some with a GPU. */
function labelsOf(index: number): string[] {
  return [
    'self-hosted',
    SYSTEMS[index % SYSTEMS.length] ?? 'linux',
    index % 2 === 0 ? 'x64' : 'arm64',
    `pool-${index % POOLS}`,
    ...(index % 10 === 0 ? ['gpu'] : []),
  ]
}

/** Workflows that ask for some of the kinds: few labels that thousands have, and sets that few have. */
function workflows(): Record<string, string> {
  return Object.fromEntries(
    Array.from({ length: ASKED }, (_, index) => {
      const labels = index % 3 === 0 ? ['self-hosted'] : index % 3 === 1 ? ['self-hosted', 'linux', 'gpu'] : labelsOf(index * 7).slice(0, 4)
      const text = `on: workflow_dispatch\njobs:\n  a:\n    runs-on: [${labels.join(', ')}]\n    steps:\n      - run: 'true'\n`
      return [`.github/workflows/w${index}.yml`, text]
    }),
  )
}

/** From a job's entry in its line to the message at a runner, among many idle runners. */
export const idle: Bench = {
  name: 'idle',
  async run(options) {
    const rows: Row[] = []
    for (const count of options.quick ? [200, 1000] : [1000, 10_000]) rows.push(...(await among(options, count)))
    return rows
  },
}

async function among(options: BenchOptions, count: number): Promise<Row[]> {
  let runners: SeededRunner[] = []
  await using state = await makeState({
    more: async (db, { acme }) => {
      runners = await seedRunners(db, { kind: 'organization', id: acme.id }, { count, prefix: 'idle', labels: labelsOf })
    },
  })
  await using product = await startProduct(state, options)
  await pushFiles(product, workflows())
  await settled(product)
  const fleet = new Fleet(product, runners)
  await fleet.connect()
  const seconds = options.quick ? 5 : 60
  await mustDispatch(product, 0)
  await fleet.next()

  const began = performance.now()
  let sent = 0
  while (performance.now() - began < seconds * 1000) {
    const message = fleet.next()
    await mustDispatch(product, sent++ % ASKED)
    await message
    // Dispatches of one client, not too close: the runner that just had a job has ended it and polls again.
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  await fleet.disconnect()
  const times = delays(product, fleet.received.slice(1))
  const [p50, p99] = [quantile(times, 0.5), quantile(times, 0.99)]
  options.say(`idle: ${count} runners, ${times.length} jobs, p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`)
  return [
    {
      what: `enqueue to message, ${count.toLocaleString('en')} idle runners with mixed labels`,
      measured: `p50 ${p50.toFixed(1)} ms, p99 ${p99.toFixed(1)} ms`,
      aim: 'p50 < 5 ms, p99 < 50 ms',
      met: p50 < 5 && p99 < 50,
      remark: `from the instant of the event job.queued (set before its transaction) until the load has read the message; ${times.length} jobs, dispatched over REST one after the other during ${seconds} s, so that the polls' own ends and returns are in it`,
    },
  ]
}

async function mustDispatch(product: Product, index: number): Promise<void> {
  const answer = await product.api('POST', `/repos/acme/rocket/actions/workflows/w${index}.yml/dispatches`, { ref: 'main' })
  if (answer.status !== 204) throw new Error(`dispatch: ${answer.status} ${answer.body}`)
}

/** The difference of two clocks of one machine: the server's instant in the event, ours at the arrival. */
function delays({ state }: Product, received: { requestId: string; at: number }[]): number[] {
  if (state.database.kind !== 'sqlite') throw new Error('the instants are read from SQLite')
  const database = new DatabaseSync(state.database.file, { readOnly: true })
  const find = database.prepare(
    `select event."at" from assignment join event on event."subjectKind" = 'job' and event."subjectId" = assignment."jobId"
      where assignment."requestId" = ? and event.kind = 'job.queued'`,
  )
  const times = received.map(({ requestId, at }) => at - Number(find.get(requestId)?.['at']))
  database.close()
  return times
}

/** Runners that wait, take the job that they are given, end it at once and wait again. */
class Fleet {
  readonly received: { requestId: string; at: number }[] = []
  readonly #product: Product
  readonly #runners: SeededRunner[]
  readonly #abort = new AbortController()
  #waiting: (() => void) | undefined
  #open = 0

  constructor(product: Product, runners: SeededRunner[]) {
    this.#product = product
    this.#runners = runners
  }

  /** Opens the polls over ten seconds, as a fleet does, and waits until the server has them. */
  async connect(): Promise<void> {
    const { state } = this.#product
    for (const [index, runner] of this.#runners.entries()) {
      void this.#listen(runner, runnerAccessToken(state.keys, runner.id))
      if (index % 100 === 99) await new Promise((resolve) => setTimeout(resolve, 100))
    }
    await new Promise((resolve) => setTimeout(resolve, 2000))
    if (this.#open !== this.#runners.length) throw new Error(`${this.#open} of ${this.#runners.length} polls are open`)
  }

  async disconnect(): Promise<void> {
    this.#abort.abort()
  }

  /** Resolves with the next message that any runner gets. */
  next(): Promise<void> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error('no message came within 10 s')), 10_000)
      this.#waiting = () => {
        clearTimeout(timer)
        resolve()
      }
    })
  }

  async #listen(runner: SeededRunner, token: string): Promise<void> {
    const { url } = this.#product
    const { signal } = this.#abort
    // The signal is not given to each request: ten thousand listeners on one would be measured with it.
    this.#open++
    while (!signal.aborted) {
      const answer = await callJson(pollUrl(url, runner.sessionId), { method: 'GET', token }).catch(() => undefined)
      const at = wallClock()
      if (signal.aborted) return
      if (answer?.status === 202) continue
      if (answer?.status !== 200) break
      const { runner_request_id: requestId } = JSON.parse(answer.json<{ body: string }>().body) as { runner_request_id: string }
      this.received.push({ requestId, at })
      await this.#finish(requestId, token)
      this.#waiting?.()
    }
    if (!signal.aborted) this.#open--
  }

  async #finish(requestId: string, token: string): Promise<void> {
    const { url } = this.#product
    const acquired = await mustCall(`${url}/_run/acquirejob`, { method: 'POST', token, body: { jobMessageId: requestId } })
    const job = acquired.json<{
      jobId: string
      plan: { planId: string }
      resources: { endpoints: { authorization: { parameters: { AccessToken: string } } }[] }
    }>()
    const body = { planId: job.plan.planId, jobId: job.jobId, conclusion: 'succeeded', outputs: {}, stepResults: [], annotations: [] }
    const jobToken = job.resources.endpoints[0]?.authorization.parameters.AccessToken
    await mustCall(`${url}/_run/completejob`, { method: 'POST', token: jobToken, body })
  }
}
