import { randomUUID } from 'node:crypto'
import type { Actor } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import { checkRunnerName, cleanLabels, type Runner } from '../../model/runner.ts'
import { runnerByName } from '../../store/runners.ts'
import { authorizeRunnerScope, type RunnerScope, type RunnerScopeRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import type { KeyPool, RunnerKey } from './key-pool.ts'
import { addRunner, groupIdOf, nameTaken } from './register-runner.ts'
import { runnerNeeds } from './registration-tokens.ts'
import { requireRunnersAllowed } from './runner-policy.ts'

export interface JitRunner {
  runner: Runner
  key: RunnerKey
  scope: RunnerScope
  workFolder: string
}

/**
 * Registers an ephemeral runner and makes its key, so that a machine needs nothing but the answer to start. It is offline, of unknown
 * system, and its labels are those asked for, all read-only, none added (rest-api.md 2.2, 2.3).
 *
 * @throws AppError not_found for an unknown scope or group, conflict for a taken name, invalid
 */
export async function generateJitConfig(
  deps: Pick<Deps, 'db' | 'now' | 'log'> & { jitKeys: KeyPool },
  actor: Actor,
  input: { scope: RunnerScopeRef; name: string; groupNumber: number; labels: string[]; workFolder: string },
): Promise<JitRunner> {
  const scope = await authorizeRunnerScope(deps, actor, input.scope, runnerNeeds)
  await requireRunnersAllowed(deps, scope)
  const name = checkRunnerName(input.name)
  const labels = cleanLabels(input.labels.map((label) => ({ name: label, type: 'read-only' as const })))
  if (input.workFolder.trim() === '') throw new AppError('invalid', 'work_folder must not be empty')
  const at = { kind: scope.kind, id: scope.id }
  const groupId = await groupIdOf(deps, at, input.groupNumber)
  // Asked before a key is spent; the unique key decides.
  if (await runnerByName(deps.db, at, name)) throw nameTaken()

  const key = await deps.jitKeys.take()
  const runner = await addRunner(deps, actor, {
    scope: at,
    groupId,
    name,
    labels,
    os: 'unknown',
    version: null,
    ephemeral: true,
    updatesDisabled: true,
    clientId: randomUUID(),
    publicKey: key.publicKey,
    createdAt: deps.now(),
  })
  return { runner, key, scope, workFolder: input.workFolder }
}
