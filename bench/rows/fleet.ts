import { mustCall } from '../support/http.ts'
import { ratioRow, type Bench, type Row } from '../support/row.ts'
import { makeState, seedGroups, seedQueue, seedRunners, type SeededRunner, type State } from '../support/seed.ts'
import { settled, startProduct, type Product } from '../support/server.ts'
import { median } from '../support/stats.ts'

const POOLS = 10
const REPOSITORIES = 30
const pool = (index: number) => ['self-hosted', 'linux', `pool-${index % POOLS}`]

interface Size {
  runners: number
  groups: number
  jobs: number
}

interface Fleet {
  state: State
  product: Product
  runners: SeededRunner[]
}

/** One call of a row; `round` makes each change a real one. */
type Ask = (fleet: Fleet, round: number) => Promise<unknown>

const call = ({ product, state }: Fleet, method: string, path: string, body?: unknown) =>
  mustCall(`${product.url}${path}`, { method, token: state.token, ...(body !== undefined && { body }) })
const runnerAt = ({ runners }: Fleet, round: number): number => runners[round % runners.length]?.id ?? 0
const actions = '/api/v3/orgs/acme/actions'

const ASKS: { what: string; ask: Ask }[] = [
  { what: 'list page of 100 runners', ask: (fleet) => call(fleet, 'GET', `${actions}/runners?per_page=100`) },
  { what: 'list page of 10 groups', ask: (fleet) => call(fleet, 'GET', `${actions}/runner-groups?per_page=10`) },
  {
    what: 'group change',
    ask: (fleet, round) =>
      call(fleet, 'PATCH', `${actions}/runner-groups/3`, { name: `third-${round}`, allows_public_repositories: round % 2 === 0 }),
  },
  {
    what: 'runner moved between groups',
    ask: (fleet, round) => call(fleet, 'PUT', `${actions}/runner-groups/${4 + (round % 2)}/runners/${runnerAt(fleet, 0)}`),
  },
  {
    what: 'label added to a runner',
    ask: (fleet, round) => call(fleet, 'POST', `${actions}/runners/${runnerAt(fleet, round)}/labels`, { labels: [`more-${round}`] }),
  },
]

const askQueue: Ask = (fleet) => call(fleet, 'GET', '/api/fleetfoot/orgs/acme/queue?per_page=30')

/** What managing a fleet costs in a big one against one a hundredth of its size: runners, groups and queued jobs alike. */
export const fleet: Bench = {
  name: 'fleet',
  async run({ quick, ...options }) {
    const big = { runners: 10_000, groups: 1000, jobs: quick ? 10_000 : 100_000 }
    const small = { runners: big.runners / 100, groups: big.groups / 100, jobs: big.jobs / 100 }
    await using stack = new AsyncDisposableStack()
    const open = async (size: Size): Promise<Fleet> => {
      let runners: SeededRunner[] = []
      const state = stack.use(
        await makeState({
          more: async (db, seeded) => {
            const scope = { kind: 'organization' as const, id: seeded.acme.id }
            runners = await seedRunners(db, scope, { count: size.runners, prefix: 'runner', labels: pool })
            await seedGroups(db, scope, { count: Math.max(size.groups, 10), runners })
            const labelSets = Array.from({ length: POOLS }, (_, index) => pool(index))
            await seedQueue(db, seeded, { count: size.jobs, repositories: REPOSITORIES, labelSets })
          },
        }),
      )
      options.say(`fleet: ${size.runners} runners, ${size.groups} groups, ${size.jobs} jobs are seeded`)
      return { state, product: stack.use(await startProduct(state, { quick, ...options })), runners }
    }
    const fleets = { big: await open(big), small: await open(small), calm: await open({ ...big, jobs: small.jobs }) }
    for (const { product } of Object.values(fleets)) await settled(product)

    const rounds = quick ? 60 : 200
    const compare = async (what: string, ask: Ask, one: Fleet, other: Fleet): Promise<Row> => {
      const times = new Map([one, other].map((fleet) => [fleet, [] as number[]]))
      for (let round = 0; round < rounds; round++) {
        for (const [fleet, ms] of times) {
          const began = performance.now()
          await ask(fleet, round)
          if (round >= rounds / 10) ms.push(performance.now() - began)
        }
      }
      const [much, little] = [median(times.get(one) ?? []), median(times.get(other) ?? [])]
      options.say(`fleet: ${what}: ${much.toFixed(2)} ms, ${little.toFixed(2)} ms`)
      return ratioRow(what, much / little, { atMost: 1.5 }, `${much.toFixed(2)} / ${little.toFixed(2)} ms`)
    }
    const rows: Row[] = []
    for (const { what, ask } of ASKS)
      rows.push(await compare(`${what}, ${sizeOf(big)}, against a hundredth`, ask, fleets.big, fleets.small))
    const [many, few] = [big.jobs, small.jobs].map((jobs) => jobs.toLocaleString('en'))
    rows.push(await compare(`page of 30 of the queue, ${many} jobs against ${few}, the same fleet`, askQueue, fleets.big, fleets.calm))
    // A reason counts up to 1,000 runners of each set of labels on the page.
    const grown = await compare(`page of 30 of the queue, ${sizeOf(big)}, against a hundredth`, askQueue, fleets.big, fleets.small)
    rows.push({ ...grown, aim: '', met: undefined })
    return rows
  },
}

function sizeOf({ runners, groups, jobs }: Size): string {
  return `${runners.toLocaleString('en')} runners, ${groups.toLocaleString('en')} groups, ${jobs.toLocaleString('en')} jobs`
}
