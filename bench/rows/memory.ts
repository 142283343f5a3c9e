import { Agent, request as requestHttp, type ClientRequest } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { pollUrl } from '../support/http.ts'
import { ratioRow, type Bench } from '../support/row.ts'
import { makeState, runnerAccessToken, seedRunners, type SeededRunner } from '../support/seed.ts'
import { settled, settledBytes, startBare, startProduct, type Child } from '../support/server.ts'
import { median } from '../support/stats.ts'

/** What a waiting runner takes of memory, against a request that a bare `node:http` server holds. */
export const memory: Bench = {
  name: 'memory',
  async run(options) {
    const count = options.quick ? 1000 : 5000
    const rounds = options.quick ? 1 : 3
    let runners: SeededRunner[] = []
    await using state = await makeState({
      more: async (db, { acme }) => {
        const labels = (index: number) => ['self-hosted', 'linux', 'x64', `pool-${index % 40}`]
        runners = await seedRunners(db, { kind: 'organization', id: acme.id }, { count: count + 200, prefix: 'idle', labels })
      },
    })
    const tokens = runners.map(({ id }) => runnerAccessToken(state.keys, id))
    const ours: number[] = []
    const bares: number[] = []
    for (let round = 0; round < rounds; round++) {
      await using bare = await startBare('bare-held.ts', [], { collects: true })
      bares.push(await perRequest(bare, runners, tokens, count))
      await using product = await startProduct(state, options, { collects: true })
      await settled(product)
      ours.push(await perRequest(product, runners, tokens, count))
      options.say(`memory: ${Math.round(ours.at(-1) ?? 0)} bytes a runner, bare ${Math.round(bares.at(-1) ?? 0)}`)
    }
    const ratio = median(ours.map((bytes, index) => bytes / (bares[index] ?? Number.NaN)))
    const detail = `${(median(ours) / 1024).toFixed(1)} / ${(median(bares) / 1024).toFixed(1)} KiB, ${count.toLocaleString('en')} held`
    return [ratioRow('memory per idle runner against a bare held request', ratio, { atMost: 1.5 }, detail)]
  },
}

/** Resident bytes that a held poll adds, after garbage collection, once some were held and let go. */
async function perRequest(server: Child, runners: SeededRunner[], tokens: string[], count: number): Promise<number> {
  await using warm = await hold(server, runners.slice(count), tokens.slice(count))
  await warm[Symbol.asyncDispose]()
  const before = await settledBytes(server)
  await using held = await hold(server, runners.slice(0, count), tokens.slice(0, count))
  const bytes = ((await settledBytes(server)) - before) / count
  if (held.answered() > 0) throw new Error(`${held.answered()} polls were answered`)
  return bytes
}

async function hold(server: Child, runners: SeededRunner[], tokens: string[]): Promise<AsyncDisposable & { answered(): number }> {
  const agent = new Agent({ keepAlive: true, maxSockets: Infinity })
  const requests: ClientRequest[] = []
  let answered = 0
  for (const [index, runner] of runners.entries()) {
    const headers = { Authorization: `Bearer ${tokens[index] ?? ''}`, 'User-Agent': 'fleetfoot-bench', Accept: 'application/json' }
    const sent = requestHttp(pollUrl(server.url, runner.sessionId), { agent, headers }, () => answered++)
    sent.on('error', () => {})
    sent.end()
    requests.push(sent)
    if (index % 100 === 99) await delay(25)
  }
  await delay(500)
  if (answered > 0) throw new Error(`${answered} polls were answered at once`)
  return {
    answered: () => answered,
    async [Symbol.asyncDispose]() {
      for (const sent of requests) sent.destroy()
      agent.destroy()
      await delay(500)
    },
  }
}
