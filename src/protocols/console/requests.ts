import { Type, type TObjectOptions, type TProperties } from 'typebox'

/**
 * What a call takes. A key that is not known is refused: a rule with a misspelt condition would speak of every job, an installation with a
 * misspelt list of repositories have all of them, a token with a misspelt end live for ever.
 */
export const Taken = <const Properties extends TProperties>(properties: Properties, options: TObjectOptions = {}) =>
  Type.Object(properties, { ...options, additionalProperties: false })
