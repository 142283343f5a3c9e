import { sql } from 'kysely'
import type { MigrationTools } from './migrations/columns.ts'
import * as firstSchema from './migrations/0001-first-schema.ts'
import * as apps from './migrations/0007-apps.ts'
import * as auditLog from './migrations/0009-audit-log.ts'
import * as cancelTimeouts from './migrations/0004-cancel-timeouts.ts'
import * as limitsAndShares from './migrations/0010-limits-and-shares.ts'
import * as namesAndAttempts from './migrations/0011-names-and-attempts.ts'
import * as ownersOfLines from './migrations/0003-owners-of-lines.ts'
import * as runnerGroups from './migrations/0005-runner-groups.ts'
import * as queueSteering from './migrations/0008-queue-steering.ts'
import * as smallObjects from './migrations/0002-small-objects.ts'
import * as webhooks from './migrations/0006-webhooks.ts'
import { isPostgres, type Db } from './open.ts'

interface Migration {
  name: string
  /** A node that does not know this migration must not run beside it. */
  breaking: boolean
  up: (tools: MigrationTools) => Promise<void>
}

/** Every migration, in order, forward only. A landed one is never edited. */
const migrations: Migration[] = [
  { name: '0001-first-schema', breaking: true, up: firstSchema.up },
  { name: '0002-small-objects', breaking: true, up: smallObjects.up },
  { name: '0003-owners-of-lines', breaking: true, up: ownersOfLines.up },
  { name: '0004-cancel-timeouts', breaking: false, up: cancelTimeouts.up },
  // An older node would give jobs to runners whose group does not allow it.
  { name: '0005-runner-groups', breaking: true, up: runnerGroups.up },
  { name: '0006-webhooks', breaking: false, up: webhooks.up },
  { name: '0007-apps', breaking: true, up: apps.up },
  // An older node would order lines by another column than those that it fills.
  { name: '0008-queue-steering', breaking: true, up: queueSteering.up },
  { name: '0009-audit-log', breaking: false, up: auditLog.up },
  // An older node would not know what counts for a limit.
  { name: '0010-limits-and-shares', breaking: true, up: limitsAndShares.up },
  { name: '0011-names-and-attempts', breaking: false, up: namesAndAttempts.up },
]

/** Any fixed number: nodes that start together wait for each other on it. */
const MIGRATION_LOCK = 4_771_230

/**
 * Brings the database up to date. Safe to race: on PostgreSQL the whole is one transaction under an advisory lock. Unknown later
 * migrations are accepted unless one is marked breaking, so that an old node can restart during an upgrade.
 *
 * @throws Error with one line for the operator
 */
export async function migrate(db: Db, now: number): Promise<void> {
  const postgres = isPostgres(db)
  await db.transaction().execute(async (tx) => {
    if (postgres) await sql`select pg_advisory_xact_lock(${MIGRATION_LOCK})`.execute(tx)
    await sql`create table if not exists "migration" ("name" text primary key, "breaking" bigint not null, "at" bigint not null)`.execute(
      tx,
    )
    const { rows } = await sql<{ name: string; breaking: number }>`select "name", "breaking" from "migration"`.execute(tx)
    const later = laterAmong(rows)
    if (later !== undefined) throw new Error(`the database is of a later version (${later}): start a version that knows it`)

    const done = new Set(rows.map(({ name }) => name))
    for (const { name, breaking, up } of migrations) {
      if (done.has(name)) continue
      await up({ db: tx, postgres })
      await sql`insert into "migration" values (${name}, ${breaking ? 1 : 0}, ${now})`.execute(tx)
    }
  })
}

/** The name of a breaking migration that a later version made since this one started: to go on beside it would do harm. */
export async function laterMigration(db: Db): Promise<string | undefined> {
  const { rows } = await sql<{ name: string; breaking: number }>`select "name", "breaking" from "migration"`.execute(db)
  return laterAmong(rows)
}

function laterAmong(rows: { name: string; breaking: number }[]): string | undefined {
  const known = new Set(migrations.map(({ name }) => name))
  return rows.find(({ name, breaking }) => breaking === 1 && !known.has(name))?.name
}
