import type { Need } from '../model/access.ts'

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
    /** The operation's name in GitHub's description, where it has one. */
    operationId?: string
  }
  interface FastifyContextConfig {
    access?: Access
  }
}
