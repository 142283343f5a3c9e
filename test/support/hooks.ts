import { fanOutEvents } from '../../src/core/hooks/fan-out.ts'
import { HookSender } from '../../src/core/hooks/sender.ts'
import type { TestServer } from './start-server.ts'

/** Tells webhooks what has happened, and sends it: what the background does, by hand. */
export async function sendHooks(server: TestServer): Promise<void> {
  await fanOutEvents(server.deps)
  await using sender = new HookSender(server.deps)
  await sender.settle()
}
