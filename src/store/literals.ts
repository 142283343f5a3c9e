import { sql, type RawBuilder } from 'kysely'

/**
 * Fixed words in a statement's text, not as parameters: `where('state', 'in', literals(UNFINISHED))`, and `sql.lit('queued')` for one.
 * SQLite uses an index with a condition only where the text itself implies that condition; with a parameter it reads the whole table, or
 * compiles the statement anew at every use. Only for words of ours, never for input.
 */
export function literals<const Word extends string>(words: readonly Word[]): RawBuilder<Word> {
  return sql<Word>`(${sql.join(words.map((word) => sql.lit(word)))})`
}
