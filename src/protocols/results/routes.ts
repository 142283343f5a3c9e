import { Type, type Static } from 'typebox'
import type { Deps } from '../../core/deps.ts'
import { authenticateJob } from '../../core/jobs/job-tokens.ts'
import { SUMMARY_BYTES } from '../../core/logs/objects.ts'
import { updateSteps } from '../../core/logs/steps.ts'
import { finishLog, finishSummary, signUpload, uploadKey } from '../../core/logs/uploads.ts'
import { contentBaseOf, type AddressBook } from '../../http/addresses.ts'
import { useAnyJson } from '../../http/body.ts'
import type { App } from '../../http/server.ts'
import { useTwirpErrors } from '../../http/twirp.ts'
import { AppError } from '../../model/errors.ts'
import { stepTime, type Assignment, type Step } from '../../model/job.ts'

type ResultsDeps = Deps & { book: AddressBook }

/** With this and the variable `results_upload_with_sdk` logs over 2 MiB arrive whole (runner-protocol.md 7.4). */
const AZURE = 'BLOB_STORAGE_TYPE_AZURE'

const Ids = {
  workflow_run_backend_id: Type.String({ maxLength: 100 }),
  workflow_job_run_backend_id: Type.String({ maxLength: 100 }),
}
const StepId = Type.String({ maxLength: 100 })
const Count = Type.Optional(
  Type.Union([Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER }), Type.String({ pattern: '^\\d{1,15}$' })]),
)

type StepPart = Static<typeof StepPart>
const StepPart = Type.Object({
  external_id: StepId,
  number: Type.Optional(Type.Integer({ minimum: 0, maximum: 2_147_483_647 })),
  name: Type.Optional(Type.String()),
  status: Type.Optional(Type.Integer()),
  conclusion: Type.Optional(Type.Integer()),
  started_at: Type.Optional(Type.Union([Type.String({ maxLength: 50 }), Type.Null()])),
  completed_at: Type.Optional(Type.Union([Type.String({ maxLength: 50 }), Type.Null()])),
})

const UpdateRequest = Type.Object({
  ...Ids,
  change_order: Type.Optional(Type.Integer({ minimum: 0, maximum: Number.MAX_SAFE_INTEGER - 1 })),
  steps: Type.Optional(Type.Array(StepPart, { maxItems: 2000 })),
})
const JobRequest = Type.Object(Ids)
const StepRequest = Type.Object({ ...Ids, step_backend_id: StepId })
const JobDone = Type.Object({ ...Ids, line_count: Count })
const StepDone = Type.Object({ ...Ids, step_backend_id: StepId, line_count: Count })
const SummaryDone = Type.Object({ ...Ids, step_backend_id: StepId, size: Count })

/** Step states, and where logs and summaries go: `ResultsHttpClient.cs` (runner-protocol.md 7.2, 7.3). */
export function resultsRoom(app: App, { deps }: { deps: ResultsDeps }): void {
  useTwirpErrors(app)
  useAnyJson(app, { nul: 'removed' })
  const config = { access: { by: 'job' as const } }

  app.post(
    '/twirp/github.actions.results.api.v1.WorkflowStepUpdateService/WorkflowStepsUpdate',
    { config, schema: { body: UpdateRequest } },
    async ({ headers, body }) => {
      const assignment = await jobOf(deps, headers.authorization, body)
      await updateSteps(deps, assignment, { changeOrder: body.change_order ?? 0, steps: (body.steps ?? []).map(stepOf) })
      return { ok: true }
    },
  )

  const receiver = '/twirp/results.services.receiver.Receiver'
  const addressOf = (
    request: Parameters<typeof contentBaseOf>[1],
    assignment: Assignment,
    kind: 'log' | 'summary' | 'diagnostics',
    stepId: string,
  ) => {
    const { key, query } = signUpload(deps, uploadKey(assignment, kind, stepId), 'rw', deps.now() + deps.times.signedUrl)
    return `${contentBaseOf(deps.book, request)}/_blobs/${key}?${query}`
  }

  app.post(`${receiver}/GetStepLogsSignedBlobURL`, { config, schema: { body: StepRequest } }, async (request) => {
    const assignment = await jobOf(deps, request.headers.authorization, request.body)
    return { logs_url: addressOf(request, assignment, 'log', request.body.step_backend_id), blob_storage_type: AZURE, soft_size_limit: 0 }
  })
  app.post(`${receiver}/GetJobLogsSignedBlobURL`, { config, schema: { body: JobRequest } }, async (request) => {
    const assignment = await jobOf(deps, request.headers.authorization, request.body)
    return { logs_url: addressOf(request, assignment, 'log', ''), blob_storage_type: AZURE, soft_size_limit: 0 }
  })
  app.post(`${receiver}/GetJobDiagLogsSignedBlobURL`, { config, schema: { body: JobRequest } }, async (request) => {
    const assignment = await jobOf(deps, request.headers.authorization, request.body)
    return { diag_logs_url: addressOf(request, assignment, 'diagnostics', ''), blob_storage_type: AZURE }
  })
  app.post(`${receiver}/GetStepSummarySignedBlobURL`, { config, schema: { body: StepRequest } }, async (request) => {
    const assignment = await jobOf(deps, request.headers.authorization, request.body)
    return {
      summary_url: addressOf(request, assignment, 'summary', request.body.step_backend_id),
      // A missing value counts as 0 and every summary fails (runner-protocol.md 7.3).
      soft_size_limit: SUMMARY_BYTES,
      blob_storage_type: AZURE,
    }
  })

  app.post(`${receiver}/CreateStepLogsMetadata`, { config, schema: { body: StepDone } }, async ({ headers, body }) => {
    const assignment = await jobOf(deps, headers.authorization, body)
    await finishLog(deps, assignment, { stepId: body.step_backend_id, lineCount: Number(body.line_count ?? 0) })
    return { ok: true }
  })
  app.post(`${receiver}/CreateJobLogsMetadata`, { config, schema: { body: JobDone } }, async ({ headers, body }) => {
    const assignment = await jobOf(deps, headers.authorization, body)
    await finishLog(deps, assignment, { stepId: '', lineCount: Number(body.line_count ?? 0) })
    return { ok: true }
  })
  app.post(`${receiver}/CreateStepSummaryMetadata`, { config, schema: { body: SummaryDone } }, async ({ headers, body }) => {
    const assignment = await jobOf(deps, headers.authorization, body)
    await finishSummary(deps, assignment, { stepId: body.step_backend_id, size: Number(body.size ?? 0) })
    return { ok: true }
  })
}

/** The assignment of the token, which must be the one that the body names. */
async function jobOf(
  deps: ResultsDeps,
  authorization: string | undefined,
  body: { workflow_run_backend_id: string; workflow_job_run_backend_id: string },
): Promise<Assignment> {
  const assignment = await authenticateJob(deps, authorization)
  const isIts =
    body.workflow_run_backend_id.toLowerCase() === assignment.planId &&
    body.workflow_job_run_backend_id.toLowerCase() === assignment.jobGuid
  if (!isIts) throw new AppError('forbidden', 'The token is for another job')
  return assignment
}

/** Numbers here, words everywhere else (runner-protocol.md 0.4). */
function stepOf(part: StepPart): Step {
  const conclusions = { 2: 'success', 3: 'failure', 4: 'cancelled', 7: 'skipped' } as const
  return {
    externalId: part.external_id,
    number: part.number ?? 0,
    name: part.name ?? '',
    status: part.status === 6 ? 'completed' : part.status === 3 ? 'in_progress' : 'queued',
    conclusion: conclusions[(part.conclusion ?? 0) as keyof typeof conclusions] ?? null,
    startedAt: stepTime(part.started_at),
    completedAt: stepTime(part.completed_at),
  }
}
