import { accountOfActor, needs, orRegistration, type Actor, type Need, type ScopeKind, type ScopeRef } from '../../model/access.ts'
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

/** Who looks at them: the same people; of Apps and fine-grained tokens it takes less. */
export const runnerReadNeeds = {
  enterprise: needs.enterpriseRunners,
  organization: needs.organizationRunnersRead,
  repository: needs.repositoryRunnersRead,
}

/** To look is also allowed to a registration token, to remove to a remove token too. */
export const registeringNeeds = mapNeeds(runnerReadNeeds, 'register')
export const removingNeeds = mapNeeds(runnerNeeds, 'remove')

function mapNeeds({ enterprise, organization, repository }: Record<ScopeKind, Need>, purpose: 'register' | 'remove') {
  return {
    enterprise: orRegistration(enterprise, purpose),
    organization: orRegistration(organization, purpose),
    repository: orRegistration(repository, purpose),
  }
}

/** Makes a token with which machines register runners in a scope, or remove them; good for an hour, any number of times, while who made it is. */
export async function createRegistrationToken(
  deps: Pick<Deps, 'db' | 'now' | 'times' | 'log'>,
  actor: Actor,
  { scope: ref, purpose }: { scope: RunnerScopeRef; purpose: 'register' | 'remove' },
): Promise<{ token: string; expiresAt: number }> {
  const scope = await authorizeRunnerScope(deps, actor, ref, runnerNeeds)
  if (purpose === 'register') await requireRunnersAllowed(deps, scope)
  const account = accountOfActor(actor)
  if (!account) throw new AppError('forbidden', 'Resource not accessible by integration')

  const token = newRegistrationToken()
  const createdAt = deps.now()
  const expiresAt = createdAt + deps.times.registrationToken
  const at: ScopeRef = { kind: scope.kind, id: scope.id }
  await deps.db.transaction().execute(async (tx) => {
    const by = { userId: account.id, installationId: actor.kind === 'installation' ? actor.installationId : null }
    await registrationTokenInsert(tx, { ...by, purpose, scope: at, hash: hashSecret(token), createdAt, expiresAt })
    await eventInsert(tx, { at: createdAt, actor, kind: `runner_token.${purpose}`, subject: at })
  })
  return { token, expiresAt }
}
