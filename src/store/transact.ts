import type { Db } from './open.ts'

const TRIES = 3

/**
 * Runs `work` in a transaction, and again when the database ended it because it and another waited for each other's locks. `work` must do
 * nothing but use the transaction: what it did is gone when it is run again.
 */
export async function transact<T>(db: Db, work: (tx: Db) => Promise<T>): Promise<T> {
  for (let tried = 1; ; tried++) {
    try {
      return await db.transaction().execute(work)
    } catch (error) {
      // PostgreSQL: deadlock_detected, serialization_failure.
      const isLost = ['40P01', '40001'].includes((error as { code?: string }).code ?? '')
      if (!isLost || tried >= TRIES) throw error
    }
  }
}
