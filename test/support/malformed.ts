/* What the tests of malformed requests share: values that belong nowhere, and how one is put somewhere. */

/** The same sequence in every run: a failure can be run again. */
export function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return state / 2_147_483_648
  }
}

/** Draws one of some items. */
export type Pick = <T>(items: readonly T[]) => T

export function picker(seed: number): Pick {
  const draw = random(seed)
  return (items) => items[Math.floor(draw() * items.length)] as never
}

export const BAD_SEGMENTS = [
  '%00',
  '..%2f..%2f..%2fetc%2fpasswd',
  '%2e%2e',
  '-1',
  '0',
  '99999999999999999999',
  '9007199254740992',
  'NaN',
  '1e3',
  '1.5',
  '%ff%fe',
  'x'.repeat(400),
  "';drop table run;--",
  '%0d%0aX: y',
  '\u{1F600}',
  'null',
  '[]',
  '*',
]

export const BAD_VALUES: unknown[] = [
  null,
  -1,
  1e300,
  0.5,
  2 ** 53,
  '',
  '\0',
  '\uD800',
  'x'.repeat(5000),
  '../../etc',
  '2026-13-45T99:99:99Z',
  '=1+1',
  [],
  {},
  [[[[]]]],
  { a: { b: {} } },
  true,
  [null],
  ['\0'],
  ['\uD800'],
  ['x', 'x'],
  [1, 2],
  { $ne: 1 },
  { '\0': 1 },
  { constructor: 'read' },
  { '\uD800': 'read' },
]

export const BAD_BODIES = [
  '{',
  '[]',
  '"text"',
  'null',
  '12',
  '{"a":',
  '{"a":1,}',
  '\uFEFF{',
  '{"__proto__":{"x":1}}',
  `${'['.repeat(5000)}${']'.repeat(5000)}`,
  `{"a":${'{"a":'.repeat(3000)}1${'}'.repeat(3000)}}`,
  '{"a":"\\ud800"}',
  '<xml/>',
  'a=b&c=d',
  '{"a":1e999}',
]

/** A copy with one value replaced, at any depth: by one of `bad`. */
export function spoiltDeep(value: unknown, pick: Pick, bad: readonly unknown[] = BAD_VALUES): unknown {
  if (typeof value !== 'object' || value === null || pick([1, 2, 3, 4, 5, 6, 7]) === 1) return pick(bad)
  const keys = Object.keys(value)
  if (keys.length === 0) return pick(bad)
  const key = pick(keys)
  const part = spoiltDeep((value as Record<string, unknown>)[key], pick, bad)
  return Array.isArray(value) ? value.with(Number(key), part) : { ...value, [key]: part }
}
