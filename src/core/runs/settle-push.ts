import { isUtf8 } from 'node:buffer'
import type { Actor } from '../../model/access.ts'
import type { Account, Repository } from '../../model/account.ts'
import { fullName } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'
import { hears } from '../../model/hook.ts'
import type { HeadCommit } from '../../model/job.ts'
import { branchOf, noCommit, type Push, type RefUpdate } from '../../model/push.ts'
import { skipMarker } from '../../model/workflow/patterns.ts'
import type { ParsedWorkflow, Triggers } from '../../model/workflow/plan.ts'
import { notOffered } from '../../model/workflow/not-offered.ts'
import { accountById } from '../../store/accounts.ts'
import { eventInsert } from '../../store/events.ts'
import { pushById, pushSettle } from '../../store/pushes.ts'
import { repositoryById } from '../../store/repositories.ts'
import { workflowEnsure, workflowsMarkDeleted } from '../../store/runs.ts'
import type { Deps } from '../deps.ts'
import { hearersOf } from '../hooks/hearers.ts'
import { advanceRun } from './advance-run.ts'
import { payloadAccount, payloadRepository } from './event-payload.ts'
import { makeRun, WORKFLOW_MAX_BYTES, WORKFLOWS_FOLDER } from './trigger.ts'

/** GitHub makes no events for more tags than this in one push (job-message.md 6.2). */
const MAX_TAGS = 3
/** Files of a push that `paths` are matched against, and commits in its payload. */
const MAX_PATHS = 3000
const MAX_COMMITS = 20

/**
 * Makes the runs that a push causes: for each ref that it moved, the workflow files of that commit. Doing it again makes none twice, so a
 * death in the middle is mended by doing it again (`settle-pushes`). Answers the lines that the pusher is shown.
 */
export async function settlePush(deps: Deps, pushId: number): Promise<string[]> {
  const { db, now, log } = deps
  const push = await pushById(db, pushId)
  const repository = push && (await repositoryById(db, push.repositoryId))
  const sender = push && (await accountById(db, push.userId))
  if (!push || !repository || !sender) return []

  const lines: string[] = []
  const tags = push.updates.filter(({ ref }) => ref.startsWith('refs/tags/')).length
  for (const update of push.updates) {
    if (update.after === noCommit || (update.ref.startsWith('refs/tags/') && tags > MAX_TAGS)) continue
    lines.push(...(await settleUpdate(deps, { push, repository, sender }, update)))
  }
  const isHeard = (await hearersOf(db, repository)).some(({ hook }) => hears(hook, 'push'))
  const told = isHeard ? await toldPushes(deps, { push, repository, sender }) : []
  const at = now()
  await db.transaction().execute(async (tx) => {
    if (!(await pushSettle(tx, pushId, 'settled', at))) return
    const event = { at, actor: pusherOf(sender), kind: 'push', subject: { kind: 'push', id: pushId }, repositoryId: repository.id }
    for (const payload of told) await eventInsert(tx, { ...event, payload })
  })
  log.info({ pushId, repositoryId: repository.id, runs: lines.length }, 'push settled')
  return lines
}

/** What webhooks are told of a push: of each branch and tag that it moved or deleted. */
async function toldPushes(deps: Deps, pushed: Pushed): Promise<Record<string, unknown>[]> {
  const { updates } = pushed.push
  const tags = updates.filter(({ ref }) => ref.startsWith('refs/tags/')).length
  const told: Record<string, unknown>[] = []
  for (const update of updates) {
    if (update.ref.startsWith('refs/tags/') && tags > MAX_TAGS) continue
    const sha = update.after === noCommit ? undefined : await deps.git.resolve(pushed.repository.id, update.after)
    if (sha !== undefined) told.push(await pushPayload(deps, pushed, update, sha))
    else if (update.after === noCommit) told.push(deletionPayload(deps, pushed, update))
  }
  return told
}

interface Pushed {
  push: Push
  repository: Repository
  sender: Account
}

async function settleUpdate(deps: Deps, pushed: Pushed, update: RefUpdate): Promise<string[]> {
  const { git, db, now } = deps
  const { repository } = pushed
  const sha = await git.resolve(repository.id, update.after)
  if (sha === undefined) return [`${update.ref} does not point to a commit: no workflow starts.`]
  const head = await git.commit(repository.id, sha)
  const files = await workflowFiles(deps, repository.id, sha)
  if (branchOf(update.ref) === repository.defaultBranch) {
    await workflowsMarkDeleted(db, repository.id, files, now())
  }
  const marker = skipMarker(head.message)
  if (marker !== undefined && files.length > 0) return [`The commit message says ${marker}: no workflow starts.`]

  const lines: string[] = []
  let paths: string[] | 'unknown' | undefined
  const changedPaths = async () => {
    const before = update.before === noCommit ? undefined : update.before
    paths ??= await git.changedPaths(repository.id, before, sha, MAX_PATHS, [update.ref])
    return paths
  }
  for (const path of files) {
    let parsed = await readWorkflow(deps, repository.id, sha, path)
    const on = triggersOf(parsed)
    let starts: boolean
    try {
      starts = on === undefined || (await starting(deps, on, update, changedPaths))
    } catch (error) {
      if (!(error instanceof AppError) || error.kind !== 'invalid') throw error
      // Filters that take too long are a problem of their file, as what else cannot be read of one.
      parsed = { problems: [{ line: 1, column: 1, message: error.message }] }
      starts = true
    }
    if (starts) lines.push(...(await startRun(deps, pushed, { update, sha, head, path, parsed })))
    else if (branchOf(update.ref) === repository.defaultBranch) await rememberWorkflow(deps, repository, path, parsed)
    if (starts || branchOf(update.ref) === repository.defaultBranch) lines.push(...eventsToCome(path, on))
  }
  return lines
}

/** What a file asks for that starts nothing yet: said at each push, as the file itself runs for what there is. */
function eventsToCome(path: string, on: Triggers | undefined): string[] {
  return (on?.others ?? []).slice(0, 10).map(({ event, line }) => `${path}, line ${line}: ${notOffered(event)}, it starts nothing.`)
}

/** Paths of the workflow files of a commit, by name. */
export async function workflowFiles({ git }: Pick<Deps, 'git'>, repositoryId: number, sha: string): Promise<string[]> {
  const entries = (await git.listDirectory(repositoryId, sha, WORKFLOWS_FOLDER)) ?? []
  return entries
    .filter(({ type, name }) => type === 'blob' && /\.ya?ml$/.test(name))
    .map(({ name }) => `${WORKFLOWS_FOLDER}/${name}`)
    .sort()
}

/** A workflow file as it stands in a commit; what cannot be read is a problem of the file. */
export async function readWorkflow(
  { git, evaluator }: Pick<Deps, 'git' | 'evaluator'>,
  repositoryId: number,
  sha: string,
  path: string,
): Promise<ParsedWorkflow> {
  try {
    const content = await git.readFile(repositoryId, sha, path, WORKFLOW_MAX_BYTES)
    const text = content === undefined ? '' : decode(content)
    return typeof text === 'string' ? await evaluator.parse({ path, content: text }) : { problems: [text] }
  } catch (error) {
    if (!(error instanceof AppError) || error.kind !== 'too_large') throw error
    return { problems: [{ line: 1, column: 1, message: `the file is larger than ${WORKFLOW_MAX_BYTES} bytes` }] }
  }
}

function decode(content: Buffer): string | { line: number; column: number; message: string } {
  if (isUtf8(content)) return content.toString('utf8')
  const lines = content.toString('latin1').split('\n')
  const line = lines.findIndex((text) => !isUtf8(Buffer.from(text, 'latin1')))
  return { line: line + 1, column: 1, message: 'the file is not UTF-8 text' }
}

/** The file's triggers, also of one with problems; undefined when even those could not be read. */
export function triggersOf(parsed: ParsedWorkflow): Triggers | undefined {
  return 'plan' in parsed ? parsed.plan.on : parsed.on
}

export function workflowName(parsed: ParsedWorkflow, path: string): string {
  return ('plan' in parsed ? parsed.plan.name : parsed.name) ?? path
}

async function starting(
  { evaluator }: Deps,
  on: Triggers,
  { ref }: RefUpdate,
  changedPaths: () => Promise<string[] | 'unknown'>,
): Promise<boolean> {
  if (!on.push) return false
  const hasPaths = on.push.paths !== undefined || on.push.pathsIgnore !== undefined
  return evaluator.matchesPush({ on, pushed: { ref, changedPaths: hasPaths ? await changedPaths() : 'unknown' } })
}

async function rememberWorkflow({ db, now }: Deps, repository: Repository, path: string, parsed: ParsedWorkflow) {
  return workflowEnsure(db, { repositoryId: repository.id, path, name: workflowName(parsed, path), now: now() })
}

async function startRun(
  deps: Deps,
  { push, repository, sender }: Pushed,
  started: { update: RefUpdate; sha: string; head: HeadCommit; path: string; parsed: ParsedWorkflow },
): Promise<string[]> {
  const { update, sha, head, path, parsed } = started
  const workflow = await rememberWorkflow(deps, repository, path, parsed)
  if (workflow.state !== 'active') return []
  const actor: Actor = pusherOf(sender)
  const payload = await pushPayload(deps, { repository, sender }, update, sha)
  const title =
    ('plan' in parsed
      ? await deps.evaluator.runTitle({ plan: parsed.plan, contexts: { github: { event: payload }, inputs: {} } })
      : undefined) ?? firstLine(head.message)
  const run = await makeRun(deps, actor, {
    repository,
    workflow,
    parsed,
    source: `push:${push.id}:${update.ref}:${path}`,
    event: 'push',
    ref: update.ref,
    head,
    title,
    sender,
    payload,
    inputs: {},
  })
  if (!run) return []
  await advanceRun(deps, run.id)
  if (run.problem !== null) return [`${path} has problems, run ${run.id} failed:`, ...run.problem.split('\n').map((line) => `  ${line}`)]
  return [`${workflow.name} #${run.number} started, follow it with: fleetfoot runs watch ${run.id}`]
}

function pusherOf(sender: Account): Actor {
  return {
    kind: 'user',
    userId: sender.id,
    login: sender.login,
    siteAdmin: sender.siteAdmin,
    token: { kind: 'personal', scopes: [], expiresAt: null },
  }
}

export function firstLine(text: string): string {
  return text.split('\n', 1)[0]?.slice(0, 255) ?? ''
}

function deletionPayload(deps: Pick<Deps, 'addresses'>, { repository, sender }: Pushed, update: RefUpdate): Record<string, unknown> {
  const { ref, before, after } = update
  return {
    ref,
    before,
    after,
    created: false,
    deleted: true,
    forced: false,
    base_ref: null,
    compare: compareUrl(deps, repository, update),
    commits: [],
    head_commit: null,
    repository: payloadRepository(deps, repository),
    pusher: { name: sender.login, email: sender.email ?? '' },
    sender: payloadAccount(deps, sender),
  }
}

function compareUrl({ addresses }: Pick<Deps, 'addresses'>, repository: Repository, { before, after }: RefUpdate): string {
  return `${addresses.url}/${fullName(repository)}/compare/${before.slice(0, 12)}...${after.slice(0, 12)}`
}

/** A push of one ref as `github.event` and webhooks have it. */
export async function pushPayload(
  deps: Pick<Deps, 'git' | 'addresses'>,
  { repository, sender }: Pick<Pushed, 'repository' | 'sender'>,
  update: RefUpdate,
  sha: string,
): Promise<Record<string, unknown>> {
  const { git, addresses } = deps
  const before = update.before === noCommit ? undefined : update.before
  const found = branchOf(update.ref) === undefined ? [] : await git.commitsBetween(repository.id, before, sha, MAX_COMMITS, [update.ref])
  const commits = found.map((commit) => ({
    id: commit.id,
    tree_id: commit.treeId,
    message: commit.message,
    timestamp: commit.timestamp,
    url: `${addresses.url}/${fullName(repository)}/commit/${commit.id}`,
    author: commit.author,
    committer: commit.committer,
    added: commit.added,
    removed: commit.removed,
    modified: commit.modified,
    distinct: true,
  }))
  const head = await git.commit(repository.id, sha)
  const isForced = before !== undefined && !(await git.isAncestor(repository.id, before, sha))
  return {
    ref: update.ref,
    before: update.before,
    after: update.after,
    created: before === undefined,
    deleted: false,
    forced: isForced,
    base_ref: null,
    compare: compareUrl(deps, repository, update),
    commits,
    head_commit: commits.at(-1) ?? {
      id: head.id,
      tree_id: head.treeId,
      message: head.message,
      timestamp: head.timestamp,
      author: head.author,
      committer: head.committer,
      added: [],
      removed: [],
      modified: [],
    },
    repository: payloadRepository(deps, repository),
    pusher: { name: sender.login, email: sender.email ?? '' },
    sender: payloadAccount(deps, sender),
  }
}
