import type { ServedRoute } from './served-route.ts'

interface Options {
  title: string
  version: string
  /** Paths that begin with it are described, without it. */
  prefix: string
  /** The address that goes before the paths. */
  server: string
  /** What is known of operations from elsewhere, by operationId. */
  operations?: Readonly<Record<string, Operation>>
}

/** An operation as its own description has it: its path, with the names of parameters, and the statuses of success. */
export interface Operation {
  path: string
  ok: readonly number[]
}

type Json = Record<string, unknown>

/**
 * An OpenAPI 3.1 description of what is served under a prefix, from the routes' own declarations: what is described is what is checked.
 * Aliases (the numeric paths, the other spelling of a path) are left out: an operation stands under its first path.
 */
export function describeRoutes(routes: readonly ServedRoute[], { title, version, prefix, server, operations = {} }: Options): Json {
  const paths: Record<string, Json> = {}
  const seen = new Set<string>()
  for (const { method, url, operationId, access, deprecated, schema } of routes) {
    if (!url.startsWith(prefix) || access?.by !== 'actor') continue
    const own =
      url
        .slice(prefix.length)
        .replaceAll(/:(\w+)/g, '{$1}')
        .replaceAll('*', '{path}') || '/'
    const operation = operationId === undefined ? undefined : operations[operationId]
    const path = operation && shapeOf(operation.path) === shapeOf(own) ? operation.path : own
    const id = operationId ?? `${method.toLowerCase()}${path.replaceAll(/[/{}]+/g, '-').replace(/-$/, '')}`
    if (seen.has(id)) continue
    seen.add(id)
    const { need } = access
    paths[path] ??= {}
    paths[path][method.toLowerCase()] = {
      operationId: id,
      ...(deprecated && { deprecated: true }),
      ...(need.role !== 'anyone' && { security: [{ token: need.scopes }] }),
      parameters: parametersOf(path, own, schema),
      ...(schema.body !== undefined && { requestBody: { required: true, content: { 'application/json': { schema: schema.body } } } }),
      responses: responsesOf(schema, operation?.ok),
    }
  }
  return {
    openapi: '3.1.0',
    info: { title, version },
    servers: [{ url: server }],
    paths,
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'A token of a user, an App or a job.' } },
      schemas: { Failure: FAILURE },
    },
  }
}

/** Every failure (rest-api.md 3.5). */
const FAILURE = {
  type: 'object',
  required: ['message', 'documentation_url', 'status'],
  properties: { message: { type: 'string' }, documentation_url: { type: 'string' }, status: { type: 'string' }, errors: { type: 'array' } },
}

const shapeOf = (path: string) => path.replaceAll(/\{\w+\}/g, '{}')

function parametersOf(path: string, own: string, { params, querystring }: ServedRoute['schema']): Json[] {
  const declared = (schema: unknown) => ((schema as Json | undefined)?.['properties'] ?? {}) as Record<string, Json>
  const namesIn = (at: string) => [...at.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name)
  // The route declares them by names of its own, in the same places.
  const ownNames = namesIn(own)
  const inPath = namesIn(path).map((name, place) => ({
    name,
    in: 'path',
    required: true,
    schema: declared(params)[ownNames[place] ?? name] ?? { type: 'string' },
  }))
  return [...inPath, ...Object.entries(declared(querystring)).map(([name, schema]) => ({ name, in: 'query', required: false, schema }))]
}

/** Success as the route declares it, and with the statuses that are known; where neither says one, any of them. */
function responsesOf({ response }: ServedRoute['schema'], ok: readonly number[] = []): Json {
  const given = (response ?? {}) as Record<string, unknown>
  const statuses = [...new Set([...Object.keys(given), ...ok.map(String)])].sort()
  return {
    ...Object.fromEntries(
      (statuses.length > 0 ? statuses : ['2XX']).map((status) => {
        const schema = given[status]
        return [status, { description: 'Done', ...(schema !== undefined && { content: { 'application/json': { schema } } }) }]
      }),
    ),
    default: { description: 'Refused', content: { 'application/json': { schema: { $ref: '#/components/schemas/Failure' } } } },
  }
}
