import type { FastifyReply, FastifyRequest } from 'fastify'
import { AppError } from '../model/errors.ts'
import { failureOf } from './failures.ts'
import type { App } from './server.ts'

const DOCUMENTATION = 'https://docs.github.com/rest'

export interface GitHubError {
  message: string
  errors?: readonly unknown[]
  documentation_url: string
  status: string
}

/** GitHub's error body; `status` is a text (rest-api.md 3.5). */
export function githubError(status: number, message: string, documentation = DOCUMENTATION, details?: readonly unknown[]): GitHubError {
  return { message, ...(details && { errors: details }), documentation_url: documentation, status: String(status) }
}

declare module 'fastify' {
  interface FastifyContextConfig {
    /** The page of the operation in GitHub's documentation, below `https://docs.github.com/rest`. */
    docs?: string
    /** Media types that the route answers with beside JSON, for clients that ask for one by name. */
    produces?: readonly string[]
  }
}

/** Where what is not found has moved to, if it has. */
export type MovedTo = (request: FastifyRequest) => Promise<string | undefined>

/** Every failure in the room answers in the shape that octokit and gh parse. A known path with a wrong method is not found, too. */
export function useGitHubErrors(room: App, movedTo?: MovedTo): void {
  room.setNotFoundHandler(async (_request, reply) => reply.code(404).send(githubError(404, 'Not Found')))
  room.setErrorHandler(async (error: Error, request, reply) => {
    const { status, message, details } = failureOf(error, request)
    const { docs } = request.routeOptions.config
    const documentation = docs === undefined ? DOCUMENTATION : `${DOCUMENTATION}/${docs}`
    reply.serializer(JSON.stringify).header('Content-Type', 'application/json; charset=utf-8')
    const address = status === 404 ? await movedTo?.(request) : undefined
    if (address !== undefined) return redirect(request, reply, address, documentation)
    return reply.code(status).send(githubError(status, message, documentation, details))
  })
}

/** Other methods than GET must be repeated as they are, with their body (rest-api.md 2.17). */
function redirect({ method }: FastifyRequest, reply: FastifyReply, url: string, documentation: string) {
  const isRead = method === 'GET' || method === 'HEAD'
  const message = isRead ? 'Moved Permanently' : 'Temporary Redirect'
  return reply
    .code(isRead ? 301 : 307)
    .header('Location', url)
    .send({ message, url, documentation_url: documentation })
}

/** The answer for an `Accept` that asks for no JSON (rest-api.md 3.9). */
export const unsupportedAccept = (accept: string) =>
  Object.assign(new Error(`Unsupported 'Accept' header: '${accept}'. Must accept 'application/json'.`), { statusCode: 415 })

/** The answer for a version that is not known (rest-api.md 1.4). */
export const unsupportedVersion = (version: string) =>
  new AppError('malformed', `'${version}' is not a supported version. The supported versions are 2022-11-28 and 2026-03-10.`)
