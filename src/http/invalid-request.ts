import type { FastifySchemaValidationError } from 'fastify'

/** A long list may have as many problems as items. */
const LOOKED_AT = 200
const SENTENCES_LIMIT = 20
const SHOWN_LIMIT = 100

/**
 * What is wrong with a body: one sentence per problem under `Invalid request.`, in GitHub's words (rest-api.md 3.10; those of lengths and
 * members are common knowledge). The values are the client's own; long ones are cut.
 */
export function invalidRequest(found: readonly FastifySchemaValidationError[], body: unknown): string {
  const problems = found.slice(0, LOOKED_AT)
  const choices = problems.filter(({ keyword }) => keyword === 'anyOf').map((problem) => choiceOf(problem, problems))
  const told = new Set<string>()
  for (const problem of problems) {
    if (told.size >= SENTENCES_LIMIT) break
    // A list of words is one sentence, not one for each word.
    if (choices.some((choice) => choice.allowed.length > 0 && isBranch(choice.problem, problem))) continue
    const choice = choices.find((each) => each.problem === problem)
    if (choice) told.add('No subschema in "anyOf" matched.')
    const { place, value } = find(body, problem.instancePath)
    const words = choice ? membership(value, choice.allowed) : wordsOf(problem, value)
    if (words !== undefined) told.add(problem.keyword === 'required' ? words : `For '${place}', ${words}`)
  }
  return `Invalid request.\n\n${[...told].join('\n')}`
}

/** Of an `anyOf` that nothing matched: the words to choose from, if it is a choice of words. */
function choiceOf(problem: FastifySchemaValidationError, problems: readonly FastifySchemaValidationError[]) {
  const within = problems.filter((other) => isBranch(problem, other))
  const isOfWords = within.every(({ keyword }) => keyword === 'const' || keyword === 'type')
  const allowed = isOfWords ? within.filter(({ keyword }) => keyword === 'const').map(({ params }) => params['allowedValue']) : []
  return { problem, allowed }
}

/** Items of a list have one schema, so the place of the value counts, too. */
function isBranch(choice: FastifySchemaValidationError, { schemaPath, instancePath }: FastifySchemaValidationError): boolean {
  const isThere = instancePath === choice.instancePath || instancePath.startsWith(`${choice.instancePath}/`)
  return isThere && schemaPath.startsWith(`${choice.schemaPath}/`)
}

function membership(value: unknown, allowed: readonly unknown[]): string | undefined {
  return allowed.length === 0 ? undefined : `${show(value)} is not a member of [${allowed.map(show).join(', ')}].`
}

function wordsOf({ keyword, params, message }: FastifySchemaValidationError, value: unknown): string | undefined {
  const limit = Number(params['limit'])
  switch (keyword) {
    case 'required':
      return `"${String(params['missingProperty'])}" wasn't supplied.`
    case 'type':
      return `${show(value)} is not ${article(String(params['type']))}.`
    case 'const':
      return membership(value, [params['allowedValue']])
    case 'enum':
      return membership(value, params['allowedValues'] as unknown[])
    case 'minimum':
      return `${show(value)} must be greater than or equal to ${limit}.`
    case 'maximum':
      return `${show(value)} must be less than or equal to ${limit}.`
    case 'minLength':
      return atLeast(limit, 'character', codePoints(String(value)))
    case 'maxLength':
      return `Only ${count(limit, 'character')} allowed; ${codePoints(String(value))} were supplied.`
    case 'minItems':
      return atLeast(limit, 'item', sizeOf(value))
    case 'maxItems':
      return `No more than ${count(limit, 'item')} allowed; ${sizeOf(value)} were supplied.`
    case 'maxProperties':
      return `No more than ${count(limit, 'key')} allowed; ${sizeOf(value)} were supplied.`
    case 'pattern':
      return `${show(value)} does not match /${String(params['pattern'])}/.`
    default:
      return message === undefined ? undefined : `${show(value)} ${message}.`
  }
}

const count = (limit: number, noun: string) => `${limit} ${noun}${limit === 1 ? ' is' : 's are'}`
const atLeast = (limit: number, noun: string, supplied: number) =>
  `At least ${count(limit, noun)} required; only ${supplied} were supplied.`
const sizeOf = (value: unknown) => Object.keys(value ?? {}).length
/** As the schema counts. */
const codePoints = (text: string) => Array.from(text).length

/** The value at a JSON pointer, and where its schema is: `properties/labels/items/0`. */
function find(body: unknown, pointer: string): { place: string; value: unknown } {
  let value = body
  const place: string[] = []
  for (const part of pointer.split('/').slice(1)) {
    const key = part.replaceAll('~1', '/').replaceAll('~0', '~')
    place.push(Array.isArray(value) ? 'items' : 'properties', key)
    value = typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined
  }
  return { place: place.length === 0 ? 'allOf' : place.join('/'), value }
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? 'null'
  return text.length > SHOWN_LIMIT ? `${text.slice(0, SHOWN_LIMIT)}…` : text
}

function article(type: string): string {
  if (type === 'null') return type
  return /^[aio]/.test(type) ? `an ${type}` : `a ${type}`
}
