/** One ref that a push moves. `before` or `after` is `noCommit` when it is made or deleted. */
export interface RefUpdate {
  ref: string
  before: string
  after: string
}

/** What a pusher sent. `received` before git moves the refs, `settled` once its runs are made, `refused` when no ref moved. */
export interface Push {
  id: number
  repositoryId: number
  userId: number
  updates: RefUpdate[]
  state: 'received' | 'settled' | 'refused'
  createdAt: number
  settledAt: number | null
}

/** The id that stands for "no such ref". */
export const noCommit = '0'.repeat(40)

/** True for a full object id. */
export function isObjectId(text: string): boolean {
  return /^[0-9a-f]{40}$/.test(text)
}

/**
 * Git's rules for names of refs (git-check-ref-format), for a whole name or a part like `feature/x`. What passes holds none of the
 * characters that mean something in git's revision syntax, and does not begin with a dash.
 */
export function isRefName(name: string): boolean {
  if (name === '' || name === '@' || name.length > 1000 || name.startsWith('-') || name.endsWith('.')) return false
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000-\u0020\u007f~^:?*[\\]|\.\.|@\{/.test(name)) return false
  return name.split('/').every((part) => part !== '' && !part.startsWith('.') && !part.endsWith('.lock'))
}

/** The branch that a full ref names. */
export function branchOf(ref: string): string | undefined {
  return ref.startsWith('refs/heads/') ? ref.slice('refs/heads/'.length) : undefined
}
