import { collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Deps } from '../../core/deps.ts'
import type { Dispatcher } from '../../core/jobs/dispatcher.ts'
import { queueNumbers, troubles } from '../../core/readiness.ts'
import type { App } from '../../http/server.ts'

type OperationsDeps = Deps & { dispatcher: Dispatcher; shutdown: AbortSignal }

const anyone = { config: { access: { by: 'anyone' as const } } }

/** For those who keep the server running: alive, ready, and numbers in Prometheus' text form. Plain text, without names of anybody's. */
export function operationsRoom(app: App, { deps, metrics }: { deps: OperationsDeps; metrics: Metrics }): void {
  app.get('/healthz', anyone, async (_request, reply) => reply.type('text/plain').send('ok\n'))

  app.get('/readyz', anyone, async (_request, reply) => {
    const found = deps.shutdown.aborted ? ['shutting down'] : await troubles(deps)
    reply.type('text/plain')
    return found.length === 0 ? reply.send('ready\n') : reply.code(503).send(`${found.join('\n')}\n`)
  })

  app.get('/metrics', anyone, async (_request, reply) => {
    const text = await metrics.text()
    return reply.type(metrics.contentType).send(text)
  })
}

/** The numbers of this node and of the queue. */
export class Metrics {
  readonly #registry = new Registry()
  readonly #requests: Histogram

  constructor(deps: Pick<OperationsDeps, 'db' | 'dispatcher'>) {
    collectDefaultMetrics({ register: this.#registry })
    this.#requests = new Histogram({
      name: 'fleetfoot_http_request_seconds',
      help: 'Time to answer, without held polls, by method and status class',
      labelNames: ['method', 'status'],
      buckets: [0.001, 0.005, 0.02, 0.1, 0.5, 2, 10],
      registers: [this.#registry],
    })
    new Gauge({
      name: 'fleetfoot_jobs',
      help: 'Jobs by state, of all nodes',
      labelNames: ['state'],
      registers: [this.#registry],
      async collect() {
        this.reset()
        for (const state of ['queued', 'assigned', 'in_progress']) this.set({ state }, 0)
        // While the database is away the numbers of this node are still worth reading.
        for (const { status, count } of await queueNumbers(deps).catch(() => [])) this.set({ state: status }, count)
      },
    })
    new Gauge({
      name: 'fleetfoot_waiting_polls',
      help: 'Runners that wait for work on this node',
      registers: [this.#registry],
      collect() {
        this.set(deps.dispatcher.waiting)
      },
    })
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  text(): Promise<string> {
    return this.#registry.metrics()
  }

  observe(method: string, status: number, seconds: number): void {
    this.#requests.observe({ method, status: `${Math.floor(status / 100)}xx` }, seconds)
  }
}
