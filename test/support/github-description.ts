import { readFileSync } from 'node:fs'
import path from 'node:path'
import { Ajv, type ErrorObject, type ValidateFunction } from 'ajv'
import type { JudgedAnswer } from '../../src/http/served-route.ts'

/** A schema in the words of OpenAPI 3.0, as it stands in the description. */
export type DescribedSchema = Record<string, unknown>

export interface DescribedOperation {
  method: string
  path: string
  parameters: { name: string; in: 'path' | 'query' | 'header'; required: boolean; schema: DescribedSchema }[]
  requestBody?: { required: boolean; content: Record<string, DescribedSchema> }
  responses: Record<string, DescribedResponse>
}

export interface DescribedResponse {
  headers?: string[]
  /** Schemas by media type; absent where no body is described. */
  content?: Record<string, DescribedSchema>
}

export interface Answer {
  operationId: string
  status: number
  /** Parsed when it is JSON, else text; undefined, null or '' for none. */
  body?: unknown
  /** Given, they are checked too: the media type, and the Location of a redirect. */
  headers?: Headers | Record<string, string | string[] | number | undefined>
}

interface Description {
  operations: Record<string, DescribedOperation>
  components: { schemas: Record<string, DescribedSchema> }
}

const description = readConformance<Description>('github/ghes-3.19.json')
const notDescribed = readConformance<Record<string, Record<string, string>>>('not-described.json')

const COMPONENTS = 'github'
const JSON_TYPE = 'application/json'

/** What GitHub sends with every failure, more than its own description requires. */
const FAILURE = {
  type: 'object',
  required: ['message', 'documentation_url'],
  properties: { message: { type: 'string' }, documentation_url: { type: 'string' } },
}

/** Simple checks of the formats in the description. A URI template, an SSH key or an address is any text. */
export const FORMATS = {
  'date-time': (text: string) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(text) && !Number.isNaN(Date.parse(text)),
  date: (text: string) => /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(Date.parse(text)),
  uri: (text: string) => /^[a-z][a-z\d+.-]*:[^\s<>"\\^`{|}]+$/i.test(text),
  email: /^[^\s@]+@[^\s@]+$/,
  hostname: /^[a-z\d]([a-z\d.-]*[a-z\d])?$/i,
  uuid: /^[\da-f]{8}(-[\da-f]{4}){3}-[\da-f]{12}$/i,
  int32: true as const,
  int64: true as const,
  'uri-template': true as const,
  'ssh-key': true as const,
  'ssh-key fingerprint': true as const,
  'ip/cidr': true as const,
}

// Not strict about schemas: GitHub requires keys that it does not declare. Strict about values all the same.
const ajv = new Ajv({ strict: false, allErrors: true, coerceTypes: false, formats: FORMATS })
ajv.addSchema(toJsonSchema({ components: description.components }) as DescribedSchema, COMPONENTS)
const compiled = new WeakMap<DescribedSchema, ValidateFunction>()

/** The operationIds that GitHub's description has and that we mean to serve. */
export function describedOperationIds(): string[] {
  return Object.keys(description.operations)
}

/** What GitHub's description of Enterprise Server 3.19 says of an operation. */
export function describe(operationId: string): DescribedOperation {
  const operation = description.operations[operationId]
  if (!operation) throw new Error(`${operationId} is not in the extract: see tools/refresh-github-description.ts`)
  return operation
}

/**
 * In what an answer does not fit GitHub's description; an empty list when it fits.
 *
 * A status that is not described is a violation unless test/conformance/not-described.json has it, for the operation or
 * for all (`*`). Failures must carry `message` and `documentation_url` in either case.
 */
export function validateAnswer({ operationId, status, body, headers }: Answer): string[] {
  const described = describe(operationId).responses[String(status)]
  if (!described && !isKnownNotDescribed(operationId, status)) return [`status ${status} is not described for ${operationId}`]

  const hasBody = body !== undefined && body !== null && body !== ''
  return [
    ...(status >= 400 ? validateSchema(FAILURE, body) : []),
    ...(described ? validateBody(described, status, hasBody, body, headers) : []),
    ...(headers ? validateRedirect(status, headers) : []),
  ]
}

/** Operations whose description no answer can fit: in this list an account is to be a user and an enterprise at once. */
const SLIPS = new Set(['apps/list-installations'])

/**
 * For every answer of every test that starts a server: good ones by GitHub's description where it has the operation, refused ones by the
 * form of failures. (Which statuses an operation may answer is asked by the tests that mean to, with `validateAnswer`.)
 */
export function judgeByDescription({ operationId, status, body, contentType }: JudgedAnswer): string[] {
  // Not of the REST API, or a stream.
  if (operationId === undefined || body === undefined) return []
  const isJson = contentType?.startsWith(JSON_TYPE) ?? false
  if (status >= 300 && status < 400) return []
  if (status >= 400) return isJson ? validateSchema(FAILURE, JSON.parse(body)) : []
  if (!description.operations[operationId] || SLIPS.has(operationId) || (body !== '' && !isJson)) return []
  return validateAnswer({ operationId, status, body: body === '' ? undefined : JSON.parse(body) })
}

function isKnownNotDescribed(operationId: string, status: number): boolean {
  return [operationId, '*'].some((key) => notDescribed[key]?.[String(status)] !== undefined)
}

function validateBody(response: DescribedResponse, status: number, hasBody: boolean, body: unknown, headers: Answer['headers']): string[] {
  const { content } = response
  if (!content) return hasBody && status < 400 ? [`status ${status} has no body, not ${JSON.stringify(body).slice(0, 100)}`] : []
  if (!hasBody) return [`status ${status} has a body, and there is none`]

  const sent = headers && mediaTypeOf(headers)
  if (headers && !sent) return ['header content-type is missing']
  const schema = schemaFor(content, sent)
  if (!schema) return [`header content-type must be one of ${Object.keys(content).join(', ')}, not ${sent}`]
  return validateSchema(schema, body)
}

/** GitHub describes some JSON under the media type that was asked for and sends it as application/json. */
function schemaFor(content: Record<string, DescribedSchema>, sent: string | undefined): DescribedSchema | undefined {
  if (sent !== undefined && sent !== JSON_TYPE) return content[sent]
  return content[JSON_TYPE] ?? Object.entries(content).find(([type]) => sent === undefined || type.endsWith('json'))?.[1]
}

function validateRedirect(status: number, headers: NonNullable<Answer['headers']>): string[] {
  const redirects = [301, 302, 303, 307, 308].includes(status)
  return redirects && !headerOf(headers, 'location') ? ['header location is missing'] : []
}

function validateSchema(schema: DescribedSchema, value: unknown): string[] {
  const validate = compile(schema)
  return validate(value) ? [] : (validate.errors ?? []).map(presentViolation)
}

function compile(schema: DescribedSchema): ValidateFunction {
  const known = compiled.get(schema)
  if (known) return known
  const made = ajv.compile(toJsonSchema(schema) as DescribedSchema)
  compiled.set(schema, made)
  return made
}

function presentViolation({ instancePath, message = 'does not fit', keyword, params }: ErrorObject): string {
  const detail = keyword === 'enum' ? `: ${JSON.stringify(params['allowedValues'])}` : ''
  const key = keyword === 'additionalProperties' ? `: ${params['additionalProperty']}` : ''
  return `${instancePath || '/'} ${message}${detail}${key}`
}

/**
 * Turns OpenAPI 3.0 into JSON Schema: `nullable` becomes a type or an alternative, references lead to the shared
 * components, and `oneOf` becomes `anyOf`, because GitHub's alternatives overlap (three that are nullable: null fits each).
 */
function toJsonSchema(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(toJsonSchema)
  if (typeof node !== 'object' || node === null) return node

  const { nullable, ...rest } = node as DescribedSchema
  // A property may be called nullable as well; then it is a schema and not true.
  const schema: DescribedSchema = nullable === undefined || typeof nullable === 'boolean' ? {} : { nullable: toJsonSchema(nullable) }
  for (const [key, value] of Object.entries(rest)) {
    if (key === '$ref' && typeof value === 'string') schema[key] = `${COMPONENTS}${value}`
    else if (key === 'oneOf' && Array.isArray(value)) schema['anyOf'] = toJsonSchema(value)
    else schema[key] = toJsonSchema(value)
  }
  return nullable === true ? orNull(schema) : schema
}

function orNull(schema: DescribedSchema): DescribedSchema {
  if (typeof schema['type'] !== 'string' || schema['allOf'] || schema['anyOf']) return { anyOf: [{ type: 'null' }, schema] }
  const { enum: values } = schema
  return { ...schema, type: [schema['type'], 'null'], ...(Array.isArray(values) ? { enum: [...new Set([...values, null])] } : {}) }
}

function mediaTypeOf(headers: NonNullable<Answer['headers']>): string | undefined {
  return headerOf(headers, 'content-type')?.split(';')[0]?.trim().toLowerCase()
}

function headerOf(headers: NonNullable<Answer['headers']>, name: string): string | undefined {
  if (headers instanceof Headers) return headers.get(name) ?? undefined
  const value = Object.entries(headers).find(([key]) => key.toLowerCase() === name)?.[1]
  return value === undefined ? undefined : String(value)
}

function readConformance<T>(file: string): T {
  return JSON.parse(readFileSync(path.join(import.meta.dirname, '../conformance', file), 'utf8')) as T
}
