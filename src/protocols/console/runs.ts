import { Type, type Static } from 'typebox'
import type { Deps } from '../../core/deps.ts'
import { locateRun } from '../../core/runs/runs.ts'
import { idOf } from '../../http/places.ts'
import type { App } from '../../http/server.ts'
import { needs } from '../../model/access.ts'
import { fullName } from '../../model/account.ts'

export type RunPlaceBody = Static<typeof RunPlaceBody>
export const RunPlaceBody = Type.Object(
  { id: Type.Integer(), repository: Type.String({ description: '`owner/name`' }) },
  { title: 'RunPlace' },
)

/** Where a run is, by its number alone: a push tells its number, and GitHub's calls want the repository. */
export function runRoutes(app: App, deps: Deps): void {
  app.get(
    '/runs/:run_id',
    {
      config: { access: { by: 'actor' as const, need: needs.actionsRead } },
      schema: {
        operationId: 'fleetfoot/locate-run',
        summary: 'Find the repository of a run',
        tags: ['runs'],
        params: Type.Object({ run_id: Type.String() }),
        response: { 200: RunPlaceBody },
      },
    },
    async (request) => {
      const { run, repository } = await locateRun(deps, request.actor, idOf(request.params.run_id))
      return { id: run.id, repository: fullName(repository) }
    },
  )
}
