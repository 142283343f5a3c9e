import { expect, test } from 'vitest'
import { makeTestDatabase } from '../../test/support/database.ts'
import { accountById, accountInsert } from './accounts.ts'
import { isPostgres, openDatabase, type Db } from './open.ts'
import { transact } from './transact.ts'

async function open() {
  const database = await makeTestDatabase({ migrated: true })
  const db = openDatabase(database.config)
  const make = async (login: string) => (await accountInsert(db, { kind: 'user', login, createdAt: 1 }))?.id ?? 0
  const ids = [await make('ada'), await make('mona')] as const
  return {
    db,
    ids,
    async [Symbol.asyncDispose]() {
      await db.destroy()
      await database[Symbol.asyncDispose]()
    },
  }
}

const rename = (tx: Db, id: number, name: string) => tx.updateTable('account').set({ name }).where('id', '=', id).execute()

test('two that wait for each other both come through', async () => {
  await using t = await open()
  const [ada, mona] = t.ids
  let tries = 0
  const first = Promise.withResolvers<void>()
  const second = Promise.withResolvers<void>()
  // SQLite has one that writes: nobody waits for a lock there, and this one cannot wait for the other.
  const meet = async (own: PromiseWithResolvers<void>, other: PromiseWithResolvers<void>) => {
    own.resolve()
    if (isPostgres(t.db)) await other.promise
  }
  const change = (one: number, other: number, name: string, own: PromiseWithResolvers<void>, others: PromiseWithResolvers<void>) =>
    transact(t.db, async (tx) => {
      tries++
      await rename(tx, one, name)
      await meet(own, others)
      await rename(tx, other, name)
    })

  await Promise.all([change(ada, mona, 'first', first, second), change(mona, ada, 'second', second, first)])

  expect(tries).toBe(isPostgres(t.db) ? 3 : 2)
  const names = [await accountById(t.db, ada), await accountById(t.db, mona)].map((account) => account?.name)
  expect(names[0]).toBe(names[1])
})

test('what fails for another reason is not tried again, and leaves nothing', async () => {
  await using t = await open()
  let tries = 0
  const failing = transact(t.db, async (tx) => {
    tries++
    await rename(tx, t.ids[0], 'half')
    throw new Error('no')
  })
  await expect(failing).rejects.toThrow('no')
  expect([tries, (await accountById(t.db, t.ids[0]))?.name]).toEqual([1, null])
})
