import { AsyncLocalStorage } from 'node:async_hooks'

/** Where the request that is being served came from. */
export interface Caller {
  requestId: string
  /** As the proxy says, where proxies are trusted. */
  ip: string
  userAgent: string
}

/**
 * The caller of the request that is being served. Only the log and the audit log read it: what a use-case does never depends on it, and
 * handing it through every call for two writers would put it in each signature.
 */
export const caller = new AsyncLocalStorage<Caller>()
