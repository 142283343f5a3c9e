import type { Access } from './access.ts'
import { PARAMETERS, parameterSchema } from './openapi-words.ts'
import type { ServedRoute } from './served-route.ts'
import { acceptedPermissions } from '../model/permissions.ts'

interface Options {
  title: string
  version: string
  /** What is true of all operations. */
  description: string
  /** What the tags mean, as far as they need words. */
  tags?: Readonly<Record<string, string>>
  /** Paths that begin with it are described, without it. */
  prefix: string
  /** What is known of operations from elsewhere, by operationId. */
  operations?: Readonly<Record<string, Operation>>
  /** A line about an operation that has none itself. */
  summaryOf?: (operationId: string) => string
  /** The tag of an operation that has none itself. */
  tagOf?: (operationId: string) => string
  /** Responses of every operation like this one, beside its own, of which it is told the statuses. */
  alsoOf?: (method: string, path: string, statuses: string[]) => Record<string, { description: string }>
}

/** An operation as its own description has it: its path, with the names of parameters, and the statuses of success. */
export interface Operation {
  path: string
  ok: readonly number[]
}

type Json = Record<string, unknown>

/** An OpenAPI description, before it is known where it is served. */
export interface Description {
  openapi: string
  info: { title: string; version: string; description: string }
  paths: Record<string, Record<string, Json>>
  tags: { name: string; description?: string }[]
  components: { securitySchemes: Json; schemas: Record<string, Json> }
}

/**
 * An OpenAPI 3.1 description of what is served under a prefix, from the routes' own declarations: what is described is what is checked.
 * Aliases (the numeric paths, the other spelling of a path) are left out: an operation stands under its first path.
 *
 * @throws Error for a route without an operationId, or two different shapes with one title
 */
export function describeRoutes(routes: readonly ServedRoute[], options: Options): Description {
  const { title, version, description, prefix, operations = {} } = options
  const shapes = new Shapes()
  const paths: Description['paths'] = {}
  const seen = new Set<string>()
  for (const { method, url, operationId, access, deprecated, schema } of routes) {
    if (!`${url}/`.startsWith(`${prefix}/`) || access?.by !== 'actor') continue
    if (operationId === undefined) throw new Error(`${method} ${url} has no operationId`)
    if (seen.has(operationId)) continue
    seen.add(operationId)
    const own =
      url
        .slice(prefix.length)
        .replaceAll(/:(\w+)/g, '{$1}')
        .replaceAll('*', '{path}') || '/'
    const operation = operations[operationId]
    const path = operation && shapeOf(operation.path) === shapeOf(own) ? operation.path : own
    const done = responsesOf(shapes, schema, operation?.ok)
    paths[path] ??= {}
    paths[path][method.toLowerCase()] = {
      operationId,
      summary: schema.summary ?? options.summaryOf?.(operationId),
      description: [schema.description, takes(access)].filter((text) => text !== undefined).join('\n\n'),
      ...(deprecated && { deprecated: true }),
      tags: schema.tags ?? [options.tagOf?.(operationId) ?? 'other'],
      // An empty alternative: anybody may ask, and who signs in sees more.
      security: access.need.role === 'anyone' ? [{}, { token: [] }] : [{ token: access.need.scopes }],
      parameters: parametersOf(shapes, path, own, schema),
      ...bodyOf(shapes, schema),
      responses: { ...done, ...options.alsoOf?.(method, path, Object.keys(done)), default: REFUSED },
    }
  }
  const tags = new Set(Object.values(paths).flatMap((each) => Object.values(each).flatMap(({ tags }) => tags as string[])))
  return {
    openapi: '3.1.0',
    info: { title, version, description },
    paths,
    tags: [...tags].sort().map((name) => ({ name, ...(options.tags?.[name] !== undefined && { description: options.tags[name] }) })),
    components: {
      securitySchemes: { token: { type: 'http', scheme: 'bearer', description: 'A token of a user, an App or a job.' } },
      schemas: { Failure: FAILURE, ...shapes.sorted() },
    },
  }
}

/** Every failure (rest-api.md 3.5). */
const FAILURE = {
  type: 'object',
  required: ['message', 'documentation_url', 'status'],
  properties: {
    message: { type: 'string' },
    documentation_url: { type: 'string' },
    status: { type: 'string', description: 'The status of HTTP.' },
    errors: { type: 'array', items: {}, description: 'What is wrong with which field.' },
  },
}

const shapeOf = (path: string) => path.replaceAll(/\{\w+\}/g, '{}')

/** What a token needs to make the call. */
function takes({ need }: Access & { by: 'actor' }): string {
  if (need.role === 'anyone' && need.on === 'nothing') return 'Anybody may ask.'
  if (need.on === 'app') return 'Takes the JWT of an App.'
  if (need.on === 'installation') return 'Takes the token of an installation.'
  const permission = acceptedPermissions(need.permission)
  const scopes = need.scopes.map((scope) => `\`${scope}\``).join(' or ')
  const ofPrivate = need.on === 'repository' ? 'a classic token, with `repo` where the repository is private' : 'a classic token'
  const classic = scopes === '' ? ofPrivate : `a classic token with ${scopes}`
  if (permission === undefined) return `Takes ${classic}.`
  return permission.startsWith('allows_')
    ? `Takes ${classic}, or any other token.`
    : `Takes ${classic}, or one of an App or a fine-grained one with the permission \`${permission}\`.`
}

function parametersOf(shapes: Shapes, path: string, own: string, { params, querystring }: ServedRoute['schema']): Json[] {
  const declared = (schema: unknown) => ((schema as Json | undefined)?.['properties'] ?? {}) as Record<string, Json>
  const namesIn = (at: string) => [...at.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => name)
  const present = (name: string, place: 'path' | 'query', given: Json) => {
    const { description = PARAMETERS[name], ...taken } = shapes.of(given) as Json
    const schema = parameterSchema(name) ?? taken
    return { name, in: place, required: place === 'path', ...(description !== undefined && { description }), schema }
  }
  // The route declares them by names of its own, in the same places.
  const ownNames = namesIn(own)
  const inPath = namesIn(path).map((name, index) => {
    const ownName = ownNames[index] ?? name
    return present(name, 'path', declared(params)[ownName] ?? declared(params)['*'] ?? { type: 'string' })
  })
  return [...inPath, ...Object.entries(declared(querystring)).map(([name, schema]) => present(name, 'query', schema))]
}

/** A body may be left out where it need not say anything: nothing is read as an empty object. */
function bodyOf(shapes: Shapes, { body, bodyType }: ServedRoute['schema']): Json {
  if (bodyType !== undefined) return { requestBody: { required: true, content: { [bodyType]: { schema: {} } } } }
  if (body === undefined) return {}
  const { required = [] } = body as { required?: unknown[] }
  return { requestBody: { required: required.length > 0, content: { 'application/json': { schema: shapes.of(body) } } } }
}

/** Success as the route declares it; where it declares none, with the statuses that are known and without bodies. */
function responsesOf(shapes: Shapes, { response }: ServedRoute['schema'], ok: readonly number[] = []): Json {
  const bare = Object.fromEntries(ok.filter((status) => !EVERYWHERE.has(status)).map((status) => [status, { type: 'undefined' }]))
  const given = Object.entries((response ?? bare) as Record<string, Json>)
  return Object.fromEntries(
    given.map(([status, schema]) => [status, { description: DONE[status] ?? 'Done', ...contentOf(shapes, schema) }]),
  )
}

const REFUSED = { description: 'Refused', content: { 'application/json': { schema: { $ref: '#/components/schemas/Failure' } } } }
/** Where something has moved, and what has not changed, is the same for all operations. */
const EVERYWHERE = new Set([301, 304, 307])
const DONE: Readonly<Record<string, string>> = {
  201: 'Made',
  202: 'Accepted: it is done in the background',
  204: 'Done; there is nothing to tell',
  302: 'It is at the address that `Location` names',
}

function contentOf(shapes: Shapes, schema: Json): Json {
  if (schema['type'] === 'undefined') return {}
  const content = (schema['content'] ?? { 'application/json': { schema } }) as Record<string, { schema: Json }>
  return { content: Object.fromEntries(Object.entries(content).map(([type, each]) => [type, { schema: shapes.of(each.schema) }])) }
}

/** Makes JSON Schema of what routes declare, in the words that generators of code read well, and keeps the shapes that have a title. */
class Shapes {
  readonly #named = new Map<string, Json>()

  sorted(): Record<string, Json> {
    return Object.fromEntries([...this.#named].sort(([a], [b]) => (a < b ? -1 : 1)))
  }

  of(node: unknown): unknown {
    if (Array.isArray(node)) return node.map((each) => this.of(each))
    if (typeof node !== 'object' || node === null) return node
    const { title, ...rest } = node as Json
    // A property may be called title as well; then it is a schema.
    if (typeof title !== 'string') return this.#plain(node as Json)
    const made = this.#plain(rest)
    const known = this.#named.get(title)
    if (known && JSON.stringify(known) !== JSON.stringify(made)) throw new Error(`two shapes are called ${title}`)
    this.#named.set(title, made)
    return { $ref: `#/components/schemas/${title}` }
  }

  #plain(schema: Json): Json {
    const { anyOf, patternProperties, ...rest } = Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, this.of(value)]))
    const values = patternProperties as Record<string, Json> | undefined
    const [any] = values ? Object.values(values) : []
    return { ...rest, ...(any && { additionalProperties: any }), ...(Array.isArray(anyOf) && alternatives(anyOf as Json[])) }
  }
}

/** Literals of one type are an enumeration. */
function alternatives(anyOf: Json[]): Json {
  const words = anyOf.filter((each) => typeof each['const'] === 'string')
  if (words.length === 0) return { anyOf }
  const enumeration = { type: 'string', enum: words.map((each) => each['const']) }
  const rest = anyOf.filter((each) => !words.includes(each))
  return rest.length === 0 ? enumeration : { anyOf: [enumeration, ...rest] }
}
