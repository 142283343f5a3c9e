/** The runner's encoding of a context value: scalars as they are, lists and mappings marked with `t`. */
export type ContextData = string | number | boolean | null | { t: 1; a?: ContextData[] } | { t: 2; d?: { k: string; v: ContextData }[] }

/**
 * Encodes JSON for `contextData` of a job. What would lose the whole message at the runner is mended: of keys that
 * differ only in case the first stays, whole numbers beyond 64 bits become texts, what JSON cannot say is left out.
 */
export function encodeContext(value: unknown): ContextData {
  if (typeof value === 'string' || typeof value === 'boolean') return value
  if (typeof value === 'number') return encodeNumber(value)
  if (typeof value === 'bigint') return String(value)
  if (typeof value !== 'object' || value === null) return null
  if (Array.isArray(value)) return value.length > 0 ? { t: 1, a: value.map(encodeContext) } : { t: 1 }
  const seen = new Set<string>()
  const pairs: { k: string; v: ContextData }[] = []
  for (const [k, of] of Object.entries(value)) {
    const folded = foldCase(k)
    if (of === undefined || typeof of === 'function' || seen.has(folded)) continue
    seen.add(folded)
    pairs.push({ k, v: encodeContext(of) })
  }
  return pairs.length > 0 ? { t: 2, d: pairs } : { t: 2 }
}

function encodeNumber(value: number): ContextData {
  if (!Number.isFinite(value)) return null
  return Number.isInteger(value) && Math.abs(value) >= 2 ** 63 ? BigInt(value).toString() : value
}

/** As .NET compares keys: each character by its own upper case, if that is one character. */
function foldCase(key: string): string {
  return Array.from(key, (character) => {
    const upper = character.toUpperCase()
    return upper.length === character.length ? upper : character
  }).join('')
}
