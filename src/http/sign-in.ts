import type { FastifyRequest } from 'fastify'
import type { Deps } from '../core/deps.ts'
import { signIn } from '../core/access/sign-in.ts'
import type { Actor } from '../model/access.ts'
import type { App } from './server.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Who asks, once `useSignIn` has read the credentials. */
    actor: Actor
  }
}

const ANONYMOUS: Actor = { kind: 'anonymous' }

/** Turns the `Authorization` header of each request in a room into `request.actor`, before anything else is looked at. */
export function useSignIn(room: App, deps: Pick<Deps, 'db' | 'now'>): void {
  if (!room.hasRequestDecorator('actor')) room.decorateRequest('actor', null as never)
  room.addHook('onRequest', async (request: FastifyRequest) => {
    // Before the credentials are read, so that refusals of those know an actor too.
    request.actor = ANONYMOUS
    request.actor = await signIn(deps, request.headers.authorization)
  })
}
