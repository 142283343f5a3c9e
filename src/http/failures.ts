import type { FastifyError, FastifyRequest } from 'fastify'
import { AppError, type FailureKind } from '../model/errors.ts'
import { isPassingTrouble } from '../model/trouble.ts'
import { invalidRequest } from './invalid-request.ts'

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
  const { validation, statusCode, code } = error as FastifyError
  if (validation) return invalid(error as FastifyError, request)
  if (code === 'FST_ERR_CTP_BODY_TOO_LARGE') return { status: 413, message: 'Request body is too large' }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) return { status: statusCode, message: error.message }
  if (statusCode === 503) return { status: 503, message: 'Service unavailable, try again' }
  request.log.error({ err: error }, 'request failed')
  return { status: 500, message: 'Server Error' }
}

/** A path that cannot be is not found; else what is wrong, in sentences. */
function invalid({ validation = [], validationContext }: FastifyError, request: FastifyRequest): Failure {
  if (validationContext === 'params') return { status: 404, message: 'Not Found' }
  return { status: 422, message: invalidRequest(validation, validationContext === 'body' ? request.body : request.query) }
}
