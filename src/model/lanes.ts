import type { Server } from './job.ts'

const KEPT = 10_000

/**
 * Which labels were served when, at each place where runners are registered. Only for the order in which one node tries labels, so that each
 * gets its turn; nothing is wrong when it is forgotten.
 */
export class Lanes {
  readonly #served = new Map<string, number>()
  #count = 0

  /** When the label was last served there, as a count; 0 for never. */
  served({ scope }: Pick<Server, 'scope'>, label: string): number {
    return this.#served.get(`${scope.kind} ${scope.id} ${label}`) ?? 0
  }

  serve({ scope }: Pick<Server, 'scope'>, label: string): void {
    if (this.#served.size >= KEPT) this.#served.clear()
    this.#served.set(`${scope.kind} ${scope.id} ${label}`, ++this.#count)
  }
}
