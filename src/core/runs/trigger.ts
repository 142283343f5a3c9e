import { systemActor, type Actor } from '../../model/access.ts'
import type { Account, Repository } from '../../model/account.ts'
import type { HeadCommit, Run, Workflow } from '../../model/job.ts'
import { problemText, type ParsedWorkflow, type WorkflowPlan } from '../../model/workflow/plan.ts'
import { eventInsert } from '../../store/events.ts'
import { jobInsert } from '../../store/jobs.ts'
import { attemptInsert, attemptComplete, runInsert, runUpdate } from '../../store/runs.ts'
import type { Deps } from '../deps.ts'
import { jobEvent } from '../jobs/job-event.ts'

/** Where workflows are kept, and how large a file may be (architecture 1.13). */
export const WORKFLOWS_FOLDER = '.github/workflows'
export const WORKFLOW_MAX_BYTES = 1024 * 1024

export interface TriggeredRun {
  repository: Repository
  workflow: Workflow
  parsed: ParsedWorkflow
  /** Names what caused the run, so that the same push makes it once; null for a dispatch. */
  source: string | null
  event: string
  ref: string
  head: HeadCommit
  title: string
  sender: Account
  payload: Record<string, unknown>
  inputs: Record<string, unknown>
}

/**
 * Makes a run with its first attempt and its jobs, all pending; `advanceRun` then puts them in line. A file with problems makes a run
 * that has failed, with the problems as its reason. Undefined when the source made this run before.
 */
export async function makeRun({ db, now }: Pick<Deps, 'db' | 'now'>, actor: Actor, trigger: TriggeredRun): Promise<Run | undefined> {
  const { repository, workflow, parsed, sender } = trigger
  const plan: WorkflowPlan | null = 'plan' in parsed ? parsed.plan : null
  const problem = 'problems' in parsed ? parsed.problems.map(problemText).join('\n') : null
  const at = now()
  return db.transaction().execute(async (tx) => {
    const run = await runInsert(tx, {
      repositoryId: repository.id,
      workflowId: workflow.id,
      source: trigger.source,
      event: trigger.event,
      ref: trigger.ref,
      headBranch: trigger.ref.replace(/^refs\/(?:heads|tags)\//, ''),
      headSha: trigger.head.id,
      headCommit: trigger.head,
      title: trigger.title,
      actorId: sender.id,
      payload: trigger.payload,
      inputs: trigger.inputs,
      problem,
      createdAt: at,
    })
    if (!run) return undefined
    const attemptId = await attemptInsert(tx, { runId: run.id, number: 1, plan, createdAt: at })
    const subject = { kind: 'run', id: run.id }
    await eventInsert(tx, { at, actor, kind: 'run.created', subject, repositoryId: repository.id, payload: { event: run.event } })
    if (!plan) {
      await attemptComplete(tx, attemptId, at)
      await eventInsert(tx, {
        at,
        actor: systemActor,
        kind: 'run.completed',
        subject,
        repositoryId: repository.id,
        payload: { problem, conclusion: 'failure' },
      })
      return runUpdate(tx, run.id, ['queued'], { status: 'completed', conclusion: 'failure', updatedAt: at })
    }
    for (const [position, planned] of plan.jobs.entries()) {
      const job = await jobInsert(tx, {
        runId: run.id,
        attemptId,
        repositoryId: repository.id,
        key: planned.id,
        name: typeof planned.name === 'string' ? planned.name : planned.id,
        position,
        timeoutMs: 0,
        createdAt: at,
      })
      await jobEvent(tx, job, 'job.created', at)
    }
    return run
  })
}
