/**
 * Filter patterns of `on.push`, matched in time proportional to pattern × text. Never through `RegExp`: six `**a`
 * against a branch of 120 characters would keep a backtracking matcher busy for minutes.
 */
import type { PushFilters, Triggers } from './plan.ts'

/** One place of a pattern: a character that passes `test`, again and again if `many`; `skip` places may be left out. */
interface Place {
  test: (character: string) => boolean
  many: boolean
  skip: number
}

const anything = () => true
const noSlash = (character: string) => character !== '/'

/** Whether the whole text matches the pattern (without its leading `!`). A pattern that is not valid matches nothing. */
export function matchesPattern(pattern: string, text: string): boolean {
  const places = readPattern(pattern)
  return places !== undefined && matchesPlaces(places, text)
}

/** Whether the pattern, with or without a leading `!`, can be read: every `[` is closed and not empty. */
export function isValidPattern(pattern: string): boolean {
  return readPattern(pattern.startsWith('!') ? pattern.slice(1) : pattern) !== undefined
}

/** The last pattern that matches decides; `undefined` when none does. */
function lastMatch(patterns: readonly Filter[], text: string): 'included' | 'excluded' | undefined {
  const last = patterns.findLast(({ places }) => places !== undefined && matchesPlaces(places, text))
  return last && (last.negated ? 'excluded' : 'included')
}

interface Filter {
  negated: boolean
  places: Place[] | undefined
}

function filterOf(pattern: string): Filter {
  const negated = pattern.startsWith('!')
  return { negated, places: readPattern(negated ? pattern.slice(1) : pattern) }
}

/** What a push changed; `unknown` when that was too much to find out, which counts as everything. */
export interface PushedRef {
  ref: string
  changedPaths: readonly string[] | 'unknown'
}

/** Whether a push of this ref starts the workflow. */
export function matchesPush(on: Triggers, { ref, changedPaths }: PushedRef): boolean {
  if (!on.push) return false
  const { branches, branchesIgnore, tags, tagsIgnore } = on.push
  const ofBranches = branches ?? branchesIgnore
  const ofTags = tags ?? tagsIgnore
  if (ref.startsWith('refs/tags/')) {
    // Paths are not looked at for tags.
    return ofTags ? matchesName(tags, tagsIgnore, ref.slice('refs/tags/'.length)) : !ofBranches
  }
  if (!ref.startsWith('refs/heads/')) return false
  const named = ofBranches ? matchesName(branches, branchesIgnore, ref.slice('refs/heads/'.length)) : !ofTags
  return named && matchesPaths(on.push, changedPaths)
}

function matchesName(include: string[] | undefined, ignore: string[] | undefined, name: string): boolean {
  return include ? lastMatch(include.map(filterOf), name) === 'included' : lastMatch((ignore ?? []).map(filterOf), name) !== 'included'
}

function matchesPaths({ paths, pathsIgnore }: PushFilters, changed: readonly string[] | 'unknown'): boolean {
  if (changed === 'unknown' || !(paths ?? pathsIgnore)) return true
  const filters = (paths ?? pathsIgnore ?? []).map(filterOf)
  return changed.some((path) => (lastMatch(filters, path) === 'included') === (paths !== undefined))
}

/** An upper bound of the steps that `matchesPush` takes, so that a caller can decide where to run it. */
export function matchCost({ push }: Triggers, { ref, changedPaths }: PushedRef): number {
  if (!push) return 0
  const patterns = Object.values(push as Record<string, string[]>).flat()
  const texts = changedPaths === 'unknown' ? [ref] : [ref, ...changedPaths]
  return 3 * sumOfLengths(patterns) * sumOfLengths(texts)
}

function sumOfLengths(texts: readonly string[]): number {
  return texts.reduce((sum, text) => sum + text.length, 0)
}

const SKIP_MARKERS = ['[skip ci]', '[ci skip]', '[no ci]', '[skip actions]', '[actions skip]']

/** The marker in a commit message that asks for no run, if there is one: `[skip ci]` and its like, or the trailer `skip-checks: true`. */
export function skipMarker(commitMessage: string): string | undefined {
  const message = commitMessage.toLowerCase()
  return SKIP_MARKERS.find((marker) => message.includes(marker)) ?? (hasSkipTrailer(message) ? 'skip-checks: true' : undefined)
}

function hasSkipTrailer(message: string): boolean {
  const lines = message.trimEnd().split('\n')
  const blank = lines.findLastIndex((line) => line.trim() === '')
  return blank > 0 && lines.slice(blank + 1).some((line) => line.replaceAll(' ', '').trim() === 'skip-checks:true')
}

function readPattern(pattern: string): Place[] | undefined {
  const characters = Array.from(pattern)
  const places: Place[] = []
  let last: Place | undefined // what a following `?` or `+` changes
  const add = (test: Place['test'], many = false, skip = 0) => {
    last = { test, many, skip }
    places.push(last)
  }
  for (let i = 0; i < characters.length; i++) {
    const character = characters[i]!
    if (character === '*' && characters[i + 1] === '*' && characters[i + 2] === '/') {
      // `**/` is any folders, or none: `(.+/)?`
      add(anything, false, 3)
      add(anything, true, 1)
      add((c) => c === '/')
      last = undefined
      i += 2
    } else if (character === '*' && characters[i + 1] === '*') {
      add(anything, true, 1)
      i++
    } else if (character === '*') {
      add(noSlash, true, 1)
    } else if ((character === '?' || character === '+') && i > 0) {
      if (last && character === '?') last.skip = 1
      if (last && character === '+') last.many = true
    } else if (character === '[') {
      const end = characters.indexOf(']', i)
      const accepted = end < 0 ? undefined : readClass(characters.slice(i + 1, end))
      if (!accepted) return undefined
      add((c) => accepted.has(c))
      i = end
    } else {
      const literal = character === '\\' && i + 1 < characters.length ? characters[++i]! : character
      add((c) => c === literal)
    }
  }
  return places
}

const RANGES = ['abcdefghijklmnopqrstuvwxyz', 'ABCDEFGHIJKLMNOPQRSTUVWXYZ', '0123456789']

function readClass(members: string[]): Set<string> | undefined {
  const accepted = new Set<string>()
  for (let i = 0; i < members.length; i++) {
    const from = members[i]!
    const to = members[i + 2]
    const range = members[i + 1] === '-' && to !== undefined ? RANGES.find((r) => r.includes(from) && r.includes(to)) : undefined
    if (!range) {
      accepted.add(from)
      continue
    }
    if (range.indexOf(from) > range.indexOf(to!)) return undefined
    for (const character of range.slice(range.indexOf(from), range.indexOf(to!) + 1)) accepted.add(character)
    i += 2
  }
  return accepted.size > 0 ? accepted : undefined
}

/** Follows all ways through the pattern at once; a place is never entered twice for one character. */
function matchesPlaces(places: readonly Place[], text: string): boolean {
  const enteredAt = new Int32Array(places.length + 1).fill(-1)
  const enter = (into: number[], start: number, at: number) => {
    for (let place = start; enteredAt[place] !== at; place += places[place]!.skip) {
      enteredAt[place] = at
      into.push(place)
      if (place === places.length || places[place]!.skip === 0) return
    }
  }
  let at = 0
  let current: number[] = []
  enter(current, 0, at)
  for (const character of text) {
    const next: number[] = []
    at++
    for (const index of current) {
      const place = places[index]
      if (!place?.test(character)) continue
      enter(next, index + 1, at)
      if (place.many) enter(next, index, at)
    }
    current = next
    if (current.length === 0) return false
  }
  return enteredAt[places.length] === at
}
