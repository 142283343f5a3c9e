import { expect } from 'vitest'
import { makeRepository, pushFiles } from './actions-client.ts'
import { eventually } from './eventually.ts'
import { startHookReceiver, type Received } from './hook-receiver.ts'
import type { ServerProcess } from './server-process.ts'
import { wireRunner, type JobMessageBody, type WireRunner } from './wire-runner.ts'

const JOBS = ['a', 'b', 'c', 'd'].map((job) => `  ${job}: {runs-on: nobody, steps: [{run: echo}]}\n`).join('')
const WORKFLOW = `on: [push, workflow_dispatch]\njobs:\n${JOBS}`
const WORK = 'on: workflow_dispatch\njobs:\n  w: {runs-on: self-hosted, steps: [{run: echo}]}\n'

/** The events of jobs that webhooks hear of, in order. */
export type EventRows = { kind: string; subjectId: number; payload: string }[]
export const EVENTS_OF_JOBS = `"kind" in ('job.queued', 'job.requeued', 'job.in_progress', 'job.completed') order by "id"`

export interface HookKills {
  nodes: ServerProcess[]
  kills: number
  /** What the database says at the end. */
  events: () => Promise<EventRows>
  /** How long the last delivery may take. */
  withinMs: number
}

/**
 * Runs start and are cancelled without end, and runners take jobs and finish them, while a node after the other is killed, at random
 * moments, and started again. Then each message that the database knows must have come, in order per job, each with its id, to a receiver
 * that is slow and to one that refuses some.
 */
export async function deliverThroughKills({
  nodes,
  kills,
  events,
  withinMs,
}: HookKills): Promise<{ messages: number; repeats: number; worked: number }> {
  const [first] = nodes
  if (!first) throw new Error('there is no node')
  await makeRepository(first.admin, 'acme', 'rocket')
  await using slow = await startHookReceiver()
  await using choosy = await startHookReceiver()
  slow.answer = (response) => void setTimeout(() => response.writeHead(200).end(), Math.random() * 20)
  const refused = new Set<unknown>()
  choosy.answer = (response, { headers }) => {
    const id = headers['x-github-delivery']
    const isRefused = !refused.has(id) && Math.random() < 0.02
    if (isRefused) refused.add(id)
    response.writeHead(isRefused ? 500 : 200).end()
  }
  const wanted = { events: ['workflow_job', 'workflow_run'] }
  await first.admin('POST', '/repos/acme/rocket/hooks', { ...wanted, config: { url: slow.url, content_type: 'json' } })
  await first.admin('POST', '/orgs/acme/hooks', { ...wanted, name: 'web', config: { url: choosy.url, content_type: 'json' } })
  await pushFiles(first.url, first.adminToken, 'acme/rocket', {
    '.github/workflows/ci.yml': WORKFLOW,
    '.github/workflows/work.yml': WORK,
  })
  let isOver = false
  const runners = await Promise.all([0, 1].map(() => startRunner(first)))
  const loads = [...[0, 1].map((index) => load(nodes, index, () => isOver)), ...runners.map((runner) => work(nodes, runner, () => isOver))]
  for (let count = 0; count < kills; count++) {
    // A random moment is what is tested.
    await new Promise((resolve) => setTimeout(resolve, 200 + Math.random() * 2000))
    const node = nodes[count % nodes.length]
    await node?.kill()
    await node?.start()
  }
  isOver = true
  await Promise.all(loads)

  let worked = 0
  let messages = 0
  let repeats = 0
  for (const heard of [slow, choosy]) {
    // What a dead node had begun may still become a job: what happened is read until it is what was heard.
    const told = await eventually(
      async () => {
        const byJob = Map.groupBy(heard.of('workflow_job'), ({ payload }) => payload.workflow_job.id as number)
        const happened = actionsByJob(await events())
        expect(happened.size).toBeGreaterThan(kills)
        expect(new Map([...byJob].map(([id, some]) => [id, actionsOf(some)]))).toEqual(happened)
        worked = [...happened.values()].filter((actions) => actions.includes('in_progress')).length
        return byJob
      },
      { withinMs },
    )
    for (const [id, some] of told) {
      // Once or more each, and never the earlier one after the later.
      const inOrder = some.map(idOf).filter((each, index, all) => each !== all[index - 1])
      expect([id, inOrder.length]).toEqual([id, new Set(inOrder).size])
    }
    const byId = Map.groupBy(heard.received, idOf)
    // The same id is the same message, however often it comes; that no message has two ids, the actions of each job say.
    for (const same of byId.values()) expect(new Set(same.map(({ body }) => body)).size).toBe(1)
    messages += byId.size
    repeats += heard.received.length - byId.size
  }
  return { messages, repeats, worked }
}

const idOf = ({ headers }: Received) => String(headers['x-github-delivery'])

/** What was told of a job, each message once. */
const actionsOf = (messages: Received[]) => [...Map.groupBy(messages, idOf).values()].map(([message]) => message?.payload.action as string)

function actionsByJob(rows: EventRows): Map<number, string[]> {
  const byJob = Map.groupBy(rows, ({ subjectId }) => subjectId)
  return new Map([...byJob].map(([id, events]) => [id, events.flatMap(actionOf)]))
}

/** One that went back in line is told as queued again where it had begun. */
function actionOf({ kind, payload }: EventRows[number]): string[] {
  if (kind !== 'job.requeued') return [kind.replace('job.', '')]
  return (JSON.parse(payload) as { begun?: boolean }).begun ? ['queued'] : []
}

async function load(nodes: ServerProcess[], index: number, isOver: () => boolean): Promise<void> {
  for (let count = index; !isOver(); count++) {
    const call = (method: string, path: string, body?: unknown) => patient(nodes, count, method, path, body)
    await call('POST', '/repos/acme/rocket/actions/workflows/ci.yml/dispatches', { ref: 'main' })
    const listed = await call('GET', '/repos/acme/rocket/actions/workflows/ci.yml/runs?status=queued&per_page=5')
    const { workflow_runs: runs = [] } = (await listed.json()) as { workflow_runs?: { id: number }[] }
    for (const { id } of runs) await call('POST', `/repos/acme/rocket/actions/runs/${id}/cancel`)
  }
}

async function startRunner({ url, admin }: ServerProcess): Promise<WireRunner> {
  const registrationToken = async () => {
    const made = await admin('POST', '/orgs/acme/actions/runners/registration-token')
    return ((await made.json()) as { token: string }).token
  }
  const runner = await wireRunner({ url, registrationToken }, 'acme')
  await runner.connect()
  return runner
}

/** Has a job queued, takes one and finishes it, again and again; a node that is dead is called until it is back. */
async function work(nodes: ServerProcess[], runner: WireRunner, isOver: () => boolean): Promise<void> {
  const call = (method: string, path: string, body?: unknown) => patient(nodes, 0, method, path, body)
  while (!isOver()) {
    await call('POST', '/repos/acme/rocket/actions/workflows/work.yml/dispatches', { ref: 'main' })
    const message = await insist(async () => (await runner.poll()) ?? Promise.reject(new Error('there is no job yet')))
    const acquired = await insist(() => answered(runner.acquire(message.body['runner_request_id'] ?? '')))
    // It went back in line while the node was away.
    if (acquired.status !== 200) continue
    const job = JSON.parse(acquired.text) as JobMessageBody
    await insist(() => answered(runner.complete(job)))
  }
}

/** An answer that is not of a server on its way up or down. */
async function answered(call: Promise<Response>): Promise<{ status: number; text: string }> {
  const response = await call
  const text = await response.text()
  if (response.status >= 500) throw new Error(text)
  return { status: response.status, text }
}

async function insist<T>(call: () => Promise<T>): Promise<T> {
  for (;;) {
    const done = await call().then(
      (value) => ({ value }),
      () => undefined,
    )
    if (done) return done.value
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}

/** Calls until an answer comes: a node may be dead for a while. */
async function patient(nodes: ServerProcess[], start: number, method: string, path: string, body?: unknown): Promise<Response> {
  for (let count = start; ; count++) {
    const answer = await nodes[count % nodes.length]?.admin(method, path, body).then(
      async (response) =>
        response.status < 500
          ? new Response(await response.text(), { status: response.status === 204 ? 200 : response.status })
          : undefined,
      () => undefined,
    )
    if (answer) return answer
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
}
