import { expect, test } from 'vitest'

import { feedBatches } from './feed.ts'
import { BlockCutter, preciseTime } from './log.ts'

test('times have seven decimals', () => {
  expect(preciseTime(1_784_628_001_123.5)).toBe('2026-07-21T10:00:01.1235000Z')
})

test('a short log is one block that begins with a byte-order mark', () => {
  const cutter = new BlockCutter()

  expect(cutter.add('one')).toBeUndefined()
  expect(cutter.add('two\nlines')).toBeUndefined()

  expect(cutter.end()).toEqual({ bytes: Buffer.from('\uFEFFone\ntwo\nlines\n'), place: 'only', lineCount: 3 })
})

test('a log in which nothing was written has no block', () => {
  expect(new BlockCutter().end()).toBeUndefined()
})

test('a long log is cut after the line that fills a block, and its last block may be empty', () => {
  const cutter = new BlockCutter(8)

  expect(cutter.add('1234')).toBeUndefined()
  expect(cutter.add('5678')).toMatchObject({ place: 'first', lineCount: 2 })
  expect(cutter.add('12345678')).toMatchObject({ place: 'middle', lineCount: 3 })
  expect(cutter.end()).toEqual({ bytes: Buffer.from('\uFEFF'), place: 'last', lineCount: 3 })
})

test('the feed sends at most 100 lines in a message and cuts long ones', () => {
  const lines = Array.from({ length: 150 }, (_, index) => (index === 120 ? 'x'.repeat(2000) : `line ${index + 1}`))

  const batches = feedBatches('step', 8, lines)

  expect(batches.map(({ startLine, count }) => [startLine, count])).toEqual([
    [8, 100],
    [108, 50],
  ])
  expect(batches[1]?.value[20]).toHaveLength(1027)
})
