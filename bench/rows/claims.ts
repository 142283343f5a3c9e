import { mustCall, pollUrl } from '../support/http.ts'
import { ratioRow, type Bench, type Row } from '../support/row.ts'
import { makeState, runnerAccessToken, seedQueue, seedRunners, type SeededRunner, type State } from '../support/seed.ts'
import { settled, startProduct, type Product } from '../support/server.ts'
import { median } from '../support/stats.ts'

const pool = (index: number) => ['self-hosted', 'linux', `pool-${index}`]

interface Queue {
  name: string
  state: State
  product: Product
  plain: SeededRunner[]
  manyLabels: SeededRunner[]
}

/** A poll that is answered with a job at once, with few and with many jobs and lines to choose from. Each runner polls once. */
export const claims: Bench = {
  name: 'claims',
  async run(options) {
    const polls = options.quick ? 60 : 300
    const many = options.quick ? 10_000 : 100_000
    await using stack = new AsyncDisposableStack()
    const open = async (name: string, queue: { count: number; repositories: number; pools: number }): Promise<Queue> => {
      let plain: SeededRunner[] = []
      let manyLabels: SeededRunner[] = []
      const state = stack.use(
        await makeState({
          more: async (db, seeded) => {
            const scope = { kind: 'organization' as const, id: seeded.acme.id }
            const own = (index: number) => pool(index % queue.pools)
            plain = await seedRunners(db, scope, { count: polls, prefix: 'plain', labels: own })
            const more = Array.from({ length: 27 }, (_, index) => `extra-${index}`)
            manyLabels = await seedRunners(db, scope, { count: polls, prefix: 'many', labels: (index) => [...own(index), ...more] })
            const labelSets = Array.from({ length: queue.pools }, (_, index) => pool(index))
            await seedQueue(db, seeded, { count: queue.count, repositories: queue.repositories, labelSets })
          },
        }),
      )
      options.say(`claims: ${name} is seeded`)
      return { name, state, product: stack.use(await startProduct(state, options)), plain, manyLabels }
    }
    // The few never become fewer than a hundred.
    const few = await open('100 jobs', { count: 100 + 2 * polls, repositories: 1, pools: 10 })
    const tenLines = await open(`${many} jobs in 10 lines`, { count: many, repositories: 1, pools: 10 })
    const ownLines = await open(`${many} jobs in ${many} lines`, { count: many, repositories: many / 100, pools: 100 })
    for (const { product } of [few, tenLines, ownLines]) await settled(product)
    const queues = [few, tenLines, ownLines]

    const times = new Map(queues.map((queue) => [queue, { plain: [] as number[], manyLabels: [] as number[] }]))
    for (let i = 0; i < polls; i++) {
      for (const queue of queues) {
        for (const kind of ['plain', 'manyLabels'] as const) {
          const ms = await poll(queue, queue[kind][i])
          if (i >= polls / 10) times.get(queue)?.[kind].push(ms)
        }
      }
    }
    const p50 = (queue: Queue, kind: 'plain' | 'manyLabels') => median(times.get(queue)?.[kind] ?? [])
    for (const queue of queues) options.say(`claims: ${queue.name}: ${p50(queue, 'plain').toFixed(2)} ms`)
    const count = many.toLocaleString('en')
    const row = (what: string, numerator: number, denominator: number, atMost: number): Row => ({
      ...ratioRow(what, numerator / denominator, { atMost }, `${numerator.toFixed(2)} / ${denominator.toFixed(2)} ms`),
      remark: 'time of a poll over HTTP that is answered with a job at once, p50, one after the other and in turns',
    })
    return [
      row(`a claim with ${count} queued jobs in 10 lines against 100 jobs`, p50(tenLines, 'plain'), p50(few, 'plain'), 1.5),
      row(`a claim with ${count} queued jobs in ${count} lines against 100 jobs`, p50(ownLines, 'plain'), p50(few, 'plain'), 1.5),
      row(
        `a claim by a runner with 30 labels against one with 3 (${count} jobs, 10 lines)`,
        p50(tenLines, 'manyLabels'),
        p50(tenLines, 'plain'),
        1.2,
      ),
    ]
  },
}

async function poll({ product, state, name }: Queue, runner: SeededRunner | undefined): Promise<number> {
  if (!runner) throw new Error('too few runners')
  const token = runnerAccessToken(state.keys, runner.id)
  const began = performance.now()
  const answer = await mustCall(pollUrl(product.url, runner.sessionId), { method: 'GET', token })
  const ms = performance.now() - began
  if (answer.status !== 200) throw new Error(`${name}: the poll was answered ${answer.status}`)
  return ms
}
