import { expect } from 'vitest'
import { makeRepository, pushFiles } from './actions-client.ts'
import { eventually } from './eventually.ts'
import { startHookReceiver, type Received } from './hook-receiver.ts'
import type { ServerProcess } from './server-process.ts'

const JOBS = ['a', 'b', 'c', 'd'].map((job) => `  ${job}: {runs-on: nobody, steps: [{run: echo}]}\n`).join('')
const WORKFLOW = `on: [push, workflow_dispatch]\njobs:\n${JOBS}`

/** `kind` and `subjectId` of the events of jobs that webhooks hear of, in order. */
export type EventRows = { kind: string; subjectId: number }[]

export interface HookKills {
  nodes: ServerProcess[]
  kills: number
  /** What the database says at the end. */
  events: () => Promise<EventRows>
  /** How long the last delivery may take. */
  withinMs: number
}

/**
 * Runs start and are cancelled without end while a node after the other is killed, at random moments, and started again. Then each message
 * that the database knows must have come, in order per job, each with its id, to a receiver that is slow and to one that refuses some.
 */
export async function deliverThroughKills({ nodes, kills, events, withinMs }: HookKills): Promise<{ messages: number; repeats: number }> {
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
  await pushFiles(first.url, first.adminToken, 'acme/rocket', { '.github/workflows/ci.yml': WORKFLOW })

  let isOver = false
  const loads = [0, 1].map((index) => load(nodes, index, () => isOver))
  for (let count = 0; count < kills; count++) {
    // A random moment is what is tested.
    await new Promise((resolve) => setTimeout(resolve, 200 + Math.random() * 1000))
    const node = nodes[count % nodes.length]
    await node?.kill()
    await node?.start()
  }
  isOver = true
  await Promise.all(loads)

  const happened = actionsByJob(await events())
  expect(happened.size).toBeGreaterThan(kills)
  let messages = 0
  let repeats = 0
  for (const heard of [slow, choosy]) {
    const heardOf = () => Map.groupBy(heard.of('workflow_job'), ({ payload }) => payload.workflow_job.id as number)
    await eventually(
      () => {
        const byJob = heardOf()
        const wanting = [...happened].filter(([id, actions]) => !actions.every((action) => actionsOf(byJob.get(id) ?? []).includes(action)))
        expect(wanting).toEqual([])
      },
      { withinMs },
    )
    for (const [id, told] of heardOf()) {
      // Once or more each, and never the earlier one after the later.
      const actions = actionsOf(told).filter((action, index, all) => action !== all[index - 1])
      expect([id, actions]).toEqual([id, happened.get(id)])
    }
    const byId = Map.groupBy(heard.received, ({ headers }) => String(headers['x-github-delivery']))
    // The same id is the same message, however often it comes, and no message has two ids.
    for (const same of byId.values()) expect(new Set(same.map(({ body }) => body)).size).toBe(1)
    const told = [...byId.values()].flatMap(([one]) =>
      one?.payload.workflow_job ? `${one.payload.workflow_job.id} ${one.payload.action}` : [],
    )
    expect(new Set(told).size).toBe(told.length)
    messages += byId.size
    repeats += heard.received.length - byId.size
  }
  return { messages, repeats }
}

const actionsOf = (messages: Received[]) => messages.map(({ payload }) => payload.action as string)

function actionsByJob(rows: EventRows): Map<number, string[]> {
  const byJob = Map.groupBy(rows, ({ subjectId }) => subjectId)
  return new Map([...byJob].map(([id, kinds]) => [id, kinds.map(({ kind }) => kind.replace('job.', ''))]))
}

async function load(nodes: ServerProcess[], index: number, isOver: () => boolean): Promise<void> {
  for (let count = index; !isOver(); count++) {
    const call = (method: string, path: string, body?: unknown) => patient(nodes, count, method, path, body)
    await call('POST', '/repos/acme/rocket/actions/workflows/ci.yml/dispatches', { ref: 'main' })
    const listed = await call('GET', '/repos/acme/rocket/actions/runs?status=queued&per_page=5')
    const { workflow_runs: runs = [] } = (await listed.json()) as { workflow_runs?: { id: number }[] }
    for (const { id } of runs) await call('POST', `/repos/acme/rocket/actions/runs/${id}/cancel`)
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
