import { needs, orRegistration, type Actor, type ScopeRef } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import { hashSecret, newRegistrationToken } from '../../model/secret-text.ts'
import { registrationTokenInsert } from '../../store/tokens.ts'
import { eventInsert } from '../../store/events.ts'
import { authorizeRunnerScope, type RunnerScopeRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import { requireRunnersAllowed } from './runner-policy.ts'

/** Who manages runners, at each kind of scope. */
export const runnerNeeds = {
  enterprise: needs.enterpriseRunners,
  organization: needs.organizationRunners,
  repository: needs.repositoryRunners,
}

/** The same, also met by a registration token, or by a remove token too. */
export const registeringNeeds = mapNeeds('register')
export const removingNeeds = mapNeeds('remove')

function mapNeeds(purpose: 'register' | 'remove') {
  return {
    enterprise: orRegistration(needs.enterpriseRunners, purpose),
    organization: orRegistration(needs.organizationRunners, purpose),
    repository: orRegistration(needs.repositoryRunners, purpose),
  }
}

/** Makes a token with which machines register runners in a scope, or remove them; good for an hour, any number of times. */
export async function createRegistrationToken(
  deps: Pick<Deps, 'db' | 'now' | 'times' | 'log'>,
  actor: Actor,
  { scope: ref, purpose }: { scope: RunnerScopeRef; purpose: 'register' | 'remove' },
): Promise<{ token: string; expiresAt: number }> {
  const scope = await authorizeRunnerScope(deps, actor, ref, runnerNeeds)
  if (purpose === 'register') await requireRunnersAllowed(deps, scope)
  if (actor.kind !== 'user') throw new AppError('forbidden', 'Resource not accessible by integration')

  const token = newRegistrationToken()
  const createdAt = deps.now()
  const expiresAt = createdAt + deps.times.registrationToken
  const at: ScopeRef = { kind: scope.kind, id: scope.id }
  await deps.db.transaction().execute(async (tx) => {
    await registrationTokenInsert(tx, { purpose, scope: at, userId: actor.userId, hash: hashSecret(token), createdAt, expiresAt })
    await eventInsert(tx, { at: createdAt, actor, kind: `runner_token.${purpose}`, subject: at })
  })
  return { token, expiresAt }
}
