import type { FastifyRequest } from 'fastify'
import { visibleMovedRepository } from '../../core/repos/repositories.ts'
import type { Dispatcher } from '../../core/jobs/dispatcher.ts'
import type { KeyPool } from '../../core/runners/key-pool.ts'
import { baseOf } from '../../http/addresses.ts'
import { useGitHubManners, type MannersDeps } from '../../http/github-manners.ts'
import type { App } from '../../http/server.ts'

export type RestDeps = MannersDeps & {
  jitKeys: KeyPool
  dispatcher: Dispatcher
  shutdown: AbortSignal
}

/** Makes a Fastify scope the room of GitHub's REST API. */
export function useGitHubRest(room: App, deps: RestDeps): void {
  useGitHubManners(room, deps, { movedTo: (request) => movedTo(deps, request), mayBeStale: true })
}

/** The canonical address of a repository that is asked for by a name it had once, for those who may see it. */
async function movedTo(deps: RestDeps, request: FastifyRequest): Promise<string | undefined> {
  const { owner, repo } = request.params as Record<string, string | undefined>
  if (owner === undefined || repo === undefined || `${owner}${repo}`.includes('\0')) return undefined
  const id = await visibleMovedRepository(deps, request.actor, owner, repo)
  if (id === undefined) return undefined
  const rest = request.url.replace(/^\/api\/v3\/repos\/[^/?]*\/[^/?]*/, '')
  return `${apiOf(deps, request)}/repositories/${id}${rest}`
}

/** `…/api/v3` as this client reaches it. */
export function apiOf(deps: RestDeps, request: FastifyRequest): string {
  return `${baseOf(deps.book, request)}/api/v3`
}

/** GitHub's node ids are opaque; ours name kind and id. */
export function nodeId(kind: string, id: number | string): string {
  return Buffer.from(`${kind}:${id}`).toString('base64')
}
