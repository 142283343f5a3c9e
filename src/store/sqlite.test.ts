import { mkdtempDisposableSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { Kysely, sql } from 'kysely'
import { expect, test } from 'vitest'
import { isPassingTrouble } from '../model/trouble.ts'
import { sqliteDialect } from './sqlite.ts'

interface Tables {
  item: { name: string; text: string }
}

/** A database with one table, and a second process's view of it. */
async function startDatabase() {
  const folder = mkdtempDisposableSync(path.join(tmpdir(), 'fleetfoot-test-'))
  const file = path.join(folder.path, 'test.sqlite')
  const db = new Kysely<Tables>({ dialect: sqliteDialect(file, 'normal') })
  await sql`create table item (name text primary key, text text not null)`.execute(db)
  const other = new DatabaseSync(file, { readOnly: true })
  const committed = () =>
    other
      .prepare('select name from item order by name')
      .all()
      .map(({ name }) => name)
  const insert = (name: string, on: Kysely<Tables> = db, text = '') => on.insertInto('item').values({ name, text }).execute()
  return {
    db,
    committed,
    insert,
    async [Symbol.asyncDispose]() {
      other.close()
      await db.destroy()
      folder.remove()
    },
  }
}

test('whoever waits for a transaction waits until it is committed, and those that end together share the commit', async () => {
  await using t = await startDatabase()
  const seen: unknown[][] = []
  const transactions = ['a', 'b', 'c'].map(async (name) => {
    await t.db.transaction().execute((tx) => t.insert(name, tx))
    seen.push(t.committed())
  })
  await Promise.all([...transactions, t.insert('d').then(() => seen.push(t.committed()))])
  expect(seen).toEqual(Array.from({ length: 4 }, () => ['a', 'b', 'c', 'd']))
})

test('a transaction that fails takes back what it did and nothing of the others', async () => {
  await using t = await startDatabase()
  const outcomes = await Promise.allSettled([
    t.db.transaction().execute((tx) => t.insert('a', tx)),
    t.db.transaction().execute(async (tx) => {
      await t.insert('b', tx)
      throw new Error('no')
    }),
    t.insert('a'),
    t.db.transaction().execute(async (tx) => {
      await t.insert('c', tx)
      await t.insert('a', tx)
    }),
    t.insert('d'),
  ])
  expect(outcomes.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'rejected', 'rejected', 'fulfilled'])
  expect(t.committed()).toEqual(['a', 'd'])
})

test('who loses to a transaction that is not committed yet reads what it did when it looks again', async () => {
  await using t = await startDatabase()
  const winner = t.db.transaction().execute((tx) => t.insert('a', tx))
  await expect(t.insert('a')).rejects.toThrow('UNIQUE')
  expect(await t.db.selectFrom('item').select('name').execute()).toHaveLength(1)
  await winner
  const second = t.db.transaction().execute((tx) => t.insert('b', tx))
  await expect(t.db.transaction().execute((tx) => t.insert('b', tx))).rejects.toThrow('UNIQUE')
  expect(await t.db.selectFrom('item').select('name').execute()).toHaveLength(2)
  await second
})

test('a query beside an open transaction reads what is committed, one within it what it wrote', async () => {
  await using t = await startDatabase()
  await t.insert('a')
  await t.db.transaction().execute(async (tx) => {
    await t.insert('b', tx)
    expect(await t.db.selectFrom('item').select('name').execute()).toHaveLength(1)
    expect(await tx.selectFrom('item').select('name').execute()).toHaveLength(2)
  })
  expect(await t.db.selectFrom('item').select('name').execute()).toHaveLength(2)
})

test('a transaction that cannot be taken back by itself takes the others of its commit with it, and the next one goes on', async () => {
  await using t = await startDatabase()
  const others = t.insert('a')
  const broken = t.db.transaction().execute(async (tx) => {
    await t.insert('b', tx)
    await sql`release one`.execute(tx)
    throw new Error('no')
  })
  const outcomes = await Promise.allSettled([others, broken])
  expect(outcomes.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
  await t.insert('c')
  expect(t.committed()).toEqual(['c'])
})

test('when the disk is full everybody whose work was undone hears of it, and work goes on when there is room', async () => {
  await using t = await startDatabase()
  await t.insert('before')
  const { rows } = await sql<{ max_page_count: number }>`pragma max_page_count`.execute(t.db)
  await sql`pragma max_page_count = 4`.execute(t.db)
  const outcomes = await Promise.allSettled([
    t.insert('small'),
    t.db.transaction().execute(async (tx) => {
      // Swallowing the failure must not turn what follows into statements on their own.
      await t.insert('large', tx, 'x'.repeat(100_000)).catch(() => {})
      await t.insert('after', tx)
    }),
    t.insert('large too', t.db, 'x'.repeat(100_000)),
  ])
  const failed = outcomes.map((outcome) => (outcome.status === 'rejected' ? (outcome.reason as Error) : undefined))
  expect(failed.map(Boolean)).toEqual([true, true, true])
  expect(isPassingTrouble(failed[0])).toBe(true)
  expect(isPassingTrouble(failed[2])).toBe(true)
  expect(t.committed()).toEqual(['before'])

  await sql`pragma max_page_count = ${sql.lit(rows[0]?.max_page_count ?? 0)}`.execute(t.db)
  await t.insert('small')
  expect(t.committed()).toEqual(['before', 'small'])
})
