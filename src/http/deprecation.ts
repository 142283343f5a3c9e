import type { App } from './server.ts'

/** Why and since when a call should not be made any more. Days are UTC, as `2026-11-24`. */
export interface Deprecation {
  since: string
  /** The day on which it ends, where that is known. */
  endsOn?: string
  /** Where to read what to call instead. */
  see: string
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Clients are told with every answer: octokit logs a warning for each. */
    deprecated?: Deprecation
  }
}

const midnight = (day: string) => new Date(`${day}T00:00:00Z`).toUTCString()

/** `Deprecation`, `Sunset` and `Link; rel="deprecation"` on what deprecated routes answer, errors too, in the forms that octokit reads (rest-api.md 3.9). */
export function useDeprecation(room: App): void {
  room.addHook('onSend', async ({ routeOptions }, reply) => {
    const { deprecated } = routeOptions.config
    if (!deprecated) return
    const { since, endsOn, see } = deprecated
    reply.header('Deprecation', midnight(since))
    if (endsOn !== undefined) reply.header('Sunset', midnight(endsOn))
    // Beside the pages of a list, which come first: some clients read no further.
    const links = [reply.getHeader('Link'), `<${see}>; rel="deprecation"; type="text/html"`]
    reply.header('Link', links.filter((link) => link !== undefined).join(', '))
  })
}
