import { AppError } from './errors.ts'
import type { ScopeRef } from './access.ts'
import type { Times } from './times.ts'

export interface Label {
  id: number
  name: string
  type: 'read-only' | 'custom'
}

export interface Runner {
  id: number
  scope: ScopeRef
  /** Row id of the group; null at repository scope, which has none of its own. */
  groupId: number | null
  /** The number that clients see: per owner, Default = 1. */
  groupNumber: number
  groupName: string
  name: string
  labels: Label[]
  os: string
  version: string | null
  ephemeral: boolean
  updatesDisabled: boolean
  clientId: string
  credentialVersion: number
  /** JWK `n` and `e`, base64url. */
  publicKey: { n: string; e: string }
  createdAt: number
  lastSeenAt: number | null
  deletedAt: number | null
  /** Of its group's rules, as they were when the row was read. */
  groupVersion: number
  /** Of the session that it holds now. */
  sessionId: string | null
  /** When the session last polled, as far as it was written. */
  polledAt: number | null
  /** Has an assignment that is not finished: never sent a second job. */
  busy: boolean
  /** Why it, or its group, is given no jobs; null when it is. */
  pausedFor: string | null
}

/** Online while a session is open and was heard of lately. Derived, so that it cannot be stale on another node. */
export function isOnline(runner: Pick<Runner, 'sessionId' | 'lastSeenAt'>, now: number, times: Times): boolean {
  return runner.sessionId !== null && runner.lastSeenAt !== null && now - runner.lastSeenAt < times.offlineAfter
}

const NAME_LIMIT = 64
const LABEL_LIMIT = 256
const LABELS_LIMIT = 100

/** Checks a runner's name: 1–64 characters, no control characters (rest-api.md 8). @throws AppError invalid */
export function checkRunnerName(name: string): string {
  const trimmed = name.trim()
  if (trimmed === '' || trimmed.length > NAME_LIMIT || hasControl(trimmed)) {
    throw new AppError('invalid', `Runner name must have 1 to ${NAME_LIMIT} characters and no control characters`)
  }
  return trimmed
}

/** Labels trimmed, without doubles in any case; the first spelling stays (rest-api.md 2.2). @throws AppError invalid */
export function cleanLabels<L extends { name: string }>(labels: L[]): L[] {
  if (labels.length > LABELS_LIMIT) throw new AppError('invalid', `A runner can have ${LABELS_LIMIT} labels at most`)
  const seen = new Set<string>()
  const clean: L[] = []
  for (const label of labels) {
    const name = label.name.trim()
    if (name === '' || name.length > LABEL_LIMIT || hasControl(name)) {
      throw new AppError('invalid', `Labels must have 1 to ${LABEL_LIMIT} characters and no control characters`)
    }
    const key = name.toLowerCase()
    if (seen.has(key)) continue
    seen.add(key)
    clean.push({ ...label, name })
  }
  return clean
}

function hasControl(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 32 || code === 127) return true
  }
  return false
}

/** The wire's `os`, from the system label or the poll's `os`. */
export function osOf(word: string): string | undefined {
  const system = word.toLowerCase()
  if (system === 'linux' || system === 'windows' || system === 'macos') return system
  return system === 'osx' || system === 'darwin' ? 'macos' : undefined
}
