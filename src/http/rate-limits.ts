import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Actor } from '../model/access.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Calls of this route are not counted. */
    freeOfCharge?: boolean
  }
}

const HOUR_MS = 60 * 60_000
const LIMITS = { anonymous: 60, signedIn: 15_000 }
const COUNTED_AT_MOST = 50_000

interface Window {
  used: number
  resetAt: number
}

/**
 * Counts requests per user, App or job, or per address for anonymous ones, and tells them in headers. Refused are those above the limit, and
 * only where the operator set one. Counted on this node only: behind a proxy over N nodes a client gets up to N times as much.
 */
export class RateLimits {
  readonly #windows = new Map<string, Window>()
  readonly #now: () => number
  /** Requests an hour of who is signed in; undefined: nothing is refused. */
  readonly #limit: number | undefined

  constructor(now: () => number, limit: number | undefined) {
    this.#now = now
    this.#limit = limit
  }

  /** Adds one request, `cost` 0 for those that are free, and answers the state. */
  count(request: FastifyRequest, cost = 1): { limit: number; used: number; remaining: number; reset: number } {
    const signedIn = nameOf(request.actor)
    const key = signedIn ?? `address ${request.ip}`
    const limit = signedIn === undefined ? LIMITS.anonymous : (this.#limit ?? LIMITS.signedIn)
    const now = this.#now()
    let window = this.#windows.get(key)
    if (!window || window.resetAt <= now) {
      if (this.#windows.size >= COUNTED_AT_MOST) this.#windows.clear()
      this.#windows.set(key, (window = { used: 0, resetAt: now + HOUR_MS }))
    }
    window.used += cost
    // Where nothing is refused, what remains never reaches zero: at zero clients stop.
    const least = this.#limit === undefined ? 1 : 0
    return { limit, used: window.used, remaining: Math.max(least, limit - window.used), reset: Math.ceil(window.resetAt / 1000) }
  }

  /**
   * Writes the headers of one request, and counts it unless it is free: by its route, or of a machine that registers (rest-api.md 3.8).
   *
   * @throws an error of status 403 in GitHub's words when the limit is used up
   */
  write(request: FastifyRequest, reply: FastifyReply): void {
    const isFree = request.routeOptions.config.freeOfCharge === true || request.actor.kind === 'registration'
    const state = this.count(request, isFree ? 0 : 1)
    this.#tell(reply, state)
    if (this.#limit === undefined || isFree || state.used <= state.limit) return
    const who = request.actor.kind === 'user' ? `user ID ${request.actor.userId}` : (nameOf(request.actor) ?? request.ip)
    throw Object.assign(new Error(`API rate limit exceeded for ${who}.`), { statusCode: 403 })
  }

  /** The same for a request that was refused before anybody was known or looked for: it counts for its address, and is refused already. */
  writeRefused(request: FastifyRequest, reply: FastifyReply): void {
    if (reply.raw.hasHeader('X-RateLimit-Limit')) return
    this.#tell(reply, this.count(request, request.routeOptions.config.freeOfCharge === true ? 0 : 1))
  }

  /** Gives back what an answer cost that told nothing new: 304 for somebody who is known (rest-api.md 3.7). */
  refund(request: FastifyRequest, reply: FastifyReply): void {
    if (nameOf(request.actor) === undefined || request.routeOptions.config.freeOfCharge === true) return
    this.#tell(reply, this.count(request, -1))
  }

  #tell(reply: FastifyReply, { limit, used, remaining, reset }: ReturnType<RateLimits['count']>): void {
    reply.raw.setHeader('X-RateLimit-Limit', String(limit))
    reply.raw.setHeader('X-RateLimit-Remaining', String(remaining))
    reply.raw.setHeader('X-RateLimit-Reset', String(reset))
    reply.raw.setHeader('X-RateLimit-Used', String(used))
    reply.raw.setHeader('X-RateLimit-Resource', 'core')
  }
}

/** Whose requests are counted together; undefined for nobody known, or not yet. */
function nameOf(actor: Actor | null): string | undefined {
  if (actor === null) return undefined
  if (actor.kind === 'user') return `user ${actor.userId}`
  if (actor.kind === 'job') return `job ${actor.jobId}`
  if (actor.kind === 'installation') return `installation ${actor.installationId}`
  return actor.kind === 'app' ? `app ${actor.appId}` : undefined
}
