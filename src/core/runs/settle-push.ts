import { pushSettle } from '../../store/pushes.ts'
import type { Deps } from '../deps.ts'

/** Ends a push whose refs have moved; answers what the pusher is told. */
export async function settlePush({ db, now }: Pick<Deps, 'db' | 'now'>, pushId: number): Promise<string[]> {
  await pushSettle(db, pushId, 'settled', now())
  return []
}
