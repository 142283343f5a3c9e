import { needs, type Actor, type Need } from '../../model/access.ts'
import type { Repository } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'
import type { Annotation, Job, Run, Step, Workflow } from '../../model/job.ts'
import { jobById, jobsOfAttempt, jobsOfRun } from '../../store/jobs.ts'
import { annotationsOfJob, stepReportsGet } from '../../store/logs.ts'
import { attemptOfRun, runById, workflowById } from '../../store/runs.ts'
import { authorizeRepository, type RepositoryRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import { signUpload } from '../logs/uploads.ts'
import { readStepLogs, readJobLog } from '../logs/read-log.ts'
import { waitingReason, type Waiting } from './waiting-reason.ts'

type JobDeps = Pick<Deps, 'db' | 'log' | 'now' | 'times'>

/** A job with what its object on the wire shows beside it. */
export interface JobView {
  job: Job
  run: Run
  attemptNumber: number
  workflow: Workflow | undefined
  steps: Step[]
  waiting: Waiting | undefined
}

const notFound = () => new AppError('not_found', 'Not Found')

/** Jobs of a run: of its latest attempt, of that with the number given, or of all. */
export async function listJobs(
  deps: JobDeps,
  actor: Actor,
  input: { repository: RepositoryRef; runId: number; attempt: 'latest' | 'all' | number; offset: number; limit: number },
): Promise<{ repository: Repository; jobs: JobView[]; total: number }> {
  const { repository } = await authorizeRepository(deps, actor, input.repository, needs.actionsRead)
  const run = await runById(deps.db, input.runId)
  if (!run || run.repositoryId !== repository.id) throw notFound()
  const number = typeof input.attempt === 'number' ? input.attempt : undefined
  const attempt = input.attempt === 'all' ? undefined : await attemptOfRun(deps.db, run.id, number)
  if (input.attempt !== 'all' && !attempt) throw notFound()
  const { jobs, total } = await jobsOfRun(deps.db, run.id, { attemptId: attempt?.id, offset: input.offset, limit: input.limit })
  return { repository, jobs: await viewsOf(deps, repository, run, jobs), total }
}

/** One job of a repository. */
export async function getJob(
  deps: JobDeps,
  actor: Actor,
  ref: RepositoryRef,
  jobId: number,
  need: Need = needs.actionsRead,
): Promise<{ repository: Repository; view: JobView }> {
  const { repository } = await authorizeRepository(deps, actor, ref, need)
  const job = await jobById(deps.db, jobId)
  const run = job && job.repositoryId === repository.id ? await runById(deps.db, job.runId) : undefined
  if (!job || !run) throw notFound()
  const [view] = await viewsOf(deps, repository, run, [job])
  if (!view) throw notFound()
  return { repository, view }
}

async function viewsOf(deps: JobDeps, repository: Repository, run: Run, jobs: Job[]): Promise<JobView[]> {
  const { db } = deps
  const steps = await stepReportsGet(
    db,
    jobs.map(({ id }) => id),
  )
  const workflow = await workflowById(db, repository.id, run.workflowId)
  const views: JobView[] = []
  for (const job of jobs) {
    const openNeeds = job.status === 'pending' ? await openNeedsOf(deps, run, job) : []
    const waiting = await waitingReason(deps, repository, job, openNeeds)
    views.push({ job, run, attemptNumber: run.latestAttempt, workflow, steps: steps.get(job.id) ?? [], waiting })
  }
  return views
}

async function openNeedsOf({ db }: JobDeps, run: Run, job: Job): Promise<string[]> {
  const attempt = await attemptOfRun(db, run.id)
  const planned = attempt?.plan?.jobs.find(({ id }) => id === job.key)
  if (!attempt || !planned) return []
  const siblings = new Map((await jobsOfAttempt(db, attempt.id)).map((sibling) => [sibling.key, sibling]))
  return planned.needs.filter((need) => siblings.get(need)?.status !== 'completed').map((need) => siblings.get(need)?.name ?? need)
}

/** Annotations of a job; its id is that of its check run. */
export async function listAnnotations(
  deps: JobDeps,
  actor: Actor,
  input: { repository: RepositoryRef; jobId: number; offset: number; limit: number },
): Promise<{ repository: Repository; annotations: Annotation[]; total: number }> {
  const { repository, view } = await getJob(deps, actor, input.repository, input.jobId, needs.checksRead)
  return { repository, ...(await annotationsOfJob(deps.db, view.job.id, input)) }
}

/** The check run of a job, whose id is the job's, with the count of its annotations. */
export async function getCheckRun(
  deps: JobDeps,
  actor: Actor,
  ref: RepositoryRef,
  jobId: number,
): Promise<{ repository: Repository; view: JobView; annotations: number }> {
  const { repository, view } = await getJob(deps, actor, ref, jobId, needs.checksRead)
  const { total } = await annotationsOfJob(deps.db, jobId, { offset: 0, limit: 1 })
  return { repository, view, annotations: total }
}

/** A signed address, good for a minute, of a job's log. @throws AppError not_found, also while there is none */
export async function jobLogAddress(
  deps: JobDeps & Pick<Deps, 'keys' | 'blobs'>,
  actor: Actor,
  ref: RepositoryRef,
  jobId: number,
): Promise<string> {
  const { view } = await getJob(deps, actor, ref, jobId)
  const log = view.job.status === 'completed' ? await readJobLog(deps, jobId) : undefined
  if (!log) throw notFound()
  const { key, query } = signUpload(deps, `logs/job-${jobId}`, 'r', deps.now() + deps.times.logRedirect)
  return `/_blobs/${key}?${query}`
}

/** A signed address, good for a minute, of the zip of a run's logs. */
export async function runLogsAddress(deps: JobDeps & Pick<Deps, 'keys'>, actor: Actor, ref: RepositoryRef, runId: number): Promise<string> {
  const { repository } = await authorizeRepository(deps, actor, ref, needs.actionsRead)
  const run = await runById(deps.db, runId)
  if (!run || run.repositoryId !== repository.id || run.status !== 'completed') throw notFound()
  const { key, query } = signUpload(deps, `logs/run-${runId}`, 'r', deps.now() + deps.times.logRedirect)
  return `/_blobs/${key}?${query}`
}

export interface LogFile {
  path: string
  text: () => AsyncIterable<Buffer>
}

/** What the zip of a run's logs holds: a file per job, and one per step in a folder of the job, named as gh looks for them. */
export async function runLogFiles(deps: Pick<Deps, 'db' | 'now' | 'blobs'>, runId: number): Promise<LogFile[]> {
  const attempt = await attemptOfRun(deps.db, runId)
  if (!attempt) throw notFound()
  const files: LogFile[] = []
  for (const [index, job] of (await jobsOfAttempt(deps.db, attempt.id)).entries()) {
    const name = fileName(job.name)
    const whole = await readJobLog(deps, job.id)
    if (whole) files.push({ path: `${index}_${name}.txt`, text: () => whole })
    for (const step of await readStepLogs(deps, job.id)) {
      files.push({ path: `${name}/${step.number}_${fileName(step.name)}.txt`, text: step.text })
    }
  }
  return files
}

/** Without `/` and `:`, cut to 90 UTF-16 units (rest-api.md 2.8). */
function fileName(name: string): string {
  return name.replace(/[/:\\<>|*?"\0]/g, '').slice(0, 90)
}
