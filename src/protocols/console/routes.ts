import type { Deps } from '../../core/deps.ts'
import { useDeclaredAccess } from '../../http/access.ts'
import { useAnyJson } from '../../http/body.ts'
import type { App } from '../../http/server.ts'
import { useSignIn } from '../../http/sign-in.ts'
import { appRoutes } from './apps.ts'
import { useConsoleErrors } from './errors.ts'
import { auditLogRoutes } from './audit-log.ts'
import { queueRoutes } from './queue.ts'
import { packageRoutes } from './runner-packages.ts'
import { runRoutes } from './runs.ts'
import { tokenRoutes } from './tokens.ts'

/** What GitHub's API lacks, below `/api/fleetfoot`. See README.md. */
export function consoleRoom(app: App, deps: Deps): void {
  useConsoleErrors(app)
  useAnyJson(app)
  app.addHook('onRequest', async (_request, reply) => {
    reply.raw.setHeader('X-Content-Type-Options', 'nosniff')
    reply.raw.setHeader('Cache-Control', 'no-store')
  })
  useSignIn(app, deps)
  useDeclaredAccess(app, deps)
  appRoutes(app, deps)
  tokenRoutes(app, deps)
  packageRoutes(app, deps)
  runRoutes(app, deps)
  queueRoutes(app, deps)
  auditLogRoutes(app, deps)
}
