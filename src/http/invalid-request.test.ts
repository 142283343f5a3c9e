import { expect, test } from 'vitest'
import { startServer } from '../../test/support/start-server.ts'
import { invalidRequest } from './invalid-request.ts'

/* Failures of a schema in GitHub's words (rest-api.md 3.10). */

const GROUPS = '/orgs/acme/actions/runner-groups'
const RULES = '/api/fleetfoot/orgs/acme/queue/rules'

test.each([
  ['a key that is missing', 'POST', GROUPS, {}, [`"name" wasn't supplied.`]],
  ['a type', 'POST', GROUPS, { name: 'x', runners: 'x' }, [`For 'properties/runners', "x" is not an array.`]],
  ['a type in a list', 'POST', GROUPS, { name: 'x', runners: [1, null] }, [`For 'properties/runners/items/1', null is not an integer.`]],
  [
    'a word',
    'POST',
    GROUPS,
    { name: 'x', visibility: 'some' },
    ['No subschema in "anyOf" matched.', `For 'properties/visibility', "some" is not a member of ["all", "selected", "private"].`],
  ],
  [
    'a word of another type',
    'POST',
    GROUPS,
    { name: 'x', visibility: 7 },
    ['No subschema in "anyOf" matched.', `For 'properties/visibility', 7 is not a member of ["all", "selected", "private"].`],
  ],
  [
    'a text that may be null',
    'PATCH',
    '/repos/acme/rocket',
    { description: 7 },
    [
      `For 'properties/description', 7 is not a string.`,
      `For 'properties/description', 7 is not null.`,
      'No subschema in "anyOf" matched.',
    ],
  ],
  ['one word', 'PATCH', '/api/fleetfoot/orgs/acme/queue/jobs/1', { expedite: 1 }, [/^For 'properties\/expedite', 1 is not a /]],
  ['a number', 'POST', RULES, { name: 'x', priority: 101 }, [`For 'properties/priority', 101 must be less than or equal to 100.`]],
  ['a length', 'POST', RULES, { name: 'x'.repeat(101) }, [`For 'properties/name', Only 100 characters are allowed; 101 were supplied.`]],
  ['no length', 'POST', RULES, { name: '' }, [`For 'properties/name', At least 1 character is required; only 0 were supplied.`]],
  [
    'a list that is too short, deep inside',
    'POST',
    RULES,
    { name: 'x', fallback: [{ after_seconds: 1, labels: [] }] },
    [`For 'properties/fallback/items/0/properties/labels', At least 1 item is required; only 0 were supplied.`],
  ],
  [
    'a list that is too long',
    'POST',
    RULES,
    { name: 'x', match: { labels: Array.from({ length: 101 }, () => 'a') } },
    [`For 'properties/match/properties/labels', No more than 100 items are allowed; 101 were supplied.`],
  ],
  ['a long value', 'POST', GROUPS, { name: ['x'.repeat(200)] }, [`For 'properties/name', ["${'x'.repeat(98)}… is not a string.`]],
] as const)('%s', async (_what, method, target, body, sentences) => {
  await using server = await startServer()
  await server.organization('acme')
  await server.repository('acme', 'rocket')

  const answer = await server.admin(method, target, body)
  const { message } = (await answer.json()) as { message: string }
  const [head, told = ''] = message.split('\n\n')
  expect([answer.status, head]).toEqual([422, 'Invalid request.'])
  const lines = told.split('\n')
  for (const sentence of sentences) expect(lines).toContainEqual(typeof sentence === 'string' ? sentence : expect.stringMatching(sentence))
  expect(message).not.toMatch(/must be equal|must match|must NOT/)
})

test('a thousand problems are told with a few sentences', async () => {
  await using server = await startServer()
  await server.organization('acme')

  const answer = await server.admin('POST', GROUPS, { name: 'x', runners: Array.from({ length: 1000 }, () => 'x') })
  const { message } = (await answer.json()) as { message: string }
  expect([answer.status, message.split('\n').length]).toEqual([422, 22])
})

test('items of a list are each told by their own value', () => {
  const at = (instancePath: string, keyword: string, schemaPath: string, params = {}) => ({ instancePath, keyword, schemaPath, params })
  const problems = ['/tags/1', '/tags/10'].flatMap((place) => [
    at(place, 'const', '#/properties/tags/items/anyOf/0/const', { allowedValue: 'a' }),
    at(place, 'const', '#/properties/tags/items/anyOf/1/const', { allowedValue: 'b' }),
    at(place, 'anyOf', '#/properties/tags/items/anyOf'),
  ])
  const tags = Array.from({ length: 11 }, (_, index) => `t${index}`)

  expect(invalidRequest(problems, { tags }).split('\n').slice(2)).toEqual([
    'No subschema in "anyOf" matched.',
    `For 'properties/tags/items/1', "t1" is not a member of ["a", "b"].`,
    `For 'properties/tags/items/10', "t10" is not a member of ["a", "b"].`,
  ])
})
