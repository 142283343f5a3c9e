import { AppError } from '../../model/errors.ts'

/** Lets so many in at once; the others wait in order. */
export interface Gate {
  /** Resolves when there is room, with the way out. @throws AppError unavailable when too many wait already */
  enter(signal?: AbortSignal): Promise<() => void>
}

export function makeGate(limit: number, mayWait: number): Gate {
  let inside = 0
  const waiting: (() => void)[] = []

  const leaveOnce = () => {
    let left = false
    return () => {
      if (left) return
      left = true
      const next = waiting.shift()
      // The place goes to the next in line without being free in between.
      if (next) next()
      else inside--
    }
  }

  return {
    async enter(signal) {
      signal?.throwIfAborted()
      if (inside < limit) {
        inside++
        return leaveOnce()
      }
      if (waiting.length >= mayWait) throw new AppError('unavailable', 'Too many git operations at once; try again shortly.')
      await new Promise<void>((resolve, reject) => {
        const enter = () => {
          signal?.removeEventListener('abort', abort)
          resolve()
        }
        const abort = () => {
          const at = waiting.indexOf(enter)
          if (at < 0) return
          waiting.splice(at, 1)
          reject(signal?.reason as Error)
        }
        waiting.push(enter)
        signal?.addEventListener('abort', abort, { once: true })
      })
      return leaveOnce()
    },
  }
}
