import { systemActor } from '../../model/access.ts'
import type { Repository } from '../../model/account.ts'
import { labelSet, type Conclusion, type Job, type Run } from '../../model/job.ts'
import type { JobContexts, NeedResult, PlannedJob, WorkflowPlan } from '../../model/workflow/plan.ts'
import { eventInsert } from '../../store/events.ts'
import { jobEnqueue, jobsOfAttempt, jobStatesOfRun } from '../../store/jobs.ts'
import { annotationsSet } from '../../store/logs.ts'
import { repositoryById } from '../../store/repositories.ts'
import { attemptComplete, attemptIsCancelled, attemptOfRun, runById, runUpdate, type Attempt } from '../../store/runs.ts'
import type { Deps } from '../deps.ts'
import { cancelJob } from '../jobs/cancel-job.ts'
import { finishJob } from '../jobs/finish-job.ts'
import { placeJob } from '../queue/place-job.ts'
import { jobEvent } from '../jobs/job-event.ts'
import { githubContext } from './github-context.ts'

type RunDeps = Pick<Deps, 'db' | 'now' | 'signals' | 'log' | 'evaluator' | 'addresses'>

/**
 * Moves a run as far as it goes: jobs whose needs are done are put in line, skipped or failed; when all are done the run ends. Each step
 * is guarded by the state that it starts from, so any number of nodes may do it at once, and `advance-stalled-runs` does it again after a
 * death in between.
 */
export async function advanceRun(deps: RunDeps, runId: number): Promise<void> {
  for (;;) {
    const states = await jobStatesOfRun(deps.db, runId)
    // Jobs are under way and none waits for another: nothing moves until one ends.
    if (!states.has('pending') && [...states].some((status) => status !== 'completed')) return
    const run = await runById(deps.db, runId)
    if (!run || run.status === 'completed') return
    const attempt = await attemptOfRun(deps.db, runId)
    if (!attempt) return
    const jobs = await jobsOfAttempt(deps.db, attempt.id)
    if (jobs.every(({ status }) => status === 'completed')) return endRun(deps, run, attempt, jobs)
    const moved = await moveReady(deps, run, attempt, jobs)
    if (!moved) return
  }
}

/** Whether a job was skipped or failed: then others may have become ready. */
async function moveReady(deps: RunDeps, run: Run, attempt: Attempt, jobs: Job[]): Promise<boolean> {
  const { plan } = attempt
  if (!plan) return false
  const byKey = new Map(jobs.map((job) => [job.key, job]))
  const ready = plan.jobs.filter(
    (planned) => byKey.get(planned.id)?.status === 'pending' && planned.needs.every((need) => byKey.get(need)?.status === 'completed'),
  )
  const repository = ready.length > 0 ? await repositoryById(deps.db, run.repositoryId) : undefined
  if (!repository) return false
  const github = await githubContext(deps, run, repository, attempt)
  let moved = false
  for (const planned of ready) {
    const job = byKey.get(planned.id)
    if (job) moved = (await decide(deps, { run, attempt, plan, repository, github, byKey }, planned, job)) || moved
  }
  return moved
}

interface Deciding {
  run: Run
  attempt: Attempt
  plan: WorkflowPlan
  repository: Repository
  github: JobContexts['github']
  byKey: Map<string, Job>
}

async function decide(
  deps: RunDeps,
  { run, attempt, plan, repository, github, byKey }: Deciding,
  planned: PlannedJob,
  job: Job,
): Promise<boolean> {
  const { db, now, signals, evaluator, log } = deps
  const contexts: JobContexts = {
    github,
    inputs: run.inputs,
    needs: needsOf(planned, byKey),
    ancestors: ancestorsOf(plan, planned, byKey),
    runCancelled: attempt.cancelledAt !== null,
  }
  const decision = await evaluator.evaluateJob({ job: planned, contexts })
  const at = now()
  if ('problem' in decision) {
    await db.transaction().execute(async (tx) => {
      const failed = await finishJob(tx, job.id, ['pending'], { conclusion: 'failure', problem: decision.problem }, at)
      if (failed) await annotationsSet(tx, job.id, [problemOf(plan, decision.problem)])
    })
    log.info({ jobId: job.id, problem: decision.problem }, 'job could not be decided')
    signals.send('job', job.id)
    return true
  }
  if (decision.decision === 'skip') {
    const conclusion = attempt.cancelledAt === null ? 'skipped' : 'cancelled'
    await db.transaction().execute((tx) => finishJob(tx, job.id, ['pending'], { conclusion }, at))
    signals.send('job', job.id)
    return true
  }
  const { group, labels } = decision.runsOn
  const queued = await db.transaction().execute(async (tx) => {
    const placement = await placeJob(tx, { repository, run, workflow: plan.path, labels }, at)
    const enqueued = await jobEnqueue(
      tx,
      { id: job.id, from: 'pending' },
      {
        repositoryId: repository.id,
        ownerId: repository.owner.id,
        ownerKind: repository.owner.kind === 'organization' ? 'organization' : 'user',
        isPublic: repository.visibility === 'public',
        groupName: group === undefined ? null : plainGroup(group),
        labels: labelSet(labels),
        workflow: `${plan.path}@${run.ref}`,
        runnerLabels: labels,
        name: decision.name,
        continueOnError: decision.continueOnError,
        timeoutMs: wholeMs(decision.timeoutMinutes),
        cancelTimeoutMs: wholeMs(decision.cancelTimeoutMinutes),
        queuedAt: at,
        ahead: null,
        ...placement,
      },
    )
    if (enqueued) await jobEvent(tx, enqueued.job, 'job.queued', at, { labels })
    return enqueued
  })
  if (!queued) return false
  signals.send('line', queued.line.id)
  signals.send('job', job.id)
  // A cancel that looked at the jobs just before this one stood in line would have missed it.
  if (attempt.cancelledAt === null && (await attemptIsCancelled(db, attempt.id))) await cancelJob(deps, systemActor, job.id, 'user')
  return false
}

/** Minutes of a workflow file, which may be any number, as milliseconds, a year at most. */
function wholeMs(minutes: number): number {
  return Math.round(Math.min(minutes, 365 * 24 * 60) * 60_000)
}

/** `org/name`, `organization/name`, `ent/name` and `enterprise/name` name a group as the plain name does (job-message.md 3.5). */
function plainGroup(group: string): string {
  return group.replace(/^(?:org|organization|ent|enterprise)\//i, '').toLowerCase()
}

function problemOf(plan: WorkflowPlan, message: string) {
  return {
    stepNumber: null,
    level: 'failure' as const,
    title: 'Invalid workflow file',
    message,
    path: plan.path,
    startLine: 1,
    endLine: 1,
    startColumn: null,
    endColumn: null,
    rawDetails: null,
  }
}

/** What `needs.<id>` holds: a failure that may happen counts as success (job-message.md 5.3). */
export function needsOf(planned: PlannedJob, byKey: Map<string, Job>): JobContexts['needs'] {
  return Object.fromEntries(
    planned.needs.map((key) => {
      const job = byKey.get(key)
      return [key, { result: resultOf(job), outputs: job?.outputs ?? {} }]
    }),
  )
}

function ancestorsOf(plan: WorkflowPlan, planned: PlannedJob, byKey: Map<string, Job>): JobContexts['ancestors'] {
  const plannedByKey = new Map(plan.jobs.map((job) => [job.id, job]))
  const found = new Set<string>()
  const visit = (keys: string[]) => {
    for (const key of keys) {
      if (found.has(key)) continue
      found.add(key)
      visit(plannedByKey.get(key)?.needs ?? [])
    }
  }
  visit(planned.needs)
  return [...found].map((id) => ({ id, result: resultOf(byKey.get(id)) }))
}

function resultOf(job: Job | undefined): NeedResult {
  const conclusion = job?.conclusion ?? 'skipped'
  if (conclusion === 'timed_out') return 'failure'
  return conclusion === 'failure' && job?.continueOnError ? 'success' : conclusion
}

async function endRun({ db, now, signals, log }: RunDeps, run: Run, attempt: Attempt, jobs: Job[]): Promise<void> {
  const conclusion = runConclusion(jobs, attempt.cancelledAt !== null)
  const at = now()
  const ended = await db.transaction().execute(async (tx) => {
    const updated = await runUpdate(tx, run.id, ['queued', 'in_progress'], { status: 'completed', conclusion, updatedAt: at })
    if (!updated) return undefined
    await attemptComplete(tx, attempt.id, at)
    await eventInsert(tx, {
      at,
      actor: systemActor,
      kind: 'run.completed',
      subject: { kind: 'run', id: run.id },
      repositoryId: run.repositoryId,
      payload: { conclusion },
    })
    return updated
  })
  if (!ended) return
  log.info({ runId: run.id, conclusion }, 'run completed')
  for (const job of jobs) signals.send('job', job.id)
}

function runConclusion(jobs: Job[], isCancelled: boolean): Conclusion {
  const counted = jobs.filter((job) => !(job.conclusion === 'failure' && job.continueOnError))
  if (counted.some(({ conclusion }) => conclusion === 'failure' || conclusion === 'timed_out')) return 'failure'
  if (isCancelled || counted.some(({ conclusion }) => conclusion === 'cancelled')) return 'cancelled'
  return jobs.length > 0 && jobs.every(({ conclusion }) => conclusion === 'skipped') ? 'skipped' : 'success'
}
