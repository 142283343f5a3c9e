import { accountOfActor, needs, type Actor } from '../../model/access.ts'
import type { Account, Repository } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'
import type { Job, Run, Workflow } from '../../model/job.ts'
import { dispatchInputs } from '../../model/workflow/dispatch.ts'
import { problemText } from '../../model/workflow/plan.ts'
import { accountById, accountByLogin } from '../../store/accounts.ts'
import { eventInsert } from '../../store/events.ts'
import { jobsOfAttempt } from '../../store/jobs.ts'
import {
  attemptCancel,
  attemptIds,
  attemptOfRun,
  runById,
  runList,
  workflowByFile,
  workflowById,
  workflowEnsure,
  workflowList,
  type RunFilter,
} from '../../store/runs.ts'
import { authorizeRepository, type RepositoryRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import { cancelJob } from '../jobs/cancel-job.ts'
import { advanceRun } from './advance-run.ts'
import { payloadAccount, payloadRepository } from './event-payload.ts'
import { firstLine, readWorkflow, triggersOf, workflowName } from './settle-push.ts'
import { makeRun, WORKFLOWS_FOLDER } from './trigger.ts'

type ReadDeps = Pick<Deps, 'db' | 'log'>
const notFound = () => new AppError('not_found', 'Not Found')

export interface PageInput {
  offset: number
  limit: number
}

/** A run with what its object on the wire shows beside it. */
export interface RunView {
  run: Run
  repository: Repository
  workflow: Workflow
  actor: Account | undefined
  attemptId: number
}

export async function listWorkflows(deps: ReadDeps, actor: Actor, ref: RepositoryRef, page: PageInput) {
  const { repository } = await authorizeRepository(deps, actor, ref, needs.actionsRead)
  return { repository, ...(await workflowList(deps.db, repository.id, page)) }
}

/** A workflow by its number or the name of its file. */
export async function getWorkflow(deps: ReadDeps, actor: Actor, ref: RepositoryRef, workflow: string) {
  const { repository } = await authorizeRepository(deps, actor, ref, needs.actionsRead)
  return { repository, workflow: await workflowNamed(deps, repository, workflow) }
}

async function workflowNamed({ db }: ReadDeps, repository: Repository, name: string): Promise<Workflow> {
  const isNumber = /^\d{1,15}$/.test(name)
  const found = isNumber ? await workflowById(db, repository.id, Number(name)) : await workflowByFile(db, repository.id, name)
  if (!found) throw notFound()
  return found
}

/**
 * Starts a workflow on a branch or tag by hand. The workflow is the one of that ref's commit.
 *
 * @throws AppError not_found, invalid in GitHub's words (rest-api.md 2.7)
 */
export async function dispatchWorkflow(
  deps: Deps,
  actor: Actor,
  input: { repository: RepositoryRef; workflow: string; ref: string; inputs: Record<string, unknown> },
): Promise<{ run: Run; repository: Repository }> {
  const { repository } = await authorizeRepository(deps, actor, input.repository, needs.actionsWrite)
  const account = accountOfActor(actor)
  if (!account) throw new AppError('forbidden', 'Resource not accessible by integration')
  const { ref, sha } = await resolveRef(deps, repository, input.ref)
  const known = await workflowOrUndefined(deps, repository, input.workflow)
  const path = known?.path ?? `${WORKFLOWS_FOLDER}/${input.workflow}`
  const content = /^[^\0\n\r]{1,500}$/.test(path)
    ? await deps.git.readFile(repository.id, sha, path, 1).catch(() => Buffer.alloc(1))
    : undefined
  if (content === undefined) throw known ? new AppError('invalid', `Workflow does not exist at ${input.ref}`) : notFound()

  const parsed = await readWorkflow(deps, repository.id, sha, path)
  const on = triggersOf(parsed)
  if (!on) {
    const text = 'problems' in parsed ? parsed.problems.map(problemText).join('; ') : ''
    throw new AppError('invalid', `The workflow file cannot be read: ${text}`)
  }
  const { inputs, eventInputs } = dispatchInputs(on, input.inputs)
  const now = deps.now()
  const workflow = await workflowEnsure(deps.db, { repositoryId: repository.id, path, name: workflowName(parsed, path), now })
  if (workflow.state !== 'active') throw new AppError('invalid', "Cannot trigger a 'workflow_dispatch' on a disabled workflow")

  const head = await deps.git.commit(repository.id, sha)
  const sender = await accountById(deps.db, account.id)
  if (!sender) throw notFound()
  const payload = {
    inputs: eventInputs,
    ref,
    workflow: path,
    repository: payloadRepository(deps, repository),
    sender: payloadAccount(deps, sender),
  }
  const title =
    'plan' in parsed ? await deps.evaluator.runTitle({ plan: parsed.plan, contexts: { github: { event: payload }, inputs } }) : undefined
  const run = await makeRun(deps, actor, {
    repository,
    workflow,
    parsed,
    source: null,
    event: 'workflow_dispatch',
    ref,
    head,
    title: title ?? workflow.name ?? firstLine(head.message),
    sender,
    payload,
    inputs,
  })
  if (!run) throw new Error('a dispatch made no run')
  await advanceRun(deps, run.id)
  return { run, repository }
}

async function workflowOrUndefined(deps: ReadDeps, repository: Repository, name: string): Promise<Workflow | undefined> {
  try {
    return await workflowNamed(deps, repository, name)
  } catch (error) {
    if (error instanceof AppError && error.kind === 'not_found') return undefined
    throw error
  }
}

async function resolveRef({ git }: Pick<Deps, 'git'>, repository: Repository, text: string): Promise<{ ref: string; sha: string }> {
  const candidates = text.startsWith('refs/') ? [text] : [`refs/heads/${text}`, `refs/tags/${text}`]
  for (const ref of candidates) {
    const sha = /^refs\/(?:heads|tags)\//.test(ref) ? await git.resolve(repository.id, ref) : undefined
    if (sha !== undefined) return { ref, sha }
  }
  throw new AppError('invalid', `No ref found for: ${text}`)
}

/** Runs of a repository, or of one workflow, newest first. */
export async function listRuns(
  deps: ReadDeps,
  actor: Actor,
  ref: RepositoryRef,
  filter: Omit<RunFilter, 'workflowId' | 'actorId'> & { workflow?: string | undefined; actor?: string | undefined },
  page: PageInput,
): Promise<{ repository: Repository; workflow: Workflow | undefined; runs: RunView[]; total: number }> {
  const { repository } = await authorizeRepository(deps, actor, ref, needs.actionsRead)
  const workflow = filter.workflow === undefined ? undefined : await workflowNamed(deps, repository, filter.workflow)
  const by = filter.actor === undefined ? undefined : await accountByLogin(deps.db, filter.actor)
  if (filter.actor !== undefined && !by) return { repository, workflow, runs: [], total: 0 }
  const { runs, total } = await runList(deps.db, repository.id, { ...filter, workflowId: workflow?.id, actorId: by?.id }, page)
  return { repository, workflow, runs: await viewsOf(deps, repository, runs), total }
}

/** Runs of a repository with what is shown beside them. */
export async function viewsOf({ db }: Pick<Deps, 'db'>, repository: Repository, runs: Run[]): Promise<RunView[]> {
  const attempts = await attemptIds(
    db,
    runs.map(({ id }) => id),
  )
  const workflows = new Map<number, Workflow | undefined>()
  const actors = new Map<number, Account | undefined>()
  const views: RunView[] = []
  for (const run of runs) {
    if (!workflows.has(run.workflowId)) workflows.set(run.workflowId, await workflowById(db, repository.id, run.workflowId))
    if (!actors.has(run.actorId)) actors.set(run.actorId, await accountById(db, run.actorId))
    const workflow = workflows.get(run.workflowId)
    if (workflow) views.push({ run, repository, workflow, actor: actors.get(run.actorId), attemptId: attempts.get(run.id) ?? run.id })
  }
  return views
}

export async function getRun(deps: ReadDeps, actor: Actor, ref: RepositoryRef, runId: number): Promise<RunView> {
  const { repository } = await authorizeRepository(deps, actor, ref, needs.actionsRead)
  const run = await runIn(deps, repository, runId)
  const [view] = await viewsOf(deps, repository, [run])
  if (!view) throw notFound()
  return view
}

/** A run by its number alone, for whoever may read its repository; for others it is not found. */
export async function locateRun(deps: ReadDeps, actor: Actor, runId: number): Promise<{ run: Run; repository: Repository }> {
  const run = await runById(deps.db, runId)
  if (!run) throw notFound()
  const { repository } = await authorizeRepository(deps, actor, { id: run.repositoryId }, needs.actionsRead)
  return { run, repository }
}

async function runIn({ db }: ReadDeps, repository: Repository, runId: number): Promise<Run> {
  const run = await runById(db, runId)
  if (!run || run.repositoryId !== repository.id) throw notFound()
  return run
}

/**
 * Cancels a run: jobs in line end at once, those on runners are told to stop, those that wait for others are decided anew, so that
 * `always()` ones still run.
 *
 * @throws AppError conflict when it is completed
 */
export async function cancelRun(deps: Deps, actor: Actor, ref: RepositoryRef, runId: number): Promise<void> {
  const { repository } = await authorizeRepository(deps, actor, ref, needs.actionsWrite)
  const run = await runIn(deps, repository, runId)
  const attempt = await attemptOfRun(deps.db, run.id)
  if (run.status === 'completed' || !attempt) throw new AppError('conflict', 'Cannot cancel a workflow run that is completed.')
  const at = deps.now()
  await deps.db.transaction().execute(async (tx) => {
    if (!(await attemptCancel(tx, attempt.id, at))) return
    await eventInsert(tx, { at, actor, kind: 'run.cancelling', subject: { kind: 'run', id: run.id }, repositoryId: repository.id })
  })
  await cancelJobsOf(deps, actor, await jobsOfAttempt(deps.db, attempt.id))
  await advanceRun(deps, run.id)
}

async function cancelJobsOf(deps: Deps, actor: Actor, jobs: Job[]): Promise<void> {
  for (const job of jobs) {
    if (job.status !== 'completed' && job.status !== 'pending') await cancelJob(deps, actor, job.id, 'user')
  }
}
