import { randomUUID } from 'node:crypto'
import { AppError } from '../../model/errors.ts'
import { jobGuid, planGuid } from '../../model/identifiers.ts'
import type { Assignment, Server } from '../../model/job.ts'
import { closedGroup, type GroupPolicy } from '../../model/runner-group.ts'
import type { Runner } from '../../model/runner.ts'
import {
  assignmentInsert,
  assignmentOfRunner,
  assignmentUpdate,
  claimHeads,
  jobById,
  jobClaim,
  jobUpdate,
  type IsHeld,
} from '../../store/jobs.ts'
import { limitsFull, limitsTake } from '../../store/limits.ts'
import { claimChecks } from '../../store/pauses.ts'
import { groupPolicy, inheritedGroupNumber } from '../../store/runner-groups.ts'
import { runnerById } from '../../store/runners.ts'
import { transact } from '../../store/transact.ts'
import type { Deps } from '../deps.ts'
import { RunnerGone } from '../runners/runner-tokens.ts'
import { heardOf } from '../runners/sessions.ts'
import { holdsLine } from '../queue/holds.ts'
import type { Dispatcher } from './dispatcher.ts'
import { endWithoutReport, returnToLine } from './end-job.ts'
import { jobEvent } from './job-event.ts'

type WaitDeps = Pick<Deps, 'db' | 'now' | 'times' | 'signals' | 'log' | 'evaluator' | 'addresses' | 'git'> & { dispatcher: Dispatcher }

export interface Poll {
  sessionId: string
  /** What the runner says of itself. A runner with an unfinished job is busy whatever it says (runner-protocol.md 8.1). */
  status: 'Online' | 'Busy'
  version: string
  os: string
}

/** What a poll is answered. `undo` takes it back when the answer could not be written. */
export type PollAnswer =
  | { kind: 'job'; assignment: Assignment; undo: () => Promise<void> }
  | { kind: 'cancel'; jobGuid: string; timeoutMs: number; undo: () => Promise<void> }
  | { kind: 'nothing' }

/** The session of the poll is not the runner's: it makes a new one and goes on. */
export class SessionInvalid extends AppError {
  override name = 'SessionInvalid'
  constructor() {
    super('conflict', 'The session is not the one of this runner')
  }
}

/**
 * Waits for something to tell a runner: listen, look, sleep until signalled, `times.pollHeld` at most. `abort` is the client hanging up
 * or the server going down; then the answer is nothing, and nothing was taken out of a line.
 *
 * @throws RunnerGone, SessionInvalid
 */
export async function waitForJob(deps: WaitDeps, runner: Runner, poll: Poll, abort: AbortSignal): Promise<PollAnswer> {
  if (runner.sessionId !== poll.sessionId) throw new SessionInvalid()
  await heardOf(deps, runner, poll)

  const sleeper = new Sleeper()
  const onAbort = () => sleeper.wake()
  abort.addEventListener('abort', onAbort)
  const timer = setTimeout(() => sleeper.wake('timeout'), deps.times.pollHeld)
  const attended = deps.dispatcher.attend(runner, () => sleeper.wake('signal'))
  let current: Runner | undefined = runner
  try {
    for (;;) {
      if (abort.aborted) return { kind: 'nothing' }
      // Listening begins before the look: what is queued between the two wakes the sleep at once.
      attended.groupId = current.groupId
      const server: Server = await serverOf(deps, current)
      const isFree = poll.status === 'Online' && !current.busy && current.pausedFor === null
      const waiting = isFree ? deps.dispatcher.wait(server, () => sleeper.wake('line')) : undefined
      let woken: Wake
      try {
        const answer = await look(deps, { runner: current, server, poll, abort })
        if (answer.kind === 'stale') sleeper.wake('signal')
        else if (answer.kind !== 'nothing') return abort.aborted ? await takeBack(answer) : answer
        woken = await sleeper.sleep()
      } finally {
        waiting?.[Symbol.dispose]()
      }
      if (woken === 'timeout') return { kind: 'nothing' }
      if (woken === 'signal') {
        current = await runnerById(deps.db, runner.id)
        if (!current) throw new RunnerGone(runner.name)
        if (current.credentialVersion !== runner.credentialVersion || current.sessionId !== poll.sessionId) throw new SessionInvalid()
      }
    }
  } finally {
    attended[Symbol.dispose]()
    clearTimeout(timer)
    abort.removeEventListener('abort', onAbort)
  }
}

type Wake = 'timeout' | 'signal' | 'line' | 'abort'

/** A sleep that remembers a wake that came while nobody slept. */
class Sleeper {
  #woken: Wake | undefined
  #resolve: ((wake: Wake) => void) | undefined

  wake(why: Wake = 'abort'): void {
    // The end of the poll outweighs any work that comes with it; a runner's signal makes the row be read again.
    if (this.#woken !== 'timeout' && this.#woken !== 'signal') this.#woken = why
    const resolve = this.#resolve
    if (!resolve) return
    this.#resolve = undefined
    resolve(this.#take())
  }

  sleep(): Promise<Wake> {
    if (this.#woken) return Promise.resolve(this.#take())
    return new Promise((resolve) => (this.#resolve = resolve))
  }

  #take(): Wake {
    const woken = this.#woken ?? 'abort'
    this.#woken = undefined
    return woken
  }
}

async function takeBack(answer: Exclude<PollAnswer, { kind: 'nothing' }>): Promise<PollAnswer> {
  await answer.undo()
  return { kind: 'nothing' }
}

/** Who asks: the runner as it was read last, and what it may serve. */
interface Asking {
  runner: Runner
  server: Server
  poll: Poll
  abort: AbortSignal
}

/** One look: first what concerns the job that the runner has, then the lines. */
async function look(deps: WaitDeps, asking: Asking): Promise<PollAnswer | { kind: 'stale' }> {
  const { runner, poll } = asking
  const unfinished = runner.busy || poll.status === 'Busy' ? await assignmentOfRunner(deps.db, runner.id) : undefined
  if (unfinished) {
    const answer = await lookAtAssignment(deps, unfinished, poll)
    if (answer !== 'over') return answer
  }
  if (poll.status === 'Busy' || runner.pausedFor !== null) return { kind: 'nothing' }
  return claim(deps, asking)
}

/** `over` when the runner is free again after this; ending it signals the runner, so a look that finds no job reads the row anew. */
async function lookAtAssignment(deps: WaitDeps, assignment: Assignment, poll: Poll): Promise<PollAnswer | 'over'> {
  const isOwn = assignment.sessionId === poll.sessionId
  if (poll.status === 'Busy') return cancelMessage(deps, assignment)
  // A new session of the runner proves nothing: the old worker may still be at it (runner-protocol.md 8.2).
  if (!isOwn) return assignment.state === 'given' ? giveUp(deps, assignment) : { kind: 'nothing' }
  // The answer may have been lost: the same message again, until it is acquired or back in line.
  if (assignment.state === 'given') {
    if (deps.now() - assignment.givenAt >= deps.times.acquireWithin) return giveUp(deps, assignment)
    return { kind: 'job', assignment, undo: async () => {} }
  }
  // Acquired and never renewed: the worker starts only after the first renewal, so nothing has run.
  if (assignment.state === 'acquired') return giveUp(deps, assignment)
  await endWithoutReport(deps, assignment, 'The runner went on without reporting how the job ended')
  return 'over'
}

async function giveUp(deps: WaitDeps, assignment: Assignment): Promise<'over'> {
  await returnToLine(deps, assignment)
  return 'over'
}

async function cancelMessage({ db, now }: WaitDeps, assignment: Assignment): Promise<PollAnswer> {
  // A cancel before the first renewal is answered by silence (runner-protocol.md 8.2), so it waits for that.
  if (assignment.renewedAt === null || assignment.cancelSentAt !== null) return { kind: 'nothing' }
  const job = await jobById(db, assignment.jobId)
  if (job?.cancelledAt == null) return { kind: 'nothing' }
  const sent = await assignmentUpdate(db, assignment.id, ['running'], { cancelSentAt: now() })
  if (!sent) return { kind: 'nothing' }
  return {
    kind: 'cancel',
    jobGuid: assignment.jobGuid,
    timeoutMs: job.cancelTimeoutMs,
    undo: async () => void (await assignmentUpdate(db, assignment.id, ['running'], { cancelSentAt: null })),
  }
}

/** `stale` when the runner's group or its rules are no longer those that were read: nothing was taken. */
async function claim(deps: WaitDeps, { runner, server, poll, abort }: Asking): Promise<PollAnswer | { kind: 'stale' }> {
  const { db, now, signals } = deps
  const { group } = server
  const assignedTo = {
    runnerId: runner.id,
    runnerName: runner.name,
    runnerGroupId: runner.groupNumber,
    runnerGroupName: runner.groupName,
  }
  const claimed = await deps.dispatcher
    .claim(async () => {
      const heads = abort.aborted ? undefined : await claimHeads(db, server)
      if (!heads) return undefined
      return transact(db, async (tx) => {
        const taken = await jobClaim(tx, server, heads, assignedTo, () => holdsOf(tx, runner, group), deps.dispatcher.shares)
        if (!taken || taken === 'stale') return taken
        const { job, isMore } = taken
        const assignment = await assignmentInsert(tx, {
          requestId: randomUUID(),
          jobId: job.id,
          runnerId: runner.id,
          sessionId: poll.sessionId,
          planId: planGuid(job.attemptId),
          timelineId: randomUUID(),
          jobGuid: jobGuid(job.id),
          givenAt: now(),
        })
        // The runner got a job by another poll of its session: the unique index says so, this claim is undone.
        if (!assignment) throw new DoublePoll()
        const runnerGroupId = await groupNumberFor(tx, runner, job.repositoryId, now())
        await jobUpdate(tx, job.id, ['assigned'], { assignmentId: assignment.id, runnerGroupId })
        await jobEvent(tx, job, 'job.assigned', now(), { runnerId: runner.id, assignmentId: assignment.id })
        return { job, assignment, isMore }
      })
    })
    .catch((error: unknown) => {
      if (error instanceof DoublePoll) return undefined
      throw error
    })
  if (!claimed) return { kind: 'nothing' }
  if (claimed === 'stale') return { kind: 'stale' }
  // Others may be waiting for what is left of the line.
  if (claimed.isMore && claimed.job.lineId !== null) signals.send('line', claimed.job.lineId)
  deps.log.info({ runnerId: runner.id, jobId: claimed.job.id, assignmentId: claimed.assignment.id }, 'job given')
  return { kind: 'job', assignment: claimed.assignment, undo: () => returnToLine(deps, claimed.assignment) }
}

class DoublePoll extends Error {}

/** The runner's group by its number where the job is: a group of the enterprise has another one in each organization. */
async function groupNumberFor(tx: Deps['db'], { scope, groupId, groupNumber }: Runner, repositoryId: number, now: number): Promise<number> {
  if (scope.kind !== 'enterprise' || groupId === null) return groupNumber
  return (await inheritedGroupNumber(tx, { groupId, repositoryId, now })) ?? groupNumber
}

/** What keeps a runner from lines that its group would let it serve; asked in the claim, so that a pause or limit binds at once. */
async function holdsOf(tx: Deps['db'], runner: Runner, group: GroupPolicy | undefined): Promise<'stale' | IsHeld> {
  const checks = await claimChecks(tx, { runnerId: runner.id, labels: runner.labels.map(({ name }) => name.toLowerCase()) })
  if (group && (checks?.groupId !== group.id || checks.version !== group.version)) return 'stale'
  const pauses = checks?.pauses ?? []
  if (pauses.some(({ kind }) => kind !== 'label')) return 'stale'
  // Many lines may be of one limit: it is asked once a claim.
  const known = new Map<number, boolean>()
  return async ({ limitIds, ...line }) => {
    if (pauses.some((pause) => holdsLine(pause, line))) return true
    if (limitIds.length === 0) return false
    const unknown = limitIds.filter((id) => !known.has(id))
    if (unknown.length > 0) {
      const full = await limitsFull(tx, unknown)
      for (const id of unknown) known.set(id, full.has(id))
    }
    if (limitIds.some((id) => known.get(id))) return true
    // Who took the last room meanwhile is found by looking anew: no lock is kept while others are waited for.
    return (await limitsTake(tx, limitIds)) ? false : 'stale'
  }
}

function serverOf({ db, dispatcher }: WaitDeps, runner: Runner): Promise<Server> {
  const { scope, groupId, groupVersion } = runner
  const labels = runner.labels.map(({ name }) => name.toLowerCase())
  return dispatcher.shared(JSON.stringify([scope.kind, scope.id, groupId, groupVersion, labels]), async () => ({
    scope,
    labels: new Set(labels),
    // A group that is gone allows nothing: the claim finds the runner in another and reads it anew.
    group: groupId === null ? undefined : ((await groupPolicy(db, groupId)) ?? closedGroup(groupId)),
  }))
}
