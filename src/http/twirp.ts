import type { FastifyReply, FastifyRequest } from 'fastify'
import { failureOf } from './failures.ts'
import type { App } from './server.ts'

const CODES: Record<number, string> = {
  400: 'malformed',
  401: 'unauthenticated',
  403: 'permission_denied',
  404: 'not_found',
  409: 'already_exists',
  413: 'resource_exhausted',
  422: 'invalid_argument',
  503: 'unavailable',
}

/** Failures of Twirp services are JSON `{code, msg}`: an empty or HTML error is repeated by clients for half a minute (job-services.md 3). */
export function useTwirpErrors(app: App): void {
  app.setErrorHandler(async (error: Error, request: FastifyRequest, reply: FastifyReply) => {
    const { status, message } = failureOf(error, request)
    return reply.code(status).send({ code: CODES[status] ?? 'internal', msg: message })
  })
}
