import { reachOf, type Actor } from '../../model/access.ts'
import type { Account, Repository } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'
import {
  checkGroupName,
  checkWorkflowCount,
  DEFAULT_GROUP_NUMBER,
  parseSelectedWorkflow,
  type GroupOwner,
  type GroupVisibility,
  type InheritedGroup,
  type RunnerGroup,
  type SelectedWorkflow,
} from '../../model/runner-group.ts'
import type { Runner } from '../../model/runner.ts'
import { accountById, accountByLogin, enterpriseGet, organizationsAmong } from '../../store/accounts.ts'
import { eventInsert } from '../../store/events.ts'
import { isUniqueViolation } from '../../store/open.ts'
import { repositoriesAmong, repositoryById, repositoryByName } from '../../store/repositories.ts'
import {
  groupAccessAdd,
  groupAccessPage,
  groupAccessRemove,
  groupAccessSet,
  inheritedAccessAdd,
  inheritedAccessPage,
  inheritedAccessRemove,
  inheritedAccessSet,
  inheritedGroupByNumber,
  inheritedGroupPage,
  inheritedGroupUpdate,
  runnerGroupByNumber,
  runnerGroupDelete,
  runnerGroupEnsureDefault,
  runnerGroupInsert,
  runnerGroupPage,
  runnerGroupTouch,
  runnerGroupUpdate,
  runnersMove,
  type GroupSettings,
} from '../../store/runner-groups.ts'
import { runnerById, runnersAmong, runnersOfGroup } from '../../store/runners.ts'
import { authorizeRunnerScope, type RunnerScope, type RunnerScopeRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import { registeringNeeds, runnerNeeds, runnerReadNeeds } from './registration-tokens.ts'

type GroupDeps = Pick<Deps, 'db' | 'log' | 'now' | 'signals'>

/** A group as a scope has it: its own, one that an organization inherits of the enterprise, or the only one that a repository shows. */
export type GroupView = { kind: 'own'; group: RunnerGroup } | { kind: 'inherited'; inherited: InheritedGroup } | { kind: 'repository' }

export interface Page {
  offset: number
  limit: number
}

const notFound = () => new AppError('not_found', 'Not Found')
const nameTaken = (name: string) => new AppError('conflict', `Already exists - A runner group with the name ${name} already exists.`)
const readOnly = () => new AppError('forbidden', 'This runner group belongs to the enterprise, which alone can change this of it.')

/**
 * The groups of a scope by name; an organization's own come first, then those of the enterprise that it may use. A repository has none of
 * its own and shows a Default one, which `config.sh` asks for (rest-api.md 2.5); a registration token sees what runners can join.
 */
export async function listRunnerGroups(
  deps: GroupDeps,
  actor: Actor,
  { scope: ref, visibleTo, ...page }: { scope: RunnerScopeRef; visibleTo?: string | undefined } & Page,
): Promise<{ scope: RunnerScope; groups: GroupView[]; total: number }> {
  const scope = await authorizeRunnerScope(deps, actor, ref, registeringNeeds)
  if (scope.kind === 'repository') return { scope, groups: page.offset === 0 ? [{ kind: 'repository' }] : [], total: 1 }

  const owner = await ownerOf(deps, scope)
  const target = visibleTo === undefined ? undefined : await visibleTarget(deps, scope, visibleTo)
  const own = await runnerGroupPage(deps.db, owner, { visibleTo: target, ...page })
  const groups: GroupView[] = own.groups.map((group) => ({ kind: 'own', group }))
  if (scope.kind === 'enterprise' || actor.kind === 'registration') return { scope, groups, total: own.total }

  const { id: enterpriseId } = await enterpriseGet(deps.db)
  const rest = { offset: Math.max(0, page.offset - own.total), limit: page.limit - groups.length }
  const of = { organizationId: scope.id, enterpriseId, now: deps.now() }
  if (target === undefined) {
    const inherited = await inheritedGroupPage(deps.db, of, rest)
    groups.push(...inherited.groups.map((each): GroupView => ({ kind: 'inherited', inherited: each })))
    return { scope, groups, total: own.total + inherited.total }
  }
  // What the organization narrowed is known only group by group; there are few that it inherits.
  const all = await inheritedGroupPage(deps.db, of, { offset: 0, limit: 10_000 })
  const open: InheritedGroup[] = []
  for (const each of all.groups) {
    if (each.visibility !== 'selected' || (await inheritedAccessPage(deps.db, each, { offset: 0, limit: 10_000 })).ids.includes(target))
      open.push(each)
  }
  const shown = open.slice(rest.offset, rest.offset + rest.limit)
  groups.push(...shown.map((each): GroupView => ({ kind: 'inherited', inherited: each })))
  return { scope, groups, total: own.total + open.length }
}

async function ownerOf({ db, now }: Pick<Deps, 'db' | 'now'>, scope: RunnerScope): Promise<GroupOwner> {
  if (scope.kind === 'repository') throw notFound()
  const owner = { kind: scope.kind, id: scope.id }
  await runnerGroupEnsureDefault(db, owner, now())
  return owner
}

/** `visible_to_repository` is a name without its owner, `visible_to_organization` a login (rest-api.md 2.4); an unknown one sees nothing. */
async function visibleTarget({ db }: Pick<Deps, 'db'>, scope: RunnerScope, name: string): Promise<number> {
  if (scope.kind !== 'organization') {
    const account = await accountByLogin(db, name)
    return account?.kind === 'organization' ? account.id : 0
  }
  const { login } = scope.organization
  const plain = name.toLowerCase().startsWith(`${login.toLowerCase()}/`) ? name.slice(login.length + 1) : name
  return (await repositoryByName(db, login, plain))?.id ?? 0
}

/** One group by the number that the scope knows it by. @throws AppError not_found */
export async function getRunnerGroup(
  deps: GroupDeps,
  actor: Actor,
  input: { scope: RunnerScopeRef; number: number },
): Promise<{ scope: RunnerScope; view: GroupView }> {
  const scope = await authorizeRunnerScope(deps, actor, input.scope, registeringNeeds)
  return { scope, view: await viewOf(deps, scope, input.number) }
}

async function viewOf(deps: GroupDeps, scope: RunnerScope, number: number): Promise<GroupView> {
  if (scope.kind === 'repository') {
    if (number !== DEFAULT_GROUP_NUMBER) throw notFound()
    return { kind: 'repository' }
  }
  const owner = await ownerOf(deps, scope)
  const group = await runnerGroupByNumber(deps.db, owner, number)
  if (group) return { kind: 'own', group }
  const inherited = scope.kind === 'organization' ? await inheritedGroupByNumber(deps.db, scope.id, number) : undefined
  if (!inherited) throw notFound()
  return { kind: 'inherited', inherited }
}

export interface GroupChange {
  name?: string | undefined
  visibility?: GroupVisibility | undefined
  allowsPublicRepositories?: boolean | undefined
  restrictedToWorkflows?: boolean | undefined
  selectedWorkflows?: string[] | undefined
}

/**
 * Makes a group, opens it to repositories or organizations, and moves runners into it.
 *
 * @throws AppError conflict when the name is taken; invalid for ids that are not there
 */
export async function createRunnerGroup(
  deps: GroupDeps,
  actor: Actor,
  input: { scope: RunnerScopeRef; name: string; targetIds?: number[] | undefined; runnerIds?: number[] | undefined } & GroupChange,
): Promise<{ scope: RunnerScope; view: GroupView }> {
  const scope = await authorizeRunnerScope(deps, actor, input.scope, runnerNeeds)
  const owner = await ownerOf(deps, scope)
  const settings: GroupSettings = {
    name: checkGroupName(input.name),
    visibility: visibilityIn(owner, input.visibility ?? 'all'),
    allowsPublicRepositories: input.allowsPublicRepositories ?? false,
    restrictedToWorkflows: input.restrictedToWorkflows ?? false,
    selectedWorkflows: await workflowsOf(deps, input.selectedWorkflows ?? []),
  }
  const targetIds = await requireTargets(deps, actor, scope, input.targetIds ?? [])
  const runnerIds = await requireRunners(deps, scope, input.runnerIds ?? [])
  const at = deps.now()
  const made = await deps.db.transaction().execute(async (tx) => {
    const group = await runnerGroupInsert(tx, owner, settings, at)
    if (!group) return undefined
    await groupAccessSet(tx, group.id, targetIds)
    const moved = await runnersMove(tx, { to: group.id, ids: runnerIds })
    await groupEvent(tx, actor, group, 'created', at, { name: group.name, visibility: group.visibility })
    return { group, moved }
  })
  if (!made) throw nameTaken(settings.name)
  for (const id of made.moved) deps.signals.send('runner', id)
  return { scope, view: { kind: 'own', group: made.group } }
}

function visibilityIn(owner: GroupOwner, visibility: GroupVisibility): GroupVisibility {
  if (owner.kind === 'enterprise' && visibility === 'private') {
    throw new AppError('invalid', 'The visibility of a runner group of the enterprise is all or selected')
  }
  return visibility
}

/** Workflows with the repositories that they name now. @throws AppError invalid, naming the one that is wrong */
async function workflowsOf({ db }: Pick<Deps, 'db'>, texts: string[]): Promise<SelectedWorkflow[]> {
  checkWorkflowCount(texts.length)
  const workflows: SelectedWorkflow[] = []
  for (const text of new Set(texts)) {
    const { owner, name, path, ref } = parseSelectedWorkflow(text)
    const repository = await repositoryByName(db, owner, name)
    if (!repository) throw new AppError('invalid', `The repository of ${text} was not found`)
    workflows.push({ text, repositoryId: repository.id, path, ref })
  }
  return workflows
}

/** Repositories of the organization that the token reaches, or organizations. @throws AppError invalid for one that is not there */
async function requireTargets(deps: Pick<Deps, 'db'>, actor: Actor, scope: RunnerScope, ids: number[]): Promise<number[]> {
  const unique = [...new Set(ids)]
  const found = await targetsAmong(deps, actor, scope, unique)
  const missing = unique.find((id) => !found.has(id))
  if (missing === undefined) return unique
  throw new AppError(
    'invalid',
    scope.kind === 'enterprise' ? `There is no organization ${missing}` : `There is no repository ${missing} here`,
  )
}

function targetsAmong({ db }: Pick<Deps, 'db'>, actor: Actor, scope: RunnerScope, ids: number[]): Promise<Set<number>> {
  return scope.kind === 'enterprise' ? organizationsAmong(db, ids) : repositoriesAmong(db, scope.id, ids, reachOf(actor))
}

async function requireRunners({ db }: Pick<Deps, 'db'>, scope: RunnerScope, ids: number[]): Promise<number[]> {
  const unique = [...new Set(ids)]
  const found = await runnersAmong(db, { kind: scope.kind, id: scope.id }, unique)
  const missing = unique.find((id) => !found.has(id))
  if (missing !== undefined) throw new AppError('invalid', `There is no runner ${missing} here`)
  return unique
}

async function groupEvent(
  tx: Deps['db'],
  actor: Actor,
  group: RunnerGroup,
  what: string,
  at: number,
  payload: Record<string, unknown>,
): Promise<void> {
  const owner = { ownerKind: group.ownerKind, ownerId: group.ownerId, number: group.number }
  await eventInsert(tx, {
    at,
    actor,
    kind: `runner_group.${what}`,
    subject: { kind: 'runner_group', id: group.id },
    payload: { ...owner, ...payload },
  })
}

/**
 * Changes a group. Of one that it inherits, an organization changes only to whom of its own it is open, never wider than the enterprise.
 *
 * @throws AppError not_found; conflict when the name is taken; invalid, also for the name and visibility of the Default group; forbidden
 */
export async function updateRunnerGroup(
  deps: GroupDeps,
  actor: Actor,
  input: { scope: RunnerScopeRef; number: number } & GroupChange,
): Promise<{ scope: RunnerScope; view: GroupView }> {
  const scope = await authorizeRunnerScope(deps, actor, input.scope, runnerNeeds)
  const view = await viewOf(deps, scope, input.number)
  if (view.kind === 'repository') throw notFound()
  if (view.kind === 'inherited') return { scope, view: await narrow(deps, actor, view.inherited, input) }

  const { group } = view
  const isDefault = group.number === DEFAULT_GROUP_NUMBER
  const name = input.name === undefined ? group.name : checkGroupName(input.name)
  if (isDefault && name !== group.name) throw new AppError('invalid', 'The Default group cannot be renamed')
  const settings: GroupSettings = {
    name,
    visibility: visibilityIn({ kind: group.ownerKind, id: group.ownerId }, input.visibility ?? group.visibility),
    allowsPublicRepositories: input.allowsPublicRepositories ?? group.allowsPublicRepositories,
    restrictedToWorkflows: input.restrictedToWorkflows ?? group.restrictedToWorkflows,
    selectedWorkflows: input.selectedWorkflows === undefined ? group.selectedWorkflows : await workflowsOf(deps, input.selectedWorkflows),
  }
  const at = deps.now()
  try {
    const changed = await deps.db.transaction().execute(async (tx) => {
      const updated = await runnerGroupUpdate(tx, group.id, settings, at)
      if (updated) await groupEvent(tx, actor, updated, 'updated', at, { from: summary(group), to: summary(updated) })
      return updated
    })
    if (!changed) throw notFound()
    deps.signals.send('group', group.id)
    return { scope, view: { kind: 'own', group: changed } }
  } catch (error) {
    if (isUniqueViolation(error)) throw nameTaken(name)
    throw error
  }
}

function summary({ name, visibility, allowsPublicRepositories, restrictedToWorkflows, selectedWorkflows }: RunnerGroup) {
  return { name, visibility, allowsPublicRepositories, restrictedToWorkflows, selectedWorkflows: selectedWorkflows.map(({ text }) => text) }
}

async function narrow(deps: GroupDeps, actor: Actor, inherited: InheritedGroup, change: GroupChange): Promise<GroupView> {
  const { group } = inherited
  const changesMore =
    (change.name !== undefined && change.name !== group.name) ||
    (change.restrictedToWorkflows !== undefined && change.restrictedToWorkflows !== group.restrictedToWorkflows) ||
    change.selectedWorkflows !== undefined
  if (changesMore) throw readOnly()
  if (change.allowsPublicRepositories && !group.allowsPublicRepositories) {
    throw new AppError('invalid', 'The enterprise does not allow public repositories to use this runner group')
  }
  const { visibility, allowsPublicRepositories } = change
  const at = deps.now()
  await deps.db.transaction().execute(async (tx) => {
    const made = {
      ...(visibility !== undefined && { visibility }),
      ...(allowsPublicRepositories !== undefined && { allowsPublicRepositories }),
    }
    await inheritedGroupUpdate(tx, inherited, made, at)
    await groupEvent(tx, actor, group, 'narrowed', at, { organizationId: inherited.organizationId, ...made })
  })
  deps.signals.send('group', group.id)
  const after = await inheritedGroupByNumber(deps.db, inherited.organizationId, inherited.number)
  if (!after) throw notFound()
  return { kind: 'inherited', inherited: after }
}

/** Deletes a group; its runners go to the Default group. @throws AppError not_found, forbidden, invalid for the Default group */
export async function deleteRunnerGroup(deps: GroupDeps, actor: Actor, input: { scope: RunnerScopeRef; number: number }): Promise<void> {
  const { scope, group } = await ownGroup(deps, actor, input)
  if (group.number === DEFAULT_GROUP_NUMBER) throw new AppError('invalid', 'The Default group cannot be deleted')
  const owner = await ownerOf(deps, scope)
  const at = deps.now()
  const moved = await deps.db.transaction().execute(async (tx) => {
    const fallback = await runnerGroupEnsureDefault(tx, owner, at)
    const runners = await runnersMove(tx, { from: group.id, to: fallback.id })
    await runnerGroupDelete(tx, group.id)
    await groupEvent(tx, actor, group, 'deleted', at, { name: group.name, runners: runners.length })
    return runners
  })
  for (const id of moved) deps.signals.send('runner', id)
}

/** A group that is the scope's own, for its managers. @throws AppError not_found; forbidden for an inherited one */
async function ownGroup(
  deps: GroupDeps,
  actor: Actor,
  input: { scope: RunnerScopeRef; number: number },
): Promise<{ scope: RunnerScope; group: RunnerGroup }> {
  const scope = await authorizeRunnerScope(deps, actor, input.scope, runnerNeeds)
  const view = await viewOf(deps, scope, input.number)
  if (view.kind === 'repository') throw notFound()
  if (view.kind === 'inherited') throw readOnly()
  return { scope, group: view.group }
}

/**
 * A page of the repositories, or organizations, that a group is open to: none unless its visibility is `selected`, whatever the list was
 * before (rest-api.md 2.4: Terraform compares it with an unset attribute). A token for some repositories sees and sets those alone.
 */
export async function listGroupAccess(
  deps: GroupDeps,
  actor: Actor,
  input: { scope: RunnerScopeRef; number: number } & Page,
): Promise<{ scope: RunnerScope; repositories: Repository[]; organizations: Account[]; total: number }> {
  const scope = await authorizeRunnerScope(deps, actor, input.scope, runnerReadNeeds)
  const view = await viewOf(deps, scope, input.number)
  const none = { scope, repositories: [], organizations: [], total: 0 }
  if (view.kind === 'repository') throw notFound()
  const { visibility } = view.kind === 'own' ? view.group : view.inherited
  if (visibility !== 'selected') return none

  const reach = reachOf(actor)
  const { ids, total } =
    view.kind === 'own'
      ? await groupAccessPage(deps.db, view.group.id, input, reach)
      : await inheritedAccessPage(deps.db, view.inherited, input, reach)
  const repositories: Repository[] = []
  const organizations: Account[] = []
  for (const id of ids) {
    if (scope.kind === 'enterprise') {
      const account = await accountById(deps.db, id)
      if (account) organizations.push(account)
    } else {
      const repository = await repositoryById(deps.db, id)
      if (repository) repositories.push(repository)
    }
  }
  return { scope, repositories, organizations, total }
}

/** Opens a group to exactly these repositories or organizations; taken at any visibility, it counts with `selected` (rest-api.md 2.4). */
export async function setGroupAccess(
  deps: GroupDeps,
  actor: Actor,
  input: { scope: RunnerScopeRef; number: number; ids: number[] },
): Promise<void> {
  const scope = await authorizeRunnerScope(deps, actor, input.scope, runnerNeeds)
  const view = await viewOf(deps, scope, input.number)
  if (view.kind === 'repository') throw notFound()
  const ids = await requireTargets(deps, actor, scope, input.ids)
  await changeAccess(deps, actor, view, { ids }, async (tx) => {
    if (view.kind === 'own') await groupAccessSet(tx, view.group.id, ids, reachOf(actor))
    else await inheritedAccessSet(tx, view.inherited, ids, reachOf(actor))
  })
}

/**
 * Opens a group to one more repository or organization, or closes it to one.
 *
 * @throws AppError not_found, also for the repository or organization; conflict unless the visibility is `selected`
 */
export async function changeGroupAccess(
  deps: GroupDeps,
  actor: Actor,
  input: { scope: RunnerScopeRef; number: number; id: number; change: 'add' | 'remove' },
): Promise<void> {
  const scope = await authorizeRunnerScope(deps, actor, input.scope, runnerNeeds)
  const view = await viewOf(deps, scope, input.number)
  if (view.kind === 'repository' || !(await targetsAmong(deps, actor, scope, [input.id])).has(input.id)) throw notFound()
  const { visibility } = view.kind === 'own' ? view.group : view.inherited
  if (visibility !== 'selected') throw new AppError('conflict', 'The runner group must have visibility set to selected')
  await changeAccess(deps, actor, view, { [input.change]: input.id }, async (tx) => {
    if (view.kind === 'own')
      await (input.change === 'add' ? groupAccessAdd(tx, view.group.id, [input.id]) : groupAccessRemove(tx, view.group.id, input.id))
    else
      await (input.change === 'add'
        ? inheritedAccessAdd(tx, view.inherited, [input.id])
        : inheritedAccessRemove(tx, view.inherited, input.id))
  })
}

async function changeAccess(
  deps: GroupDeps,
  actor: Actor,
  view: Exclude<GroupView, { kind: 'repository' }>,
  payload: Record<string, unknown>,
  change: (tx: Deps['db']) => Promise<void>,
): Promise<void> {
  const group = view.kind === 'own' ? view.group : view.inherited.group
  const at = deps.now()
  await deps.db.transaction().execute(async (tx) => {
    await change(tx)
    await runnerGroupTouch(tx, group.id, at)
    await groupEvent(tx, actor, group, 'access_changed', at, payload)
  })
  deps.signals.send('group', group.id)
}

/** A page of a group's runners by name; of an inherited one too (rest-api.md 4.6). */
export async function listGroupRunners(
  deps: GroupDeps,
  actor: Actor,
  input: { scope: RunnerScopeRef; number: number } & Page,
): Promise<{ scope: RunnerScope; runners: Runner[]; total: number }> {
  const scope = await authorizeRunnerScope(deps, actor, input.scope, runnerReadNeeds)
  const view = await viewOf(deps, scope, input.number)
  if (view.kind === 'repository') throw notFound()
  const { id } = view.kind === 'own' ? view.group : view.inherited.group
  const { runners, total } = await runnersOfGroup(deps.db, id, input)
  // An inherited group has another number here than where its runners are registered.
  return { scope, runners: runners.map((runner) => ({ ...runner, groupNumber: input.number })), total }
}

/** Puts exactly these runners in a group; who was there and is not named goes to the Default group. @throws AppError invalid, forbidden */
export async function setGroupRunners(
  deps: GroupDeps,
  actor: Actor,
  input: { scope: RunnerScopeRef; number: number; runnerIds: number[] },
): Promise<void> {
  const { scope, group } = await ownGroup(deps, actor, input)
  const ids = await requireRunners(deps, scope, input.runnerIds)
  const owner = await ownerOf(deps, scope)
  await moveRunners(deps, actor, group, { runners: ids }, async (tx) => {
    const fallback = await runnerGroupEnsureDefault(tx, owner, deps.now())
    const out = await runnersMove(tx, { from: group.id, to: fallback.id })
    const back = new Set(await runnersMove(tx, { to: group.id, ids }))
    return [...new Set([...out, ...back])]
  })
}

/** Puts one runner in a group, or takes it out of it into the Default one. @throws AppError not_found, also for the runner; forbidden */
export async function changeGroupRunner(
  deps: GroupDeps,
  actor: Actor,
  input: { scope: RunnerScopeRef; number: number; runnerId: number; change: 'add' | 'remove' },
): Promise<void> {
  const { scope, group } = await ownGroup(deps, actor, input)
  const runner = await runnerById(deps.db, input.runnerId)
  if (runner?.scope.kind !== scope.kind || runner.scope.id !== scope.id) throw notFound()
  const owner = await ownerOf(deps, scope)
  await moveRunners(deps, actor, group, { [input.change]: runner.id }, async (tx) => {
    if (input.change === 'add') return runnersMove(tx, { to: group.id, ids: [runner.id] })
    const fallback = await runnerGroupEnsureDefault(tx, owner, deps.now())
    return runnersMove(tx, { from: group.id, to: fallback.id, ids: [runner.id] })
  })
}

async function moveRunners(
  deps: GroupDeps,
  actor: Actor,
  group: RunnerGroup,
  payload: Record<string, unknown>,
  move: (tx: Deps['db']) => Promise<number[]>,
): Promise<void> {
  const moved = await deps.db.transaction().execute(async (tx) => {
    const ids = await move(tx)
    await groupEvent(tx, actor, group, 'runners_changed', deps.now(), payload)
    return ids
  })
  for (const id of moved) deps.signals.send('runner', id)
}
