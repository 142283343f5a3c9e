import type { FastifyRequest } from 'fastify'

export interface AddressBook {
  /** FLEETFOOT_URL. */
  url: string
  /** FLEETFOOT_CONTENT_URL. */
  contentUrl: string | undefined
  /** Authorities of loopback names at ports that we listen on: `localhost:8080`, `127.0.0.1` … */
  isOwnLoopback(authority: string): boolean
}

/**
 * The base of addresses in an answer: FLEETFOOT_URL, except that a request to a loopback name at a port that we listen on gets its own
 * authority back, so that `localhost` and `127.0.0.1` both work out of the box (architecture 1.9).
 */
export function baseOf(book: AddressBook, request: Pick<FastifyRequest, 'host' | 'protocol'>): string {
  return book.isOwnLoopback(request.host) ? `${request.protocol}://${request.host}` : book.url
}

/** Below which content is uploaded and read: the operator's host for it, else the address that this client uses. */
export function contentBaseOf(book: AddressBook, request: Pick<FastifyRequest, 'host' | 'protocol'>): string {
  return book.contentUrl ?? baseOf(book, request)
}

/** The address that a request came to, without its query, as this client writes it: for links to other pages of the same list. */
export function addressOf(book: AddressBook, request: Pick<FastifyRequest, 'host' | 'protocol' | 'url'>): string {
  const [path = ''] = request.url.split('?')
  return baseOf(book, request) + path.replaceAll(',', '%2C').replaceAll(';', '%3B')
}
