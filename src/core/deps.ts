import type { BlobStore } from '../blobs/blob-store.ts'
import type { Times } from '../model/times.ts'
import type { Signals } from '../signals/signals.ts'
import type { Db } from '../store/open.ts'
import type { Keys } from './access/keys.ts'
import type { ArchiveCache } from './repos/archive-cache.ts'
import type { Git } from './repos/git.ts'
import type { Evaluator } from './runs/evaluator.ts'
import type { AllowedTargets } from '../model/allowed-targets.ts'
import type { PresentHookPayload } from './hooks/payloads.ts'

/** The log that use-cases write to: pino's shape, so that a test may pass any. */
export interface Log {
  debug(fields: object, message: string): void
  info(fields: object, message: string): void
  warn(fields: object, message: string): void
  error(fields: object, message: string): void
}

/** Everything that use-cases can be given. Each function names only what it uses: `Pick<Deps, 'db' | 'now'>`. */
export interface Deps {
  db: Db
  now: () => number
  times: Times
  keys: Keys
  signals: Signals
  blobs: BlobStore
  evaluator: Evaluator
  git: Git
  archives: ArchiveCache
  log: Log
  /** The addresses that jobs are told (architecture 1.9). */
  addresses: Addresses
  retentionMs: number
  webhooks: Webhooks
}

export interface Webhooks {
  present: PresentHookPayload
  /** Where requests may go beside the public internet. */
  allowed: AllowedTargets
  /** Automatic tries after the first. */
  retries: number
  /** What receivers are told of us: of GitHub Enterprise Server. */
  enterpriseVersion: string
}

export interface Addresses {
  /** FLEETFOOT_URL, without a trailing slash. */
  url: string
  /** What jobs see as GITHUB_SERVER_URL. */
  jobServerUrl: string
}
