import { expect, test } from 'vitest'
import { describedOperationIds, describe as describeOperation, validateAnswer } from './github-description.ts'
import { readRestTable } from './rest-table.ts'
import notDescribed from '../conformance/not-described.json' with { type: 'json' }

const LIST = 'actions/list-self-hosted-runners-for-org'
const GET = 'actions/get-self-hosted-runner-for-org'
const RUN = 'actions/get-workflow-run'

const runner = {
  id: 23,
  name: 'MBP',
  os: 'macos',
  status: 'online',
  busy: true,
  ephemeral: false,
  version: '2.323.0',
  runner_group_id: 1,
  labels: [
    { id: 5, name: 'self-hosted', type: 'read-only' },
    { id: 21, name: 'no-gpu', type: 'custom' },
  ],
}

function answerOf(...runners: object[]) {
  return { operationId: LIST, status: 200, body: { total_count: runners.length, runners } }
}

const notFound = { message: 'Not Found', documentation_url: 'https://docs.github.com/rest', status: '404' }

test('a list of runners as GitHub sends it fits', () => {
  expect(validateAnswer(answerOf(runner))).toEqual([])
  expect(validateAnswer(answerOf())).toEqual([])
  expect(validateAnswer(answerOf({ ...runner, version: null }))).toEqual([])
})

test('a runner without labels does not fit', () => {
  const { labels: _, ...without } = runner

  expect(validateAnswer(answerOf(without))).toEqual(["/runners/0 must have required property 'labels'"])
})

test.each([
  ['a type', { ...runner, busy: 'true' }, '/runners/0/busy must be boolean'],
  ['null where it may not be', { ...runner, name: null }, '/runners/0/name must be string'],
  [
    'a value',
    { ...runner, labels: [{ name: 'x', type: 'own' }] },
    '/runners/0/labels/0/type must be equal to one of the allowed values: ["read-only","custom"]',
  ],
])('%s that is not described does not fit', (_what, wrong, violation) => {
  expect(validateAnswer(answerOf(wrong))).toEqual([violation])
})

test('a status that is not described does not fit', () => {
  expect(validateAnswer({ operationId: LIST, status: 418, body: notFound })).toEqual([`status 418 is not described for ${LIST}`])
  expect(validateAnswer({ operationId: LIST, status: 201, body: { total_count: 0, runners: [] } })).toHaveLength(1)
})

test('a refusal fits any operation when it says why and where to read', () => {
  for (const status of [401, 403, 404]) expect(validateAnswer({ operationId: GET, status, body: notFound })).toEqual([])
  expect(validateAnswer({ operationId: GET, status: 404, body: { message: 'Not Found' } })).toEqual([
    "/ must have required property 'documentation_url'",
  ])
  expect(validateAnswer({ operationId: GET, status: 404 })).toEqual(['/ must be object'])
})

test('an answer has a body only where one is described', () => {
  const removed = { operationId: 'actions/delete-self-hosted-runner-from-org', status: 204 }

  expect(validateAnswer(removed)).toEqual([])
  expect(validateAnswer({ ...removed, body: '' })).toEqual([])
  expect(validateAnswer({ ...removed, body: {} })).toEqual(['status 204 has no body, not {}'])
  expect(validateAnswer({ operationId: GET, status: 200 })).toEqual(['status 200 has a body, and there is none'])
})

test('an object that may hold nothing else does not fit with another key', () => {
  const cancelled = { operationId: 'actions/cancel-workflow-run', status: 202 }

  expect(validateAnswer({ ...cancelled, body: {} })).toEqual([])
  expect(validateAnswer({ ...cancelled, body: { id: 1 } })).toEqual(['/ must NOT have additional properties: id'])
})

test('times and addresses are checked', () => {
  const token = { operationId: 'enterprise-admin/create-impersonation-o-auth-token', status: 201 }
  const body = { url: 'not an address', created_at: '2025-02-17 21:11:49', updated_at: '2025-02-17T21:11:49.260-08:00', expires_at: null }

  const violations = validateAnswer({ ...token, body })

  expect(violations).toContain('/url must match format "uri"')
  expect(violations).toContain('/created_at must match format "date-time"')
  expect(violations.filter((violation) => /updated_at|expires_at/.test(violation))).toEqual([])
})

test('headers that are given are checked', () => {
  const json = { 'content-type': 'application/json; charset=utf-8' }
  const logs = { operationId: 'actions/download-workflow-run-logs', status: 302 }

  expect(validateAnswer({ ...answerOf(runner), headers: new Headers(json) })).toEqual([])
  expect(validateAnswer({ ...answerOf(runner), headers: { 'Content-Type': 'text/html' } })).toEqual([
    'header content-type must be one of application/json, not text/html',
  ])
  expect(validateAnswer({ ...logs, headers: { Location: 'https://fleetfoot.test/logs.zip' } })).toEqual([])
  expect(validateAnswer({ ...logs, headers: {} })).toEqual(['header location is missing'])
})

test('every schema of the description compiles', () => {
  for (const operationId of describedOperationIds()) {
    for (const status of Object.keys(describeOperation(operationId).responses)) {
      expect(() => validateAnswer({ operationId, status: Number(status), body: {} })).not.toThrow()
    }
  }
})

test('an unknown operation is refused', () => {
  expect(() => describeOperation('actions/make-coffee')).toThrow('actions/make-coffee is not in the extract')
})

test('what is listed as not described is not described', () => {
  for (const [operationId, statuses] of Object.entries(notDescribed)) {
    if (operationId === '*') continue
    for (const status of Object.keys(statuses)) expect(describeOperation(operationId).responses).not.toHaveProperty(status)
  }
})

test('every status that our reference names is described or listed as not described', () => {
  const known: Record<string, object> = notDescribed
  const ids = new Set(describedOperationIds())
  const missing = readRestTable()
    .filter((row) => ids.has(row.operationId))
    .flatMap((row) => [...row.ok, ...row.errors].map((status) => ({ operationId: row.operationId, status: String(status) })))
    .filter(({ operationId, status }) => !(status in { ...describeOperation(operationId).responses, ...known[operationId], ...known['*'] }))

  expect(missing).toEqual([])
})

test('a workflow run fits only with the keys that clients read', () => {
  expect(validateAnswer({ operationId: RUN, status: 200, body: { id: 1 } })).toContain("/ must have required property 'jobs_url'")
})
