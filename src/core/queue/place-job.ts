import type { Repository } from '../../model/account.ts'
import { fullName } from '../../model/account.ts'
import { labelSet, type Run } from '../../model/job.ts'
import { placementOf, type Placement } from '../../model/queue-rule.ts'
import { accountById } from '../../store/accounts.ts'
import { rulesFor } from '../../store/queue-rules.ts'
import type { Deps } from '../deps.ts'

const UNRULED: Placement = { rank: 0, limitIds: [], waitUntil: null, waitRule: null, fallback: [] }

/** What the queue rules say of a job: its rank, its limit, how long it may wait and what it then asks for. */
export async function placeJob(
  db: Deps['db'],
  job: { repository: Repository; run: Pick<Run, 'ref' | 'event' | 'actorId'>; workflow: string; labels: readonly string[] },
  queuedAt: number,
): Promise<Placement> {
  const { repository, run, workflow } = job
  const rules = await rulesFor(db, { organizationId: repository.owner.id, repositoryId: repository.id })
  if (rules.length === 0) return UNRULED
  const actor = rules.some(({ match }) => match.actor !== undefined) ? await accountById(db, run.actorId) : undefined
  const facts = {
    repository: fullName(repository),
    workflow,
    ref: run.ref,
    event: run.event,
    actor: actor?.login ?? '',
    labels: labelSet([...job.labels]),
  }
  return placementOf(rules, facts, queuedAt)
}
