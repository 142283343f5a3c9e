/** As many values as go into one statement: both databases bound its parameters. */
const SIZE = 500

/** Values in the order given, some hundreds at a time. */
export function* batches<T>(values: readonly T[]): Generator<T[]> {
  for (let at = 0; at < values.length; at += SIZE) yield values.slice(at, at + SIZE)
}
