import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Deps } from '../core/deps.ts'
import { grantOf } from '../model/access.ts'
import { AppError } from '../model/errors.ts'
import { acceptedPermissions } from '../model/permissions.ts'
import { useDeclaredAccess } from './access.ts'
import type { AddressBook } from './addresses.ts'
import { useAnyJson } from './body.ts'
import { useConditionalRequests } from './conditional.ts'
import { useDeprecation } from './deprecation.ts'
import { unsupportedAccept, unsupportedVersion, useGitHubErrors, type MovedTo } from './github-errors.ts'
import type { RateLimits } from './rate-limits.ts'
import type { App } from './server.ts'
import { useSignIn } from './sign-in.ts'

export type MannersDeps = Deps & { book: AddressBook; rateLimits: RateLimits }

export interface Manners {
  /** Where a thing is that is not found by the name it had. */
  movedTo?: MovedTo
  /** Clients may show an answer for a minute without asking again, as at GitHub; else they ask each time. */
  mayBeStale: boolean
}

/** The version of GitHub Enterprise Server whose description we serve. */
export const ENTERPRISE_VERSION = '3.19.0'
export const API_VERSIONS = ['2026-03-10', '2022-11-28']
const DEFAULT_API_VERSION = '2022-11-28'

const EXPOSED =
  'ETag, Link, Location, Retry-After, X-GitHub-OTP, X-RateLimit-Limit, X-RateLimit-Remaining, X-RateLimit-Used, X-RateLimit-Resource, X-RateLimit-Reset, X-OAuth-Scopes, X-Accepted-OAuth-Scopes, X-Poll-Interval, X-GitHub-Media-Type, X-GitHub-SSO, X-GitHub-Request-Id, Deprecation, Sunset'

/** Set on every answer, also errors (rest-api.md 3.9). */
const HEADERS = Object.entries({
  'X-GitHub-Enterprise-Version': ENTERPRISE_VERSION,
  'Access-Control-Allow-Origin': '*',
  'Access-Control-Expose-Headers': EXPOSED,
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'deny',
  'Referrer-Policy': 'origin-when-cross-origin, strict-origin-when-cross-origin',
  'Content-Security-Policy': "default-src 'none'",
  Vary: 'Accept, Authorization, Cookie, X-GitHub-OTP, Accept-Encoding, Accept, X-Requested-With',
})

declare module 'fastify' {
  interface FastifyRequest {
    apiVersion: string
  }
}

/**
 * What every call below `/api` has in common, GitHub's and our own (rest-api.md 3): credentials, declared access, headers, versions, rate
 * limits, CORS, JSON bodies, conditional requests, deprecations and the form of failures.
 */
export function useGitHubManners(room: App, deps: MannersDeps, { movedTo, mayBeStale }: Manners): void {
  useGitHubErrors(room, movedTo)
  useAnyJson(room)
  useGitHubHeaders(room, deps, { areChecked: true })
  useDeprecation(room)
  useConditionalRequests(room, deps, { mayBeStale })
}

/**
 * Of these the headers, with the sign-in that they tell of and the check of declared access that they must come before. `areChecked`: a
 * client that names no `User-Agent`, or a version or type that there is not, is refused.
 */
export function useGitHubHeaders(room: App, deps: MannersDeps, { areChecked }: { areChecked: boolean }): void {
  room.decorateRequest('apiVersion', DEFAULT_API_VERSION)
  room.addHook('onRequest', async (request, reply) => {
    // On the raw answer: cheaper than Fastify's own store, and errors carry them too.
    for (const [name, value] of HEADERS) reply.raw.setHeader(name, value)
    reply.raw.setHeader('X-GitHub-Media-Type', mediaType(request.headers.accept ?? ''))
    if (request.method === 'OPTIONS') return preflight(reply)
    if (areChecked) checkHeaders(request)
    reply.raw.setHeader('X-GitHub-Api-Version-Selected', request.apiVersion)
    return undefined
  })
  useSignIn(room, deps)
  // Before the need is checked: who is refused is told what it would take.
  room.addHook('onRequest', async (request, reply) => {
    deps.rateLimits.write(request, reply)
    writeScopes(request, reply)
  })
  useDeclaredAccess(room, deps)
  room.addHook('onSend', async (request, reply) => {
    if (request.method !== 'OPTIONS') deps.rateLimits.writeRefused(request, reply)
  })
}

/** With the preview that the client asks for, which it has anyway (rest-api.md 3.9). */
function mediaType(accept: string): string {
  const preview = /application\/vnd\.github\.([a-z0-9-]{1,60}-preview)\b/i.exec(accept)?.[1]
  return preview === undefined ? 'github.v3; format=json' : `github.v3; param=${preview.toLowerCase()}; format=json`
}

function preflight(reply: FastifyReply) {
  return reply
    .headers({
      'Access-Control-Allow-Methods': 'GET, POST, PATCH, PUT, DELETE',
      'Access-Control-Allow-Headers':
        'Authorization, Content-Type, If-Match, If-Modified-Since, If-None-Match, If-Unmodified-Since, Accept-Encoding, X-GitHub-OTP, X-Requested-With, User-Agent, X-GitHub-Api-Version',
      'Access-Control-Max-Age': '86400',
    })
    .code(204)
    .send()
}

function checkHeaders(request: FastifyRequest): void {
  const { headers } = request
  if (!headers['user-agent']) {
    throw new AppError('forbidden', 'Missing or invalid User Agent string. Please make sure your request has a User-Agent header.')
  }
  const version = headers['x-github-api-version']
  if (version !== undefined && !API_VERSIONS.includes(String(version))) throw unsupportedVersion(String(version))
  request.apiVersion = version === undefined ? DEFAULT_API_VERSION : String(version)
  const accept = headers.accept ?? ''
  if (request.routeOptions.config.produces?.some((type) => accept.includes(type))) return
  if (accept !== '' && !accept.split(',').some(isJson)) throw unsupportedAccept(accept)
}

/** Any type of GitHub's, JSON itself, or anything at all. */
function isJson(part: string): boolean {
  const type = part.split(';')[0]?.trim().toLowerCase() ?? ''
  return (
    type === '' ||
    type === '*/*' ||
    type === 'application/*' ||
    type === 'application/json' ||
    /^application\/vnd\.github[a-z0-9.+-]*$/.test(type)
  )
}

/** What the token has and what the call would take: gh tells its users from the two which scope to add. */
function writeScopes(request: FastifyRequest, reply: FastifyReply): void {
  const { actor } = request
  const access = request.routeOptions.config.access
  if (grantOf(actor)) {
    const accepted = access?.by === 'actor' ? acceptedPermissions(access.need.permission) : undefined
    if (accepted !== undefined) reply.raw.setHeader('X-Accepted-GitHub-Permissions', accepted)
  }
  if (actor.kind !== 'user') return
  if (!actor.token.grant) reply.raw.setHeader('X-OAuth-Scopes', [...actor.token.scopes].sort().join(', '))
  if (!actor.token.grant && access?.by === 'actor')
    reply.raw.setHeader('X-Accepted-OAuth-Scopes', [...access.need.accepted].sort().join(', '))
  const { expiresAt } = actor.token
  if (expiresAt !== null) {
    const text = `${new Date(expiresAt).toISOString().slice(0, 19).replace('T', ' ')} UTC`
    reply.raw.setHeader('github-authentication-token-expiration', text)
  }
}
