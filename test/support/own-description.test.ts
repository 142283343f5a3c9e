import { expect, test } from 'vitest'
import type { JudgedAnswer } from '../../src/http/served-route.ts'
import { judgeByOwnDescription } from './own-description.ts'
import { startServer } from './start-server.ts'

const at = '2026-01-31T00:00:00Z'
const pause = { kind: 'label', id: null, name: 'gpu', reason: 'repair', drain: false, running: 0, paused_at: at, paused_by: 'mona' }

test('an answer is judged by what we describe: status, body, media type, keys', async () => {
  await using server = await startServer()
  const judge = (answer: Partial<JudgedAnswer>, body?: object) =>
    judgeByOwnDescription(server.running.routes, {
      operationId: 'fleetfoot/pause-label-for-org',
      method: 'PUT',
      status: 200,
      body: body === undefined ? '' : JSON.stringify(body),
      contentType: 'application/json; charset=utf-8',
      ...answer,
    })

  expect(judge({}, pause)).toEqual([])
  expect(judge({}, { ...pause, more: 1 })).toEqual(['ours:  must NOT have additional properties {"additionalProperty":"more"}'])
  expect(judge({}, { ...pause, id: '1' })).toHaveLength(3)
  expect(judge({}, { ...pause, paused_at: 'yesterday' })).toHaveLength(1)
  expect(judge({ status: 201 }, pause)).toEqual(['we do not describe status 201'])
  expect(judge({})).toEqual(['we describe a body'])
  expect(judge({ contentType: 'text/html' }, pause)).toEqual(['we describe application/json, not text/html'])
  expect(judge({ operationId: 'fleetfoot/resume-label-for-org', status: 204 }, pause)).toEqual(['we describe no body'])
  expect(judge({ operationId: 'repos/get', status: 301 })).toEqual([])
  expect(judge({ operationId: 'actions/list-jobs-for-workflow-run' }, { total_count: 1, jobs: [{}] })).not.toEqual([])
})
