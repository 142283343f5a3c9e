/** Failures of the database, the disk or the network beside us that pass: clients are asked to come again (503). */
const CODES = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EHOSTUNREACH',
  'ENOSPC',
  'EDQUOT',
  'EMFILE',
  'ENFILE',
  'EROFS',
  'EIO',
])

/** Extended result codes of SQLite end in these: busy, locked, read-only, I/O error, full, cannot open. */
const SQLITE = new Set([5, 6, 8, 10, 13, 14])

/** Whether an error is passing trouble on this side rather than a bug. */
export function isPassingTrouble(error: unknown): boolean {
  if (typeof error !== 'object' || error === null) return false
  const { code, errcode, message } = error as { code?: unknown; errcode?: unknown; message?: unknown }
  if (typeof errcode === 'number') return SQLITE.has(errcode & 0xff)
  if (typeof code === 'string') {
    // PostgreSQL's classes: connection exception, insufficient resources, operator intervention, system error, serialization failures.
    if (/^(?:08|53|57|58)/.test(code) && code.length === 5) return true
    if (code === '40001' || code === '40P01' || code === '25006') return true
    return CODES.has(code)
  }
  return (
    typeof message === 'string' &&
    /^(?:Connection terminated|timeout exceeded when trying to connect|Client has encountered a connection error|driver has already been destroyed|database is not open)/.test(
      message,
    )
  )
}
