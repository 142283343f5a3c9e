import pLimit from 'p-limit'
import { mayServe, type Line, type Server } from '../../model/job.ts'
import { Shares } from '../../model/shares.ts'
import { lineById, linesFiledUnder } from '../../store/jobs.ts'
import type { Deps } from '../deps.ts'

/** A poll that sleeps. `wake` is called once, when there may be work for it. */
interface Waiter {
  server: Server
  wake: () => void
}

/** An open poll, whether it waits for work or not; `changed` is called when what is known of its runner, or of its group, may no longer hold. */
export interface Attended extends Disposable {
  groupId: number | null
  changed: () => void
}

/** More would wait for the row of the same line, each with a connection of the database in its hands. */
const CLAIMS_AT_ONCE = 4
const LINES_KEPT = 10_000
const LINES_PER_LABEL = 64

/**
 * The polls that wait on this node, found by label. A waiting runner costs this entry and a socket: no timer and no query of its own.
 *
 * A signal names a line; the longest waiter that may serve it is woken and looks in the database. If it finds nothing (another node was
 * first) nobody else is woken. Every `times.sweepEvery` the node asks once which lines its waiters could serve, so a lost signal costs
 * seconds.
 */
export class Dispatcher implements Disposable {
  readonly #deps: Pick<Deps, 'db' | 'now' | 'signals' | 'times' | 'log'>
  /** Sets keep the order in which polls came. Each waiter stands under each of its labels, and under the empty one. */
  readonly #byLabel = new Map<string, Set<Waiter>>()
  /** For the claims of this node. */
  readonly shares: Shares
  /** Does a claim when its turn has come: a few go on at once. */
  readonly claim = pLimit(CLAIMS_AT_ONCE)
  readonly #byRunner = new Map<number, Set<Attended>>()
  readonly #servers = new Map<string, Promise<Server>>()
  readonly #lines = new Map<number, Line>()
  readonly #listening: Disposable[]
  readonly #sweeper: NodeJS.Timeout
  #sweeping = false
  #waiting = 0

  constructor(deps: Pick<Deps, 'db' | 'now' | 'signals' | 'times' | 'log'>) {
    this.#deps = deps
    this.shares = new Shares(deps.now)
    this.#listening = [
      deps.signals.listen('line', (id) => void this.#wakeForLineId(id)),
      deps.signals.listen('runner', (id) => this.#runnerChanged(id)),
      deps.signals.listen('group', (id) => this.#groupChanged(id)),
    ]
    this.#sweeper = setInterval(() => void this.sweep(), deps.times.sweepEvery)
    this.#sweeper.unref()
  }

  /** How many polls wait here for work. */
  get waiting(): number {
    return this.#waiting
  }

  /** Whether a poll of that runner is open on this node. */
  hasOpenPoll(runnerId: number): boolean {
    return (this.#byRunner.get(runnerId)?.size ?? 0) > 0
  }

  /** Keeps a poll of a runner known while it is open; its `groupId` is set again when the runner moves. */
  attend({ id, groupId }: { id: number; groupId: number | null }, changed: () => void): Attended {
    let polls = this.#byRunner.get(id)
    if (!polls) this.#byRunner.set(id, (polls = new Set()))
    const attended: Attended = {
      groupId,
      changed,
      [Symbol.dispose]: () => {
        polls.delete(attended)
        if (polls.size === 0 && this.#byRunner.get(id) === polls) this.#byRunner.delete(id)
      },
    }
    polls.add(attended)
    return attended
  }

  /** Puts a poll among those that wait for a job; it is taken out when woken or disposed. */
  wait(server: Server, wake: () => void): Disposable {
    const waiter: Waiter = {
      server,
      wake: () => {
        remove()
        wake()
      },
    }
    let isIn = true
    const remove = () => {
      if (!isIn) return
      isIn = false
      this.#waiting--
      for (const label of server.labels) this.#removeFrom(label, waiter)
      this.#removeFrom('', waiter)
    }
    this.#waiting++
    for (const label of server.labels) this.#addTo(label, waiter)
    this.#addTo('', waiter)
    return { [Symbol.dispose]: remove }
  }

  /** One object for all runners that can do the same: ten thousand idle runners of one kind share it. */
  shared(key: string, make: () => Promise<Server>): Promise<Server> {
    let server = this.#servers.get(key)
    if (!server) {
      if (this.#servers.size >= LINES_KEPT) this.#servers.clear()
      server = make()
      this.#servers.set(key, server)
      server.catch(() => this.#servers.delete(key))
    }
    return server
  }

  /** Looks once for all waiters. */
  async sweep(): Promise<void> {
    if (this.#sweeping || this.#waiting === 0) return
    this.#sweeping = true
    try {
      const labels = [...this.#byLabel].filter(([, waiters]) => waiters.size > 0).map(([label]) => label)
      const lines = await linesFiledUnder(this.#deps.db, labels, LINES_PER_LABEL)
      for (const line of lines) this.#wakeFor(line)
    } catch (error) {
      this.#deps.log.warn({ err: error }, 'looking for waiting jobs failed')
    } finally {
      this.#sweeping = false
    }
  }

  [Symbol.dispose](): void {
    clearInterval(this.#sweeper)
    for (const listening of this.#listening) listening[Symbol.dispose]()
  }

  #addTo(label: string, waiter: Waiter): void {
    const waiters = this.#byLabel.get(label)
    if (waiters) waiters.add(waiter)
    else this.#byLabel.set(label, new Set([waiter]))
  }

  #removeFrom(label: string, waiter: Waiter): void {
    const waiters = this.#byLabel.get(label)
    waiters?.delete(waiter)
    if (waiters?.size === 0) this.#byLabel.delete(label)
  }

  async #wakeForLineId(id: number): Promise<void> {
    if (this.#waiting === 0) return
    try {
      const line = this.#lines.get(id) ?? (await lineById(this.#deps.db, id))
      if (!line) return
      if (this.#lines.size >= LINES_KEPT) this.#lines.clear()
      this.#lines.set(id, line)
      this.#wakeFor(line)
    } catch (error) {
      this.#deps.log.warn({ err: error }, 'reading a signalled line failed')
    }
  }

  #wakeFor(line: Line): void {
    let fewest = this.#byLabel.get('')
    for (const label of line.labels) {
      const waiters = this.#byLabel.get(label)
      if (!waiters) return
      if (!fewest || waiters.size < fewest.size) fewest = waiters
    }
    for (const waiter of fewest ?? []) {
      if (!mayServe(waiter.server, line)) continue
      waiter.wake()
      return
    }
  }

  #runnerChanged(id: number): void {
    for (const poll of this.#byRunner.get(id) ?? []) poll.changed()
  }

  #groupChanged(id: number): void {
    for (const polls of this.#byRunner.values()) for (const poll of polls) if (poll.groupId === id) poll.changed()
  }
}
