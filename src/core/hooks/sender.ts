import { createHmac, randomUUID } from 'node:crypto'
import { retryAfter, type Hook, type HookResponse } from '../../model/hook.ts'
import { deliveriesDue, deliveryAttempted, hasMore, type Attempt, type DueDelivery } from '../../store/hook-deliveries.ts'
import { laneClaim, laneIsDue, laneKeep, lanesFree, laneRelease, type Lane } from '../../store/hooks.ts'
import { decrypt } from '../access/keys.ts'
import type { Deps } from '../deps.ts'
import { post, POST_LIMIT_MS, type PostResult } from './post.ts'

type SenderDeps = Pick<Deps, 'db' | 'now' | 'log' | 'keys' | 'signals' | 'webhooks' | 'addresses'>

/** Webhooks that one node sends to at once, and requests of one at once: of different jobs, as those of one job are in order. */
const LANES = 64
const WIDTH = 8
/** Of these the webhooks of one account get so many, those of repositories by their owner: slow receivers of one keep nobody else waiting. */
const LANES_OF_ACCOUNT = 8
/** A lane is held for longer than a request may take, by what the clocks of two nodes may differ; a node that died holds it no longer. */
const LANE_MS = POST_LIMIT_MS + 15_000
/** After this a lane stands back behind others that are due: slow receivers may be as many as there are lanes. */
const SHARE_MS = 5000
const LOOK_EVERY_MS = 1000
/** A receiver that gives no answer is left alone after each try, twice as long each time, up to a minute. */
const TROUBLE_MS = 1000
const TROUBLE_MOST_MS = 60_000

const TARGET_TYPES = {
  repository: 'repository',
  organization: 'organization',
  enterprise: 'business',
  app: 'integration',
  global: 'business',
}

/**
 * Makes the requests of webhooks. Each webhook is a lane: one node at a time has it, by a claim in the database that ends by itself, and
 * sends what is due, of each job one after the other. A receiver that is slow or dead holds up its own lane, and no other. What is sent is
 * marked after the answer, so a death sends it again, with the same id.
 */
export class HookSender implements AsyncDisposable {
  readonly #deps: SenderDeps
  readonly #holder = randomUUID()
  readonly #lanes = new Map<Promise<void>, number>()
  readonly #abort = new AbortController()
  readonly #heard: Disposable
  #timer: NodeJS.Timeout | undefined
  #looking: Promise<void> | undefined
  #lookAgain = false

  constructor(deps: SenderDeps) {
    this.#deps = deps
    this.#heard = deps.signals.listen('hook', () => this.look())
  }

  /** Looks by itself from now on: at each signal and every second. */
  start(): void {
    this.#timer = setInterval(() => this.look(), LOOK_EVERY_MS).unref()
  }

  /** Takes the lanes that are due. */
  look(): void {
    if (this.#timer === undefined || this.#abort.signal.aborted) return
    void this.#look()
  }

  /** Sends what is due now, and what becomes due by that; for tests. */
  async settle(): Promise<void> {
    for (;;) {
      await this.#look()
      if (this.#lanes.size === 0) return
      await Promise.all(this.#lanes.keys())
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    clearInterval(this.#timer)
    this.#heard[Symbol.dispose]()
    this.#abort.abort()
    await this.#looking
    await Promise.all(this.#lanes.keys())
  }

  #look(): Promise<void> {
    this.#lookAgain = true
    this.#looking ??= this.#takeLanes()
      .catch((err: unknown) => {
        if (!this.#abort.signal.aborted) this.#deps.log.warn({ err }, 'webhooks could not be looked for')
      })
      .finally(() => (this.#looking = undefined))
    return this.#looking
  }

  async #takeLanes(): Promise<void> {
    const { db, now, log } = this.#deps
    while (this.#lookAgain) {
      this.#lookAgain = false
      while (this.#lanes.size < LANES && !this.#abort.signal.aborted && (await laneIsDue(db, now(), this.#busyAccounts()))) {
        const claimed = await laneClaim(db, this.#holder, now(), now() + LANE_MS, this.#busyAccounts())
        if (!claimed) break
        const { lane, accountId } = claimed
        const running = this.#serve(lane)
          .catch((err: unknown) => {
            if (!this.#abort.signal.aborted) log.warn({ err, hookId: lane.hook.id }, 'a webhook could not be served')
          })
          .finally(() => {
            this.#lanes.delete(running)
            // Others may have waited for the place.
            this.look()
          })
        this.#lanes.set(running, accountId)
      }
    }
  }

  /** Accounts that have all the lanes that one gets; what is the enterprise's or the server's is bounded by all lanes alone. */
  #busyAccounts(): number[] {
    const counts = new Map<number, number>()
    for (const account of this.#lanes.values()) counts.set(account, (counts.get(account) ?? 0) + 1)
    return [...counts].filter(([account, count]) => account !== 0 && count >= LANES_OF_ACCOUNT).map(([account]) => account)
  }

  async #serve(claimed: Lane): Promise<void> {
    const { db, now } = this.#deps
    const { id } = claimed.hook
    let lane: Lane | undefined = claimed
    let notBefore = 0
    const until = now() + SHARE_MS
    while (lane && now() <= until && notBefore === 0 && !this.#abort.signal.aborted) {
      const due = await deliveriesDue(db, id, now(), lane.troubles === 0 ? WIDTH : 1)
      if (due.length === 0) break
      const current: Lane = lane
      const results = await Promise.all(due.map((delivery) => this.#send(current, delivery)))
      const last = results.findLast((result) => result !== undefined)
      // None came to anything: this process ends.
      if (!last) break
      const isSilent = results.some((result) => result?.trouble !== undefined)
      if (isSilent) notBefore = now() + Math.min(TROUBLE_MS * 2 ** Math.min(current.troubles, 10), TROUBLE_MOST_MS)
      const came = { response: responseOf(last), troubles: isSilent ? current.troubles + 1 : 0 }
      lane = await laneKeep(db, { id, holder: this.#holder, until: now() + LANE_MS }, came)
    }
    if (lane) await db.transaction().execute((tx) => laneRelease(tx, id, this.#holder, Math.max(notBefore, now())))
  }

  /** One request, and what it came to; undefined when this process ends, which says nothing about the receiver. */
  async #send({ hook, secret }: Lane, delivery: DueDelivery): Promise<PostResult | undefined> {
    const { db, now, log, keys, webhooks } = this.#deps
    const key = secret === null ? undefined : decrypt(keys.hookSecret, secret)
    const body = bodyOf(hook, delivery.payload)
    const headers = this.#headersOf(hook, delivery, body, key)
    const at = now()
    const result = await post({ url: hook.url, headers, body, insecureSsl: hook.insecureSsl }, webhooks.allowed, this.#abort.signal)
    if (this.#abort.signal.aborted && result.trouble) return undefined

    const succeeded = isSuccess(result)
    const wait = succeeded ? undefined : retryAfter(delivery.attempts + 1, webhooks.retries)
    const attempt: Attempt = {
      succeeded,
      retryAt: wait === undefined ? undefined : now() + wait,
      at,
      durationMs: result.durationMs,
      statusCode: result.statusCode,
      status: result.status,
      url: hook.url,
      requestHeaders: headers,
      responseHeaders: result.headers,
      responseBody: result.body,
    }
    if (hasMore(delivery.attempts, attempt)) await db.transaction().execute((tx) => deliveryAttempted(tx, hook.id, delivery, attempt))
    else await deliveryAttempted(db, hook.id, delivery, attempt)
    if (!succeeded) log.info({ hookId: hook.id, deliveryId: delivery.id, status: result.status }, 'a webhook was not delivered')
    return result
  }

  #headersOf(hook: Hook, { guid, event }: DueDelivery, body: Buffer, key: string | undefined): Record<string, string> {
    const hmac = (algorithm: string) =>
      `${algorithm}=${createHmac(algorithm, key ?? '')
        .update(body)
        .digest('hex')}`
    return {
      Accept: '*/*',
      'Content-Type': hook.contentType === 'json' ? 'application/json' : 'application/x-www-form-urlencoded',
      'User-Agent': 'GitHub-Hookshot/fleetfoot',
      'X-GitHub-Delivery': guid,
      'X-GitHub-Event': event,
      'X-GitHub-Hook-ID': String(hook.id),
      'X-GitHub-Hook-Installation-Target-ID': String(hook.owner.kind === 'global' ? 1 : hook.owner.id),
      'X-GitHub-Hook-Installation-Target-Type': TARGET_TYPES[hook.owner.kind],
      'X-GitHub-Enterprise-Host': new URL(this.#deps.addresses.url).host,
      'X-GitHub-Enterprise-Version': this.#deps.webhooks.enterpriseVersion,
      ...(key !== undefined && { 'X-Hub-Signature': hmac('sha1'), 'X-Hub-Signature-256': hmac('sha256') }),
    }
  }
}

/** Takes back what a process that is no more held: only where one process alone uses the database. */
export async function freeHookLanes({ db }: Pick<Deps, 'db'>): Promise<void> {
  await lanesFree(db)
}

/** The signature is over these bytes, for a form over the encoded ones (rest-api.md §5.1). */
function bodyOf({ contentType }: Hook, payload: string): Buffer {
  return Buffer.from(contentType === 'json' ? payload : new URLSearchParams({ payload }).toString())
}

const isSuccess = ({ statusCode }: PostResult) => statusCode >= 200 && statusCode < 300

function responseOf(result: PostResult): HookResponse {
  const { statusCode, status, trouble } = result
  return { code: statusCode, status: isSuccess(result) ? 'active' : (trouble ?? 'misconfigured'), message: status }
}
