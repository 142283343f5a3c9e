import type { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { authorizeRepository } from '../../core/access/authorize.ts'
import { signIn } from '../../core/access/sign-in.ts'
import type { Deps } from '../../core/deps.ts'
import { movedRepository } from '../../core/repos/repositories.ts'
import { accountOfActor, needs, type Actor, type Need } from '../../model/access.ts'
import type { Repository } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'
import type { Access } from '../../http/access.ts'
import { sendFailure, useGitErrors } from './errors.ts'
import { askBackend, type BackendRequest } from './http-backend.ts'
import { hooksOf, type PushInProgress } from './push-hooks.ts'

type Service = 'git-upload-pack' | 'git-receive-pack'
interface RepositoryPath {
  owner: string
  repo: string
}

const NEEDS: Record<Service, Need> = { 'git-upload-pack': needs.repositoryContents, 'git-receive-pack': needs.contentsWrite }
const access = (need: Need): { access: Access } => ({ access: { by: 'git', need } })

/** Git's smart HTTP protocol: https://git-scm.com/docs/http-protocol. See README.md. */
export async function gitRoom(app: FastifyInstance, { deps }: { deps: Deps }): Promise<void> {
  useGitErrors(app)
  // Packs are passed on as they come, of any size: git has its own limit.
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))

  app.get<{ Params: RepositoryPath; Querystring: { service?: string } }>(
    '/:owner/:repo/info/refs',
    { exposeHeadRoute: false, config: access(needs.repositoryContents) },
    async (request, reply) => {
      const { service } = request.query
      // Without a service it is the protocol of old that reads files, which is not offered.
      if (service === undefined) return sendFailure(reply, 404, 'Not Found')
      if (service !== 'git-upload-pack' && service !== 'git-receive-pack') return sendFailure(reply, 403, 'Unsupported service')
      const { actor, repository } = await enter(deps, request, service)
      return answer(deps, request, reply, {
        ...plainRequest(request, repository, 'info/refs'),
        query: `service=${service}`,
        user: nameOf(actor),
      })
    },
  )

  app.post<{ Params: RepositoryPath }>(
    '/:owner/:repo/git-upload-pack',
    { config: access(needs.repositoryContents) },
    async (request, reply) => {
      const { repository } = await enter(deps, request, 'git-upload-pack')
      if (!isRequestOf(request, 'git-upload-pack')) return sendFailure(reply, 415, 'Unsupported Media Type')
      return answer(deps, request, reply, plainRequest(request, repository, 'git-upload-pack'))
    },
  )

  app.post<{ Params: RepositoryPath }>(
    '/:owner/:repo/git-receive-pack',
    { config: access(needs.contentsWrite) },
    async (request, reply) => {
      const { actor, repository } = await enter(deps, request, 'git-receive-pack')
      if (!isRequestOf(request, 'git-receive-pack')) return sendFailure(reply, 415, 'Unsupported Media Type')
      const push: PushInProgress = hooksOf(deps, actor, repository)
      const backend = { ...plainRequest(request, repository, 'git-receive-pack'), user: nameOf(actor), hooks: push.handlers }
      return answer(deps, request, reply, backend, push.ended)
    },
  )

  // The files that the protocol of old reads; a console that answers every other path must not seem to have them.
  for (const path of ['/:owner/:repo/HEAD', '/:owner/:repo/objects/*']) {
    app.get(path, { exposeHeadRoute: false, config: access(needs.anyone) }, async (_request, reply) => sendFailure(reply, 404, 'Not Found'))
  }
}

/** Who asks, and the repository, when that actor may. Whoever has not said who they are is asked to. */
async function enter(deps: Deps, request: FastifyRequest<{ Params: RepositoryPath }>, service: Service) {
  const actor = await signIn(deps, request.headers.authorization)
  const { owner, repo } = request.params
  const name = repo.replace(/\.git$/i, '')
  try {
    // Names of other characters are not in the database, and PostgreSQL does not take all of them.
    if (!/^[\w.-]{1,100}$/.test(owner) || !/^[\w.-]{1,100}$/.test(name)) throw new AppError('not_found', 'Not Found')
    const { repository } = await authorizeNamed(deps, actor, { owner, name }, NEEDS[service])
    await deps.git.create(repository.id, repository.defaultBranch)
    return { actor, repository }
  } catch (error) {
    throw error instanceof AppError ? inGitsWords(error, actor, service) : error
  }
}

/** A renamed repository answers to its former name too: remotes that people wrote down go on working. */
async function authorizeNamed(deps: Deps, actor: Actor, ref: { owner: string; name: string }, need: Need) {
  try {
    return await authorizeRepository(deps, actor, ref, need)
  } catch (error) {
    const isMissing = error instanceof AppError && error.kind === 'not_found'
    const id = isMissing ? await movedRepository(deps, ref.owner, ref.name) : undefined
    if (id === undefined) throw error
    return authorizeRepository(deps, actor, { id }, need)
  }
}

function inGitsWords(error: AppError, actor: Actor, service: Service): AppError {
  const hides = error.kind === 'not_found' || error.kind === 'forbidden'
  if (actor.kind === 'anonymous' && hides) return new AppError('unauthenticated', 'Sign in to read this repository.')
  if (error.kind === 'unauthenticated') return error
  if (error.kind === 'not_found') return new AppError('not_found', 'Repository not found.')
  if (error.kind !== 'forbidden' || service !== 'git-receive-pack') return error
  const name = nameOf(actor)
  const who = name === undefined ? 'This token' : `The token of ${name}`
  return new AppError('forbidden', `${who} may read this repository, but not push to it.`)
}

function nameOf(actor: Actor): string | undefined {
  return accountOfActor(actor)?.login
}

function isRequestOf(request: FastifyRequest, service: Service): boolean {
  return request.headers['content-type'] === `application/x-${service}-request`
}

function plainRequest(request: FastifyRequest, repository: Repository, path: string): BackendRequest {
  const { headers } = request
  const protocol = headers['git-protocol']
  return {
    repositoryId: repository.id,
    path,
    method: request.method === 'POST' ? 'POST' : 'GET',
    query: '',
    contentType: headers['content-type'],
    contentLength: headers['content-length'],
    contentEncoding: headers['content-encoding'],
    protocol: typeof protocol === 'string' ? protocol : undefined,
    user: undefined,
    body: request.method === 'POST' ? (request.body as Readable | undefined) : undefined,
    hooks: undefined,
  }
}

async function answer(
  deps: Deps,
  request: FastifyRequest,
  reply: FastifyReply,
  backend: BackendRequest,
  afterwards: () => Promise<void> = async () => {},
): Promise<FastifyReply> {
  const hangUp = hangUpOf(request, reply)
  const { status, headers, body, ended } = await askBackend(deps, backend, hangUp).catch((error: unknown) => {
    // Nobody hears it: a line in the log would be noise.
    throw hangUp.aborted ? new AppError('malformed', 'The client hung up.', { cause: error }) : error
  })
  // The answer may be out before git has ended, or never get out: what a push still needs does not wait for it.
  void ended.then(afterwards).catch((err: unknown) => request.log.error({ err }, 'a push was left for later'))
  return reply.code(status).headers(headers).send(body)
}

function hangUpOf(request: FastifyRequest, reply: FastifyReply): AbortSignal {
  const hangUp = new AbortController()
  reply.raw.once('close', () => {
    if (!reply.raw.writableFinished) hangUp.abort()
  })
  if (request.raw.destroyed && !request.raw.complete) hangUp.abort()
  return hangUp.signal
}
