import { createHash } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { RateLimits } from './rate-limits.ts'
import type { App } from './server.ts'

interface Options {
  /** Clients may show an answer for a minute without asking again. */
  mayBeStale: boolean
}

/** ETag of each body that is a text, and 304 for one that the client has (rest-api.md 3.7). Streams go through as they come. */
export function useConditionalRequests(room: App, deps: { rateLimits: RateLimits }, { mayBeStale }: Options): void {
  room.addHook('onSend', async (request, reply, payload) => {
    const { statusCode } = reply
    if (typeof payload !== 'string' || (statusCode !== 200 && statusCode !== 201)) return payload
    const etag = `"${createHash('sha256').update(payload).digest('hex')}"`
    reply.header('ETag', etag)
    if (request.method !== 'GET' && request.method !== 'HEAD') return payload
    reply.header('Cache-Control', cacheControl(request, mayBeStale))
    const wanted = request.headers['if-none-match']
    if (wanted === undefined || !matchesEtag(wanted, etag)) return payload
    deps.rateLimits.refund(request, reply)
    return notModified(reply)
  })
}

function cacheControl({ actor }: FastifyRequest, mayBeStale: boolean): string {
  const whose = actor.kind === 'anonymous' ? 'public' : 'private'
  return mayBeStale ? `${whose}, max-age=60, s-maxage=60` : `${whose}, no-cache`
}

function notModified(reply: FastifyReply): string {
  reply.code(304).removeHeader('Content-Type')
  reply.removeHeader('Content-Length')
  return ''
}

function matchesEtag(header: string, etag: string): boolean {
  return header === '*' || header.split(',').some((part) => part.trim().replace(/^W\//, '') === etag)
}
