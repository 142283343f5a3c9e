import { randomBytes } from 'node:crypto'
import { expect, test } from 'vitest'
import { actionsClient } from '../../../test/support/actions-client.ts'
import { eventually } from '../../../test/support/eventually.ts'
import { oneJob, queueRun } from '../../../test/support/queue.ts'
import { startServer } from '../../../test/support/start-server.ts'
import { wireRunner, type WireRunner } from '../../../test/support/wire-runner.ts'
import type { Repository } from '../../model/account.ts'
import { endLongWaits, fallBack } from './fall-back.ts'
import { reviewQueue, wakeLimited } from './queue-rules.ts'

/* The queue as people see and steer it: each rule, pause and move is proven by jobs that run or do not, and by the reason shown. */

async function startQueue() {
  const clock = { ahead: 0 }
  const server = await startServer({ times: { pollHeld: 60 }, now: () => Date.now() + clock.ahead })
  await server.organization('acme')
  const rocket = await server.repository('acme', 'rocket')
  const other = await server.repository('acme', 'other')
  const call = async (method: string, path: string, body?: object, status = method === 'POST' ? 201 : method === 'DELETE' ? 204 : 200) => {
    const answer = await server.admin(method, `/api/fleetfoot${path}`, body)
    const text = await answer.text()
    expect([answer.status, text.slice(0, 300)]).toEqual([status, expect.anything()])
    return (text === '' ? {} : JSON.parse(text)) as Record<string, unknown> & { id: number }
  }
  const t = {
    server,
    clock,
    rocket,
    other,
    call,
    rule: (body: object, at = '/orgs/acme') => call('POST', `${at}/queue/rules`, { name: 'a rule', ...body }),
    queue: async (path = '/orgs/acme/queue') =>
      (await call('GET', path))['jobs'] as { id: number; repository: string; position: number; waiting_reason: string; priority: number }[],
    async enqueue(repository: Repository, count = 1, text = oneJob()) {
      const ids: number[] = []
      for (let i = 0; i < count; i++) {
        const run = await queueRun(server, repository, text)
        clock.ahead += 5
        const [job] = await actionsClient(server.admin, `acme/${repository.name}`).jobs(run.id)
        ids.push(job?.id ?? 0)
      }
      return ids
    },
    reason: async (id: number, repository = 'rocket') =>
      ((await (await server.admin('GET', `/repos/acme/${repository}/actions/jobs/${id}`)).json()) as { waiting_reason: string })
        .waiting_reason,
    async runner(at = 'acme', labels: string[] = []) {
      const runner = await wireRunner(server, at, { labels })
      await runner.connect()
      return runner
    },
    /** The next job that a runner is given, by its id; it is completed. */
    async next(runner: WireRunner) {
      const message = await runner.poll()
      if (!message) return undefined
      const given = await server.deps.db
        .selectFrom('assignment')
        .select('jobId')
        .where('requestId', '=', message.body['runner_request_id'] ?? '')
        .executeTakeFirstOrThrow()
      const acquired = await runner.acquire(message.body['runner_request_id'] ?? '')
      const job = (await acquired.json()) as Parameters<WireRunner['complete']>[0]
      await runner.renew(job)
      clock.ahead += 1000
      await runner.complete(job)
      return given.jobId
    },
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
  }
  return t
}

test('repositories that wait for the same runners take turns, whoever queued more and earlier', async () => {
  await using t = await startQueue()
  const many = await t.enqueue(t.rocket, 5)
  const few = await t.enqueue(t.other, 2)
  const runner = await t.runner()

  const given = []
  for (let i = 0; i < 7; i++) given.push(await t.next(runner))

  expect(given.filter((id) => many.includes(id ?? 0))).toEqual(many)
  expect(given.filter((id) => few.includes(id ?? 0))).toEqual(few)
  expect(given.slice(0, 4).filter((id) => few.includes(id ?? 0))).toEqual(few)
})

test('one that queues a job whenever its last was taken does not starve one that waits', async () => {
  await using t = await startQueue()
  const third = await t.server.repository('acme', 'third')
  const patient = await t.enqueue(t.rocket, 4)
  const runner = await t.runner()
  await t.enqueue(t.other)
  await t.enqueue(third)

  const given: number[] = []
  for (let i = 0; i < 9; i++) {
    const id = (await t.next(runner)) ?? 0
    given.push(id)
    if (!patient.includes(id)) await t.enqueue(i % 2 === 0 ? t.other : third)
  }

  expect(given.filter((id) => patient.includes(id)).length).toBeGreaterThanOrEqual(3)
})

test('a priority goes first, on runners of the organization; jobs in line when the rule is made are placed anew', async () => {
  await using t = await startQueue()
  const [first] = await t.enqueue(t.rocket)
  const [urgent] = await t.enqueue(t.other)
  const made = await t.rule({ match: { repository: 'acme/oth*', event: 'push', branch: 'main', actor: 'admin' }, priority: 50 })
  await reviewQueue(t.server.deps)
  expect((await t.queue()).map(({ id, priority }) => [id, priority])).toEqual([
    [first, 0],
    [urgent, 50],
  ])
  const runner = await t.runner()
  expect([await t.next(runner), await t.next(runner)]).toEqual([urgent, first])

  await t.call('PATCH', `/orgs/acme/queue/rules/${made.id}`, { priority: -10 })
  const [lower] = await t.enqueue(t.other)
  const [later] = await t.enqueue(t.rocket)
  expect([await t.next(runner), await t.next(runner)]).toEqual([later, lower])
  await t.call('DELETE', `/orgs/acme/queue/rules/${made.id}`)
  expect(await t.call('GET', '/orgs/acme/queue/rules')).toEqual({ total_count: 0, rules: [] })
})

test('a repository lets its jobs yield, and cannot overtake others', async () => {
  await using t = await startQueue()
  await t.call('POST', '/repos/acme/rocket/queue/rules', { name: 'first', priority: 1 }, 422)
  await t.rule({ name: 'nightly', priority: -5 }, '/repos/acme/rocket')
  const [yielding] = await t.enqueue(t.rocket)
  const [others] = await t.enqueue(t.other)
  const runner = await t.runner()
  expect([await t.next(runner), await t.next(runner)]).toEqual([others, yielding])
  const [job] = await t.enqueue(t.rocket)
  const repositoryAdmin = await t.server.user('ada')
  await t.server.collaborator(t.rocket, 'ada', 'admin')
  const patch = (body: object) => repositoryAdmin.call('PATCH', `/api/fleetfoot/repos/acme/rocket/queue/jobs/${job}`, body)
  expect((await patch({ expedite: true })).status).toBe(403)
  expect((await patch({ priority: 7 })).status).toBe(403)
  expect((await patch({ priority: -7 })).status).toBe(200)
  expect((await repositoryAdmin.call('PATCH', `/api/fleetfoot/orgs/acme/queue/jobs/${job}`, { expedite: true })).status).toBe(404)
})

test('no more of a rule run at once than it says, and the next one says so', async () => {
  await using t = await startQueue()
  await t.rule({ name: 'one deploy', match: { workflow: '.github/workflows/*.yml' }, most_at_once: 1 })
  const [first, second] = await t.enqueue(t.rocket, 2)
  const one = await t.runner()
  const two = await t.runner()
  const job = await one.takeJob()

  expect(await two.poll()).toBeUndefined()
  expect(await t.reason(second ?? 0)).toBe('1 job runs, and the queue rule one deploy allows no more at once')
  await one.complete(job)
  expect(await t.next(two)).toBe(second)
  expect(first).toBeLessThan(second ?? 0)
})

test('every limit of a job binds, of the organization and of its repository, and the one that holds is named', async () => {
  await using t = await startQueue()
  await t.rule({ name: 'all', match: { repository: 'acme/*' }, most_at_once: 2, longest_wait_seconds: 86_400 })
  await t.rule({ name: 'other', match: { repository: 'acme/other' }, most_at_once: 5 })
  await t.rule({ name: 'rocket', most_at_once: 1, longest_wait_seconds: 600 }, '/repos/acme/rocket')
  const [first, second] = await t.enqueue(t.rocket, 2)
  const [third, fourth] = await t.enqueue(t.other, 2)
  const [one, two, three] = [await t.runner(), await t.runner(), await t.runner()]
  const job = await one.takeJob()
  const listed = (await t.queue()) as unknown as { id: number; fails_at: string; waiting_since: string }[]
  const waits = listed.find(({ id }) => id === second)
  expect(Date.parse(waits?.fails_at ?? '') - Date.parse(waits?.waiting_since ?? '')).toBe(600_000)

  expect(await t.reason(second ?? 0)).toBe('1 job runs, and the queue rule rocket allows no more at once')
  const other = await two.takeJob()
  expect(await three.poll()).toBeUndefined()
  expect(await t.reason(fourth ?? 0, 'other')).toBe('2 jobs run, and the queue rule all allows no more at once')

  await two.complete(other)
  expect(await t.next(three)).toBe(fourth)
  await one.complete(job)
  expect(await t.next(three)).toBe(second)
  expect(first).toBeLessThan(third ?? 0)
  await wakeLimited(t.server.deps)
  expect(await t.server.deps.db.selectFrom('limitHold').selectAll().execute()).toEqual([])
})

test('a repository gets no more of a runner by asking for many labels', async () => {
  await using t = await startQueue()
  const own: number[] = []
  for (let i = 0; i < 3; i++) {
    for (const label of ['a', 'b', 'c'])
      own.push(...(await t.enqueue(t.rocket, 1, oneJob().replace('self-hosted', `[self-hosted, ${label}]`))))
  }
  const others = await t.enqueue(t.other, 4)
  const runner = await t.runner('acme', ['a', 'b', 'c'])
  const given = []
  for (let i = 0; i < 8; i++) given.push((await t.next(runner)) ?? 0)
  expect(given.filter((id) => others.includes(id))).toEqual(others)
  expect(given.filter((id) => own.includes(id)).length).toBe(4)
})

test('on runners of the enterprise an organization orders its own jobs, and overtakes nobody else', async () => {
  await using t = await startQueue()
  await t.server.organization('beta')
  const site = await t.server.repository('beta', 'site')
  const mine = await t.enqueue(t.rocket, 3)
  const theirs: number[] = []
  for (let i = 0; i < 2; i++) {
    const run = await queueRun(t.server, site, oneJob())
    t.clock.ahead += 5
    const [job] = await actionsClient(t.server.admin, 'beta/site').jobs(run.id)
    theirs.push(job?.id ?? 0)
  }
  await t.call('PATCH', `/orgs/acme/queue/jobs/${mine[2]}`, { expedite: true })
  const runner = await t.runner('enterprises/fleetfoot')
  const given = []
  for (let i = 0; i < 5; i++) given.push((await t.next(runner)) ?? 0)
  expect(given).toEqual([mine[2], theirs[0], mine[0], theirs[1], mine[1]])
})

test('a moved job goes back to where the rules put it, and who manages a repository keeps nobody above from putting it back', async () => {
  await using t = await startQueue()
  const [a = 0, b = 0] = await t.enqueue(t.rocket, 2)
  await t.call('PATCH', `/orgs/acme/queue/jobs/${b}`, { expedite: true })
  await t.call('PATCH', `/repos/acme/rocket/queue/jobs/${a}`, { priority: 0 })
  await t.rule({ name: 'late', priority: -5 })
  await reviewQueue(t.server.deps)
  const ranks = async () => new Map((await t.queue()).map(({ id, priority }) => [id, priority]))
  expect(await ranks()).toEqual(
    new Map([
      [a, -5],
      [b, 1000],
    ]),
  )
  const admin = await t.server.user('ada')
  await t.server.collaborator(t.rocket, 'ada', 'admin')
  expect((await admin.call('PATCH', `/api/fleetfoot/repos/acme/rocket/queue/jobs/${b}`, { reset: true })).status).toBe(403)
  await t.call('PATCH', `/orgs/acme/queue/jobs/${b}`, { reset: true })
  expect((await ranks()).get(b)).toBe(-5)
  const runner = await t.runner()
  expect([await t.next(runner), await t.next(runner)]).toEqual([a, b])
})

test('a job that asks for many long labels waits like any other', async () => {
  await using t = await startQueue()
  const labels = Array.from({ length: 30 }, () => randomBytes(100).toString('hex'))
  const [first, second] = await t.enqueue(t.rocket, 2, oneJob().replace('self-hosted', `[${labels.join(', ')}]`))
  expect((await t.queue()).map(({ id }) => id)).toEqual([first, second])
  expect(await t.next(await t.runner('acme', labels))).toBe(first)
  expect(await t.server.deps.db.selectFrom('line').select('id').execute()).toHaveLength(1)
})

test('what is given of a rule changes, null ends a setting, and a key that is not known is refused', async () => {
  await using t = await startQueue()
  const made = await t.rule({ match: { branch: 'main' }, priority: 5, most_at_once: 3, fallback: [{ after_seconds: 9, labels: ['x'] }] })
  const path = `/orgs/acme/queue/rules/${made.id}`
  const changed = await t.call('PATCH', path, { longest_wait_seconds: 100, most_at_once: null, position: 7 })
  expect(changed).toMatchObject({ priority: 5, longest_wait_seconds: 100, position: 7, match: { branch: 'main' } })
  expect(changed).not.toHaveProperty('most_at_once')
  expect(await t.call('GET', path)).toEqual(changed)
  await t.call('PATCH', path, { priority: null, longest_wait_seconds: null, fallback: null }, 422)
  for (const body of [{ match: { brnach: 'x' } }, { max_at_once: 3 }, { fallback: [{ after: 3, labels: ['a'] }] }]) {
    await t.call('POST', '/orgs/acme/queue/rules', { name: 'e', priority: 5, ...body }, 422)
    await t.call('PATCH', path, body, 422)
  }
  await t.call('GET', '/orgs/acme/queue/rules/999', undefined, 404)
  await t.call('PUT', '/orgs/acme/queue/pauses/labels/x', { reason: 'r', drian: true }, 422)
})

test('the reason tells of runners that are paused, not allowed, busy and offline beside each other', async () => {
  await using t = await startQueue()
  const one = await t.runner()
  const two = await t.runner()
  await t.enqueue(t.rocket)
  await two.takeJob()
  await t.call('PUT', `/orgs/acme/queue/pauses/runners/${one.id}`, { reason: 'disk swap' })
  const [job] = await t.enqueue(t.rocket)
  expect(await t.reason(job ?? 0)).toBe('2 runners match: 1 busy, 1 paused (disk swap)')

  const answer = await t.server.admin('POST', '/orgs/acme/actions/runner-groups', { name: 'gpu', visibility: 'selected' })
  const group = (await answer.json()) as { id: number }
  const three = await t.runner()
  await t.server.admin('PUT', `/orgs/acme/actions/runner-groups/${group.id}/runners/${three.id}`)
  expect(await t.reason(job ?? 0)).toBe(
    '3 runners match: 1 busy, 1 paused (disk swap), 1 not allowed, as the runner group gpu does not serve this repository',
  )
  const [lost] = await t.enqueue(t.rocket, 1, oneJob().replace('runs-on: self-hosted', 'runs-on:\n      group: nosuch'))
  expect(await t.reason(lost ?? 0)).toBe('there is no runner group nosuch')
})

test('after a time a job asks for other labels, keeps its time, and is taken', async () => {
  await using t = await startQueue()
  await t.rule({ match: { labels: ['GPU'] }, fallback: [{ after_seconds: 60, labels: ['self-hosted'] }] })
  const [job] = await t.enqueue(t.rocket, 1, oneJob().replace('self-hosted', '[self-hosted, gpu]'))
  const runner = await t.runner()
  expect(await runner.poll()).toBeUndefined()
  expect(await t.reason(job ?? 0)).toBe('no runner has the label gpu')
  const [before] = (await t.queue()) as unknown as { waiting_since: string; falls_back_at: string }[]
  expect(before?.falls_back_at).not.toBeNull()

  t.clock.ahead += 61_000
  await fallBack(t.server.deps)

  const [after] = (await t.queue()) as unknown as { waiting_since: string; labels: string[] }[]
  expect(after).toMatchObject({ waiting_since: before?.waiting_since, labels: ['self-hosted'] })
  expect(await t.next(runner)).toBe(job)
})

test('a job that waits longer than its rule allows fails, and says which', async () => {
  await using t = await startQueue()
  await t.rule({ name: 'no stale builds', longest_wait_seconds: 120 })
  const [job] = await t.enqueue(t.rocket)
  t.clock.ahead += 119_000
  await endLongWaits(t.server.deps)
  expect((await t.queue()).length).toBe(1)
  t.clock.ahead += 2000
  await endLongWaits(t.server.deps)
  const [run] = await actionsClient(t.server.admin, 'acme/rocket').runs()
  expect(run).toMatchObject({ conclusion: 'failure' })
  const ended = (await (await t.server.admin('GET', `/repos/acme/rocket/actions/jobs/${job}`)).json()) as { problem: string }
  expect(ended.problem).toContain('the queue rule no stale builds')
})

test.each([
  { what: 'runners', target: (runner: WireRunner) => runner.id, says: '1 runner matches, paused: new disk' },
  { what: 'groups', target: () => 1, says: '1 runner matches, its group is paused: new disk' },
  { what: 'labels', target: () => 'Self-Hosted', says: 'the label self-hosted is paused: new disk' },
])('a pause of $what gives nothing out, says why, and ends at once', async ({ what, target, says }) => {
  await using t = await startQueue()
  const runner = await t.runner()
  const [running] = await t.enqueue(t.rocket)
  const current = await runner.takeJob()
  const path = `/orgs/acme/queue/pauses/${what}/${target(runner)}`
  const paused = await t.call('PUT', path, { reason: 'new disk', drain: true })
  expect(paused).toMatchObject({ reason: 'new disk', drain: true, running: 1, paused_by: 'admin' })

  await runner.complete(current)
  const [job] = await t.enqueue(t.rocket)
  expect(await runner.poll()).toBeUndefined()
  expect(await t.reason(job ?? 0)).toBe(says)
  expect(await t.call('GET', '/orgs/acme/queue/pauses')).toMatchObject({
    total_count: 1,
    pauses: [{ running: 0 }],
  })

  await t.call('DELETE', path)
  await t.call('DELETE', path, undefined, 404)
  expect(await t.next(runner)).toBe(job)
  expect(running).toBeLessThan(job ?? 0)
})

test('a poll that is open hears of a pause and of its end', async () => {
  await using t = await startQueue()
  const runner = await t.runner()
  const path = `/orgs/acme/queue/pauses/runners/${runner.id}`
  const polled = runner.poll()
  await t.call('PUT', path, { reason: 'moving it' })
  const [job] = await t.enqueue(t.rocket)
  expect(await polled).toBeUndefined()
  await t.call('DELETE', path)
  expect(await t.next(runner)).toBe(job)
})

test('one job is expedited, put before another, given other labels; rules leave it there', async () => {
  await using t = await startQueue()
  const [a, b, c] = await t.enqueue(t.rocket, 3)
  const [d] = await t.enqueue(t.other, 1, oneJob().replace('self-hosted', '[self-hosted, gpu]'))
  const steer = (id: number | undefined, body: object, status = 200) => t.call('PATCH', `/orgs/acme/queue/jobs/${id}`, body, status)
  await steer(c, { expedite: true })
  await steer(b, { before: a })
  await steer(d, { labels: ['self-hosted'] })
  await t.rule({ priority: -1 })
  await reviewQueue(t.server.deps)
  await steer(a, {}, 422)
  await steer(a, { expedite: true, priority: 3 }, 422)
  await steer(a, { before: 999_999 }, 404)
  await steer(999_999, { expedite: true }, 404)

  const runner = await t.runner()
  const given = [await t.next(runner), await t.next(runner), await t.next(runner), await t.next(runner)]
  expect(given[0]).toBe(c)
  expect(given.indexOf(b)).toBeLessThan(given.indexOf(a))
  expect(given).toContain(d)
  await steer(c, { expedite: true }, 409)
})

test('the queue is listed with position, reason, priority and an estimate, for whom it concerns', async () => {
  await using t = await startQueue()
  const runner = await t.runner()
  await t.enqueue(t.rocket)
  await t.next(runner)
  const current = t.enqueue(t.rocket)
  await current
  await runner.takeJob()
  const [first, second] = await t.enqueue(t.rocket, 2)
  const [third] = await t.enqueue(t.other)

  const listed = await t.queue()
  expect(listed.map(({ id }) => id)).toEqual([first, second, third])
  expect(listed.map(({ position }) => position).toSorted((a, b) => a - b)).toEqual([1, 2, 3])
  // It is the turn of the repository that was not served yet.
  expect(listed[2]?.position).toBe(1)
  expect(listed[0]).toMatchObject({
    repository: 'acme/rocket',
    priority: 0,
    waiting_reason: '1 runner matches, busy',
    estimated_start_at: expect.stringMatching(/Z$/),
    falls_back_at: null,
    fails_at: null,
  })
  expect((await t.queue('/repos/acme/other/queue')).map(({ id }) => id)).toEqual([third])
  expect((await t.queue('/enterprises/fleetfoot/queue')).length).toBe(3)
  expect((await t.queue('/queue')).length).toBe(3)
  expect((await t.call('GET', '/queue?per_page=2&page=2'))['jobs']).toHaveLength(1)
  const stranger = await t.server.user('eve')
  for (const path of ['/queue', '/orgs/acme/queue', '/repos/acme/rocket/queue']) {
    expect((await stranger.call('GET', `/api/fleetfoot${path}`)).status).toBe(404)
  }
})

test('a long queue is listed in the same order, page by page, without jobs of elsewhere', async () => {
  await using t = await startQueue()
  await t.server.organization('beta')
  const elsewhere = await t.server.repository('beta', 'site')
  const job = (index: number) => `  j${index}:\n    runs-on: self-hosted\n    steps:\n      - run: echo hi\n`
  const [before] = await t.enqueue(t.other)
  await queueRun(t.server, elsewhere, oneJob())
  await queueRun(t.server, t.rocket, `on: push\njobs:\n${Array.from({ length: 110 }, (_, index) => job(index)).join('')}`)
  t.clock.ahead += 5
  const [after] = await t.enqueue(t.other)
  const ids = async (path: string) => {
    const listed = await t.call('GET', path)
    return { total: listed['total_count'], ids: (listed['jobs'] as { id: number }[]).map(({ id }) => id) }
  }

  const first = await ids('/orgs/acme/queue?per_page=100')
  const second = await ids('/orgs/acme/queue?per_page=100&page=2')
  const ofOne = await ids('/repos/acme/rocket/queue?per_page=100&page=2')

  const all = [...first.ids, ...second.ids]
  expect([first.total, second.total, ofOne.total, new Set(all).size]).toEqual([112, 112, 110, 112])
  expect([all[0], all[111]]).toEqual([before, after])
  expect(all.slice(1, 111)).toEqual(all.slice(1, 111).toSorted((a, b) => a - b))
  expect(ofOne.ids).toEqual(all.slice(101, 111))
  expect((await ids('/orgs/beta/queue')).total).toBe(1)
})

test.each([
  {},
  { name: '', priority: 1 },
  { name: 'x', priority: 101 },
  { name: 'x', priority: 0.5 },
  { name: 'x', most_at_once: 0 },
  { name: 'x', longest_wait_seconds: 1e300 },
  { name: 'x', fallback: [] },
  { name: 'x', fallback: [{ after_seconds: 1, labels: [] }] },
  { name: 'x', priority: 1, match: { branch: '[' } },
  { name: 'x', priority: 1, match: { labels: 'gpu' } },
  { name: 'x', match: {} },
])('a rule that is none is refused: %j', async (body) => {
  await using t = await startQueue()
  await t.call('POST', '/orgs/acme/queue/rules', body, 422)
})

/* What a review by a stranger found. */

test('repositories take turns also where their jobs ask for different labels', async () => {
  await using t = await startQueue()
  const many = await t.enqueue(t.rocket, 6, oneJob().replace('self-hosted', '[self-hosted, linux]'))
  const [one] = await t.enqueue(t.other, 1, oneJob().replace('self-hosted', '[self-hosted, x64]'))
  const runner = await t.runner()

  const given = []
  for (let i = 0; i < 7; i++) given.push(await t.next(runner))

  expect(given.indexOf(one)).toBeLessThanOrEqual(1)
  expect(given.filter((id) => many.includes(id ?? 0))).toEqual(many)
})

test('on runners of the enterprise priorities count nothing, and what the enterprise expedites goes first', async () => {
  await using t = await startQueue()
  const globex = await t.server.organization('globex')
  const site = await t.server.repository('globex', 'site')
  await t.rule({ priority: 100 }, '/orgs/globex')
  expect(globex.id).toBeGreaterThan(0)
  const runner = await t.runner('enterprises/fleetfoot')
  const mine = await t.enqueue(t.rocket, 8)
  for (let i = 0; i < 3; i++) await t.next(runner)
  for (let i = 0; i < 4; i++) await queueRun(t.server, site, oneJob())

  const given = []
  for (let i = 0; i < 6; i++) given.push(await t.next(runner))
  expect(given.filter((id) => mine.includes(id ?? 0)).length).toBeGreaterThanOrEqual(2)

  const last = mine.at(-1)
  await t.call('PATCH', `/enterprises/fleetfoot/queue/jobs/${last}`, { expedite: true })
  expect(await t.next(runner)).toBe(last)
})

test('who manages one repository changes the order of its own jobs and overtakes nobody by any call', async () => {
  await using t = await startQueue()
  await t.rule({ match: { branch: 'main', repository: 'acme/rocket' }, priority: -50 })
  const [theirs] = await t.enqueue(t.other)
  const [a, b] = await t.enqueue(t.rocket, 2)
  const ada = await t.server.user('ada')
  await t.server.collaborator(t.rocket, 'ada', 'admin')
  const patch = async (id: number | undefined, body: object) =>
    (await ada.call('PATCH', `/api/fleetfoot/repos/acme/rocket/queue/jobs/${id}`, body)).status
  expect(await patch(a, { before: theirs })).toBe(404)
  expect(await patch(a, { priority: 0 })).toBe(403)
  expect(await patch(a, { priority: -60 })).toBe(200)
  expect(await patch(b, { before: a })).toBe(403)
  expect(await patch(a, { priority: -50 })).toBe(200)
  expect(await patch(b, { before: a })).toBe(200)
  const runner = await t.runner()
  expect([await t.next(runner), await t.next(runner), await t.next(runner)]).toEqual([theirs, b, a])
})

test('a rule that changes nothing for a job, or only limits it, does not push it back', async () => {
  await using t = await startQueue()
  const mine = await t.enqueue(t.rocket, 3)
  for (const body of [
    { match: { branch: 'absent' }, priority: 3 },
    { match: { repository: 'acme/rocket' }, most_at_once: 50 },
  ]) {
    await t.rule(body)
    await reviewQueue(t.server.deps)
  }
  const theirs = await t.enqueue(t.other, 3)
  const [later] = await t.enqueue(t.rocket)
  const runner = await t.runner()
  const given = []
  for (let i = 0; i < 7; i++) given.push((await t.next(runner)) ?? 0)
  expect(given.filter((id) => mine.includes(id) || id === later)).toEqual([...mine, later])
  expect(given.slice(0, 4).filter((id) => mine.includes(id)).length).toBe(2)
  expect(given.indexOf(later ?? 0)).toBe(6)
  expect(theirs.length).toBe(3)
})

test('a fallback rule takes the jobs that wait already, and other rules go by what the workflow asked for', async () => {
  await using t = await startQueue()
  const [job] = await t.enqueue(t.rocket, 1, oneJob().replace('self-hosted', '[self-hosted, gpu]'))
  t.clock.ahead += 3_600_000
  await t.rule({
    match: { labels: ['gpu'] },
    fallback: [{ after_seconds: 600, labels: ['self-hosted'] }],
    longest_wait_seconds: 90_000,
    most_at_once: 2,
  })
  await reviewQueue(t.server.deps)
  await fallBack(t.server.deps)
  const read = async () => (await t.queue()) as unknown as { labels: string[]; fails_at: string | null; falls_back_at: string | null }[]
  const [before] = await read()
  expect(before).toMatchObject({ labels: ['self-hosted'], falls_back_at: null, fails_at: expect.any(String) })

  await t.rule({ match: { branch: 'absent' }, priority: 1 })
  await reviewQueue(t.server.deps)
  expect(await read()).toEqual([before])
  t.clock.ahead = 0
  expect(await t.next(await t.runner())).toBe(job)
})

test('jobs that run already count for a limit that is made, and whoever waits hears when there is room', async () => {
  await using t = await startQueue()
  const one = await t.runner()
  const two = await t.runner()
  await t.enqueue(t.rocket, 2)
  const running = await one.takeJob()
  await t.rule({ name: 'one', most_at_once: 1 })
  await reviewQueue(t.server.deps)
  expect(await two.poll()).toBeUndefined()
  await one.disconnect()
  await one.complete(running)
  const polled = two.poll()
  await wakeLimited(t.server.deps)
  expect((await polled) ?? (await two.poll())).toMatchObject({ messageType: 'RunnerJobRequest' })
})

test('positions and estimates are those of the place that is asked about', async () => {
  await using t = await startQueue()
  await t.enqueue(t.other, 3)
  const [mine] = await t.enqueue(t.rocket)
  expect(await t.queue('/repos/acme/rocket/queue')).toMatchObject([{ id: mine, position: 1 }])
  expect((await t.queue()).find(({ id }) => id === mine)?.position).toBeLessThanOrEqual(2)
})

test('a poll that is open while its group is paused gets a job as soon as the pause ends', async () => {
  await using server = await startServer({ times: { pollHeld: 30_000, sweepEvery: 600_000 } })
  await server.organization('acme')
  const repository = await server.repository('acme', 'rocket')
  const runner = await wireRunner(server, 'acme')
  await runner.connect()
  const pause = '/api/fleetfoot/orgs/acme/queue/pauses/groups/1'
  await server.admin('PUT', pause, { reason: 'moving' })
  const polled = runner.poll()
  await queueRun(server, repository, oneJob())
  await eventually(() => expect(server.deps.dispatcher.hasOpenPoll(runner.id)).toBe(true))

  await server.admin('DELETE', pause)

  expect(await polled).toMatchObject({ messageType: 'RunnerJobRequest' })
})
