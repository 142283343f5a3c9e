import type { ServedRoute } from './served-route.ts'

interface Options {
  title: string
  version: string
  /** Paths that begin with it are described, without it. */
  prefix: string
  /** The address that goes before the paths. */
  server: string
}

type Json = Record<string, unknown>

/**
 * An OpenAPI 3.1 description of what is served under a prefix, from the routes' own declarations: what is described is what is checked.
 * Aliases (the numeric paths, the other spelling of a path) are left out: an operation stands under its first path.
 */
export function describeRoutes(routes: readonly ServedRoute[], { title, version, prefix, server }: Options): Json {
  const paths: Record<string, Json> = {}
  const seen = new Set<string>()
  for (const { method, url, operationId, access, schema } of routes) {
    if (!url.startsWith(prefix) || access?.by !== 'actor') continue
    const path =
      url
        .slice(prefix.length)
        .replaceAll(/:(\w+)/g, '{$1}')
        .replaceAll('*', '{path}') || '/'
    const id = operationId ?? `${method.toLowerCase()}${path.replaceAll(/[/{}]+/g, '-').replace(/-$/, '')}`
    if (seen.has(id)) continue
    seen.add(id)
    const { need } = access
    paths[path] ??= {}
    paths[path][method.toLowerCase()] = {
      operationId: id,
      ...(need.role !== 'anyone' && { security: [{ token: need.scopes }] }),
      parameters: parametersOf(path, schema),
      ...(schema.body !== undefined && { requestBody: { required: true, content: { 'application/json': { schema: schema.body } } } }),
      responses: responsesOf(method, schema),
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

function parametersOf(path: string, { params, querystring }: ServedRoute['schema']): Json[] {
  const declared = (schema: unknown) => ((schema as Json | undefined)?.['properties'] ?? {}) as Record<string, Json>
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => ({
    name,
    in: 'path',
    required: true,
    schema: declared(params)[name] ?? { type: 'string' },
  }))
  return [...inPath, ...Object.entries(declared(querystring)).map(([name, schema]) => ({ name, in: 'query', required: false, schema }))]
}

function responsesOf(method: string, { response }: ServedRoute['schema']): Json {
  const given = Object.entries((response ?? {}) as Record<string, unknown>)
  const good = given.length > 0 ? given : [[method === 'DELETE' ? '204' : '200', undefined] as const]
  return {
    ...Object.fromEntries(
      good.map(([status, schema]) => [
        status,
        { description: 'Done', ...(schema !== undefined && { content: { 'application/json': { schema } } }) },
      ]),
    ),
    default: { description: 'Refused', content: { 'application/json': { schema: { $ref: '#/components/schemas/Failure' } } } },
  }
}
