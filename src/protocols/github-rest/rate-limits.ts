import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Actor } from '../../model/access.ts'

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
 * Counts requests per user, or per address for anonymous ones, and tells them in headers. Nothing is refused. Counted on this node only:
 * the numbers are for clients that pace themselves.
 */
export class RateLimits {
  readonly #windows = new Map<string, Window>()
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  /** Adds one request, `cost` 0 for those that are free, and answers the state. */
  count(request: FastifyRequest, cost = 1): { limit: number; used: number; remaining: number; reset: number } {
    const { actor } = request
    const signedIn = nameOf(actor)
    const key = signedIn ?? `address ${request.ip}`
    const limit = signedIn === undefined ? LIMITS.anonymous : LIMITS.signedIn
    const now = this.#now()
    let window = this.#windows.get(key)
    if (!window || window.resetAt <= now) {
      if (this.#windows.size >= COUNTED_AT_MOST) this.#windows.clear()
      this.#windows.set(key, (window = { used: 0, resetAt: now + HOUR_MS }))
    }
    window.used += cost
    // Nothing is refused, so what remains never reaches zero: at zero clients stop.
    return { limit, used: window.used, remaining: Math.max(1, limit - window.used), reset: Math.ceil(window.resetAt / 1000) }
  }

  /** Writes the headers of one request, and counts it unless its route is free. */
  write(request: FastifyRequest, reply: FastifyReply): void {
    const { limit, used, remaining, reset } = this.count(request, request.routeOptions.config.freeOfCharge ? 0 : 1)
    reply.raw.setHeader('X-RateLimit-Limit', String(limit))
    reply.raw.setHeader('X-RateLimit-Remaining', String(remaining))
    reply.raw.setHeader('X-RateLimit-Reset', String(reset))
    reply.raw.setHeader('X-RateLimit-Used', String(used))
    reply.raw.setHeader('X-RateLimit-Resource', 'core')
  }
}

/** Whose requests are counted together; undefined for nobody known. */
function nameOf(actor: Actor): string | undefined {
  if (actor.kind === 'user') return `user ${actor.userId}`
  if (actor.kind === 'job') return `job ${actor.jobId}`
  if (actor.kind === 'installation') return `installation ${actor.installationId}`
  return actor.kind === 'app' ? `app ${actor.appId}` : undefined
}
