import { randomUUID } from 'node:crypto'
import { labelSet, type Conclusion, type Step } from '../../model/job.ts'
import { hears, type HookEventKind } from '../../model/hook.ts'
import { isPassingTrouble } from '../../model/trouble.ts'
import { installationsLive } from '../../store/apps.ts'
import { eventsForHooks, eventsSettleHooks, type HookEvent } from '../../store/events.ts'
import { deliveriesInsert, type NewDelivery } from '../../store/hook-deliveries.ts'
import { hookDue } from '../../store/hooks.ts'
import { jobById } from '../../store/jobs.ts'
import { annotationsOfJob, stepReportGet } from '../../store/logs.ts'
import { repositoryById } from '../../store/repositories.ts'
import { runById, workflowById } from '../../store/runs.ts'
import type { Deps } from '../deps.ts'
import type { JobView } from '../jobs/jobs.ts'
import { viewsOf } from '../runs/runs.ts'
import type { RunView } from '../runs/runs.ts'
import { hearersOf, isHeardThrough, type Hearer } from './hearers.ts'
import { contextOf, type HookMessage } from './payloads.ts'

type FanOutDeps = Pick<Deps, 'db' | 'now' | 'log' | 'signals' | 'webhooks'>

const BATCH = 50

/** Whether an event waits to become deliveries. */
export async function hasUntoldEvents({ db }: Pick<Deps, 'db'>): Promise<boolean> {
  return (await eventsForHooks(db, 1)).length > 0
}

/**
 * Makes deliveries of the events that webhooks hear of, until none is left. Each event carries a mark that is taken off in the transaction
 * that adds its deliveries: a death loses none and makes none twice, also where two nodes do this at once. What a payload says is as it was
 * when the event happened, whatever has happened since.
 */
export async function fanOutEvents(deps: FanOutDeps, abort?: AbortSignal): Promise<string> {
  for (let count = 0; ;) {
    const events = await eventsForHooks(deps.db, BATCH)
    if (events.length > 0) await fanOut(deps, events)
    count += events.length
    if (events.length < BATCH || abort?.aborted) return `${count} events`
  }
}

async function fanOut({ db, now, log, signals, webhooks }: FanOutDeps, events: HookEvent[]): Promise<void> {
  const hooksOf = new Map<number, Hearer[]>()
  const made = new Map<number, NewDelivery[]>()
  const failed: number[] = []
  for (const event of events) {
    try {
      made.set(event.id, await deliveriesOf({ db, now, webhooks }, event, hooksOf))
    } catch (err) {
      if (isPassingTrouble(err)) throw err
      // One that cannot be told must not keep the others waiting.
      log.error({ err, eventId: event.id }, 'an event could not be told to webhooks')
      failed.push(event.id)
    }
  }
  const due = await db.transaction().execute(async (tx) => {
    const settled = await eventsSettleHooks(tx, [...made.keys()], 0)
    await eventsSettleHooks(tx, failed, 2)
    const deliveries = await stillHeard(
      tx,
      [...made].flatMap(([id, list]) => (settled.has(id) ? list : [])),
    )
    await deliveriesInsert(tx, deliveries)
    const ids = [...new Set(deliveries.map(({ hookId }) => hookId))].sort((a, b) => a - b)
    await hookDue(tx, ids, now())
    return ids
  })
  for (const id of due) signals.send('hook', id)
}

/**
 * Without those of installations that were suspended or deleted since, and of repositories that they lost: whoever does that ends what he
 * finds, and finds these no more.
 */
async function stillHeard(tx: FanOutDeps['db'], deliveries: NewDelivery[]): Promise<NewDelivery[]> {
  const ids = deliveries.map(({ installationId }) => installationId).filter((id) => id !== null)
  const live = await installationsLive(tx, [...new Set(ids)])
  const heard: NewDelivery[] = []
  for (const delivery of deliveries) if (await isHeardThrough(tx, live, delivery)) heard.push(delivery)
  return heard
}

/** The events of webhooks that a row may cause. */
const TOLD: Record<HookEventKind, HookMessage['event'][]> = {
  'job.queued': ['workflow_job', 'check_run'],
  'job.requeued': ['workflow_job'],
  'job.fell_back': ['workflow_job'],
  'job.steered': ['workflow_job'],
  'job.in_progress': ['workflow_job'],
  'job.completed': ['workflow_job', 'check_run'],
  'run.created': ['workflow_run'],
  'run.in_progress': ['workflow_run'],
  'run.completed': ['workflow_run'],
  push: ['push'],
}

async function deliveriesOf(
  deps: Pick<FanOutDeps, 'db' | 'now' | 'webhooks'>,
  event: HookEvent,
  hooksOf: Map<number, Hearer[]>,
): Promise<NewDelivery[]> {
  const repository = event.repositoryId === null ? undefined : await repositoryById(deps.db, event.repositoryId)
  if (!repository) return []
  const hearers = hooksOf.get(repository.id) ?? (await hearersOf(deps.db, repository))
  hooksOf.set(repository.id, hearers)
  const isHeard = (name: string) => hearers.some(({ hook }) => hears(hook, name))
  if (!TOLD[event.kind as HookEventKind].some(isHeard)) return []

  const deliveries: NewDelivery[] = []
  for (const message of (await messagesOf(deps, event)).filter(({ event: name }) => isHeard(name))) {
    const context = await contextOf(deps, { repository, senderId: message.event === 'push' ? event.actorId : senderOf(message) })
    const delivery = {
      event: message.event,
      action: message.action,
      repositoryId: repository.id,
      eventId: event.id,
      orderKey: `${event.kind.split('.')[0]} ${event.subjectId}`,
      redelivery: false,
      createdAt: deps.now(),
    }
    const payloads = new Map<number | undefined, string>()
    for (const { hook, installationId } of hearers) {
      if (!hears(hook, message.event)) continue
      const payload = payloads.get(installationId) ?? JSON.stringify(deps.webhooks.present(message, { ...context, installationId }))
      payloads.set(installationId, payload)
      deliveries.push({ hookId: hook.id, installationId: installationId ?? null, guid: randomUUID(), ...delivery, payload })
    }
  }
  return deliveries
}

function senderOf(message: HookMessage): number | null {
  if (message.event === 'workflow_job') return message.job.run.actorId
  return 'run' in message ? message.run.run.actorId : null
}

async function messagesOf({ db }: Pick<FanOutDeps, 'db'>, event: HookEvent): Promise<HookMessage[]> {
  const kind = event.kind as HookEventKind
  if (kind === 'push') return [{ event: 'push', action: null, push: event.payload }]
  if (kind === 'run.created' || kind === 'run.in_progress' || kind === 'run.completed') {
    const run = await runThen({ db }, event, event.subjectId)
    const action = kind === 'run.created' ? 'requested' : kind === 'run.completed' ? 'completed' : 'in_progress'
    return run ? [{ event: 'workflow_run', action, run }] : []
  }
  const job = await jobThen({ db }, event)
  const run = job && (await runThen({ db }, undefined, job.run.id))
  if (!run) return []
  switch (kind) {
    case 'job.queued':
      return [
        { event: 'workflow_job', action: 'queued', job },
        { event: 'check_run', action: 'created', job, run, annotations: 0 },
      ]
    // A runner took it and did nothing: it may be taken again, which whoever starts runners has to hear.
    case 'job.requeued':
      return event.payload['begun'] === true ? [{ event: 'workflow_job', action: 'queued', job }] : []
    // It waits for other runners now. Whoever starts runners does so when a job is queued, and hears of no other action in time.
    case 'job.fell_back':
    case 'job.steered':
      return changesLabels(event.payload) ? [{ event: 'workflow_job', action: 'queued', job }] : []
    case 'job.in_progress':
      return [{ event: 'workflow_job', action: 'in_progress', job }]
    case 'job.completed':
      return [
        { event: 'workflow_job', action: 'completed', job },
        {
          event: 'check_run',
          action: 'completed',
          job,
          run,
          annotations: (await annotationsOfJob(db, job.job.id, { offset: 0, limit: 1 })).total,
        },
      ]
    default:
      return []
  }
}

/** Whether a job that was moved asks for other labels than before; one that is moved in another way has no `to`. */
function changesLabels({ from, to }: Record<string, unknown>): boolean {
  return to !== undefined && labelSet(labelsOf(from)).join() !== labelSet(labelsOf(to)).join()
}

const labelsOf = (told: unknown) => (Array.isArray(told) ? told.map(String) : [])

/** A run as it was right after an event. */
async function runThen(deps: Pick<FanOutDeps, 'db'>, event: HookEvent | undefined, id: number): Promise<RunView | undefined> {
  const run = await runById(deps.db, id)
  const repository = run && (await repositoryById(deps.db, run.repositoryId))
  const [view] = repository ? await viewsOf(deps, repository, [run]) : []
  if (!view || !event) return view
  const then = { ...view.run, updatedAt: event.at }
  if (event.kind === 'run.created') return { ...view, run: { ...then, status: 'queued', conclusion: null } }
  if (event.kind === 'run.in_progress') return { ...view, run: { ...then, status: 'in_progress', conclusion: null } }
  const conclusion = (event.payload['conclusion'] as Conclusion | undefined) ?? view.run.conclusion
  return { ...view, run: { ...then, status: 'completed', conclusion } }
}

/** A job as it was right after an event: what it became later is left out, and the runner is the one of then. */
async function jobThen({ db }: Pick<FanOutDeps, 'db'>, event: HookEvent): Promise<JobView | undefined> {
  const { payload, at } = event
  const job = await jobById(db, event.subjectId)
  const run = job && (await runById(db, job.runId))
  if (!job || !run) return undefined
  const workflow = await workflowById(db, job.repositoryId, run.workflowId)
  const view = { run, attemptNumber: run.latestAttempt, workflow, waiting: undefined }
  const fresh = { ...job, conclusion: null, completedAt: null, problem: null }

  if (event.kind === 'job.completed') {
    const report = await stepReportGet(db, job.id)
    const conclusion = payload['conclusion'] as Conclusion
    return { ...view, job: { ...job, status: 'completed', conclusion, completedAt: at }, steps: report?.steps ?? [] }
  }
  if (event.kind === 'job.in_progress') {
    const taken = {
      runnerId: (payload['runnerId'] as number | undefined) ?? job.runnerId,
      runnerName: (payload['runnerName'] as string | undefined) ?? job.runnerName,
      runnerGroupId: (payload['runnerGroupId'] as number | undefined) ?? job.runnerGroupId,
      runnerGroupName: (payload['runnerGroupName'] as string | undefined) ?? job.runnerGroupName,
    }
    return { ...view, job: { ...fresh, ...taken, status: 'in_progress', startedAt: at }, steps: [firstStep(at)] }
  }
  const labels = labelsThen(event, job.labels)
  const noRunner = { runnerId: null, runnerName: null, runnerGroupId: null, runnerGroupName: null }
  return { ...view, job: { ...fresh, ...noRunner, labels, status: 'queued', startedAt: null }, steps: [] }
}

/** What a job asked for when it was put in line or moved: it may ask for something else since. */
function labelsThen({ kind, payload }: HookEvent, now: string[]): string[] {
  if (kind === 'job.queued') return Array.isArray(payload['labels']) ? labelsOf(payload['labels']) : now
  return Array.isArray(payload['to']) ? labelsOf(payload['to']) : now
}

/** The first thing that every runner does: GitHub tells of it at once (rest-api.md §5.2). */
function firstStep(at: number): Step {
  const startedAt = new Date(at).toISOString()
  return { externalId: '', number: 1, name: 'Set up job', status: 'in_progress', conclusion: null, startedAt, completedAt: null }
}
