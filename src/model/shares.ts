/** What of a line tells whose turn it is. */
export interface WaitingLine {
  id: number
  ownerId: number
  repositoryId: number
  /** The label that it is filed under. */
  label: string
  /** Lower goes first. */
  rank: number
  /** Its place among the lines of its label and rank. */
  turn: number
  /** Since when its first job waits. */
  queuedAt: number
  ahead: Ahead | null
}

/** Of a job that was moved: before those of its label with a later turn, or before all that wait for runners of the enterprise. */
export type Ahead = 'lane' | 'all'

/** A line to try next, and the repository whose turn that is. */
export interface Choice<Line> {
  line: Line
  turnOf: number
}

interface Served {
  at: number
  count: number
}

const KEPT = 100_000
const NEVER: Served = { at: 0, count: 0 }

/**
 * Shares the runners that can do the same (a `pool`) fairly between the repositories that wait for them: the turn goes to the one that was
 * served longest ago, or has waited longest since, whatever labels its jobs ask for. So nobody gets more by asking for many labels, and
 * who comes new waits one round at most. Each node remembers whom it served; shares that are fair on every node are fair together, and
 * what a node forgets costs one round.
 */
export class Shares {
  readonly #now: () => number
  readonly #served = new Map<string, Served>()
  #count = 0

  constructor(now: () => number) {
    this.#now = now
  }

  /** Notes that a pool served a job, in whose turn, filed under which label. */
  serve(pool: string, turnOf: number, label: string): void {
    if (this.#served.size >= KEPT) this.#served.clear()
    const served = { at: this.#now(), count: ++this.#count }
    this.#served.set(`${pool} repository ${turnOf}`, served)
    this.#served.set(`${pool} label ${label}`, served)
  }

  /**
   * All lines, in the order in which a runner tries them: by rank, then by the turns of repositories, then, within one, by labels in turns
   * and by place. With `isWide`, for the enterprise's runners, no rank comes before the turns, or one organization could overtake the
   * others; but an organization spends the turns of its repositories on what it ranks first.
   */
  order<Line extends WaitingLine>(pool: string, lines: readonly Line[], isWide: boolean): Choice<Line>[] {
    const rankOf = ({ rank, ahead }: Line) => (isWide ? (ahead === 'all' ? -1 : 0) : rank)
    const waitsSince = new Map<string, number>()
    const keyOf = (line: Line) => `${rankOf(line)} ${line.repositoryId}`
    for (const line of lines) waitsSince.set(keyOf(line), Math.min(line.queuedAt, waitsSince.get(keyOf(line)) ?? Infinity))
    const sorted = lines
      .map((line) => {
        const served = this.#served.get(`${pool} repository ${line.repositoryId}`) ?? NEVER
        const label = this.#served.get(`${pool} label ${line.label}`) ?? NEVER
        const at = Math.max(served.at, waitsSince.get(keyOf(line)) ?? 0)
        return { line, by: [rankOf(line), at, served.count, label.count, line.turn, line.queuedAt, line.id] }
      })
      .sort((a, b) => compare(a.by, b.by))
      .map(({ line }) => line)
    const moved = putAhead(sorted, isWide)
    return isWide ? spendTurns(moved) : moved.map((line) => ({ line, turnOf: line.repositoryId }))
  }
}

function compare(a: readonly number[], b: readonly number[]): number {
  for (const [index, value] of a.entries()) {
    const difference = value - (b[index] ?? 0)
    if (difference !== 0) return difference
  }
  return 0
}

/** Lines of jobs that were put before another one: before the first of their lane that has a later turn. */
function putAhead<Line extends WaitingLine>(sorted: Line[], isWide: boolean): Line[] {
  const ahead = sorted.filter((line) => line.ahead === 'lane').toSorted((a, b) => a.turn - b.turn || a.id - b.id)
  if (ahead.length === 0) return sorted
  const natural = new Map(sorted.map((line, index) => [line, index]))
  const placeOf = (line: Line) => natural.get(line) ?? 0
  const result = sorted.filter((line) => line.ahead !== 'lane')
  for (const line of ahead) {
    const isLater = (other: Line) => other.label === line.label && (isWide || other.rank === line.rank) && other.turn > line.turn
    const at = result.findIndex((other) => isLater(other) || placeOf(other) > placeOf(line))
    result.splice(at < 0 ? result.length : at, 0, line)
  }
  return result
}

/** The order of an organization's own lines is by rank, at the turns that they have. */
function spendTurns<Line extends WaitingLine>(sorted: Line[]): Choice<Line>[] {
  const byOwner = Map.groupBy(sorted, ({ ownerId }) => ownerId)
  for (const lines of byOwner.values()) lines.sort((a, b) => firstOf(a) - firstOf(b))
  const next = new Map<number, number>()
  return sorted.map(({ ownerId, repositoryId }) => {
    const at = next.get(ownerId) ?? 0
    next.set(ownerId, at + 1)
    return { line: byOwner.get(ownerId)?.[at] as Line, turnOf: repositoryId }
  })
}

const firstOf = ({ ahead, rank }: WaitingLine) => (ahead === 'all' ? -Infinity : rank)
