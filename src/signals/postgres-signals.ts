import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { LocalSignals, type Signals, type Topic } from './signals.ts'

const CHANNEL = 'fleetfoot'
/** Signals of a node are gathered this long into one statement: a notification inside each transaction slows commits (architecture 1.5). */
const GATHER_MS = 5
/** PostgreSQL takes 8000 bytes a notification. */
const PAYLOAD_LIMIT = 7000
const RECONNECT_MS = 1000
/** A database that does not even refuse. */
const CONNECT_MS = 5000

/** Signals between nodes over PostgreSQL's LISTEN and NOTIFY. This node's own listeners hear at once, without the round trip. */
export class PostgresSignals implements Signals {
  readonly #local = new LocalSignals()
  readonly #node = randomBytes(6).toString('hex')
  readonly #url: string
  readonly #pending = new Set<string>()
  #gathering: NodeJS.Timeout | undefined
  #reconnecting: NodeJS.Timeout | undefined
  #client: pg.Client | undefined
  /** One statement after the other: the client's own queue is going away. */
  #sent: Promise<unknown> = Promise.resolve()
  #disposed = false

  constructor(url: string) {
    this.#url = url
  }

  /** Connects and listens. Fails when the database cannot be reached; later breaks are mended by reconnecting. */
  async start(): Promise<void> {
    const client = new pg.Client({ connectionString: this.#url, keepAlive: true, connectionTimeoutMillis: CONNECT_MS })
    client.on('notification', ({ payload }) => this.#heard(payload ?? ''))
    client.on('error', () => this.#lost(client))
    client.on('end', () => this.#lost(client))
    await client.connect()
    await client.query(`listen ${CHANNEL}`)
    if (this.#disposed) await client.end()
    else this.#client = client
  }

  send(topic: Topic, id: number): void {
    this.#local.send(topic, id)
    this.#pending.add(`${topic}:${id}`)
    this.#gathering ??= setTimeout(() => this.#flush(), GATHER_MS)
  }

  listen(topic: Topic, heard: (id: number) => void): Disposable {
    return this.#local.listen(topic, heard)
  }

  listenTo(topic: Topic, id: number, heard: () => void): Disposable {
    return this.#local.listenTo(topic, id, heard)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#disposed = true
    clearTimeout(this.#gathering)
    clearTimeout(this.#reconnecting)
    const client = this.#client
    this.#client = undefined
    await client?.end().catch(() => {})
    await this.#local[Symbol.asyncDispose]()
  }

  #flush(): void {
    this.#gathering = undefined
    const client = this.#client
    if (!client) {
      // Without a connection the sweep of the other nodes stands in.
      this.#pending.clear()
      return
    }
    let payload = this.#node
    const send = () => {
      const notified = payload
      // Named: parsed once for the connection.
      const query = { name: 'fleetfoot_notify', text: 'select pg_notify($1, $2)', values: [CHANNEL, notified] }
      this.#sent = this.#sent.then(() => client.query(query)).catch(() => this.#lost(client))
    }
    for (const signal of this.#pending) {
      if (payload.length + signal.length + 1 > PAYLOAD_LIMIT) {
        send()
        payload = this.#node
      }
      payload += ` ${signal}`
    }
    this.#pending.clear()
    send()
  }

  #heard(payload: string): void {
    const [node, ...signals] = payload.split(' ')
    if (node === this.#node) return
    for (const signal of signals) {
      const [topic, id] = signal.split(':')
      if (topic === 'line' || topic === 'runner' || topic === 'group' || topic === 'job' || topic === 'hook')
        this.#local.send(topic, Number(id))
    }
  }

  #lost(client: pg.Client): void {
    if (this.#client !== client && this.#client !== undefined) return
    this.#client = undefined
    if (this.#disposed || this.#reconnecting) return
    client.end().catch(() => {})
    this.#reconnecting = setTimeout(() => {
      this.#reconnecting = undefined
      this.start().catch(() => this.#lost(client))
    }, RECONNECT_MS)
    this.#reconnecting.unref()
  }
}
