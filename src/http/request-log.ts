import { AsyncLocalStorage } from 'node:async_hooks'
import type { FastifyRequest } from 'fastify'
import type { Log } from '../core/deps.ts'

/**
 * The id of the request that is being served. Only the log reads it: what a use-case does never depends on it, and a logger handed through
 * every call for one field would be in each signature.
 */
const served = new AsyncLocalStorage<string>()

/** Goes on with a request; what is logged from there on carries its id. */
export function serve(request: FastifyRequest, goOn: () => void): void {
  served.run(request.id, goOn)
}

/** A log whose lines carry the id of the request that caused them, under the name that Fastify gives it in its own. */
export function requestLog(log: Log): Log {
  const withId = (fields: object) => {
    const reqId = served.getStore()
    return reqId === undefined ? fields : { reqId, ...fields }
  }
  return {
    debug: (fields, message) => log.debug(withId(fields), message),
    info: (fields, message) => log.info(withId(fields), message),
    warn: (fields, message) => log.warn(withId(fields), message),
    error: (fields, message) => log.error(withId(fields), message),
  }
}
