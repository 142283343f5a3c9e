import { Type, type Static } from 'typebox'
import type { Deps } from '../../core/deps.ts'
import { acquireJob, renewJob } from '../../core/jobs/acquire-job.ts'
import { completeJob, type JobReport } from '../../core/jobs/end-job.ts'
import { authenticateJob } from '../../core/jobs/job-tokens.ts'
import { authenticateRunner, RunnerGone } from '../../core/runners/runner-tokens.ts'
import { baseOf, type AddressBook } from '../../http/addresses.ts'
import { useAnyJson } from '../../http/body.ts'
import { failureOf } from '../../http/failures.ts'
import type { App } from '../../http/server.ts'
import { AppError } from '../../model/errors.ts'
import { stepTime, type Annotation, type Assignment, type Conclusion, type Step } from '../../model/job.ts'

type RunServiceDeps = Deps & { book: AddressBook }

const SOURCE = 'actions-run-service'
/** A job may have a thousand steps, each with annotations of 4096 characters; outputs are a megabyte at most (job-message.md 5.2). */
const COMPLETE_LIMIT = 64 * 1024 * 1024
const OUTPUTS_LIMIT = 1024 * 1024

const Nullable = <T extends Parameters<typeof Type.Union>[0][number]>(type: T) => Type.Optional(Type.Union([type, Type.Null()]))

const AcquireRequest = Type.Object({ jobMessageId: Type.String({ maxLength: 100 }), runnerOS: Nullable(Type.String()) })
const RenewRequest = Type.Object({ planId: Type.String({ maxLength: 100 }), jobId: Type.String({ maxLength: 100 }) })

type AnnotationPart = Static<typeof AnnotationPart>
const AnnotationPart = Type.Object({
  level: Nullable(Type.Union([Type.String(), Type.Integer()])),
  message: Nullable(Type.String()),
  title: Nullable(Type.String()),
  path: Nullable(Type.String()),
  rawDetails: Nullable(Type.String()),
  startLine: Nullable(Type.Number()),
  endLine: Nullable(Type.Number()),
  startColumn: Nullable(Type.Number()),
  endColumn: Nullable(Type.Number()),
  stepNumber: Nullable(Type.Number()),
})

type StepPart = Static<typeof StepPart>
const StepPart = Type.Object({
  external_id: Type.String({ maxLength: 100 }),
  number: Type.Integer({ minimum: 0, maximum: 2_147_483_647 }),
  name: Nullable(Type.String()),
  status: Nullable(Type.Union([Type.String(), Type.Integer()])),
  conclusion: Nullable(Type.Union([Type.String(), Type.Integer()])),
  started_at: Nullable(Type.String({ maxLength: 50 })),
  completed_at: Nullable(Type.String({ maxLength: 50 })),
  annotations: Nullable(Type.Array(AnnotationPart, { maxItems: 1000 })),
})

type CompleteRequest = Static<typeof CompleteRequest>
const CompleteRequest = Type.Object({
  planId: Type.String({ maxLength: 100 }),
  jobId: Type.String({ maxLength: 100 }),
  conclusion: Nullable(Type.Union([Type.String(), Type.Integer()])),
  outputs: Nullable(Type.Record(Type.String(), Type.Object({ value: Nullable(Type.String()) }))),
  stepResults: Nullable(Type.Array(StepPart, { maxItems: 10_000 })),
  annotations: Nullable(Type.Array(AnnotationPart, { maxItems: 1000 })),
})

/** Acquire, renew, complete: `RunServiceHttpClient.cs` (runner-protocol.md 6). */
export function runServiceRoom(app: App, { deps }: { deps: RunServiceDeps }): void {
  useRunServiceErrors(app)
  useAnyJson(app, { nul: 'removed' })

  app.post('/_run/acquirejob', { config: { access: { by: 'runner' } }, schema: { body: AcquireRequest } }, async (request) => {
    const runner = await authenticateRunner(deps, request.headers.authorization)
    return acquireJob(deps, runner, request.body.jobMessageId, baseOf(deps.book, request))
  })

  app.post('/_run/renewjob', { config: { access: { by: 'job' } }, schema: { body: RenewRequest } }, async (request) => {
    const assignment = await authenticateJob(deps, request.headers.authorization, { evenEnded: true })
    requireOwn(assignment, request.body)
    const lockedUntil = await renewJob(deps, assignment)
    return { lockedUntil: new Date(lockedUntil).toISOString() }
  })

  app.post(
    '/_run/completejob',
    { config: { access: { by: 'job' } }, bodyLimit: COMPLETE_LIMIT, schema: { body: CompleteRequest } },
    async (request, reply) => {
      // Any holder of a token of ours gets 2xx, also when the job ended long ago: else the runner reports a failure on top (6.4).
      const assignment = await authenticateJob(deps, request.headers.authorization, { evenEnded: true })
      requireOwn(assignment, request.body)
      await completeJob(deps, assignment, reportOf(request.body))
      return reply.code(204).send()
    },
  )
}

/** The job that the body names must be that of the token. */
function requireOwn(assignment: Assignment, { planId, jobId }: Static<typeof RenewRequest>): void {
  const isOwn = planId.toLowerCase() === assignment.planId && jobId.toLowerCase() === assignment.jobGuid
  if (!isOwn) throw new AppError('forbidden', 'The token is for another job')
}

/** The body's `statusCode` is what decides, so it equals the status. */
function useRunServiceErrors(app: App): void {
  app.setErrorHandler(async (error: Error, request, reply) => {
    const { status, message } = failureOf(error, request)
    // A runner that was deleted in the meantime: its job is not there.
    const shown = error instanceof RunnerGone ? 404 : status
    return reply.code(shown).send({ source: SOURCE, statusCode: shown, errorMessage: message })
  })
}

function reportOf(body: CompleteRequest): JobReport {
  const annotations: Annotation[] = []
  for (const step of body.stepResults ?? []) {
    for (const part of step.annotations ?? []) annotations.push(annotationOf(part, step.number))
  }
  for (const part of body.annotations ?? []) annotations.push(annotationOf(part, null))
  return {
    conclusion: conclusionOf(body.conclusion) ?? 'failure',
    outputs: outputsOf(body.outputs ?? {}),
    steps: body.stepResults == null ? undefined : body.stepResults.map(stepOf),
    annotations,
  }
}

function outputsOf(outputs: NonNullable<CompleteRequest['outputs']>): Record<string, string> {
  const texts: Record<string, string> = {}
  let size = 0
  for (const [name, { value }] of Object.entries(outputs)) {
    size += name.length + (value?.length ?? 0)
    if (value != null && size <= OUTPUTS_LIMIT) texts[name] = value
  }
  return texts
}

/** TaskResult, as text in any case or as number (runner-protocol.md 0.4). */
function conclusionOf(word: string | number | null | undefined): Conclusion | null {
  switch (String(word ?? '').toLowerCase()) {
    case '0':
    case 'succeeded':
    case '1':
    case 'succeededwithissues':
      return 'success'
    case '2':
    case 'failed':
    case '5':
    case 'abandoned':
      return 'failure'
    case '3':
    case 'canceled':
    case 'cancelled':
      return 'cancelled'
    case '4':
    case 'skipped':
      return 'skipped'
    default:
      return null
  }
}

function stepOf(step: StepPart): Step {
  const status = String(step.status ?? '').toLowerCase()
  return {
    externalId: step.external_id,
    number: step.number,
    name: step.name ?? '',
    status: status === 'inprogress' || status === '1' ? 'in_progress' : status === 'pending' || status === '0' ? 'queued' : 'completed',
    conclusion: conclusionOf(step.conclusion),
    startedAt: stepTime(step.started_at),
    completedAt: stepTime(step.completed_at),
  }
}

function annotationOf(part: AnnotationPart, stepNumber: number | null): Annotation {
  const level = String(part.level ?? '').toLowerCase()
  return {
    stepNumber: part.stepNumber ?? stepNumber,
    level: level === 'failure' || level === '3' ? 'failure' : level === 'warning' || level === '2' ? 'warning' : 'notice',
    title: part.title ?? null,
    message: part.message ?? '',
    path: part.path ?? null,
    startLine: whole(part.startLine),
    endLine: whole(part.endLine),
    startColumn: whole(part.startColumn),
    endColumn: whole(part.endColumn),
    rawDetails: part.rawDetails ?? null,
  }
}

function whole(value: number | null | undefined): number | null {
  return value == null ? null : Math.trunc(value)
}
