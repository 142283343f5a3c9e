import { accountOfActor, type Actor } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import { eventInsert } from '../../store/events.ts'
import { pauseCount, pauseEnd, pauseList, pauseSet, type Pause, type PauseTarget } from '../../store/pauses.ts'
import { accountById } from '../../store/accounts.ts'
import { linesAsking, runningAsking } from '../../store/queue.ts'
import { runnerGroupById, runnerGroupByNumber } from '../../store/runner-groups.ts'
import { runnerById, runnersBusyOf } from '../../store/runners.ts'
import { authorizeRunnerScope, type RunnerScope, type RunnerScopeRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import { queueSteerNeeds } from './queue-needs.ts'

type PauseDeps = Pick<Deps, 'db' | 'log' | 'now' | 'signals'>

/** What is paused: a runner or a group by the number that the scope knows it by, or a label. */
export type Target = { kind: 'runner'; id: number } | { kind: 'group'; number: number } | { kind: 'label'; name: string }

export interface PauseView {
  pause: Pause
  /** The runner's name, the group's name, or the label. */
  name: string
  /** The group's number in its scope; else the id. */
  number: number
  /** Jobs that are still with what is paused, or ask for the label: a drain is done at none. */
  running: number
  /** Who made it, while that account is there. */
  by: string | null
}

const PAUSES_LIMIT = 200
const LINES_WOKEN = 100

/** The pauses of a scope, with what still runs there. */
export async function listPauses(deps: PauseDeps, actor: Actor, ref: RunnerScopeRef): Promise<PauseView[]> {
  const scope = await authorizeRunnerScope(deps, actor, ref, queueSteerNeeds)
  return Promise.all((await pauseList(deps.db, { kind: scope.kind, id: scope.id })).map((pause) => viewOf(deps, pause)))
}

async function viewOf({ db }: Pick<Deps, 'db'>, pause: Pause): Promise<PauseView> {
  const by = pause.userId === null ? null : ((await accountById(db, pause.userId))?.login ?? null)
  if (pause.kind === 'runner') {
    const runner = await runnerById(db, pause.targetId)
    return { pause, name: runner?.name ?? '', number: pause.targetId, running: runner?.busy ? 1 : 0, by }
  }
  if (pause.kind === 'group') {
    const group = await runnerGroupById(db, pause.targetId)
    return { pause, name: group?.name ?? '', number: group?.number ?? 0, running: await runnersBusyOf(db, pause.targetId), by }
  }
  const running = await runningAsking(db, pause.labelKey, { kind: pause.scopeKind, id: pause.scopeId })
  return { pause, name: pause.labelKey, number: 0, running, by }
}

/**
 * Gives no more jobs to a runner, to a group's runners, or to jobs that ask for a label, until `resume`; what runs goes on. The reason is
 * shown to those who wait. `drain` says that it is meant to become empty: `running` tells when it has.
 *
 * @throws AppError not_found
 */
export async function pause(
  deps: PauseDeps,
  actor: Actor,
  input: { scope: RunnerScopeRef; target: Target; reason: string; drain: boolean },
): Promise<PauseView> {
  const scope = await authorizeRunnerScope(deps, actor, input.scope, queueSteerNeeds)
  const target = await targetIn(deps, scope, input.target)
  if ((await pauseCount(deps.db, { kind: scope.kind, id: scope.id })) >= PAUSES_LIMIT) {
    throw new AppError('invalid', `There can be ${PAUSES_LIMIT} pauses at most`)
  }
  const at = deps.now()
  const made: Pause = {
    ...target,
    reason: input.reason,
    isDrain: input.drain,
    userId: accountOfActor(actor)?.id ?? null,
    createdAt: at,
  }
  await deps.db.transaction().execute(async (tx) => {
    await pauseSet(tx, made)
    await pauseEvent(tx, actor, target, 'started', at, { reason: input.reason, drain: input.drain })
  })
  await wake(deps, target)
  return viewOf(deps, made)
}

/** Ends a pause: what waits is given out again at once. @throws AppError not_found when there is none */
export async function resume(deps: PauseDeps, actor: Actor, input: { scope: RunnerScopeRef; target: Target }): Promise<void> {
  const scope = await authorizeRunnerScope(deps, actor, input.scope, queueSteerNeeds)
  const target = await targetIn(deps, scope, input.target)
  const ended = await deps.db.transaction().execute(async (tx) => {
    const was = await pauseEnd(tx, target)
    if (was) await pauseEvent(tx, actor, target, 'ended', deps.now(), {})
    return was
  })
  if (!ended) throw new AppError('not_found', 'Not Found')
  await wake(deps, target)
}

async function targetIn({ db }: Pick<Deps, 'db'>, scope: RunnerScope, target: Target): Promise<PauseTarget> {
  const place = { scopeKind: scope.kind, scopeId: scope.id }
  if (target.kind === 'label') return { kind: 'label', targetId: 0, labelKey: target.name.trim().toLowerCase(), ...place }
  if (target.kind === 'runner') {
    const runner = await runnerById(db, target.id)
    if (runner?.scope.kind !== scope.kind || runner.scope.id !== scope.id) throw new AppError('not_found', 'Not Found')
    return { kind: 'runner', targetId: runner.id, labelKey: '', ...place }
  }
  const group = scope.kind === 'repository' ? undefined : await runnerGroupByNumber(db, { kind: scope.kind, id: scope.id }, target.number)
  if (!group) throw new AppError('not_found', 'Not Found')
  return { kind: 'group', targetId: group.id, labelKey: '', ...place }
}

async function pauseEvent(tx: Deps['db'], actor: Actor, target: PauseTarget, what: string, at: number, payload: object): Promise<void> {
  const subject = { kind: target.kind === 'group' ? 'runner_group' : target.kind, id: target.targetId }
  await eventInsert(tx, { at, actor, kind: `pause.${what}`, subject, payload: { ...target, ...payload } })
}

/** Polls that are open hear of it; for a label those of a few lines now, the others within a sweep. */
async function wake({ db, signals }: PauseDeps, target: PauseTarget): Promise<void> {
  if (target.kind !== 'label') signals.send(target.kind, target.targetId)
  else for (const id of await linesAsking(db, target.labelKey, LINES_WOKEN)) signals.send('line', id)
}
