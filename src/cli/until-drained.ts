import { setTimeout as sleep } from 'node:timers/promises'
import type { PauseBody } from '../protocols/console/queue.ts'
import type { ApiClient } from './api-client.ts'

const ASK_AGAIN_MS = 1000

/** Returns when a pause that was made for a drain has nothing running any more, or is gone. `pauses` is the path of the place's pauses. */
export async function untilDrained(client: ApiClient, pauses: string, isMeant: (pause: PauseBody) => boolean): Promise<void> {
  for (;;) {
    const answer = await client.call<{ pauses: PauseBody[] }>('GET', pauses)
    const pause = answer.pauses.find(isMeant)
    if (!pause || pause.running === 0) return
    await sleep(ASK_AGAIN_MS)
  }
}
