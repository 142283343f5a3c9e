import { mustCall, requestsPerSecond } from '../support/http.ts'
import { ratioRow, type Bench, type BenchOptions, type Row } from '../support/row.ts'
import { makeState, seedRunners } from '../support/seed.ts'
import { settled, startBare, startProduct } from '../support/server.ts'
import { loadMeter, median } from '../support/stats.ts'
import { accountInsert, membershipSet } from '../../src/store/accounts.ts'
import { runnerGroupEnsureDefault } from '../../src/store/runner-groups.ts'

const LABELS = ['self-hosted', 'linux', 'x64']
const CLIENTS = 4

/** A page of runners: its rate against a bare handler, and what its place and the number of runners cost. */
export const lists: Bench = {
  name: 'lists',
  async run(options) {
    const many = options.quick ? 2000 : 10_000
    const pages = many / 100
    await using state = await makeState({
      more: async (db, { acme }) => {
        await seedRunners(db, { kind: 'organization', id: acme.id }, { count: many, prefix: 'runner', labels: () => LABELS })
        const small = await accountInsert(db, { kind: 'organization', login: 'small', createdAt: 1 })
        const mona = await db.selectFrom('account').select('id').where('loginKey', '=', 'mona').executeTakeFirstOrThrow()
        if (!small) throw new Error('the database is not empty')
        await membershipSet(db, { organizationId: small.id, userId: mona.id, role: 'owner', createdAt: 1 })
        await runnerGroupEnsureDefault(db, { kind: 'organization', id: small.id }, 1)
        await seedRunners(db, { kind: 'organization', id: small.id }, { count: 100, prefix: 'few', labels: () => LABELS })
      },
    })
    await using product = await startProduct(state, options)
    await settled(product)
    if (state.database.kind !== 'sqlite') throw new Error('the bare handler reads SQLite')
    await using bare = await startBare('bare-list.ts', [state.database.file, String(state.acme.id)])
    const page = (org: string, number: number) => () =>
      mustCall(`${product.url}/api/v3/orgs/${org}/actions/runners?per_page=100&page=${number}`, { method: 'GET', token: state.token })
    const bareList = () => mustCall(bare.url, { method: 'GET' })
    await requireSame(await page('acme', 1)(), await bareList())

    return [
      await rateRow(options, many, page('acme', 1), bareList),
      ...(await latencyRows(options, many, {
        first: page('acme', 1),
        late: page('acme', pages - pages / 10),
        lateNumber: pages - pages / 10,
        few: page('small', 1),
      })),
    ]
  },
}

async function requireSame(product: { body: string }, bare: { body: string }): Promise<void> {
  const [ours, theirs] = [product, bare].map(({ body }) => (JSON.parse(body) as { runners: unknown[]; total_count: number }).runners.length)
  if (ours !== 100 || theirs !== 100) throw new Error(`a page has ${ours} and ${theirs} runners`)
  const off = Math.abs(product.body.length - bare.body.length)
  if (off > product.body.length / 50) throw new Error(`the bodies differ by ${off} bytes`)
}

async function rateRow(
  { quick, say }: BenchOptions,
  many: number,
  list: () => Promise<unknown>,
  bareList: () => Promise<unknown>,
): Promise<Row> {
  const ms = quick ? 500 : 1500
  const rounds: { product: number; bare: number; load: number }[] = []
  for (let round = 0; round < (quick ? 4 : 8); round++) {
    const bare = await requestsPerSecond(bareList, CLIENTS, ms)
    const meter = loadMeter()
    const product = await requestsPerSecond(list, CLIENTS, ms)
    // The first round warms both up.
    if (round > 0) rounds.push({ product, bare, load: meter() })
    say(`lists: ${Math.round(product)} requests/s, bare ${Math.round(bare)}`)
  }
  const ratio = median(rounds.map(({ product, bare }) => product / bare))
  const [product, bare] = [median(rounds.map((round) => round.product)), median(rounds.map((round) => round.bare))]
  return ratioRow(
    `list page of 100 of ${many.toLocaleString('en')} runners, requests/s against a bare handler`,
    ratio,
    { atLeast: 0.5 },
    `${Math.round(product)} / ${Math.round(bare)}`,
  )
}

async function latencyRows(
  { quick, say }: BenchOptions,
  many: number,
  ask: { first: () => Promise<unknown>; late: () => Promise<unknown>; lateNumber: number; few: () => Promise<unknown> },
): Promise<Row[]> {
  const times = { first: [] as number[], late: [] as number[], few: [] as number[] }
  for (let i = 0; i < (quick ? 200 : 1000); i++) {
    for (const which of ['first', 'late', 'few'] as const) {
      const began = performance.now()
      await ask[which]()
      if (i >= 50) times[which].push(performance.now() - began)
    }
  }
  const [first, late, few] = [median(times.first), median(times.late), median(times.few)]
  say(`lists: page 1 ${first.toFixed(2)} ms, page ${ask.lateNumber} ${late.toFixed(2)} ms, of 100 ${few.toFixed(2)} ms`)
  const count = many.toLocaleString('en')
  return [
    ratioRow(`page ${ask.lateNumber} against page 1, p50`, late / first, { atMost: 1.3 }, `${late.toFixed(2)} / ${first.toFixed(2)} ms`),
    ratioRow(`page 1 of ${count} runners against 100, p50`, first / few, { atMost: 1.3 }, `${first.toFixed(2)} / ${few.toFixed(2)} ms`),
  ]
}
