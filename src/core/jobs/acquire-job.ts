import { createHmac } from 'node:crypto'
import { systemActor } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import { fullName } from '../../model/account.ts'
import { stepGuid } from '../../model/identifiers.ts'
import type { Assignment, Job, Run } from '../../model/job.ts'
import type { Runner } from '../../model/runner.ts'
import { hashSecret, jobTokenText } from '../../model/secret-text.ts'
import { jobMessage, type JobMessage } from '../../model/workflow/job-message.ts'
import { eventInsert } from '../../store/events.ts'
import { assignmentByRequest, assignmentUpdate, jobById, jobsOfAttempt, jobUpdate } from '../../store/jobs.ts'
import { repositoryById } from '../../store/repositories.ts'
import { attemptOfRun, runById, runUpdate } from '../../store/runs.ts'
import { tokenInsert } from '../../store/tokens.ts'
import type { Deps } from '../deps.ts'
import { needsOf } from '../runs/advance-run.ts'
import { githubContext } from '../runs/github-context.ts'
import { heardOf } from '../runners/sessions.ts'
import { jobEvent } from './job-event.ts'
import { isUnfinished, makeJobToken } from './job-tokens.ts'

type AcquireDeps = Pick<Deps, 'db' | 'now' | 'times' | 'keys' | 'signals' | 'addresses' | 'log'>

/** The request is not this runner's, or its job went elsewhere: the runner skips the message and polls on (runner-protocol.md 6.2). */
const notThere = () => new AppError('not_found', 'The job is not there for this runner')

/**
 * The runner takes the job that it was given, and gets its message. The same request of the same runner gets the same message again: its
 * first answer may have been lost. `base` is the address by which the runner reaches us.
 *
 * @throws AppError not_found
 */
export async function acquireJob(deps: AcquireDeps, runner: Runner, requestId: string, base: string): Promise<JobMessage> {
  const { db, now, signals, log } = deps
  const given = await assignmentByRequest(db, requestId)
  if (!given || given.runnerId !== runner.id || !isUnfinished(given)) throw notThere()
  await heardOf(deps, runner)

  const at = now()
  let job: Job | undefined
  if (given.state === 'given') {
    job = await db.transaction().execute(async (tx) => {
      const assignment = await assignmentUpdate(tx, given.id, ['given'], { state: 'acquired', acquiredAt: at, lastSignAt: at })
      if (!assignment) return undefined
      const begun = await jobUpdate(tx, given.jobId, ['assigned'], { status: 'in_progress', startedAt: at })
      if (!begun) throw notThere()
      const run = await runUpdate(tx, begun.runId, ['queued'], { status: 'in_progress', updatedAt: at })
      if (run) {
        const subject = { kind: 'run', id: run.id }
        await eventInsert(tx, { at, actor: systemActor, kind: 'run.in_progress', subject, repositoryId: run.repositoryId })
      }
      await tokenInsert(tx, {
        kind: 'job',
        userId: null,
        assignmentId: given.id,
        name: `job ${given.jobId}`,
        scopes: [],
        expiresAt: at + begun.timeoutMs + deps.times.jobTokenSlack,
        createdAt: at,
        hash: hashSecret(githubTokenOf(deps, given)),
      })
      await jobEvent(tx, begun, 'job.in_progress', at, {
        runnerId: runner.id,
        runnerName: runner.name,
        runnerGroupId: begun.runnerGroupId,
        runnerGroupName: begun.runnerGroupName,
        assignmentId: given.id,
      })
      return begun
    })
    if (job) {
      log.info({ runnerId: runner.id, jobId: given.jobId, assignmentId: given.id }, 'job acquired')
      signals.send('job', given.jobId)
    }
  }
  job ??= await jobById(db, given.jobId)
  if (!job || job.assignmentId !== given.id) throw notThere()
  const run = await runById(db, job.runId)
  if (!run) throw notThere()
  return buildMessage(deps, { assignment: given, job, run, runner }, base)
}

/** Derived from the key and the assignment, so that it need not be stored to be given again. */
function githubTokenOf({ keys }: Pick<Deps, 'keys'>, assignment: Assignment): string {
  return jobTokenText(createHmac('sha256', keys.githubToken).update(assignment.requestId).digest())
}

async function buildMessage(
  deps: AcquireDeps,
  { assignment, job, run, runner }: { assignment: Assignment; job: Job; run: Run; runner: Runner },
  base: string,
): Promise<JobMessage> {
  const { db, addresses } = deps
  const [attempt, repository] = [await attemptOfRun(db, run.id), await repositoryById(db, run.repositoryId)]
  const plan = attempt?.plan
  const planned = plan?.jobs.find(({ id }) => id === job.key)
  if (!attempt || !plan || !planned || !repository) throw notThere()

  const siblings = planned.needs.length > 0 ? await jobsOfAttempt(db, job.attemptId) : []
  const github = await githubContext(deps, run, repository, attempt, base)
  const workflow = `${fullName(repository)}/${plan.path}@${run.ref}`
  return jobMessage({
    plan,
    job: planned,
    jobName: job.name,
    ids: {
      planId: assignment.planId,
      timelineId: assignment.timelineId,
      jobGuid: assignment.jobGuid,
      requestId: assignment.id,
      stepIds: planned.steps.map((_, index) => stepGuid(assignment.id, index)),
    },
    urls: {
      run: `${base}/_run/`,
      results: `${base}/`,
      launch: `${base}/`,
      feed: `${base.replace(/^http/, 'ws')}/_feed/${assignment.jobGuid}`,
      serverUrl: addresses.jobServerUrl,
      apiUrl: `${base}/api/v3`,
      graphqlUrl: `${base}/api/graphql`,
    },
    jobToken: makeJobToken(deps, assignment, job, run),
    githubToken: githubTokenOf(deps, assignment),
    github,
    inputs: run.inputs,
    needs: needsOf(planned, new Map(siblings.map((sibling) => [sibling.key, sibling]))),
    jobContext: {
      workflow_ref: workflow,
      workflow_sha: run.headSha,
      workflow_repository: fullName(repository),
      workflow_file_path: plan.path,
      check_run_id: job.id,
    },
    runnerGroupName: runner.groupName,
    orchestrationId: `${run.id}.${run.latestAttempt}.${job.key}`,
  })
}

/**
 * The runner is still at it: the lease moves. The first renewal is what starts the worker. Answers when the lease would end; a last renewal
 * may come a little after the end.
 *
 * @throws AppError not_found when the job is no longer this runner's: told so, it drops the job, and any other refusal leads it astray
 * (runner-protocol.md 6.3)
 */
export async function renewJob({ db, now, times, signals }: AcquireDeps, assignment: Assignment): Promise<number> {
  const at = now()
  if (!isUnfinished(assignment)) {
    const isFresh = assignment.state === 'completed' && at - (assignment.completedAt ?? 0) < times.renewAfterEnd
    if (isFresh) return at + times.lease
    throw new AppError('not_found', 'The job is no longer valid')
  }
  const isFirst = assignment.renewedAt === null
  await assignmentUpdate(db, assignment.id, ['given', 'acquired', 'running'], {
    state: 'running',
    lastSignAt: at,
    ...(isFirst && { renewedAt: at }),
  })
  // A cancel that came before waits for this moment.
  if (isFirst) signals.send('runner', assignment.runnerId)
  return at + times.lease
}
