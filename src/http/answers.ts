import { Type, type TSchema, type TString, type TUnsafe } from 'typebox'

/*
 * What routes declare of their answers in `schema.response`: it types the handler, makes the OpenAPI description, and tests check every
 * answer by it (test/support/own-description.ts). In production an answer is `JSON.stringify` of what the presenter made (ADR 5).
 *
 * A schema with a `title` is a shape of its own in the description; whatever has the same title must be the same.
 */

/** No body. */
export const NoBody = Type.Undefined()

/** `YYYY-MM-DDTHH:MM:SSZ`, or another form of RFC 3339 where GitHub has one. */
export const Time = Type.String({ format: 'date-time' })

export const orNull = <T extends TSchema>(schema: T) => Type.Union([schema, Type.Null()])

/** One of some words. */
export const Word = <const T extends string[]>(...words: T) => Type.Unsafe<T[number]>({ type: 'string', enum: words })

/** An answer whose media type is asked for or is not JSON; the handler's own type is not checked. */
export function mediaTypes(content: Record<string, TSchema>): TUnsafe {
  return { content: Object.fromEntries(Object.entries(content).map(([type, schema]) => [type, { schema }])) } as unknown as TUnsafe
}

/** Properties that are text, as most addresses in GitHub's objects are; they may be templates (RFC 6570). */
export function texts<const K extends string>(...names: K[]): Record<K, TString> {
  return Object.fromEntries(names.map((name) => [name, Type.String()])) as Record<K, TString>
}
