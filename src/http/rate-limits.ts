import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Actor } from '../model/access.ts'

/** What is counted apart (rest-api.md 3.8). */
export type RateResource = 'core' | 'graphql' | 'actions_runner_registration'

export interface RateState {
  limit: number
  used: number
  remaining: number
  /** Seconds since 1970. */
  reset: number
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Calls of this route are not counted. */
    freeOfCharge?: boolean
    /** What calls of this route are counted as; `core` where nothing is said. */
    rateResource?: 'graphql'
  }
}

const HOUR_MS = 60 * 60_000
const ANONYMOUS_LIMIT = 60
const LIMITS: Record<RateResource, number> = { core: 15_000, graphql: 5000, actions_runner_registration: 10_000 }
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
  /** Requests an hour of who is signed in, of REST and of GraphQL each; undefined: nothing is refused. */
  readonly #limit: number | undefined

  constructor(now: () => number, limit: number | undefined) {
    this.#now = now
    this.#limit = limit
  }

  /** How much the asker has used of a resource. */
  state(request: FastifyRequest, resource: RateResource): RateState {
    return this.#told(request, resource, this.#window(request, resource))
  }

  /**
   * Writes the headers of one request, and counts it unless it is free. Machines that register have a count of their own, of who made their
   * token, and are never refused.
   *
   * @throws an error of status 403 in GitHub's words when the limit is used up
   */
  write(request: FastifyRequest, reply: FastifyReply): void {
    this.#count(request, reply, 1)
    const resource = resourceOf(request)
    if (this.#isNeverRefused(resource) || isFree(request)) return
    if (this.#window(request, resource).used <= this.#limitOf(request, resource)) return
    const who = request.actor.kind === 'user' ? `user ID ${request.actor.userId}` : (nameOf(request.actor) ?? request.ip)
    throw Object.assign(new Error(`API rate limit exceeded for ${who}.`), { statusCode: 403 })
  }

  /** The same for a request that was refused before anybody was known or looked for: it counts for its address, and is refused already. */
  writeRefused(request: FastifyRequest, reply: FastifyReply): void {
    if (!reply.raw.hasHeader('X-RateLimit-Limit')) this.#count(request, reply, 1)
  }

  /** Gives back what an answer cost that told nothing new: 304 for somebody who is known (rest-api.md 3.7). */
  refund(request: FastifyRequest, reply: FastifyReply): void {
    if (nameOf(request.actor) !== undefined) this.#count(request, reply, -1)
  }

  #count(request: FastifyRequest, reply: FastifyReply, cost: number): void {
    const resource = resourceOf(request)
    const window = this.#window(request, resource)
    if (!isFree(request)) window.used += cost
    const { limit, used, remaining, reset } = this.#told(request, resource, window)
    reply.raw.setHeader('X-RateLimit-Limit', String(limit))
    reply.raw.setHeader('X-RateLimit-Remaining', String(remaining))
    reply.raw.setHeader('X-RateLimit-Reset', String(reset))
    reply.raw.setHeader('X-RateLimit-Used', String(used))
    reply.raw.setHeader('X-RateLimit-Resource', resource)
  }

  #window(request: FastifyRequest, resource: RateResource): Window {
    const key = `${resource} ${nameOf(request.actor) ?? `address ${request.ip}`}`
    const now = this.#now()
    const open = this.#windows.get(key)
    if (open && open.resetAt > now) return open
    if (this.#windows.size >= COUNTED_AT_MOST) this.#windows.clear()
    const window = { used: 0, resetAt: now + HOUR_MS }
    this.#windows.set(key, window)
    return window
  }

  #limitOf(request: FastifyRequest, resource: RateResource): number {
    if (nameOf(request.actor) === undefined) return ANONYMOUS_LIMIT
    return resource === 'actions_runner_registration' ? LIMITS[resource] : (this.#limit ?? LIMITS[resource])
  }

  #isNeverRefused(resource: RateResource): boolean {
    return this.#limit === undefined || resource === 'actions_runner_registration'
  }

  /** Where nothing is refused, what remains never reaches zero: at zero clients stop. What is used and what remains are the limit, always. */
  #told(request: FastifyRequest, resource: RateResource, window: Window): RateState {
    const limit = this.#limitOf(request, resource)
    const remaining = Math.max(this.#isNeverRefused(resource) ? 1 : 0, limit - window.used)
    return { limit, used: limit - remaining, remaining, reset: Math.ceil(window.resetAt / 1000) }
  }
}

const isFree = (request: FastifyRequest) => request.routeOptions.config.freeOfCharge === true

function resourceOf({ actor, routeOptions }: FastifyRequest): RateResource {
  if ((actor as Actor | null)?.kind === 'registration') return 'actions_runner_registration'
  return routeOptions.config.rateResource ?? 'core'
}

/** Whose requests are counted together; undefined for nobody known, or not yet. */
function nameOf(actor: Actor | null): string | undefined {
  if (actor === null) return undefined
  if (actor.kind === 'user') return `user ${actor.userId}`
  if (actor.kind === 'registration') return `user ${actor.issuedBy}`
  if (actor.kind === 'job') return `job ${actor.jobId}`
  if (actor.kind === 'installation') return `installation ${actor.installationId}`
  return actor.kind === 'app' ? `app ${actor.appId}` : undefined
}
