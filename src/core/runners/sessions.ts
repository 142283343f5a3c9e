import { randomUUID } from 'node:crypto'
import { systemActor } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import { osOf, type Runner } from '../../model/runner.ts'
import { eventInsert } from '../../store/events.ts'
import { runnerSeen, sessionDelete, sessionOpen, sessionPolled } from '../../store/runners.ts'
import type { Deps } from '../deps.ts'

type SessionDeps = Pick<Deps, 'db' | 'now' | 'times' | 'signals' | 'log'>

/** A first session of a runner refuses a second: `hasOpenPoll` is what this node sees of it. */
export class SessionConflict extends AppError {
  override name = 'SessionConflict'
  constructor(name: string) {
    super('conflict', `A session for runner ${name} already exists`)
  }
}

/**
 * Opens the runner's one session; from then on it is online. A session that polled lately is not replaced, so that two machines with one
 * configuration do not take turns; one that went silent is, because a crashed runner cannot delete it (runner-protocol.md 5.1).
 */
export async function openSession(
  { db, now, times, signals, log }: SessionDeps,
  runner: Runner,
  session: { ownerName: string; version: string; hasOpenPoll: boolean },
): Promise<string> {
  if (session.hasOpenPoll) throw new SessionConflict(runner.name)
  const sessionId = randomUUID()
  const at = now()
  const opened = await db.transaction().execute(async (tx) => {
    const row = { runnerId: runner.id, sessionId, ownerName: session.ownerName, createdAt: at, lastPollAt: at }
    if (!(await sessionOpen(tx, row, at - times.sessionHeld))) return false
    await runnerSeen(tx, runner.id, at, { version: session.version, os: undefined })
    await eventInsert(tx, { at, actor: systemActor, kind: 'runner.online', subject: { kind: 'runner', id: runner.id } })
    return true
  })
  if (!opened) throw new SessionConflict(runner.name)
  signals.send('runner', runner.id)
  log.info({ runnerId: runner.id }, 'runner session opened')
  return sessionId
}

/** Ends the runner's session; from then on it is offline. Ending none is fine: the runner reports anything else as a failure. */
export async function closeSession({ db, now, signals }: SessionDeps, runner: Runner): Promise<void> {
  const closed = await db.transaction().execute(async (tx) => {
    if (!(await sessionDelete(tx, runner.id))) return false
    await eventInsert(tx, { at: now(), actor: systemActor, kind: 'runner.offline', subject: { kind: 'runner', id: runner.id } })
    return true
  })
  if (closed) signals.send('runner', runner.id)
}

/** Notes that the runner was heard of, if that is older than `times.seenWritten`: polls do not write rows. */
export async function heardOf(
  { db, now, times }: Pick<Deps, 'db' | 'now' | 'times'>,
  runner: Runner,
  poll?: { sessionId: string; version: string; os: string },
): Promise<void> {
  const at = now()
  const os = poll && osOf(poll.os)
  const isNews = poll !== undefined && ((poll.version !== '' && poll.version !== runner.version) || (os !== undefined && os !== runner.os))
  const isDue = (since: number | null, after: number) => since === null || at - since >= after
  if (isNews || isDue(runner.lastSeenAt, times.seenWritten))
    await runnerSeen(db, runner.id, at, isNews ? { version: poll.version, os } : undefined)
  // By itself: other calls move `lastSeenAt` as well. A second session is judged by the polls of the first, of which another node knows no
  // more than this: what is written must be younger than `sessionHeld` at the end of a poll that is held.
  const pollWritten = Math.min(times.seenWritten, (times.sessionHeld - times.pollHeld) / 2)
  if (poll && isDue(runner.polledAt, pollWritten)) await sessionPolled(db, runner.id, poll.sessionId, at)
}
