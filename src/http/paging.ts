import type { FastifyReply } from 'fastify'
import { Type } from 'typebox'

/** Values that are no number are corrected, never an error (rest-api.md 3.6). */
export const PageQuery = Type.Object({ per_page: Type.Optional(Type.String()), page: Type.Optional(Type.String()) })

export interface Page {
  number: number
  limit: number
  offset: number
}

const DEFAULT_LIMIT = 30
const MAX_LIMIT = 100
/** Beyond this the offset is no sensible number for a database. */
const MAX_PAGE = 1_000_000

export function pageOf(query: { per_page?: string; page?: string }): Page {
  const limit = whole(query.per_page, DEFAULT_LIMIT, MAX_LIMIT)
  const number = whole(query.page, 1, MAX_PAGE)
  return { number, limit, offset: (number - 1) * limit }
}

function whole(text: string | undefined, fallback: number, max: number): number {
  if (text === undefined || !/^\d+$/.test(text)) return fallback
  const value = Number(text)
  return value < 1 ? fallback : Math.min(value, max)
}

/**
 * Writes the `Link` header: next, last on the first page; prev, next, last, first in the middle; prev, first on the last; none where one
 * page is all (rest-api.md 3.6). `address` is the canonical one, with numeric ids; filters stay in it.
 */
export function linkPages(reply: FastifyReply, address: string, query: Record<string, unknown>, page: Page, total: number): void {
  const last = Math.max(1, Math.ceil(total / page.limit))
  const at = (number: number, rel: string) => {
    const parameters = Object.entries(query).filter(([name, value]) => name !== 'page' && value !== undefined)
    const text = [...parameters, ['page', number]].map(([name, value]) => `${encode(name)}=${encode(value)}`).join('&')
    return `<${address}?${text}>; rel="${rel}"`
  }
  const links: string[] = []
  const { number } = page
  if (number > 1) links.push(at(Math.min(number - 1, last), 'prev'))
  if (number < last) links.push(at(number + 1, 'next'), at(last, 'last'))
  if (number > 1) links.push(at(1, 'first'))
  if (links.length > 0) reply.header('Link', links.join(', '))
}

/** go-github splits the header at commas and semicolons, so neither may stand in an address. */
function encode(value: unknown): string {
  return encodeURIComponent(String(value))
}
