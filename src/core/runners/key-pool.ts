import { generateKeyPair } from 'node:crypto'
import { promisify } from 'node:util'

const generate = promisify(generateKeyPair)

/** A runner's RSA key in the eight fields of `.credentials_rsaparams`, base64, at .NET's fixed lengths (runner-protocol.md 2.8). */
export interface RunnerKey {
  publicKey: { n: string; e: string }
  params: { d: string; dp: string; dq: string; exponent: string; inverseQ: string; modulus: string; p: string; q: string }
}

const MODULUS_BITS = 2048
const POOL_SIZE = 128

/**
 * Keys made ahead of need: a 2048-bit key takes some 50 ms of processor, a burst of requests must not wait for that. Filled one at a
 * time, on libuv's pool, so that requests go first.
 */
export class KeyPool implements Disposable {
  readonly #keys: RunnerKey[] = []
  readonly #size: number
  #filling = false
  #disposed = false

  constructor(size = POOL_SIZE) {
    this.#size = size
  }

  /** A key that nobody else gets; from the pool, or made now. */
  async take(): Promise<RunnerKey> {
    const key = this.#keys.pop() ?? (await makeRunnerKey())
    this.fill()
    return key
  }

  /** Starts to fill the pool, in the background. */
  fill(): void {
    if (this.#filling || this.#disposed) return
    this.#filling = true
    void this.#fill()
  }

  get size(): number {
    return this.#keys.length
  }

  async #fill(): Promise<void> {
    while (this.#keys.length < this.#size && !this.#disposed) this.#keys.push(await makeRunnerKey())
    this.#filling = false
  }

  [Symbol.dispose](): void {
    this.#disposed = true
  }
}

async function makeRunnerKey(): Promise<RunnerKey> {
  const { privateKey } = await generate('rsa', { modulusLength: MODULUS_BITS })
  const { n = '', e = '', d = '', dp = '', dq = '', qi = '', p = '', q = '' } = privateKey.export({ format: 'jwk' })
  const whole = MODULUS_BITS / 8
  const half = whole / 2
  return {
    publicKey: { n, e },
    params: {
      d: padded(d, whole),
      dp: padded(dp, half),
      dq: padded(dq, half),
      exponent: padded(e, 0),
      inverseQ: padded(qi, half),
      modulus: padded(n, whole),
      p: padded(p, half),
      q: padded(q, half),
    },
  }
}

/** JWK drops leading zero bytes in some fields; .NET documents fixed lengths. */
function padded(field: string, length: number): string {
  const bytes = Buffer.from(field, 'base64url')
  return Buffer.concat([Buffer.alloc(Math.max(0, length - bytes.length)), bytes]).toString('base64')
}
