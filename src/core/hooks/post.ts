import type { LookupAddress } from 'node:dns'
import { lookup, Resolver } from 'node:dns/promises'
import { request as httpRequest, type ClientRequest, type IncomingMessage } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { isIP } from 'node:net'
import { isAllowedAddress, isAllowedName, type AllowedTargets } from '../../model/allowed-targets.ts'

export interface Post {
  url: string
  headers: Record<string, string>
  body: Buffer
  insecureSsl: boolean
}

export interface PostResult {
  /** 0 where there was no answer. */
  statusCode: number
  /** GitHub's words: `OK`, `Invalid HTTP Response: 500`, `timed out`, `failed to connect to host`. */
  status: string
  trouble: 'timeout' | 'connection_error' | undefined
  headers: Record<string, string> | null
  body: string | null
  durationMs: number
}

/** The whole of a request: names, connection, answer (rest-api.md §5.1). */
export const POST_LIMIT_MS = 10_000
const RESOLVE_MS = 2000
/** Of an answer no more than this is kept. */
const ANSWER_BYTES = 64 * 1024

/** An address that requests must not go to; the message is for the one who made the webhook. */
export class TargetRefused extends Error {
  override name = 'TargetRefused'
}

/**
 * One request to a receiver. Redirects are not followed. The name is resolved once, and the connection goes to the address that was looked
 * at: an answer of the name's server that changes in between leads nowhere else. Never fails: what went wrong is the result.
 */
export async function post(post: Post, allowed: AllowedTargets, signal: AbortSignal, limitMs = POST_LIMIT_MS): Promise<PostResult> {
  const began = performance.now()
  const limit = AbortSignal.any([signal, AbortSignal.timeout(limitMs)])
  const durationMs = () => Math.round(performance.now() - began)
  try {
    const url = new URL(post.url)
    const address = await within(limit, resolveTarget(url.hostname, allowed, limit))
    const answer = await within(limit, send(url, address, post, limit))
    const isFine = answer.statusCode >= 200 && answer.statusCode < 300
    const status = isFine ? 'OK' : `Invalid HTTP Response: ${answer.statusCode}`
    return { ...answer, status, trouble: undefined, durationMs: durationMs() }
  } catch (error) {
    const isLate = limit.aborted
    const status = isLate ? 'timed out' : error instanceof TargetRefused ? error.message : `failed to connect to host: ${codeOf(error)}`
    const trouble = isLate ? 'timeout' : 'connection_error'
    return { statusCode: 0, status, trouble, headers: null, body: null, durationMs: durationMs() }
  }
}

function codeOf(error: unknown): string {
  const { code, message } = error as { code?: string; message?: string }
  return code ?? message ?? 'error'
}

async function within<T>(limit: AbortSignal, work: Promise<T>): Promise<T> {
  limit.throwIfAborted()
  let onAbort = () => {}
  const aborted = new Promise<never>((_, reject) => {
    onAbort = () => reject(limit.reason as Error)
    limit.addEventListener('abort', onAbort, { once: true })
  })
  try {
    return await Promise.race([work, aborted])
  } finally {
    limit.removeEventListener('abort', onAbort)
  }
}

/** The first address of a host that requests may go to. @throws TargetRefused when it has none */
async function resolveTarget(hostname: string, allowed: AllowedTargets, limit: AbortSignal): Promise<{ address: string; family: number }> {
  const host = hostname.replace(/^\[|\]$/g, '')
  const literal = isIP(host)
  const addresses = literal ? [{ address: host, family: literal }] : await addressesOf(host, isAllowedName(allowed, host), limit)
  const found = isAllowedName(allowed, host) ? addresses[0] : addresses.find(({ address }) => isAllowedAddress(allowed, address))
  if (!found)
    throw new TargetRefused('the address is not of the public internet, and this server does not allow it (FLEETFOOT_WEBHOOK_ALLOW)')
  return found
}

/**
 * By the system's resolver, which knows /etc/hosts, for names that the operator gave and such as are not of the public net. Others are asked
 * of the name servers directly first: the system's resolver works on the few threads that files are read on, and a name server that
 * answers slowly on purpose would hold them. Names that those do not know may be in /etc/hosts; one at a time is looked for there.
 */
async function addressesOf(host: string, isNamed: boolean, limit: AbortSignal): Promise<LookupAddress[]> {
  if (isNamed || !host.includes('.') || host.endsWith('.localhost')) return lookup(host, { all: true })
  const resolver = new Resolver({ timeout: RESOLVE_MS, tries: 2 })
  const [v4, v6] = await Promise.allSettled([resolver.resolve4(host), resolver.resolve6(host)])
  const found = [
    ...(v4.status === 'fulfilled' ? v4.value.map((address) => ({ address, family: 4 })) : []),
    ...(v6.status === 'fulfilled' ? v6.value.map((address) => ({ address, family: 6 })) : []),
  ]
  if (found.length > 0) return found
  const isAbsent = v4.status === 'rejected' && ['ENOTFOUND', 'ENODATA', 'ECONNREFUSED'].includes(codeOf(v4.reason))
  if (!isAbsent) throw v4.status === 'rejected' ? (v4.reason as Error) : new Error('the name has no address')
  const turn = lookups.then(() => {
    limit.throwIfAborted()
    return lookup(host, { all: true })
  })
  lookups = turn.catch(() => {})
  return turn
}

let lookups: Promise<unknown> = Promise.resolve()

function send(
  url: URL,
  { address, family }: { address: string; family: number },
  { headers, body, insecureSsl }: Post,
  signal: AbortSignal,
): Promise<{ statusCode: number; headers: Record<string, string>; body: string }> {
  const isTls = url.protocol === 'https:'
  const options = {
    method: 'POST',
    // A connection of its own: an idle one may be closed under the next request.
    agent: false as const,
    headers: { ...headers, 'Content-Length': String(body.length), Connection: 'close' },
    lookup: fixedLookup(address, family),
    signal,
    ...(isTls && { rejectUnauthorized: !insecureSsl }),
  }
  return new Promise((resolve, reject) => {
    let isAnswered = false
    const sent: ClientRequest = isTls ? httpsRequest(url, options) : httpRequest(url, options)
    sent.on('error', reject)
    // Node leaves a connection that changes its protocol to this listener, and tells no other.
    sent.on('upgrade', (_answer, socket) => {
      socket.destroy()
      reject(new Error('the receiver wants another protocol'))
    })
    // Settles what nothing else did.
    sent.on('close', () => {
      if (!isAnswered) reject(new Error('the connection was closed'))
    })
    sent.on('response', (answer) => {
      isAnswered = true
      void readAnswer(answer).then(resolve, reject)
    })
    sent.end(body)
  })
}

/** Stands in for the resolver: the address has been chosen. */
function fixedLookup(address: string, family: number) {
  return (
    _host: string,
    options: { all?: boolean | undefined },
    done: (error: null, address: string | LookupAddress[], family?: number) => void,
  ) => {
    if (options.all) done(null, [{ address, family }])
    else done(null, address, family)
  }
}

async function readAnswer(answer: IncomingMessage): Promise<{ statusCode: number; headers: Record<string, string>; body: string }> {
  const parts: Buffer[] = []
  let size = 0
  for await (const part of answer) {
    parts.push(part as Buffer)
    size += (part as Buffer).length
    if (size >= ANSWER_BYTES) break
  }
  answer.destroy()
  const headers: Record<string, string> = {}
  for (const [name, value] of Object.entries(answer.headers)) {
    if (value !== undefined) headers[headerCase(name)] = Array.isArray(value) ? value.join(', ') : value
  }
  // PostgreSQL stores no NUL in text.
  const body = Buffer.concat(parts).subarray(0, ANSWER_BYTES).toString('utf8').replaceAll('\0', '\uFFFD')
  return { statusCode: answer.statusCode ?? 0, headers, body }
}

/** `content-type` as it is written: GitHub shows them so. */
function headerCase(name: string): string {
  return name.replace(/(^|-)[a-z]/g, (start) => start.toUpperCase())
}
