import { expect, test } from 'vitest'
import { labelSet, mayServe, type Line, type Server } from './job.ts'

const line: Line = {
  id: 1,
  repositoryId: 10,
  ownerId: 5,
  ownerKind: 'organization',
  isPublic: false,
  groupName: null,
  labels: ['linux', 'self-hosted'],
}
const server: Server = {
  scope: { kind: 'organization', id: 5 },
  labels: new Set(['self-hosted', 'linux', 'x64']),
  groupName: 'Default',
  allowsPublic: false,
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
  ['a public repository, which its group allows', { allowsPublic: true }, { isPublic: true }, true],
  ['its own public repository', { scope: { kind: 'repository', id: 10 } }, { isPublic: true }, true],
  ['its group, in any case of letters', { groupName: 'GPU' }, { groupName: 'gpu' }, true],
  ['another group', {}, { groupName: 'gpu' }, false],
])('a runner may serve a line: %s', (_case, serverChange, lineChange, expected) => {
  expect(mayServe({ ...server, ...serverChange }, { ...line, ...lineChange })).toBe(expected)
})

test('a runner of the enterprise serves organizations, and not the repositories of a user', () => {
  const server = { scope: { kind: 'enterprise' as const, id: 1 }, labels: new Set(line.labels), groupName: 'Default', allowsPublic: false }
  expect(mayServe(server, line)).toBe(true)
  expect(mayServe(server, { ...line, ownerKind: 'user' })).toBe(false)
})

test('labels are compared without case, order and doubles', () => {
  expect(labelSet(['Linux', 'self-hosted', 'linux'])).toEqual(['linux', 'self-hosted'])
})
