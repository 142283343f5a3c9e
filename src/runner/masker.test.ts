import { expect, test } from 'vitest'

import { Masker } from './masker.ts'

function masker(...secrets: string[]): Masker {
  const made = new Masker()
  for (const secret of secrets) made.add(secret)
  return made
}

test.each([
  ['the value itself', ['squirrel'], 'a squirrel b', 'a *** b'],
  ['each line of a value with several', ['one-1\ntwo-2'], 'x two-2 y', 'x *** y'],
  ['overlapping values as one', ['abcdef', 'defghi'], '-abcdefghi-', '-***-'],
  ['base64 of the value', ['squirrel-9'], Buffer.from('squirrel-9').toString('base64'), '***'],
  ['the value in a JSON text', ['a"quote'], JSON.stringify({ v: 'a"quote' }), '{"v":"***"}'],
  ['the value in a URI', ['a b&c'], 'q=a%20b%26c', 'q=***'],
  ['a secret of one character everywhere', ['z'], 'zigzag', '***ig***ag'],
  ['nothing for a blank secret', ['  '], 'a b', 'a b'],
])('masks %s', (_name, secrets, text, masked) => {
  expect(masker(...secrets).mask(text)).toBe(masked)
})

test('masks base64 of a longer text that holds the value, in every alignment', () => {
  const secrets = masker('squirrel-9-on-the-run')

  for (const before of ['', 'a', 'ab']) {
    const encoded = Buffer.from(`${before}squirrel-9-on-the-run and more`).toString('base64')
    expect(secrets.mask(encoded)).toContain('***')
  }
})

test('masks what a pattern finds', () => {
  const made = new Masker()
  made.addPattern('tok_[0-9]+')

  expect(made.mask('a tok_123 b')).toBe('a *** b')
  expect(made.finds('tok_9')).toBe(true)
  expect(made.finds('tok_x')).toBe(false)
})
