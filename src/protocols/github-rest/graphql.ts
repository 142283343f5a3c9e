import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { getSelf } from '../../core/accounts/users.ts'
import { getRepository } from '../../core/repos/repositories.ts'
import { baseOf } from '../../http/addresses.ts'
import type { App } from '../../http/server.ts'
import { needs, type RepositoryRole } from '../../model/access.ts'
import { fullName, type Repository } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'
import { parseQuery, QueryError, type Selection } from './graphql-query.ts'
import { nodeId, type RestDeps } from './room.ts'

const QueryBody = Type.Object({
  query: Type.String({ maxLength: 100_000 }),
  variables: Type.Optional(Type.Union([Type.Record(Type.String({ maxLength: 100 }), Type.Unknown()), Type.Null()])),
})

const AnswerBody = Type.Object({
  data: Type.Optional(Type.Record(Type.String(), Type.Unknown())),
  errors: Type.Optional(Type.Array(Type.Unknown())),
})

/** An object of the schema: what can be asked of it. */
interface Node {
  __typename: string
  [field: string]: string | number | boolean | null | Node | Node[]
}

interface GraphQLError {
  type?: string
  path?: string[]
  message: string
}

/**
 * The questions that gh and Terraform ask of GraphQL before they work with REST (rest-api.md §6.2, §7.2): whose token it is, what a repository
 * is and its default branch, the pull requests of a run (there are none). A field that is not known is an error, as on GitHub, never left out.
 * Served where the room is, so that `/api/graphql` and, for hosts that begin with `api.`, `/graphql` are the same.
 */
export function graphqlRoutes(app: App, deps: RestDeps): void {
  app.post(
    '/graphql',
    {
      config: { access: { by: 'actor', need: needs.self }, rateResource: 'graphql' },
      schema: {
        operationId: 'fleetfoot/query-graphql',
        summary: 'Ask GraphQL what gh and Terraform ask of it',
        tags: ['graphql'],
        body: QueryBody,
        response: { 200: AnswerBody },
      },
    },
    async (request) => {
      try {
        return await answer(deps, request, parseQuery(request.body.query, request.body.variables ?? {}))
      } catch (error) {
        if (!(error instanceof QueryError)) throw error
        const message = `${error.message}. Most of what is here is answered by the REST API only.`
        return { errors: [{ type: 'UNSUPPORTED', message, locations: [{ line: 1, column: 1 }] }] }
      }
    },
  )
}

async function answer(deps: RestDeps, request: FastifyRequest, asked: Selection[]) {
  const data: [string, unknown][] = []
  const errors: GraphQLError[] = []
  for (const selection of asked) {
    const node = await rootOf(deps, request, selection, errors)
    data.push([selection.key, node && pick(node, selection.selections)])
  }
  return { data: Object.fromEntries(data), ...(errors.length > 0 && { errors }) }
}

async function rootOf(deps: RestDeps, request: FastifyRequest, { name, key, args }: Selection, errors: GraphQLError[]) {
  if (name === 'viewer') {
    const { account } = await getSelf(deps, request.actor)
    return { __typename: 'User', id: nodeId('User', account.id), login: account.login } satisfies Node
  }
  if (name !== 'repository') throw new QueryError(`Field '${name}' doesn't exist on type 'Query'`)
  const [owner, repo] = [args['owner'], args['name']]
  if (typeof owner !== 'string' || typeof repo !== 'string') throw new QueryError("Field 'repository' takes the arguments owner and name")
  try {
    const { repository, role } = await getRepository(deps, request.actor, { owner, name: repo })
    return repositoryNode(`${baseOf(deps.book, request)}/${fullName(repository)}`, repository, role)
  } catch (error) {
    if (!(error instanceof AppError) || (error.kind !== 'not_found' && error.kind !== 'forbidden')) throw error
    const message = `Could not resolve to a Repository with the name '${owner}/${repo}'.`
    errors.push({ type: 'NOT_FOUND', path: [key], message })
    return null
  }
}

function repositoryNode(url: string, repository: Repository, role: RepositoryRole): Node {
  const { owner } = repository
  const ownerType = owner.kind === 'organization' ? 'Organization' : 'User'
  return {
    __typename: 'Repository',
    id: nodeId('Repository', repository.id),
    databaseId: repository.id,
    name: repository.name,
    nameWithOwner: fullName(repository),
    owner: { __typename: ownerType, id: nodeId(ownerType, owner.id), login: owner.login },
    description: repository.description,
    url,
    isPrivate: repository.visibility !== 'public',
    visibility: repository.visibility.toUpperCase(),
    viewerPermission: role.toUpperCase(),
    // Before the first push there is no such ref.
    defaultBranchRef: repository.pushedAt === null ? null : { __typename: 'Ref', name: repository.defaultBranch },
    isFork: false,
    isArchived: false,
    parent: null,
    hasIssuesEnabled: false,
    hasWikiEnabled: false,
    mergeCommitAllowed: false,
    rebaseMergeAllowed: false,
    squashMergeAllowed: false,
    pullRequests: { __typename: 'PullRequestConnection', totalCount: 0, nodes: [] },
  }
}

function pick(node: Node, selections: Selection[]): Record<string, unknown> {
  const { __typename: type } = node
  const picked: [string, unknown][] = []
  if (selections.length === 0) throw new QueryError(`Objects must have selections (${type} has none)`)
  for (const { name, key, selections: deeper } of selections) {
    if (!Object.hasOwn(node, name)) throw new QueryError(`Field '${name}' doesn't exist on type '${type}'`)
    const value = node[name]
    const isScalar = value === null || typeof value !== 'object'
    if (isScalar && value !== null && deeper.length > 0) throw new QueryError(`Selections can't be made on scalars (field '${name}')`)
    if (isScalar) picked.push([key, value])
    else picked.push([key, Array.isArray(value) ? value.map((each) => pick(each, deeper)) : pick(value, deeper)])
  }
  return Object.fromEntries(picked)
}
