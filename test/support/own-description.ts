import { Ajv, type ValidateFunction } from 'ajv'
import type { Description } from '../../src/http/openapi.ts'
import type { JudgedAnswer, ServedRoute } from '../../src/http/served-route.ts'
import { describeOwn, describeRest } from '../../src/protocols/github-rest/openapi.ts'
import { FORMATS } from './github-description.ts'

type Json = Record<string, unknown>
type Responses = Record<string, { content?: Record<string, Json> }>

interface Known {
  responses: Map<string, Responses>
  ajv: Ajv
}

/** Routes are the same in every server of a process, and describing them takes a while. */
let known: Known | undefined
const compiled = new Map<string, ValidateFunction>()

/**
 * In what an answer is not what our own OpenAPI descriptions say: its status, that it has a body or none, its media type, and its JSON, where no
 * key may be that the description does not have. Failures, redirects to where something has moved and 304 are described for all at once.
 */
export function judgeByOwnDescription(routes: readonly ServedRoute[], answer: JudgedAnswer): string[] {
  const { operationId, method, status, body, contentType } = answer
  if (operationId === undefined || status >= 400 || [301, 304, 307].includes(status)) return []
  known ??= read(routes)
  const described = known.responses.get(operationId)?.[String(status)]
  if (!described) return [`we do not describe status ${status}`]
  const types = Object.keys(described.content ?? {})
  if (types.length === 0) return body === '' ? [] : ['we describe no body']
  if (body === '') return method === 'HEAD' ? [] : ['we describe a body']
  const type = contentType?.split(';')[0] ?? 'application/json'
  if (!types.includes(type)) return [`we describe ${types.join(', ')}, not ${type}`]
  return type.endsWith('json') && body !== undefined ? validate(known.ajv, operationId, status, type, JSON.parse(body)) : []
}

function validate(ajv: Ajv, operationId: string, status: number, type: string, value: unknown): string[] {
  const key = `${operationId} ${status} ${type}`
  const check = compiled.get(key) ?? ajv.compile({ $ref: `own#/answers/${pointed(operationId)}/${status}/content/${pointed(type)}/schema` })
  compiled.set(key, check)
  if (check(value)) return []
  return (check.errors ?? []).map(({ instancePath, message, params }) => `ours: ${instancePath} ${message} ${JSON.stringify(params)}`)
}

function read(routes: readonly ServedRoute[]): Known {
  const descriptions = [describeRest(routes), describeOwn(routes)]
  const responses = new Map(descriptions.flatMap(responsesOf))
  // One document for both: each refers to shapes of its own.
  const ajv = new Ajv({ strict: false, allErrors: true, formats: FORMATS })
  const shapes = Object.fromEntries(descriptions.map(({ components }, index) => [`shapes${index}`, closed(components.schemas)]))
  const answers = descriptions.flatMap((description, index) =>
    responsesOf(description).map(([operationId, each]) => [operationId, placed(closed(each), index)] as const),
  )
  ajv.addSchema({ ...mapValues(shapes, (each, name) => placed(each, Number(name.slice(-1)))), answers: Object.fromEntries(answers) }, 'own')
  return { responses, ajv }
}

function responsesOf({ paths }: Description): [string, Responses][] {
  const operations = Object.values(paths).flatMap((each) => Object.values(each))
  return operations.map(({ operationId, responses }) => [String(operationId), responses as Responses])
}

/** Objects that say what they hold hold nothing else. */
function closed(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(closed)
  if (typeof node !== 'object' || node === null) return node
  const made = mapValues(node as Json, closed)
  const isObject = made['type'] === 'object' && typeof made['properties'] === 'object'
  return isObject && made['additionalProperties'] === undefined ? { ...made, additionalProperties: false } : made
}

function placed(node: unknown, index: number): unknown {
  if (Array.isArray(node)) return node.map((each) => placed(each, index))
  if (typeof node !== 'object' || node === null) return node
  const { $ref } = node as Json
  if (typeof $ref === 'string') return { $ref: $ref.replace('#/components/schemas/', `own#/shapes${index}/`) }
  return mapValues(node as Json, (each) => placed(each, index))
}

const mapValues = (object: Json, change: (value: unknown, key: string) => unknown): Json =>
  Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(value, key)]))

const pointed = (text: string) => encodeURIComponent(text.replaceAll('~', '~0').replaceAll('/', '~1'))
