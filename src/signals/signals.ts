import { EventEmitter } from 'node:events'

/** What a signal is about. `line` has a job, `runner` has something for its poll, `group` has other rules, `job` has new lines or another state, `hook` has something to send. */
export type Topic = 'line' | 'runner' | 'group' | 'job' | 'hook'

/**
 * "Look again", between requests and between nodes. Carries no data but an id: who is woken looks in the database. A signal may be
 * lost; every node looks for all its waiters every few seconds, so that costs seconds, never correctness. Send after the commit.
 */
export interface Signals extends AsyncDisposable {
  send(topic: Topic, id: number): void
  /** Hears every signal of a topic, from this node and the others. */
  listen(topic: Topic, heard: (id: number) => void): Disposable
  /** Hears the signals of one id. */
  listenTo(topic: Topic, id: number, heard: () => void): Disposable
}

/** Signals within one process: all there is on SQLite, and this node's half on PostgreSQL. */
export class LocalSignals implements Signals {
  readonly #emitter = new EventEmitter().setMaxListeners(0)

  send(topic: Topic, id: number): void {
    this.#emitter.emit(topic, id)
    this.#emitter.emit(`${topic}:${id}`)
  }

  listen(topic: Topic, heard: (id: number) => void): Disposable {
    return this.#on(topic, heard)
  }

  listenTo(topic: Topic, id: number, heard: () => void): Disposable {
    return this.#on(`${topic}:${id}`, heard)
  }

  #on(name: string, heard: (id: number) => void): Disposable {
    this.#emitter.on(name, heard)
    return { [Symbol.dispose]: () => this.#emitter.off(name, heard) }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#emitter.removeAllListeners()
  }
}
