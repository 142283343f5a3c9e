import { expect, test } from 'vitest'
import { commitsAllowed, labelSet, mayServe, refusal, type Line, type Refusal, type Server } from './job.ts'
import type { GroupPolicy } from './runner-group.ts'

const line: Line = {
  id: 1,
  repositoryId: 10,
  ownerId: 5,
  ownerKind: 'organization',
  isPublic: false,
  groupName: null,
  labels: ['linux', 'self-hosted'],
  workflow: '.github/workflows/ci.yml@refs/heads/main',
  rank: 0,
  limitIds: [],
  ahead: null,
}
const group: GroupPolicy = {
  id: 1,
  version: 1,
  name: 'default',
  allowsPublic: false,
  visibility: 'all',
  selected: new Set(),
  narrowed: new Map(),
  workflows: undefined,
}
const server: Server = {
  scope: { kind: 'organization', id: 5 },
  labels: new Set(['self-hosted', 'linux', 'x64']),
  group,
}

test.each<[string, Partial<Server>, Partial<Line>, boolean]>([
  ['its organization', {}, {}, true],
  ['another organization', { scope: { kind: 'organization', id: 6 } }, {}, false],
  ['its repository', { scope: { kind: 'repository', id: 10 } }, {}, true],
  ['another repository', { scope: { kind: 'repository', id: 11 } }, {}, false],
  ['the enterprise', { scope: { kind: 'enterprise', id: 1 } }, {}, true],
  ['a label is missing', { labels: new Set(['self-hosted']) }, {}, false],
  ['no labels are asked for', { labels: new Set() }, { labels: [] }, true],
  ['a public repository, which its group does not allow', {}, { isPublic: true }, false],
  ['a public repository, which its group allows', { group: { ...group, allowsPublic: true } }, { isPublic: true }, true],
  ['its own public repository', { scope: { kind: 'repository', id: 10 }, group: undefined }, { isPublic: true }, true],
  ['its group', { group: { ...group, name: 'gpu' } }, { groupName: 'gpu' }, true],
  ['another group', {}, { groupName: 'gpu' }, false],
])('a runner may serve a line: %s', (_case, serverChange, lineChange, expected) => {
  expect(mayServe({ ...server, ...serverChange }, { ...line, ...lineChange })).toBe(expected)
})

test('a runner of the enterprise serves organizations, and not the repositories of a user', () => {
  const server = { scope: { kind: 'enterprise' as const, id: 1 }, labels: new Set(line.labels), group }
  expect(mayServe(server, line)).toBe(true)
  expect(mayServe(server, { ...line, ownerKind: 'user' })).toBe(false)
})

test('labels are compared without case, order and doubles', () => {
  expect(labelSet(['Linux', 'self-hosted', 'linux'])).toEqual(['linux', 'self-hosted'])
})

const ci = { text: 'acme/rocket/.github/workflows/ci.yml@main', repositoryId: 10, path: '.github/workflows/ci.yml', ref: 'main' }
const COMMIT = 'a'.repeat(40)

test.each<[string, Partial<GroupPolicy>, Partial<Line>, Refusal | undefined]>([
  ['selected repositories, this one', { visibility: 'selected', selected: new Set([10]) }, {}, undefined],
  ['selected repositories, others', { visibility: 'selected', selected: new Set([11]) }, {}, 'repository'],
  ['selected repositories, none', { visibility: 'selected' }, {}, 'repository'],
  ['private, and a private one', { visibility: 'private' }, {}, undefined],
  ['private, and a public one', { visibility: 'private', allowsPublic: true }, { isPublic: true }, 'public'],
  ['its workflow, by branch', { workflows: [ci] }, {}, undefined],
  ['its workflow, by the whole ref', { workflows: [{ ...ci, ref: 'refs/heads/main' }] }, {}, undefined],
  ['its workflow, by tag', { workflows: [{ ...ci, ref: 'v1' }] }, { workflow: '.github/workflows/ci.yml@refs/tags/v1' }, undefined],
  ['its workflow on another branch', { workflows: [ci] }, { workflow: '.github/workflows/ci.yml@refs/heads/evil' }, 'workflow'],
  ['another workflow', { workflows: [ci] }, { workflow: '.github/workflows/other.yml@refs/heads/main' }, 'workflow'],
  ['the same file of another repository', { workflows: [ci] }, { repositoryId: 11 }, 'workflow'],
  ['no workflow at all', { workflows: [] }, {}, 'workflow'],
  ['its workflow by commit, which each job is asked for', { workflows: [{ ...ci, ref: COMMIT }] }, {}, undefined],
  ['a job queued before groups asked', { workflows: [ci] }, { workflow: '' }, 'workflow'],
])('a group of an organization decides: %s', (_case, groupChange, lineChange, expected) => {
  expect(refusal({ ...server, group: { ...group, ...groupChange } }, { ...line, ...lineChange })).toBe(expected)
})

test('a group of the enterprise selects organizations, and each of them may narrow it', () => {
  const of = (change: Partial<GroupPolicy>): Server => ({ ...server, scope: { kind: 'enterprise', id: 1 }, group: { ...group, ...change } })
  expect(refusal(of({ visibility: 'selected', selected: new Set([5]) }), line)).toBeUndefined()
  expect(refusal(of({ visibility: 'selected', selected: new Set([10]) }), line)).toBe('repository')
  const narrowed = (repositories: number[], allowsPublic = true) =>
    new Map([[5, { visibility: 'selected' as const, allowsPublic, repositories: new Set(repositories) }]])
  expect(refusal(of({ narrowed: narrowed([10]) }), line)).toBeUndefined()
  expect(refusal(of({ narrowed: narrowed([11]) }), line)).toBe('repository')
  expect(refusal(of({ narrowed: narrowed([11]) }), { ...line, ownerId: 6 })).toBeUndefined()
  expect(refusal(of({ allowsPublic: true, narrowed: narrowed([10], false) }), { ...line, isPublic: true })).toBe('public')
})

test('a workflow named by commit binds the job; one that is also named by ref does not', () => {
  const of = (...refs: string[]): Server => ({ ...server, group: { ...group, workflows: refs.map((ref) => ({ ...ci, ref })) } })
  expect(commitsAllowed(of(COMMIT), line)).toEqual([COMMIT])
  expect(commitsAllowed(of(COMMIT, 'main'), line)).toBeUndefined()
  expect(commitsAllowed(server, line)).toBeUndefined()
})
