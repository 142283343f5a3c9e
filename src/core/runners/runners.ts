import { systemActor, type Actor } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import type { Runner } from '../../model/runner.ts'
import { eventInsert } from '../../store/events.ts'
import { runnerById, runnerDelete, runnerList } from '../../store/runners.ts'
import { authorizeRunnerScope, type RunnerScope, type RunnerScopeRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import { registeringNeeds, removingNeeds, runnerReadNeeds } from './registration-tokens.ts'

type RunnerDeps = Pick<Deps, 'db' | 'log' | 'now' | 'signals'>

/** A page of the runners registered at a scope itself, not below it (rest-api.md 4.6). Also for `config.sh`, which looks for its name. */
export async function listRunners(
  deps: RunnerDeps,
  actor: Actor,
  { scope: ref, name, offset, limit }: { scope: RunnerScopeRef; name?: string | undefined; offset: number; limit: number },
): Promise<{ scope: RunnerScope; runners: Runner[]; total: number }> {
  const scope = await authorizeRunnerScope(deps, actor, ref, registeringNeeds)
  return { scope, ...(await runnerList(deps.db, scope, { name, offset, limit })) }
}

/** One runner of a scope. @throws AppError not_found, also for a runner of another scope */
export async function getRunner(deps: RunnerDeps, actor: Actor, input: { scope: RunnerScopeRef; runnerId: number }): Promise<Runner> {
  const scope = await authorizeRunnerScope(deps, actor, input.scope, runnerReadNeeds)
  return runnerIn(deps, scope, input.runnerId)
}

async function runnerIn({ db }: RunnerDeps, scope: RunnerScope, id: number): Promise<Runner> {
  const runner = await runnerById(db, id)
  if (!runner || runner.scope.kind !== scope.kind || runner.scope.id !== scope.id) throw new AppError('not_found', 'Not Found')
  return runner
}

/**
 * Removes a runner: its session ends, its machine is told at the next poll. A busy one is refused.
 *
 * @throws AppError not_found; invalid while it runs a job, in GitHub's own words, stray quote and all (rest-api.md 4.3)
 */
export async function deleteRunner(deps: RunnerDeps, actor: Actor, input: { scope: RunnerScopeRef; runnerId: number }): Promise<void> {
  const scope = await authorizeRunnerScope(deps, actor, input.scope, removingNeeds)
  const runner = await runnerIn(deps, scope, input.runnerId)
  const deleted = await removeRunner(deps, actor, runner)
  if (!deleted) throw new AppError('invalid', `Bad request - Runner "${runner.name}" is still running a job"`)
}

/** Deletes a runner unless it is busy, with its event, and wakes its poll. */
export async function removeRunner(
  { db, now, signals }: Pick<Deps, 'db' | 'now' | 'signals'>,
  actor: Actor,
  runner: Pick<Runner, 'id' | 'name' | 'scope'>,
): Promise<boolean> {
  const deleted = await db.transaction().execute(async (tx) => {
    if (!(await runnerDelete(tx, runner.id, now()))) return false
    await eventInsert(tx, {
      at: now(),
      actor: actor.kind === 'system' ? systemActor : actor,
      kind: 'runner.deleted',
      subject: { kind: 'runner', id: runner.id },
      payload: { name: runner.name, scope: runner.scope },
    })
    return true
  })
  if (deleted) signals.send('runner', runner.id)
  return deleted
}
