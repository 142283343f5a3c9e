import { randomBytes } from 'node:crypto'
import pg from 'pg'
import { expect, test } from 'vitest'
import { makeTestDatabase } from '../support/database.ts'
import { deliverThroughKills, EVENTS_OF_JOBS, type EventRows } from '../support/hook-kills.ts'
import { makeServerProcess } from '../support/server-process.ts'

const KILLS = Number(process.env['TEST_KILLS'] ?? 4)

test(
  `two nodes deliver everything, in order per job, though one of them dies ${KILLS} times`,
  { timeout: 120_000 + KILLS * 10_000 },
  async () => {
    await using database = await makeTestDatabase()
    if (database.config.kind !== 'postgres') throw new Error('this test needs PostgreSQL')
    const { url } = database.config
    const env = {
      FLEETFOOT_DATABASE_URL: url,
      FLEETFOOT_SECRET_KEY: randomBytes(32).toString('base64'),
      FLEETFOOT_WEBHOOK_ALLOW: '127.0.0.1',
    }
    await using first = await makeServerProcess({ env })
    await using second = await makeServerProcess({ env: { ...env, FLEETFOOT_URL: first.url }, beside: first })
    await Promise.all([first.start(), second.start()])
    const events = async () => {
      const client = new pg.Client({ connectionString: url })
      await client.connect()
      const query = `select "kind", "subjectId"::integer, "payload" from "event" where ${EVENTS_OF_JOBS}`
      const { rows } = await client.query<EventRows[number]>(query)
      await client.end()
      return rows
    }

    // What a node held when it died is its own for 25 seconds.
    const { messages, repeats, worked } = await deliverThroughKills({ nodes: [first, second], kills: KILLS, events, withinMs: 90_000 })

    console.log(`${messages} messages, ${repeats} of them again, ${worked} jobs worked on, ${KILLS} kills`)
    expect(messages).toBeGreaterThan(KILLS)
    expect(worked).toBeGreaterThan(0)
  },
)
