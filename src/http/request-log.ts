import type { FastifyRequest } from 'fastify'
import type { Log } from '../core/deps.ts'
import { caller } from '../model/caller.ts'

/** Goes on with a request; what is logged from there on carries its id, and what is audited where it came from. */
export function serve(request: FastifyRequest, goOn: () => void): void {
  const { id, ip, headers } = request
  caller.run({ requestId: id, ip, userAgent: (headers['user-agent'] ?? '').slice(0, 500) }, goOn)
}

/** A log whose lines carry the id of the request that caused them, under the name that Fastify gives it in its own. */
export function requestLog(log: Log): Log {
  const withId = (fields: object) => {
    const reqId = caller.getStore()?.requestId
    return reqId === undefined ? fields : { reqId, ...fields }
  }
  return {
    debug: (fields, message) => log.debug(withId(fields), message),
    info: (fields, message) => log.info(withId(fields), message),
    warn: (fields, message) => log.warn(withId(fields), message),
    error: (fields, message) => log.error(withId(fields), message),
  }
}
