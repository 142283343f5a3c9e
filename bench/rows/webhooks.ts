import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { deliveriesInsert, type NewDelivery } from '../../src/store/hook-deliveries.ts'
import { hookDue, hookInsert } from '../../src/store/hooks.ts'
import { ratioRow, type Bench, type BenchOptions } from '../support/row.ts'
import { makeState } from '../support/seed.ts'
import { startProduct } from '../support/server.ts'
import { median } from '../support/stats.ts'

/** Of about the size of a `workflow_job`. */
const PAYLOAD = JSON.stringify({ action: 'queued', workflow_job: { name: 'x'.repeat(12_000) } })

/** How fast deliveries that wait are sent, from the first that comes to the last: to one receiver, to fifty, and to fifty of which one is dead. */
export const webhooks: Bench = {
  name: 'webhooks',
  async run(options) {
    const count = options.quick ? 1000 : 5000
    const one = await sent(options, { receivers: 1, dead: 0, count })
    const live: number[] = []
    const beside: number[] = []
    for (let round = 0; round < (options.quick ? 1 : 3); round++) {
      live.push(await sent(options, { receivers: 50, dead: 0, count }))
      beside.push(await sent(options, { receivers: 50, dead: 1, count }))
    }
    const [fifty, dead] = [median(live), median(beside)]
    const remark = `${count} deliveries of 12 kB, three for each job, to receivers that answer at once`
    const row = (what: string, rate: number) => ({ what, measured: `${Math.round(rate)} a second`, aim: '', met: undefined, remark })
    return [
      row('webhook deliveries to one receiver', one),
      row('webhook deliveries to 50 receivers', fifty),
      {
        ...ratioRow(
          'webhook deliveries to 49 receivers beside a dead one, against 50 live ones',
          dead / fifty,
          { atLeast: 0.8 },
          `${Math.round(dead)} / ${Math.round(fifty)} a second`,
        ),
        remark: 'the dead one takes connections and never answers; medians, in turns',
      },
    ]
  },
}

/** Deliveries a second to those receivers that live. */
async function sent(
  options: BenchOptions,
  { receivers, dead, count }: { receivers: number; dead: number; count: number },
): Promise<number> {
  await using stack = new AsyncDisposableStack()
  const wanted = Math.floor((count * (receivers - dead)) / receivers)
  let got = 0
  let began = 0
  let ended: () => void = () => {}
  const all = new Promise<void>((resolve) => (ended = resolve))
  const urls: string[] = []
  for (let index = 0; index < receivers; index++) {
    const server = createServer((request, response) => {
      if (index < dead) return
      request.resume().on('end', () => {
        response.end()
        if (got === 0) began = performance.now()
        if (++got === wanted) ended()
      })
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    stack.defer(() => {
      server.close()
      server.closeAllConnections()
    })
    urls.push(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`)
  }
  const state = stack.use(
    await makeState({
      more: (db, { repository }) =>
        db.transaction().execute(async (tx) => {
          const createdAt = Date.now()
          const settings = { contentType: 'json', insecureSsl: false, events: ['*'], active: true } as const
          const ids: number[] = []
          for (const url of urls)
            ids.push(
              (await hookInsert(tx, { kind: 'repository', id: repository.id }, { ...settings, url, events: ['*'] }, null, createdAt)).id,
            )
          const deliveries = Array.from({ length: count }, (_, index): NewDelivery => {
            const hookId = ids[index % ids.length] ?? 0
            const orderKey = `job ${Math.floor(index / ids.length / 3)}`
            const row = {
              event: 'workflow_job',
              action: 'queued',
              repositoryId: repository.id,
              installationId: null,
              eventId: null,
              redelivery: false,
            }
            return { ...row, hookId, orderKey, guid: `00000000-${index}`, payload: PAYLOAD, createdAt }
          })
          await deliveriesInsert(tx, deliveries)
          await hookDue(tx, ids, createdAt)
        }),
    }),
  )
  stack.use(await startProduct(state, options, { env: { FLEETFOOT_WEBHOOK_ALLOW: '127.0.0.1' } }))
  await all
  const rate = (wanted - 1) / ((performance.now() - began) / 1000)
  options.say(`webhooks: ${receivers} receivers, ${dead} dead: ${Math.round(rate)} a second`)
  return rate
}
