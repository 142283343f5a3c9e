import { httpSend, HttpError, jsonOf, sleep, userAgent, withAttempts, type Http } from './http.ts'
import type { JobCompletion, JobMessage } from './wire.ts'

/**
 * Sends `completejob`: five attempts, five times over. A 401 and the run service's own 404 end them at once.
 * It is not tied to the job's signal: a cancelled job reports, too; only `death` silences it.
 */
export async function completeJob(http: Http, message: JobMessage, completion: JobCompletion, death?: AbortSignal): Promise<void> {
  const endpoint = message.resources.endpoints.find(({ name }) => name.toLowerCase() === 'systemvssconnection')
  if (!endpoint) throw new Error('the job message has no endpoint SystemVssConnection')
  const isFinal = (error: unknown): boolean => error instanceof HttpError && (error.status === 401 || error.runServiceStatus === 404)

  for (let round = 1; ; round++) {
    try {
      await withAttempts(
        http,
        async () => {
          const answer = await httpSend(http, {
            method: 'POST',
            url: new URL('completejob', endpoint.url).href,
            headers: {
              Accept: 'application/json',
              'User-Agent': userAgent('Worker'),
              Authorization: `Bearer ${endpoint.authorization?.parameters?.['AccessToken'] ?? ''}`,
            },
            body: completion,
            signal: death,
          })
          jsonOf('completejob', answer)
        },
        isFinal,
        death,
      )
      return
    } catch (error) {
      if (round === 5 || isFinal(error) || death?.aborted) throw error
      await sleep(http.pauses.completeMs, death)
    }
  }
}
