import type { App } from './server.ts'
import { AppError } from '../model/errors.ts'

/**
 * Reads bodies as JSON whatever the content type says: GitHub's own curl samples label JSON as form data, gh sends an empty body as JSON,
 * octokit an empty text (rest-api.md 7.1). An empty body is `undefined`. Bytes that are not UTF-8 and deep nesting are refused, and NUL,
 * unless the room takes it out: what a job prints is in what its runner reports.
 */
export function useAnyJson(room: App, { nul = 'refused' }: { nul?: 'refused' | 'removed' } = {}): void {
  room.removeAllContentTypeParsers()
  room.addContentTypeParser('*', { parseAs: 'buffer' }, (_request, body, done) => {
    try {
      done(null, parseJson(body as Buffer, nul))
    } catch (error) {
      done(error as Error)
    }
  })
  // Nothing is an empty object to a route that reads a body: what it misses is then named, key by key.
  room.addHook('preValidation', (request, _reply, done) => {
    request.body ??= request.routeOptions.schema?.body === undefined ? undefined : {}
    done()
  })
}

const NESTING_LIMIT = 100
const UTF8 = new TextDecoder('utf-8', { fatal: true })

/** @throws AppError malformed, in GitHub's words */
export function parseJson(body: Buffer, nul: 'refused' | 'removed' = 'refused'): unknown {
  if (body.length === 0) return undefined
  let text: string
  try {
    text = UTF8.decode(body)
  } catch (error) {
    throw new AppError('malformed', 'Problems parsing JSON', { cause: error })
  }
  if (text.trim() === '') return undefined
  if (nesting(text) > NESTING_LIMIT) throw new AppError('malformed', 'Problems parsing JSON')
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new AppError('malformed', 'Problems parsing JSON', { cause: error })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) throw new AppError('malformed', 'Body should be a JSON object')
  if (text.includes('\\u0000') || text.includes('\0')) {
    if (nul === 'removed') return withoutNul(value)
    if (holdsNul(value)) throw new AppError('malformed', 'Problems parsing JSON')
  }
  return value
}

function nesting(text: string): number {
  let depth = 0
  let deepest = 0
  let inText = false
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i)
    if (inText) {
      if (c === 92) i++
      else if (c === 34) inText = false
    } else if (c === 34) inText = true
    else if (c === 123 || c === 91) deepest = Math.max(deepest, ++depth)
    else if (c === 125 || c === 93) depth--
  }
  return deepest
}

/** PostgreSQL stores no NUL in text, and no name of ours has one. */
function holdsNul(value: unknown): boolean {
  if (typeof value === 'string') return value.includes('\0')
  if (Array.isArray(value)) return value.some(holdsNul)
  if (typeof value === 'object' && value !== null) return Object.entries(value).some(([key, item]) => key.includes('\0') || holdsNul(item))
  return false
}

function withoutNul(value: unknown): unknown {
  if (typeof value === 'string') return value.replaceAll('\0', '')
  if (Array.isArray(value)) return value.map(withoutNul)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key.replaceAll('\0', ''), withoutNul(item)]))
}
