import { createHash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { RateLimits } from './rate-limits.ts'
import type { App } from './server.ts'

interface Options {
  /** Clients may show an answer for a minute without asking again. */
  mayBeStale: boolean
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The answer tells what changes without its `updated_at`: it has no `Last-Modified`. */
    isLive?: boolean
  }
}

/**
 * Conditional requests (rest-api.md 3.7). Each body that is a text has an ETag; one thing that tells when it was changed has that as
 * `Last-Modified`, too. Who has that body, or saw the thing since, gets 304. Streams go through as they come.
 */
export function useConditionalRequests(
  room: App,
  { rateLimits, now }: { rateLimits: RateLimits; now: () => number },
  { mayBeStale }: Options,
): void {
  room.addHook('preSerialization', (request, reply, payload, done) => {
    if (reply.statusCode === 200 && isRead(request) && request.routeOptions.config.isLive !== true) writeTime(reply, payload, now())
    done(null, payload)
  })
  room.addHook('onSend', async (request, reply, payload) => {
    const { statusCode } = reply
    if (typeof payload !== 'string' || (statusCode !== 200 && statusCode !== 201)) return payload
    const etag = `"${createHash('sha256').update(payload).digest('hex')}"`
    reply.header('ETag', etag)
    if (!isRead(request)) return payload
    reply.header('Cache-Control', cacheControl(request, mayBeStale))
    if (!isKnown(request, reply, etag, now())) return payload
    rateLimits.refund(request, reply)
    return notModified(reply)
  })
}

const isRead = ({ method }: FastifyRequest) => method === 'GET' || method === 'HEAD'

/** A change may be seen a moment after the time that it has. */
const AT_REST_MS = 2000

/**
 * The time of a thing is its `updated_at`, or its end where it has none: of jobs. Just after that second there is none: the thing may have
 * changed again in it, and who asks by that time would never hear of it.
 */
function writeTime(reply: FastifyReply, payload: unknown, now: number): void {
  if (typeof payload !== 'object' || payload === null || Array.isArray(payload)) return
  const { updated_at: updated, completed_at: completed } = payload as Record<string, unknown>
  const text = updated ?? completed
  const at = typeof text === 'string' ? Math.floor(Date.parse(text) / 1000) * 1000 : NaN
  if (at + AT_REST_MS <= now) reply.header('Last-Modified', new Date(at).toUTCString())
}

/** The ETag decides where the client names one: it is exact, and times are not. */
function isKnown({ headers }: FastifyRequest, reply: FastifyReply, etag: string, now: number): boolean {
  const wanted = headers['if-none-match']
  if (wanted !== undefined) return matchesEtag(wanted, etag)
  const since = headers['if-modified-since']
  const modified = reply.getHeader('Last-Modified')
  if (since === undefined || typeof modified !== 'string' || !since.endsWith(' GMT')) return false
  const at = Date.parse(since)
  return at <= now && at >= Date.parse(modified)
}

function cacheControl({ actor }: FastifyRequest, mayBeStale: boolean): string {
  const whose = actor.kind === 'anonymous' ? 'public' : 'private'
  return mayBeStale ? `${whose}, max-age=60, s-maxage=60` : `${whose}, no-cache`
}

/** No body, and so neither a type nor a length of one. */
function notModified(reply: FastifyReply): null {
  reply.code(304).removeHeader('Content-Type')
  reply.removeHeader('Content-Length')
  return null
}

function matchesEtag(header: string, etag: string): boolean {
  return header === '*' || header.split(',').some((part) => part.trim().replace(/^W\//, '') === etag)
}
