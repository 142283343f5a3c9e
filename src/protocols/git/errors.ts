import type { FastifyInstance, FastifyReply } from 'fastify'
import { AppError, type FailureKind } from '../../model/errors.ts'

const STATUS = {
  invalid: 422,
  malformed: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  gone: 404,
  too_large: 413,
  unavailable: 503,
} as const satisfies Record<FailureKind, number>

/** Git prints the lines of a plain text body after `remote:`, so a failure is one sentence for a person. */
export function useGitErrors(room: FastifyInstance): void {
  room.setNotFoundHandler(async (_request, reply) => sendFailure(reply, 404, 'Not Found'))
  room.setErrorHandler<Error & { statusCode?: number }>(async (error, request, reply) => {
    if (error instanceof AppError) {
      const status = STATUS[error.kind]
      if (status >= 500) request.log.warn({ err: error, cause: error.cause }, 'git request failed')
      return sendFailure(reply, status, error.message)
    }
    if (error.statusCode !== undefined && error.statusCode < 500) return sendFailure(reply, error.statusCode, error.message)
    // The database is away, or a bug: a working job tries again after 503 and gives up after 500 (architecture 1.12).
    request.log.error({ err: error }, 'git request failed')
    return sendFailure(reply, 503, 'The server cannot answer at the moment; try again shortly.')
  })
}

export function sendFailure(reply: FastifyReply, status: number, message: string): FastifyReply {
  // Without this header git does not ask for credentials.
  if (status === 401) void reply.header('www-authenticate', 'Basic realm="Fleetfoot"')
  return reply.code(status).header('cache-control', 'no-cache').type('text/plain; charset=utf-8').send(`${message}\n`)
}
