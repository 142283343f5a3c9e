import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { createWorker } from '../../src/runner/job.ts'
import { runListener } from '../../src/runner/listener.ts'
import { registerRunner } from '../../src/runner/registration.ts'

/** The portable runner in this process, registered at `url` with a token; it leaves when disposed. */
export async function startPortableRunner(url: string, token: string, name = 'worker-1'): Promise<AsyncDisposable> {
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-runner-'))
  const config = await registerRunner({ url, token, name, workFolder: folder })
  const stop = new AbortController()
  const ended = runListener(config, { executor: createWorker({ root: folder }), signal: stop.signal })
  return {
    async [Symbol.asyncDispose]() {
      stop.abort()
      await ended
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
