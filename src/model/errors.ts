/**
 * What a caller can act on. Each room turns a kind into its own body and status; everything that is not an
 * `AppError` is a bug and stays a plain `Error`.
 */
export type FailureKind =
  | 'invalid' // a value that cannot be accepted (GitHub: 422)
  | 'malformed' // a request that cannot be read (400)
  | 'unauthenticated'
  | 'forbidden'
  | 'not_found'
  | 'conflict'
  | 'gone'
  | 'too_large'
  | 'unavailable' // passing trouble on this side: 503, clients repeat

/** A failure that a caller can act on. The message is for the caller; what only an operator may see is the `cause`. */
export class AppError extends Error {
  override name = 'AppError'
  readonly kind: FailureKind
  /** GitHub's `errors` array, where a protocol has one. */
  readonly details: readonly unknown[] | undefined

  constructor(kind: FailureKind, message: string, options?: { cause?: unknown; details?: readonly unknown[] }) {
    super(message, options)
    this.kind = kind
    this.details = options?.details
  }
}
