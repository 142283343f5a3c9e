import { systemActor, type Actor } from '../../model/access.ts'
import type { Job } from '../../model/job.ts'
import { eventInsert } from '../../store/events.ts'
import type { Deps } from '../deps.ts'

/** Writes that a job changed state, in the transaction that changes it. */
export async function jobEvent(
  tx: Deps['db'],
  job: Pick<Job, 'id' | 'runId' | 'repositoryId'>,
  kind: string,
  at: number,
  payload: Record<string, unknown> = {},
  actor: Actor = systemActor,
): Promise<void> {
  await eventInsert(tx, {
    at,
    actor,
    kind,
    subject: { kind: 'job', id: job.id },
    repositoryId: job.repositoryId,
    payload: { runId: job.runId, ...payload },
  })
}
