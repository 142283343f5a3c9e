import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { addCollaborator, getCollaboratorRole, removeCollaborator } from '../../core/accounts/collaborators.ts'
import { archiveAddress, getBranch, getCommit, getContent, getHashAlgorithm, getRef } from '../../core/repos/contents.ts'
import { deleteRepository, getRepository, updateRepository } from '../../core/repos/repositories.ts'
import type { App } from '../../http/server.ts'
import { needs, roleOfPermission, type Need } from '../../model/access.ts'
import { contentBaseOf } from '../../http/addresses.ts'
import { AppError } from '../../model/errors.ts'
import { presentSimpleUser } from './present-account.ts'
import { presentBranch, presentCommit, presentContent, presentRef } from './present-content.ts'
import { presentPermissions, presentRepository } from './present-repository.ts'
import { RepositoryChangeBody } from './repository-body.ts'
import { type RestDeps } from './room.ts'
import { basesOf, repositoryOf } from './runs.ts'
import { mediaTypes, NoBody } from '../../http/answers.ts'
import { BranchBody, CommitBody, ContentBody, RefBody } from './shapes-content.ts'
import { CollaboratorPermissionBody, RepositoryBody } from './shapes-repository.ts'

const CollaboratorParams = Type.Object({ username: Type.String() })
const CollaboratorBody = Type.Object({ permission: Type.Optional(Type.String({ maxLength: 100 })) })
const ContentQuery = Type.Object({ ref: Type.Optional(Type.String({ maxLength: 1000 })) })

const config = (need: Need, docs: string) => ({ access: { by: 'actor' as const, need }, docs })

/** Repositories, who works on them and what is in them: https://docs.github.com/rest/repos */
export function repositoryRoutes(app: App, deps: RestDeps): void {
  for (const path of ['/repos/:owner/:repo', '/repositories/:repository_id']) {
    plainRoutes(app, deps, path)
    collaboratorRoutes(app, deps, path)
    gitRoutes(app, deps, path)
    contentRoutes(app, deps, path)
  }
}

function plainRoutes(app: App, deps: RestDeps, path: string): void {
  app.get(
    path,
    {
      config: config(needs.repositoryRead, 'repos/repos#get-a-repository'),
      schema: { operationId: 'repos/get', response: { 200: RepositoryBody } },
    },
    async (request) => {
      const { repository, role } = await getRepository(deps, request.actor, repositoryOf(request))
      return presentRepository(basesOf(deps, request), repository, role)
    },
  )
  app.patch(
    path,
    {
      config: config(needs.repositoryAdmin, 'repos/repos#update-a-repository'),
      schema: { operationId: 'repos/update', response: { 200: RepositoryBody }, body: RepositoryChangeBody },
    },
    async (request) => {
      const { default_branch, ...change } = request.body
      const repository = await updateRepository(deps, request.actor, repositoryOf(request), { ...change, defaultBranch: default_branch })
      return presentRepository(basesOf(deps, request), repository, 'admin')
    },
  )
  app.delete(
    path,
    { config: config(needs.repositoryDelete, 'repos/repos#delete-a-repository'), schema: { operationId: 'repos/delete' } },
    async (request, reply) => {
      await deleteRepository(deps, request.actor, repositoryOf(request))
      return reply.code(204).send()
    },
  )
  // Asked by checkout before a clone (job-services.md); GitHub does not describe it.
  app.get(
    `${path}/hash-algorithm`,
    {
      config: config(needs.repositoryRead, 'repos/repos'),
      schema: {
        operationId: 'fleetfoot/get-hash-algorithm',
        summary: 'Get the hash algorithm of a repository',
        tags: ['repos'],
        response: { 200: Type.Object({ hash_algorithm: Type.String() }) },
      },
    },
    async (request) => ({
      hash_algorithm: await getHashAlgorithm(deps, request.actor, repositoryOf(request)),
    }),
  )
}

function collaboratorRoutes(app: App, deps: RestDeps, path: string): void {
  const collaborator = `${path}/collaborators/:username`
  app.put(
    collaborator,
    {
      config: config(needs.repositoryAdmin, 'collaborators/collaborators#add-a-repository-collaborator'),
      schema: { operationId: 'repos/add-collaborator', response: { 204: NoBody }, params: CollaboratorParams, body: CollaboratorBody },
    },
    async (request, reply) => {
      const role = roleOfPermission(request.body.permission ?? 'push')
      if (role === undefined) throw new AppError('invalid', 'permission must be one of pull, triage, push, maintain, admin')
      await addCollaborator(deps, request.actor, { repository: repositoryOf(request), login: request.params.username, role })
      return reply.code(204).send()
    },
  )
  app.delete(
    collaborator,
    {
      config: config(needs.repositoryAdmin, 'collaborators/collaborators#remove-a-repository-collaborator'),
      schema: { operationId: 'repos/remove-collaborator', params: CollaboratorParams },
    },
    async (request, reply) => {
      await removeCollaborator(deps, request.actor, { repository: repositoryOf(request), login: request.params.username })
      return reply.code(204).send()
    },
  )
  app.get(
    `${collaborator}/permission`,
    {
      config: config(needs.repositoryRead, 'collaborators/collaborators#get-repository-permissions-for-a-user'),
      schema: {
        operationId: 'repos/get-collaborator-permission-level',
        response: { 200: CollaboratorPermissionBody },
        params: CollaboratorParams,
      },
    },
    async (request): Promise<CollaboratorPermissionBody> => {
      const input = { repository: repositoryOf(request), login: request.params.username }
      const { user, role } = await getCollaboratorRole(deps, request.actor, input)
      return {
        // The older word knows four levels; the role has its own name.
        permission: role === 'maintain' ? 'write' : role === 'triage' ? 'read' : (role ?? 'none'),
        role_name: role ?? 'none',
        user: { ...presentSimpleUser(basesOf(deps, request), user), permissions: presentPermissions(role), role_name: role ?? 'none' },
      }
    },
  )
}

/** Names of branches and refs have slashes: they are the rest of the path, encoded or not. */
const Rest = Type.Object({
  '*': Type.String({ maxLength: 1000, description: 'The name of a branch, a tag or a commit; slashes may stand in it as they are.' }),
})

function gitRoutes(app: App, deps: RestDeps, path: string): void {
  app.get(
    `${path}/branches/*`,
    {
      config: config(needs.repositoryContents, 'branches/branches#get-a-branch'),
      schema: { operationId: 'repos/get-branch', response: { 200: BranchBody }, params: Rest },
    },
    async (request) => {
      const { repository, branch, commit } = await getBranch(deps, request.actor, repositoryOf(request), request.params['*'])
      return presentBranch(basesOf(deps, request), repository, branch, commit)
    },
  )
  app.get(
    `${path}/commits/*`,
    {
      config: config(needs.repositoryContents, 'commits/commits#get-a-commit'),
      schema: {
        operationId: 'repos/get-commit',
        response: { 200: mediaTypes({ 'application/json': CommitBody, 'application/vnd.github.sha': Type.String() }) },
        params: Rest,
      },
    },
    async (request, reply) => {
      const { repository, commit } = await getCommit(deps, request.actor, repositoryOf(request), request.params['*'])
      if (/\.sha\b/.test(request.headers.accept ?? '')) return reply.type('application/vnd.github.sha; charset=utf-8').send(commit.id)
      return presentCommit(basesOf(deps, request), repository, commit)
    },
  )
  app.get(
    `${path}/git/ref/*`,
    {
      config: config(needs.repositoryContents, 'git/refs#get-a-reference'),
      schema: { operationId: 'git/get-ref', response: { 200: RefBody }, params: Rest },
    },
    async (request) => {
      const { repository, ref } = await getRef(deps, request.actor, repositoryOf(request), request.params['*'])
      return presentRef(basesOf(deps, request), repository, ref)
    },
  )
  for (const [segment, format] of [
    ['tarball', 'tar.gz'],
    ['zipball', 'zip'],
  ] as const) {
    const docs = 'repos/contents#download-a-repository-archive'
    const archive = async (request: FastifyRequest, reply: FastifyReply, ref: string) => {
      const address = await archiveAddress(deps, request.actor, { repository: repositoryOf(request), ref, format })
      return reply.redirect(contentBaseOf(deps.book, request) + address, 302)
    }
    app.get(
      `${path}/${segment}`,
      {
        config: config(needs.repositoryContents, docs),
        schema: {
          operationId: `fleetfoot/download-${segment}-of-default-branch`,
          summary: `Download a ${segment} of the default branch`,
          tags: ['repos'],
          response: { 302: NoBody },
        },
      },
      async (request, reply) => archive(request, reply, ''),
    )
    app.get(
      `${path}/${segment}/*`,
      {
        config: config(needs.repositoryContents, docs),
        schema: { operationId: `repos/download-${segment}-archive`, params: Rest, response: { 302: NoBody } },
      },
      async (request, reply) => archive(request, reply, request.params['*']),
    )
  }
}

function contentRoutes(app: App, deps: RestDeps, path: string): void {
  const at = config(needs.repositoryContents, 'repos/contents#get-repository-content')
  const response = {
    200: mediaTypes({
      'application/json': ContentBody,
      'application/vnd.github.raw': Type.String(),
    }),
  }
  const ofRoot = {
    operationId: 'fleetfoot/get-content-of-root',
    summary: 'Get what is in the root folder of a repository',
    tags: ['repos'],
  }
  const schema = { ...ofRoot, querystring: ContentQuery, response }
  app.get(`${path}/contents`, { config: at, schema }, async (request, reply) => sendContent(deps, request, reply, '', request.query.ref))
  app.get(
    `${path}/contents/*`,
    {
      config: at,
      schema: {
        operationId: 'repos/get-content',
        params: Type.Object({ '*': Type.String({ description: 'The path of a file or a folder.' }) }),
        querystring: ContentQuery,
        response,
      },
    },
    async (request, reply) => sendContent(deps, request, reply, request.params['*'], request.query.ref),
  )
}

async function sendContent(deps: RestDeps, request: FastifyRequest, reply: FastifyReply, path: string, wanted: string | undefined) {
  const found = await getContent(deps, request.actor, { repository: repositoryOf(request), path, ref: wanted })
  const { repository, ref, content } = found
  const accept = request.headers.accept ?? ''
  const isRaw = /\.raw\b/.test(accept)
  if (content.kind === 'file' && isRaw) return sendRaw(reply, content.bytes)
  return presentContent(basesOf(deps, request), repository, ref, content, { asObject: /\.object\b/.test(accept), path })
}

/** What a push wrote is data, never a page of ours (architecture 1.4). */
function sendRaw(reply: FastifyReply, bytes: Buffer) {
  reply.raw.setHeader('X-GitHub-Media-Type', 'github.v3; param=raw')
  reply.raw.setHeader('Content-Security-Policy', "sandbox; default-src 'none'")
  return reply.header('Content-Disposition', 'attachment').type('application/vnd.github.raw; charset=utf-8').send(bytes)
}
