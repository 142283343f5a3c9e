import { expect, test } from 'vitest'
import { Shares, type WaitingLine } from './shares.ts'

const MOON = 1
const ROCKET = 2

function line(id: number, given: Partial<WaitingLine>): WaitingLine {
  return { id, ownerId: 9, repositoryId: MOON, label: 'a', rank: 0, turn: id, queuedAt: 100 + id, ahead: null, ...given }
}

/** Serves `count` jobs from lines that never end, one after the other: the repositories in the order in which they were served. */
function serve(lines: WaitingLine[], count: number, { isWide = false, moves = true } = {}): number[] {
  let now = 1000
  const shares = new Shares(() => now)
  const waiting = lines.map((each) => ({ ...each }))
  const served: number[] = []
  for (let i = 0; i < count; i++) {
    now += 10
    const [first] = shares.order('pool', waiting, isWide)
    if (!first) throw new Error('nothing waits')
    shares.serve('pool', first.turnOf, first.line.label)
    served.push(first.line.repositoryId)
    if (moves) first.line.turn += 2
  }
  return served
}

const countOf = (served: number[], repositoryId: number) => served.filter((id) => id === repositoryId).length

test('a repository gets no more by asking for many labels', () => {
  const many = ['a', 'b', 'c', 'd'].map((label, index) => line(index + 1, { label }))
  const served = serve([...many, line(5, { repositoryId: ROCKET, label: 'self-hosted' })], 20)
  expect(countOf(served, ROCKET)).toBe(10)
})

test('nor where it shares one label with another and has a second one alone', () => {
  const served = serve([line(1, {}), line(2, { repositoryId: ROCKET }), line(3, { label: 'b' })], 20)
  expect(countOf(served, ROCKET)).toBe(10)
})

test('within a repository the labels take turns, and the lines of one label their places', () => {
  const shares = new Shares(() => 1000)
  const lines = [line(1, { turn: 7 }), line(2, { turn: 5 }), line(3, { label: 'b', turn: 900 })]
  shares.serve('pool', MOON, 'a')
  expect(shares.order('pool', lines, false).map((choice) => choice.line.id)).toEqual([3, 2, 1])
})

test('who comes new waits one round at most, and gets no more than that', () => {
  let now = 1000
  const shares = new Shares(() => now)
  const lines = [line(1, {}), line(2, { repositoryId: ROCKET })]
  shares.serve('pool', MOON, 'a')
  now += 10
  shares.serve('pool', ROCKET, 'a')
  const first = [...lines, line(3, { repositoryId: 3, queuedAt: now + 1 })]
  expect(shares.order('pool', first, false).map((choice) => choice.turnOf)).toEqual([MOON, ROCKET, 3])
})

test('ranks go before turns, but not on runners of the enterprise: there an organization spends its own turns', () => {
  const lines = [
    line(1, { ownerId: 1, repositoryId: 11 }),
    line(2, { ownerId: 2, repositoryId: 21 }),
    line(3, { ownerId: 1, repositoryId: 12, rank: -1000, queuedAt: 900 }),
  ]
  const shares = new Shares(() => 1000)
  const order = (isWide: boolean) => shares.order('pool', lines, isWide).map((choice) => [choice.line.id, choice.turnOf])
  expect(order(false)).toEqual([
    [3, 12],
    [1, 11],
    [2, 21],
  ])
  expect(order(true)).toEqual([
    [3, 11],
    [2, 21],
    [1, 12],
  ])
})

test('what was put before another goes before it, whoever was served last; what the enterprise expedites before all', () => {
  const shares = new Shares(() => 1000)
  shares.serve('pool', ROCKET, 'a')
  const lines = [
    line(1, { turn: 3 }),
    line(2, { turn: 6 }),
    line(3, { repositoryId: ROCKET, turn: 5, ahead: 'lane' }),
    line(4, { turn: 0, label: 'b' }),
  ]
  const order = (isWide: boolean, given = lines) => shares.order('pool', given, isWide).map((choice) => choice.line.id)
  expect(order(false)).toEqual([4, 1, 3, 2])
  expect(order(true, [...lines, line(5, { repositoryId: 3, turn: 0, queuedAt: 5000, ahead: 'all' })])[0]).toBe(5)
})

test('pools do not know of each other', () => {
  const shares = new Shares(() => 1000)
  shares.serve('gpu', MOON, 'a')
  const lines = [line(1, {}), line(2, { repositoryId: ROCKET })]
  expect(shares.order('pool', lines, false)[0]?.turnOf).toBe(MOON)
  expect(shares.order('gpu', lines, false)[0]?.turnOf).toBe(ROCKET)
})
