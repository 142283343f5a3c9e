import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createWorker } from '../../src/runner/job.ts'
import { runListener, type ListenerEvent } from '../../src/runner/listener.ts'
import { registerRunner } from '../../src/runner/registration.ts'

/** The portable runner, registered with a token and at work in this process. */
export async function startListeningRunner(options: {
  url: string
  token: string
  name?: string
}): Promise<AsyncDisposable & { events: ListenerEvent[] }> {
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-runner-'))
  const config = await registerRunner({ name: 'worker-1', workFolder: folder, ...options })
  const stop = new AbortController()
  const events: ListenerEvent[] = []
  const ended = runListener(config, {
    executor: createWorker({ root: folder }),
    signal: stop.signal,
    onEvent: (event) => events.push(event),
  })
  return {
    events,
    async [Symbol.asyncDispose]() {
      stop.abort()
      await ended
      rmSync(folder, { recursive: true, force: true, maxRetries: 3 })
    },
  }
}
