import { SessionInvalid } from '../../core/jobs/wait-for-job.ts'
import { RunnerGone } from '../../core/runners/runner-tokens.ts'
import { failureOf } from '../../http/failures.ts'
import type { App } from '../../http/server.ts'

/** Without this source the runner does not read the body (runner-protocol.md 5.3). */
const SOURCE = 'actions-broker-listener'

/** Failures in the broker's form; `errorKind` is what makes a runner remove its configuration or open a new session. */
export function useBrokerErrors(app: App): void {
  app.setErrorHandler(async (error: Error, request, reply) => {
    const { status, message } = failureOf(error, request)
    const errorKind = error instanceof RunnerGone ? 'RunnerNotFound' : error instanceof SessionInvalid ? 'RunnerSessionInvalid' : undefined
    return reply.code(status).send({ source: SOURCE, ...(errorKind && { errorKind }), statusCode: status, errorMessage: message })
  })
}
