import { taskLeaseEnd, taskLeaseTake } from '../store/task-leases.ts'
import type { Deps } from './deps.ts'

/** Takes a background task for this node; false while another has it. */
export async function taskTake({ db, now }: Pick<Deps, 'db' | 'now'>, name: string, holder: string, forMs: number): Promise<boolean> {
  return taskLeaseTake(db, name, holder, now(), now() + forMs)
}

export async function taskFinished({ db, now }: Pick<Deps, 'db' | 'now'>, name: string, holder: string, result: string): Promise<void> {
  await taskLeaseEnd(db, name, holder, now(), result)
}
