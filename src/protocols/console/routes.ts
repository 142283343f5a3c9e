import { useGitHubManners, type MannersDeps } from '../../http/github-manners.ts'
import type { App } from '../../http/server.ts'
import { appRoutes } from './apps.ts'
import { auditLogRoutes } from './audit-log.ts'
import { queueRoutes } from './queue.ts'
import { packageRoutes } from './runner-packages.ts'
import { runRoutes } from './runs.ts'
import { tokenRoutes } from './tokens.ts'

/** What GitHub's API lacks, below `/api/fleetfoot`, with the manners of GitHub's. See README.md. */
export function consoleRoom(app: App, deps: MannersDeps): void {
  app.addHook('onRequest', async (_request, reply) => {
    // Secrets that are shown once, and exports; what has an ETag says more.
    reply.raw.setHeader('Cache-Control', 'no-store')
  })
  useGitHubManners(app, deps, { mayBeStale: false })
  appRoutes(app, deps)
  tokenRoutes(app, deps)
  packageRoutes(app, deps)
  runRoutes(app, deps)
  queueRoutes(app, deps)
  auditLogRoutes(app, deps)
}
