import { randomUUID } from 'node:crypto'
import type { Actor, ScopeRef } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import { checkRunnerName, cleanLabels, osOf, type Label, type Runner } from '../../model/runner.ts'
import { accountByLogin, enterpriseGet } from '../../store/accounts.ts'
import { eventInsert } from '../../store/events.ts'
import { repositoryByName } from '../../store/repositories.ts'
import { runnerById, runnerByName, runnerInsert, runnerReplace, type NewRunner } from '../../store/runners.ts'
import { runnerGroupByNumber, runnerGroupEnsureDefault } from '../../store/runner-groups.ts'
import type { Deps } from '../deps.ts'
import { requireRunnersAllowed } from './runner-policy.ts'

export interface RunnerRegistration {
  /** The `--url` that the machine was given. */
  url: string
  groupNumber: number
  name: string
  version: string
  updatesDisabled: boolean
  ephemeral: boolean
  labels: { name: string; type: 'system' | 'user' }[]
  publicKey: { n: string; e: string }
  /** Replaces this runner. */
  replaces: number | undefined
}

type RegisterDeps = Pick<Deps, 'db' | 'now' | 'signals' | 'log'>

const notFound = () => new AppError('not_found', 'Not Found')

/** A runner of that name is there already (rest-api.md 2.3; clients look for "already exists"). */
export const nameTaken = () => new AppError('conflict', 'Already exists - A runner with the name *** already exists.')

/**
 * Adds the runner that `config.sh` describes to the scope of its registration token, or replaces one there, which keeps its id and group.
 *
 * @throws AppError not_found when the token is not for what the url names, or a group or replaced runner is not there; conflict when the
 *   name is taken; invalid
 */
export async function registerRunner(deps: RegisterDeps, actor: Actor, registration: RunnerRegistration): Promise<Runner> {
  const scope = await scopeOfUrl(deps, actor, registration.url)
  await requireRunnersAllowed(deps, scope)
  const name = checkRunnerName(registration.name)
  const labels = cleanLabels(registration.labels.map(({ name: label, type }) => ({ name: label, type: labelType(label, type) })))
  if (labels.length === 0) throw new AppError('invalid', 'A runner needs one label at least')
  const groupId = await groupIdOf(deps, scope, registration.groupNumber)
  const { version, ephemeral, updatesDisabled, publicKey } = registration
  const described = { name, labels, os: systemOf(labels), version, ephemeral, updatesDisabled, publicKey, clientId: randomUUID() }

  const runner =
    registration.replaces === undefined
      ? await addRunner(deps, actor, { ...described, scope, groupId, createdAt: deps.now() })
      : await replaceRunner(deps, actor, scope, registration.replaces, described)
  deps.log.info({ runnerId: runner.id, scope }, 'runner registered')
  return runner
}

/** Adds a runner with its event. @throws AppError conflict when the name is taken */
export async function addRunner({ db, now }: Pick<Deps, 'db' | 'now'>, actor: Actor, runner: NewRunner): Promise<Runner> {
  const added = await db.transaction().execute(async (tx) => {
    const inserted = await runnerInsert(tx, runner)
    if (inserted) await registered(tx, actor, inserted, now())
    return inserted
  })
  if (!added) throw nameTaken()
  return added
}

async function replaceRunner(
  { db, now, signals }: RegisterDeps,
  actor: Actor,
  scope: ScopeRef,
  id: number,
  described: Omit<NewRunner, 'scope' | 'groupId' | 'createdAt'>,
): Promise<Runner> {
  const others = await runnerByName(db, scope, described.name)
  if (others && others.id !== id) throw nameTaken()
  const replaced = await db.transaction().execute(async (tx) => {
    const existing = await runnerById(tx, id)
    if (!existing || existing.scope.kind !== scope.kind || existing.scope.id !== scope.id) throw notFound()
    const runner = await runnerReplace(tx, id, described)
    if (runner) await registered(tx, actor, runner, now(), 'runner.replaced')
    return runner
  })
  if (!replaced) throw notFound()
  signals.send('runner', id)
  return replaced
}

async function registered(tx: Deps['db'], actor: Actor, runner: Runner, at: number, kind = 'runner.registered'): Promise<void> {
  const { id, name, scope } = runner
  await eventInsert(tx, { at, actor, kind, subject: { kind: 'runner', id }, payload: { name, scope } })
}

/** The row of the group with that number in the scope. @throws AppError not_found */
export async function groupIdOf({ db, now }: Pick<Deps, 'db' | 'now'>, scope: ScopeRef, number: number): Promise<number | null> {
  if (scope.kind === 'repository') {
    if (number !== 1) throw notFound()
    return null
  }
  const owner = { kind: scope.kind, id: scope.id }
  const group = number === 1 ? await runnerGroupEnsureDefault(db, owner, now()) : await runnerGroupByNumber(db, owner, number)
  if (!group) throw notFound()
  return group.id
}

/**
 * The scope that an address like `https://host/acme/rocket` names, when the registration token is for it.
 *
 * @throws AppError not_found, as a bad token gets, which the runner does not repeat
 */
export async function scopeOfUrl({ db }: Pick<Deps, 'db'>, actor: Actor, url: string): Promise<ScopeRef> {
  if (actor.kind !== 'registration' || actor.purpose !== 'register') throw notFound()
  const scope = await scopeNamed({ db }, url)
  if (!scope || scope.kind !== actor.scope.kind || scope.id !== actor.scope.id) throw notFound()
  return scope
}

async function scopeNamed({ db }: Pick<Deps, 'db'>, url: string): Promise<ScopeRef | undefined> {
  if (!URL.canParse(url)) return undefined
  const segments = decodeSegments(new URL(url).pathname)
  const [first = '', second] = segments
  if (segments.length === 1) {
    const account = await accountByLogin(db, first)
    return account?.kind === 'organization' ? { kind: 'organization', id: account.id } : undefined
  }
  if (segments.length !== 2 || second === undefined) return undefined
  if (first.toLowerCase() === 'enterprises') {
    const enterprise = await enterpriseGet(db)
    return enterprise.slug.toLowerCase() === second.toLowerCase() ? { kind: 'enterprise', id: enterprise.id } : undefined
  }
  const repository = await repositoryByName(db, first, second)
  return repository && { kind: 'repository', id: repository.id }
}

function decodeSegments(pathname: string): string[] {
  try {
    return pathname
      .split('/')
      .filter((segment) => segment !== '')
      .map(decodeURIComponent)
  } catch {
    return []
  }
}

/** What the runner sends as system labels is read-only to clients, everything else is custom (rest-api.md 2.2). */
function labelType(name: string, type: 'system' | 'user'): Label['type'] {
  return type === 'system' && SYSTEM_LABELS.has(name.toLowerCase()) ? 'read-only' : 'custom'
}

const SYSTEM_LABELS = new Set(['self-hosted', 'linux', 'windows', 'macos', 'x64', 'x86', 'arm', 'arm64'])

function systemOf(labels: { name: string; type: Label['type'] }[]): string {
  for (const { name, type } of labels) {
    const os = type === 'read-only' ? osOf(name) : undefined
    if (os) return os
  }
  return 'unknown'
}
