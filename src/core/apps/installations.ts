import { needs, type Actor } from '../../model/access.ts'
import type { Account, Repository } from '../../model/account.ts'
import type { App, Installation } from '../../model/app.ts'
import { AppError } from '../../model/errors.ts'
import { accountById, accountByLogin } from '../../store/accounts.ts'
import {
  appById,
  appBySlug,
  appTouch,
  installationAt,
  installationById,
  installationDelete,
  installationList,
  installationRepositories,
  installationRepositoryIds,
  installationSelect,
  installationSet,
  installationSuspend,
} from '../../store/apps.ts'
import { eventInsert } from '../../store/events.ts'
import { deliveriesDropOfInstallation, deliveriesDropUnselected } from '../../store/hook-deliveries.ts'
import { repositoryById, repositoryByName } from '../../store/repositories.ts'
import { tokenDeleteOfInstallation } from '../../store/tokens.ts'
import { authorizeOrganization, requireApp, requireInstallation, requireSiteAdmin } from '../access/authorize.ts'
import type { OrganizationRef, RepositoryRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import { changedRepositories, tellInstallation, toldRepositories } from './tell-installation.ts'
import type { Page } from '../repos/repositories.ts'

type ReadDeps = Pick<Deps, 'db'>
type WriteDeps = Pick<Deps, 'db' | 'now' | 'signals' | 'webhooks'>

/** An installation with its App and the account where it is. */
export interface InstallationView {
  installation: Installation
  app: App
  account: Account
}

/**
 * Installs an App at an account with what the App asks for, for site administrators. Where it is installed already, that is how it gets the
 * permissions that it asks for since, and another selection; the one that it has stays when none is given.
 *
 * @throws AppError not_found for no such App or account; invalid for no such repository, or for names where all are asked for
 */
export async function installApp(
  deps: WriteDeps,
  actor: Actor,
  input: { slug: string; account: string; selection?: 'all' | undefined; /** Names. */ repositories?: string[] | undefined },
): Promise<InstallationView> {
  requireSiteAdmin(actor, needs.siteAdmin)
  const { db, now } = deps
  const app = found(await appBySlug(db, input.slug))
  const account = found(await accountByLogin(db, input.account))
  if (account.kind === 'bot') throw notFound()
  if (input.selection === 'all' && input.repositories !== undefined)
    throw new AppError('invalid', 'All repositories and a list of them exclude each other')
  const selected: number[] = []
  for (const name of input.repositories ?? []) {
    const repository = await repositoryByName(db, account.login, name)
    if (!repository) throw new AppError('invalid', `There is no repository ${account.login}/${name.slice(0, 100)}`)
    selected.push(repository.id)
  }

  const at = now()
  const { installation, told } = await db.transaction().execute(async (tx) => {
    if (!(await appTouch(tx, app.id, at))) throw notFound()
    const { permissions, events } = app
    const given = input.repositories === undefined ? input.selection : 'selected'
    // The App's row is locked: nobody else installs it meanwhile.
    const before = await installationAt(tx, app.id, account.id)
    const reached = before && (await installationRepositoryIds(tx, before))
    const repositorySelection = given ?? before?.repositorySelection ?? 'all'
    const made = await installationSet(tx, { appId: app.id, accountId: account.id, repositorySelection, permissions, events, at })
    if (given !== undefined) await installationSelect(tx, made.id, selected)
    if (repositorySelection === 'selected') await deliveriesDropUnselected(tx, made.id)
    await changed(tx, actor, made, at, before ? 'updated' : 'created', { repositorySelection, permissions })
    const view = { installation: made, app, account }
    const told = before && reached ? await tellChange(tx, deps, actor, view, before, reached) : await tell(tx, deps, actor, 'created', view)
    return { installation: made, told }
  })
  signal(deps, told)
  return { installation, app, account }
}

/** Takes an App away from an account, for site administrators. */
export async function uninstallApp(deps: WriteDeps, actor: Actor, input: { slug: string; account: string }): Promise<void> {
  requireSiteAdmin(actor, needs.siteAdmin)
  await end(deps, actor, await viewOf(deps.db, await installationNamed(deps.db, input)))
}

async function end(deps: WriteDeps, actor: Actor, view: InstallationView): Promise<void> {
  const told = await deps.db.transaction().execute(async (tx) => {
    const repositories = await toldRepositories(tx, view)
    await endInstallation(tx, actor, view.installation, deps.now())
    return tellInstallation(tx, deps, actor, { event: 'installation', action: 'deleted', view, repositories })
  })
  signal(deps, told)
}

async function tell(
  tx: Deps['db'],
  deps: WriteDeps,
  actor: Actor,
  action: 'created' | 'suspend' | 'unsuspend' | 'new_permissions_accepted',
  view: InstallationView,
): Promise<number[]> {
  const repositories = await toldRepositories(tx, view)
  return tellInstallation(tx, deps, actor, { event: 'installation', action, view, repositories })
}

/** Tells an App what changed of an installation that was there `before`, when it reached these repositories. */
async function tellChange(
  tx: Deps['db'],
  deps: WriteDeps,
  actor: Actor,
  view: InstallationView,
  before: Installation,
  reached: number[],
): Promise<number[]> {
  const isAccepted = canonical(before.permissions) !== canonical(view.installation.permissions)
  const told = isAccepted ? await tell(tx, deps, actor, 'new_permissions_accepted', view) : []
  const { added, removed } = await changedRepositories(tx, reached, await installationRepositoryIds(tx, view.installation))
  for (const [action, repositories] of [['added', added] as const, ['removed', removed] as const]) {
    if (repositories.length === 0) continue
    told.push(...(await tellInstallation(tx, deps, actor, { event: 'installation_repositories', action, view, repositories })))
  }
  return [...new Set(told)]
}

const canonical = (permissions: Installation['permissions']) =>
  JSON.stringify(Object.entries(permissions).toSorted(([a], [b]) => (a < b ? -1 : 1)))

function signal({ signals }: WriteDeps, hookIds: number[]): void {
  for (const id of hookIds) signals.send('hook', id)
}

async function installationNamed(db: Deps['db'], input: { slug: string; account: string }): Promise<Installation> {
  const app = found(await appBySlug(db, input.slug))
  const account = found(await accountByLogin(db, input.account))
  return found(await installationAt(db, app.id, account.id))
}

/** Ends an installation, its tokens and what its App would still be told of it, at once. Call it in a transaction. @throws AppError not_found when another was first */
export async function endInstallation(tx: Deps['db'], actor: Actor, installation: Installation, at: number): Promise<void> {
  await tokenDeleteOfInstallation(tx, installation.id)
  if (!(await installationDelete(tx, installation.id))) throw notFound()
  await deliveriesDropOfInstallation(tx, installation.id)
  await changed(tx, actor, installation, at, 'deleted')
}

/** Installations of the App that signed, oldest first. */
export async function listInstallations(
  { db }: ReadDeps,
  actor: Actor,
  page: Page,
): Promise<{ installations: InstallationView[]; total: number }> {
  const app = found(await appById(db, requireApp(actor).appId))
  const { installations, total } = await installationList(db, { appId: app.id }, page)
  return { installations: await viewsOf(db, installations), total }
}

/** Apps that are installed in an organization, for its owners. */
export async function listInstallationsOfOrganization(
  deps: Pick<Deps, 'db' | 'log'>,
  actor: Actor,
  ref: OrganizationRef,
  page: Page,
): Promise<{ organization: Account; installations: InstallationView[]; total: number }> {
  const organization = await authorizeOrganization(deps, actor, ref, needs.organizationInstallations)
  const { installations, total } = await installationList(deps.db, { accountId: organization.id }, page)
  return { organization, installations: await viewsOf(deps.db, installations), total }
}

async function viewsOf(db: Deps['db'], installations: Installation[]): Promise<InstallationView[]> {
  const views = await Promise.all(
    installations.map(async (installation) => {
      const [app, account] = await Promise.all([appById(db, installation.appId), accountById(db, installation.accountId)])
      return app && account ? { installation, app, account } : undefined
    }),
  )
  return views.filter((view) => view !== undefined)
}

/** One installation of the App that signed. @throws AppError not_found, also for another App's */
export async function getInstallation({ db }: ReadDeps, actor: Actor, id: number): Promise<InstallationView> {
  const { appId } = requireApp(actor)
  const installation = await installationById(db, id)
  if (installation?.appId !== appId) throw notFound()
  return viewOf(db, installation)
}

/** Where the App that signed is installed at an account. @throws AppError not_found */
export async function getInstallationAt(
  { db }: ReadDeps,
  actor: Actor,
  ref: { login: string; kind?: Account['kind'] } | { id: number; kind?: Account['kind'] },
): Promise<InstallationView> {
  const { appId } = requireApp(actor)
  const account = found('id' in ref ? await accountById(db, ref.id) : await accountByLogin(db, ref.login))
  if (ref.kind !== undefined && account.kind !== ref.kind) throw notFound()
  return viewOf(db, found(await installationAt(db, appId, account.id)))
}

/** The installation of the App that signed that reaches a repository. @throws AppError not_found, also for one that was not selected */
export async function getInstallationOfRepository({ db }: ReadDeps, actor: Actor, ref: RepositoryRef): Promise<InstallationView> {
  const { appId } = requireApp(actor)
  const { id, owner } = found('id' in ref ? await repositoryById(db, ref.id) : await repositoryByName(db, ref.owner, ref.name))
  const installation = found(await installationAt(db, appId, owner.id))
  const { total } = await installationRepositories(db, installation, [id], { offset: 0, limit: 1 })
  if (total === 0) throw notFound()
  return viewOf(db, installation)
}

async function viewOf(db: Deps['db'], installation: Installation): Promise<InstallationView> {
  return found((await viewsOf(db, [installation]))[0])
}

/** Ends an installation of the App that signed. */
export async function deleteInstallation(deps: WriteDeps, actor: Actor, id: number): Promise<void> {
  await end(deps, actor, await getInstallation(deps, actor, id))
}

/**
 * Suspends an installation of the App that signed: its tokens are refused until that ends, and its App is told nothing of it.
 * Doing it twice is no failure.
 */
export async function suspendInstallation(deps: WriteDeps, actor: Actor, input: { id: number; suspended: boolean }): Promise<void> {
  await setSuspended(deps, actor, await getInstallation(deps, actor, input.id), input.suspended)
}

/** Suspends an App at an account, for site administrators. */
export async function suspendApp(
  deps: WriteDeps,
  actor: Actor,
  input: { slug: string; account: string; suspended: boolean },
): Promise<void> {
  requireSiteAdmin(actor, needs.siteAdmin)
  await setSuspended(deps, actor, await viewOf(deps.db, await installationNamed(deps.db, input)), input.suspended)
}

async function setSuspended(deps: WriteDeps, actor: Actor, view: InstallationView, suspended: boolean): Promise<void> {
  const { db, now } = deps
  const { installation } = view
  if ((installation.suspendedAt !== null) === suspended) return
  const at = now()
  const told = await db.transaction().execute(async (tx) => {
    await installationSuspend(tx, installation.id, suspended ? at : null, at)
    if (suspended) await deliveriesDropOfInstallation(tx, installation.id)
    await changed(tx, actor, installation, at, suspended ? 'suspended' : 'unsuspended')
    const then = { ...installation, suspendedAt: suspended ? at : null, updatedAt: at }
    return tell(tx, deps, actor, suspended ? 'suspend' : 'unsuspend', { ...view, installation: then })
  })
  signal(deps, told)
}

/** Repositories that the token of an installation reaches. */
export async function listRepositoriesOfInstallation(
  { db }: ReadDeps,
  actor: Actor,
  page: Page,
): Promise<{ repositories: Repository[]; total: number; selection: 'all' | 'selected' }> {
  const { installationId, grant } = requireInstallation(actor)
  const installation = found(await installationById(db, installationId))
  const selection = grant.only === null ? installation.repositorySelection : 'selected'
  return { ...(await installationRepositories(db, installation, grant.only, page)), selection }
}

async function changed(
  tx: Deps['db'],
  actor: Actor,
  { id, appId, accountId }: Installation,
  at: number,
  what: 'created' | 'updated' | 'deleted' | 'suspended' | 'unsuspended',
  payload: Record<string, unknown> = {},
): Promise<void> {
  const subject = { kind: 'installation', id }
  await eventInsert(tx, { at, actor, kind: `installation.${what}`, subject, payload: { appId, accountId, ...payload } })
}

const notFound = () => new AppError('not_found', 'Not Found')

function found<T>(value: T | undefined): T {
  if (value === undefined) throw notFound()
  return value
}
