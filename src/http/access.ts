import {
  authorizeEnterprise,
  authorizeOrganization,
  authorizeRepository,
  requireApp,
  requireInstallation,
  requireSiteAdmin,
  requireUser,
} from '../core/access/authorize.ts'
import type { Deps } from '../core/deps.ts'
import type { Actor, Need } from '../model/access.ts'
import { AppError } from '../model/errors.ts'
import type { App } from './server.ts'

/** Who may call a route. Every route declares it; `test/access.test.ts` walks them all and fails for one that does not. */
export type Access =
  /** Users with tokens, jobs, registration tokens: as the need says. */
  | { by: 'actor'; need: Need }
  /** git clients with Basic credentials. */
  | { by: 'git'; need: Need }
  /** The token that a runner got for its client assertion. */
  | { by: 'runner' }
  /** The token of a running job. */
  | { by: 'job' }
  /** The signature in the address. */
  | { by: 'signature' }
  /** A client assertion signed with the runner's key. */
  | { by: 'assertion' }
  | { by: 'anyone' }

declare module 'fastify' {
  interface FastifySchema {
    /** The operation's name in GitHub's description; `fleetfoot/…` where it has none. */
    operationId?: string
    /** A line about the operation; one is made of the name of GitHub's operations. */
    summary?: string
    /** What more there is to know of it. */
    description?: string
    tags?: string[]
    /** The media type of a body that is passed on as it comes. */
    bodyType?: string
  }
  interface FastifyContextConfig {
    access?: Access
  }
}

/**
 * Checks the declared need of calls that carry a body before the body is read: who may not make the call learns nothing from what is wrong
 * with it, and sends us nothing. The use-case checks the same need again, as it does for calls without one.
 */
export function useDeclaredAccess(room: App, deps: Pick<Deps, 'db' | 'log'>): void {
  room.addHook('onRequest', async (request) => {
    const { access } = request.routeOptions.config
    if (access?.by === 'actor' && BODIES.has(request.method)) await checkNeed(deps, request.actor, access.need, request.params as Params)
  })
}

const BODIES = new Set(['POST', 'PUT', 'PATCH'])

type Params = Record<string, string | undefined>

async function checkNeed(deps: Pick<Deps, 'db' | 'log'>, actor: Actor, need: Need, params: Params): Promise<void> {
  requireReadable(params)
  if (need.on === 'nothing') return checkPlain(actor, need)
  if (need.on === 'app') return void requireApp(actor)
  if (need.on === 'installation') return void requireInstallation(actor)
  if (need.on === 'site') return void requireSiteAdmin(actor, need)
  if (need.on === 'enterprise') return void (await authorizeEnterprise(deps, actor, params['enterprise'] ?? '', need))
  if (need.on === 'organization') {
    const ref = params['org'] === undefined ? { id: idIn(params['organization_id']) } : { login: params['org'] }
    return void (await authorizeOrganization(deps, actor, ref, need))
  }
  const { owner, repo } = params
  const ref = owner === undefined || repo === undefined ? { id: idIn(params['repository_id']) } : { owner, name: repo }
  return void (await authorizeRepository(deps, actor, ref, need))
}

/** @throws AppError not_found for a NUL in the path: no name has one, and PostgreSQL takes none in text. */
export function requireReadable(params: unknown): void {
  const values = Object.values(params as Record<string, unknown>)
  if (values.some((value) => typeof value === 'string' && value.includes('\0'))) throw new AppError('not_found', 'Not Found')
}

function checkPlain(actor: Actor, need: Need): void {
  if (need.registration !== undefined) {
    // Its scope is in the body: the use-case compares.
    if (actor.kind !== 'registration' || (need.registration === 'register' && actor.purpose !== 'register')) {
      throw new AppError('not_found', 'Not Found')
    }
  } else if (need.role !== 'anyone') requireUser(actor, need)
}

function idIn(text: string | undefined): number {
  if (!/^[1-9]\d{0,14}$/.test(text ?? '')) throw new AppError('not_found', 'Not Found')
  return Number(text)
}
