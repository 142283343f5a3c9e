import type { Bench } from '../support/row.ts'
import { makeState } from '../support/seed.ts'
import { settled, startProduct } from '../support/server.ts'
import { median } from '../support/stats.ts'

const POOL = 128
const BURST = 100
const CLIENTS = 4

/** Just-in-time configurations: as many as can be had for long, and a burst out of the pool of keys. */
export const jit: Bench = {
  name: 'jit',
  async run(options) {
    await using state = await makeState()
    await using product = await startProduct(state, options)
    let count = 0
    const make = async () => {
      const body = { name: `jit-${count++}`, runner_group_id: 1, labels: ['self-hosted', 'linux', 'x64'] }
      const answer = await product.api('POST', '/orgs/acme/actions/runners/generate-jitconfig', body)
      if (answer.status !== 201) throw new Error(`generate-jitconfig: ${answer.status} ${answer.body}`)
    }
    /** Until no key is left over, then for a while. */
    const sustained = async () => {
      for (let i = 0; i < POOL + 20; i += CLIENTS) await Promise.all(Array.from({ length: CLIENTS }, make))
      const began = performance.now()
      const end = began + (options.quick ? 3000 : 10_000)
      let made = 0
      await Promise.all(
        Array.from({ length: CLIENTS }, async () => {
          while (performance.now() < end) {
            await make()
            made++
          }
        }),
      )
      return (made / (performance.now() - began)) * 1000
    }
    const burst = async () => {
      await settled(product)
      const began = performance.now()
      await Promise.all(Array.from({ length: BURST }, make))
      return (BURST / (performance.now() - began)) * 1000
    }
    const rates: number[] = []
    const bursts: number[] = []
    for (let round = 0; round < (options.quick ? 1 : 2); round++) {
      rates.push(await sustained())
      bursts.push(await burst(), await burst())
      options.say(`jit: ${rates.at(-1)?.toFixed(1)} /s, bursts ${bursts.map((rate) => rate.toFixed(0)).join(', ')} /s`)
    }
    const [rate, burstRate] = [median(rates), median(bursts)]
    return [
      {
        what: 'just-in-time configurations a second, sustained',
        measured: `${rate.toFixed(1)} /s`,
        aim: '≥ 15',
        met: rate >= 15,
        remark: `after the pool of ${POOL} keys was used up: every one waits for a new RSA key`,
      },
      {
        what: `just-in-time configurations a second, burst of ${BURST}`,
        measured: `${burstRate.toFixed(0)} /s`,
        aim: '≥ 100',
        met: burstRate >= 100,
      },
    ]
  },
}
