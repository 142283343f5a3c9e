import { expect, test } from 'vitest'
import { encodeContext } from './context-data.ts'

test.each<[value: unknown, encoded: unknown]>([
  ['a', 'a'],
  [1.5, 1.5],
  [true, true],
  [null, null],
  [[], { t: 1 }],
  [{}, { t: 2 }],
  [
    { os: ['a'], n: null, ok: true },
    {
      t: 2,
      d: [
        { k: 'os', v: { t: 1, a: ['a'] } },
        { k: 'n', v: null },
        { k: 'ok', v: true },
      ],
    },
  ],
  [
    { A: 1, a: 2, b: undefined },
    { t: 2, d: [{ k: 'A', v: 1 }] },
  ],
  [
    { constructor: 1, ß: 2, ss: 3 },
    {
      t: 2,
      d: [
        { k: 'constructor', v: 1 },
        { k: 'ß', v: 2 },
        { k: 'ss', v: 3 },
      ],
    },
  ],
  [2 ** 63, '9223372036854775808'],
  [12345678901234567890n, '12345678901234567890'],
  [Number.NaN, null],
])('%o is encoded for the runner', (value, encoded) => {
  expect(encodeContext(value)).toEqual(encoded)
})
