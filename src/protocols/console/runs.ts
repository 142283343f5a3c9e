import { Type, type Static } from 'typebox'
import type { Deps } from '../../core/deps.ts'
import { locateRun } from '../../core/runs/runs.ts'
import type { App } from '../../http/server.ts'
import { needs } from '../../model/access.ts'
import { fullName } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'

export type RunPlaceBody = Static<typeof RunPlaceBody>
export const RunPlaceBody = Type.Object({ id: Type.Integer(), repository: Type.String() })

/** Where a run is, by its number alone: a push tells its number, and GitHub's calls want the repository. */
export function runRoutes(app: App, deps: Deps): void {
  app.get(
    '/runs/:run_id',
    {
      config: { access: { by: 'actor' as const, need: needs.actionsRead } },
      schema: { params: Type.Object({ run_id: Type.String() }), response: { 200: RunPlaceBody } },
    },
    async (request) => {
      const { run_id } = request.params
      if (!/^[1-9]\d{0,14}$/.test(run_id)) throw new AppError('not_found', 'Not Found')
      const { run, repository } = await locateRun(deps, request.actor, Number(run_id))
      return { id: run.id, repository: fullName(repository) }
    },
  )
}
