import type { FastifyInstance, FastifyReply } from 'fastify'
import { failureOf } from '../../http/failures.ts'

/** Git prints the lines of a plain text body after `remote:`, so a failure is one sentence for a person. */
export function useGitErrors(room: FastifyInstance): void {
  room.setErrorHandler<Error>(async (error, request, reply) => {
    const { status, message } = failureOf(error, request)
    return sendFailure(reply, status, message)
  })
}

export function sendFailure(reply: FastifyReply, status: number, message: string): FastifyReply {
  // Without this header git does not ask for credentials.
  if (status === 401) void reply.header('www-authenticate', 'Basic realm="Fleetfoot"')
  return reply.code(status).header('cache-control', 'no-cache').type('text/plain; charset=utf-8').send(`${message}\n`)
}
