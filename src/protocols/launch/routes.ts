import { Type } from 'typebox'
import type { Deps } from '../../core/deps.ts'
import { authenticateJob } from '../../core/jobs/job-tokens.ts'
import { resolveAction } from '../../core/repos/archives.ts'
import { contentBaseOf, type AddressBook } from '../../http/addresses.ts'
import { useAnyJson } from '../../http/body.ts'
import { failureOf } from '../../http/failures.ts'
import type { App } from '../../http/server.ts'
import { AppError } from '../../model/errors.ts'

type LaunchDeps = Deps & { book: AddressBook }

const ResolveRequest = Type.Object({
  actions: Type.Optional(
    Type.Union([
      Type.Array(
        Type.Object({
          action: Type.String({ maxLength: 500 }),
          version: Type.String({ maxLength: 500 }),
          path: Type.Optional(Type.Union([Type.String(), Type.Null()])),
        }),
        { maxItems: 1000 },
      ),
      Type.Null(),
    ]),
  ),
})

/** Where the actions of a job come from: `LaunchHttpClient.cs` (runner-protocol.md 7.6). */
export function launchRoom(app: App, { deps }: { deps: LaunchDeps }): void {
  useAnyJson(app)
  app.setErrorHandler(async (error: Error, request, reply) => {
    const { status, message } = failureOf(error, request)
    return reply.code(status).send({ message, errors: {} })
  })

  app.post(
    '/actions/build/:planId/jobs/:jobId/runnerresolve/actions',
    {
      config: { access: { by: 'job' } },
      schema: { body: ResolveRequest, params: Type.Object({ planId: Type.String(), jobId: Type.String() }) },
    },
    async (request, reply) => {
      const assignment = await authenticateJob(deps, request.headers.authorization)
      const { planId, jobId } = request.params
      if (planId.toLowerCase() !== assignment.planId || jobId.toLowerCase() !== assignment.jobGuid) {
        throw new AppError('forbidden', 'The token is for another job')
      }
      const base = contentBaseOf(deps.book, request)
      const actions: Record<string, object> = {}
      const errors: Record<string, { message: string }> = {}
      for (const { action, version } of request.body.actions ?? []) {
        const key = `${action}@${version}`
        try {
          const found = await resolveAction(deps, assignment, { name: action, ref: version })
          actions[key] = {
            name: action,
            resolved_name: found.resolvedName,
            resolved_sha: found.sha,
            version,
            tar_url: base + found.tarPath,
            zip_url: base + found.zipPath,
          }
        } catch (error) {
          if (!(error instanceof AppError) || error.kind !== 'invalid') throw error
          errors[key] = { message: error.message }
        }
      }
      // 422 with this body is shown as an annotation of "Set up job", without a second try.
      if (Object.keys(errors).length > 0) return reply.code(422).send({ errors })
      return { actions }
    },
  )
}
