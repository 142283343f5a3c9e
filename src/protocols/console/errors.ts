import { failureOf } from '../../http/failures.ts'
import type { App } from '../../http/server.ts'

const DOCUMENTATION = 'https://docs.github.com/rest'

/** Failures have the shape of GitHub's REST API, which our command and the browser read there too. */
export function useConsoleErrors(room: App): void {
  const failure = (status: number, message: string, details?: readonly unknown[]) => ({
    message,
    ...(details && { errors: details }),
    documentation_url: DOCUMENTATION,
    status: String(status),
  })
  room.setNotFoundHandler(async (_request, reply) => reply.code(404).send(failure(404, 'Not Found')))
  room.setErrorHandler(async (error: Error, request, reply) => {
    const { status, message, details } = failureOf(error, request)
    reply.serializer(JSON.stringify).header('Content-Type', 'application/json; charset=utf-8')
    return reply.code(status).send(failure(status, message, details))
  })
}
