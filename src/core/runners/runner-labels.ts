import type { Actor } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import { cleanLabels, type Label } from '../../model/runner.ts'
import { eventInsert } from '../../store/events.ts'
import { runnerById, runnerLock, runnerRelabel } from '../../store/runners.ts'
import { authorizeRunnerScope, type RunnerScopeRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import { runnerNeeds } from './registration-tokens.ts'
import { getRunner } from './runners.ts'

type LabelDeps = Pick<Deps, 'db' | 'log' | 'now' | 'signals'>

/** All labels of a runner, in the order in which it got them. */
export async function listRunnerLabels(
  deps: LabelDeps,
  actor: Actor,
  input: { scope: RunnerScopeRef; runnerId: number },
): Promise<Label[]> {
  return (await getRunner(deps, actor, input)).labels
}

export type LabelChange =
  /** Adds custom labels; one that is there already, in any case of letters, stays as it is. */
  | { kind: 'add'; labels: string[] }
  /** Puts these in the place of all custom labels. */
  | { kind: 'set'; labels: string[] }
  /** Removes all custom labels. */
  | { kind: 'clear' }
  /** Removes one custom label. */
  | { kind: 'remove'; name: string }

/**
 * Changes the custom labels of a runner; those that it registered with as its system's stay (rest-api.md 2.2). Its waiting poll looks for
 * work again at once; a job that runs goes on.
 *
 * @throws AppError not_found for the runner, or a label that it does not have; invalid for a read-only label or a malformed one
 */
export async function changeRunnerLabels(
  deps: LabelDeps,
  actor: Actor,
  input: { scope: RunnerScopeRef; runnerId: number; change: LabelChange },
): Promise<Label[]> {
  const scope = await authorizeRunnerScope(deps, actor, input.scope, runnerNeeds)
  const { change } = input
  const labels = await deps.db.transaction().execute(async (tx) => {
    await runnerLock(tx, input.runnerId)
    const runner = await runnerById(tx, input.runnerId)
    if (!runner || runner.scope.kind !== scope.kind || runner.scope.id !== scope.id) throw new AppError('not_found', 'Not Found')
    const changed = await runnerRelabel(tx, runner.id, changedLabels(runner.labels, change))
    await eventInsert(tx, {
      at: deps.now(),
      actor,
      kind: 'runner.labels_changed',
      subject: { kind: 'runner', id: runner.id },
      payload: { name: runner.name, scope: runner.scope, from: runner.labels.map(({ name }) => name), to: changed.map(({ name }) => name) },
    })
    return changed
  })
  deps.signals.send('runner', input.runnerId)
  return labels
}

function changedLabels(labels: Label[], change: LabelChange): Pick<Label, 'name' | 'type'>[] {
  const system = labels.filter(({ type }) => type === 'read-only')
  const custom = (names: string[]) => names.map((name) => ({ name, type: 'custom' as const }))
  if (change.kind === 'clear') return system
  if (change.kind === 'add') return cleanLabels([...labels, ...custom(change.labels)])
  if (change.kind === 'set') return cleanLabels([...system, ...custom(change.labels)])

  const key = change.name.toLowerCase()
  const label = labels.find(({ name }) => name.toLowerCase() === key)
  if (!label) throw new AppError('not_found', 'Not Found')
  if (label.type === 'read-only') throw new AppError('invalid', `The label ${label.name} is read-only and cannot be removed`)
  return labels.filter((other) => other !== label)
}
