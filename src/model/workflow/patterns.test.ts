import { expect, test } from 'vitest'
import { isValidPattern, matchesPattern, matchesPush, matchCost, skipMarker } from './patterns.ts'
import type { PushFilters } from './plan.ts'

test.each<[pattern: string, matching: string[], other: string[]]>([
  ['main', ['main'], ['Main', 'main2', 'a/main', '']],
  ['*', ['main', 'v1.0', ''], ['a/b']],
  ['**', ['main', 'a/b/c', ''], []],
  ['feature/*', ['feature/a', 'feature/'], ['feature/a/b', 'feature']],
  ['feature/**', ['feature/a', 'feature/a/b'], ['feature']],
  ['**/docs/**', ['docs/a', 'a/docs/b', 'a/b/docs/c/d'], ['docs', 'adocs/b']],
  ['a/**/b', ['a/b', 'a/x/b', 'a/x/y/b'], ['a/xb', 'ab', 'a//']],
  ['**.md', ['a.md', 'x/y.md'], ['a.mdx', 'amd']],
  ['v[12].[0-9]+.[0-9]+', ['v1.10.1', 'v2.0.0'], ['v3.0.0', 'v1..0', 'v1.0.']],
  ['*.jsx?', ['a.js', 'a.jsx'], ['a.jsxx', 'b/a.js']],
  ['a+b?c', ['aac', 'abc'], ['bc', 'abbc']],
  ['?x', ['?x'], ['x', 'ax']],
  ['+x', ['+x'], ['x']],
  ['[a-cX-Z_]', ['b', 'Y', '_'], ['d', '-', 'ab']],
  ['a\\*b', ['a*b'], ['ab', 'axb']],
  ['a!b', ['a!b'], ['ab']],
  ['a.b$', ['a.b$'], ['axb$', 'a.b']],
  ['[ab]+', ['a', 'abba'], ['', 'c']],
  ['ü?', ['ü', ''], ['u']],
])('the pattern %s matches whole texts', (pattern, matching, other) => {
  expect(matching.filter((text) => !matchesPattern(pattern, text))).toEqual([])
  expect(other.filter((text) => matchesPattern(pattern, text))).toEqual([])
})

test('a class that is open, empty or backwards is not a pattern', () => {
  expect(['[a', 'x[]', '[z-a]', '![a'].filter(isValidPattern)).toEqual([])
})

test('patterns that keep a backtracking matcher busy for minutes are decided at once', () => {
  const start = performance.now()

  expect(matchesPattern('**a'.repeat(6), `${'a'.repeat(120)}b`)).toBe(false)
  expect(matchesPattern('**a'.repeat(200), `${'a'.repeat(2000)}b`)).toBe(false)
  expect(matchesPattern('a?'.repeat(5000) + 'a'.repeat(100), 'a'.repeat(100))).toBe(true)

  expect(performance.now() - start).toBeLessThan(2000)
})

test.each<[filters: PushFilters, ref: string, paths: string[] | 'unknown', runs: boolean]>([
  [{}, 'refs/heads/main', [], true],
  [{}, 'refs/tags/v1', [], true],
  [{}, 'refs/notes/x', [], false],
  [{ branches: ['main'] }, 'refs/heads/main', [], true],
  [{ branches: ['main'] }, 'refs/tags/main', [], false],
  [{ branchesIgnore: ['main'] }, 'refs/tags/main', [], false],
  [{ branchesIgnore: ['main'] }, 'refs/heads/main', [], false],
  [{ branchesIgnore: ['main'] }, 'refs/heads/dev', [], true],
  [{ tags: ['v*'] }, 'refs/heads/v1', [], false],
  [{ tags: ['v*'] }, 'refs/tags/v1', [], true],
  [{ tagsIgnore: ['v*'] }, 'refs/tags/v1', [], false],
  [{ branches: ['x'], tags: ['v*'] }, 'refs/tags/v1', [], true],
  [{ branches: ['releases/**', '!releases/**-alpha'] }, 'refs/heads/releases/1', [], true],
  [{ branches: ['releases/**', '!releases/**-alpha'] }, 'refs/heads/releases/1-alpha', [], false],
  [{ branches: ['!a', '*'] }, 'refs/heads/a', [], true],
  [{ paths: ['src/**'] }, 'refs/heads/main', ['docs/a', 'src/a'], true],
  [{ paths: ['src/**'] }, 'refs/heads/main', ['docs/a'], false],
  [{ paths: ['src/**'] }, 'refs/heads/main', [], false],
  [{ paths: ['src/**'] }, 'refs/heads/main', 'unknown', true],
  [{ paths: ['src/**'] }, 'refs/tags/v1', [], true],
  [{ paths: ['src/**', '!src/docs/**'] }, 'refs/heads/main', ['src/docs/a'], false],
  [{ pathsIgnore: ['docs/**'] }, 'refs/heads/main', ['docs/a', 'docs/b'], false],
  [{ pathsIgnore: ['docs/**'] }, 'refs/heads/main', ['docs/a', 'src/b'], true],
  [{ pathsIgnore: ['docs/**'] }, 'refs/heads/main', [], false],
  [{ branches: ['main'], paths: ['src/**'] }, 'refs/heads/dev', ['src/a'], false],
])('push filters %j decide about %s with changes %j: %s', (push, ref, changedPaths, runs) => {
  expect(matchesPush({ push, others: [] }, { ref, changedPaths })).toBe(runs)
})

test('a workflow without push does not start from one', () => {
  expect(matchesPush({ others: [{ event: 'schedule', line: 2 }] }, { ref: 'refs/heads/main', changedPaths: 'unknown' })).toBe(false)
})

test('the cost of a match grows with patterns and paths', () => {
  const on = { push: { paths: ['a'.repeat(100)] }, others: [] }

  expect(matchCost(on, { ref: 'refs/heads/main', changedPaths: ['b'.repeat(1000)] })).toBeGreaterThan(100_000)
})

test.each<[message: string, marker: string | undefined]>([
  ['fix [skip ci]', '[skip ci]'],
  ['[CI SKIP] fix', '[ci skip]'],
  ['fix\n\nlong text [no ci]', '[no ci]'],
  ['fix\n\n\nskip-checks: true', 'skip-checks: true'],
  ['fix\n\nSigned-off-by: a\nskip-checks:true\n', 'skip-checks: true'],
  ['skip-checks: true', undefined],
  ['fix skip ci', undefined],
])('of the commit message %j the skip marker is %s', (message, marker) => {
  expect(skipMarker(message)).toBe(marker)
})
