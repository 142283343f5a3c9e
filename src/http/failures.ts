import type { FastifyError, FastifyRequest } from 'fastify'
import { AppError, type FailureKind } from '../model/errors.ts'
import { isPassingTrouble } from '../model/trouble.ts'

const STATUS = {
  invalid: 422,
  malformed: 400,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  conflict: 409,
  gone: 410,
  too_large: 413,
  unavailable: 503,
} as const satisfies Record<FailureKind, number>

export interface Failure {
  status: number
  message: string
  /** GitHub's `errors`. */
  details?: readonly unknown[]
}

/**
 * What a failure is to a client, before a room gives it its shape. Logged here, once, when it is ours: 500 for a bug, 503 for passing
 * trouble. What failed validation decides: a path that cannot be is 404, a body 422.
 */
export function failureOf(error: FastifyError | AppError | Error, request: FastifyRequest): Failure {
  if (error instanceof AppError) {
    const status = STATUS[error.kind]
    if (status >= 500) request.log.warn({ err: error }, 'request could not be served now')
    return { status, message: error.message, ...(error.details && { details: error.details }) }
  }
  if (isPassingTrouble(error)) {
    request.log.warn({ err: error }, 'request could not be served now')
    return { status: 503, message: 'Service unavailable, try again' }
  }
  const { validation, validationContext, statusCode, code } = error as FastifyError
  if (validation) return validationContext === 'params' ? { status: 404, message: 'Not Found' } : invalid(validation)
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return { status: 413, message: 'Request body is too large' }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) return { status: statusCode, message: error.message }
  if (statusCode === 503) return { status: 503, message: 'Service unavailable, try again' }
  request.log.error({ err: error }, 'request failed')
  return { status: 500, message: 'Server Error' }
}

/** One sentence per problem under `Invalid request.`, as GitHub words it (rest-api.md 3.10). */
function invalid(problems: NonNullable<FastifyError['validation']>): Failure {
  const sentences = problems.map(({ instancePath, keyword, params, message }) => {
    const at = instancePath.replace(/^\//, '').replaceAll('/', '/items/')
    if (keyword === 'required') return `"${String(params['missingProperty'])}" wasn't supplied.`
    if (keyword === 'type') return `For '${at ? `properties/${at}` : 'allOf'}', value is not ${article(String(params['type']))}.`
    return `For 'properties/${at}', ${message ?? 'the value does not fit'}.`
  })
  return { status: 422, message: `Invalid request.\n\n${[...new Set(sentences)].join('\n')}` }
}

function article(type: string): string {
  return /^[aio]/.test(type) ? `an ${type}` : `a ${type}`
}
