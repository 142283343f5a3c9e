import { Type } from 'typebox'
import { changeRunnerLabels, listRunnerLabels, type LabelChange } from '../../core/runners/runner-labels.ts'
import type { RunnerScope } from '../../core/access/authorize.ts'
import { runnerNeeds, runnerReadNeeds } from '../../core/runners/registration-tokens.ts'
import type { App } from '../../http/server.ts'
import '../../http/access.ts'
import type { Need } from '../../model/access.ts'
import type { Label } from '../../model/runner.ts'
import type { RestDeps } from './room.ts'
import { idOf, scopeOf } from '../../http/places.ts'
import { OPERATIONS, SCOPES, WORDS } from './runner-scopes.ts'
import { LabelBody } from './runners.ts'

const LabelsBody = Type.Object({ total_count: Type.Integer(), labels: Type.Array(LabelBody) })
const RunnerParams = Type.Object({ runner_id: Type.String() })
const LabelNames = Type.Array(Type.String({ maxLength: 1000 }), { maxItems: 100 })
const AddRequest = Type.Object({ labels: Type.Array(Type.String({ maxLength: 1000 }), { minItems: 1, maxItems: 100 }) })
const SetRequest = Type.Object({ labels: LabelNames })

/** Labels of a self-hosted runner: https://docs.github.com/rest/actions/self-hosted-runners; each answers all labels that are left. */
export function runnerLabelRoutes(app: App, deps: RestDeps): void {
  for (const at of SCOPES) scopeRoutes(app, deps, at)
}

function scopeRoutes(app: App, deps: RestDeps, { path, scope }: { path: string; scope: RunnerScope['kind'] }): void {
  const labels = `${path}/actions/runners/:runner_id/labels`
  const route = (verb: string, need: Need = runnerNeeds[scope]) => ({
    access: { by: 'actor' as const, need },
    docs: `actions/self-hosted-runners#${verb}-for-${WORDS[scope]}`,
  })
  const operation = (verb: string, word: 'for' | 'from' = 'for') => OPERATIONS[scope](verb).replace(/-for-(\w+)$/, `-${word}-$1`)
  const change = async (request: Parameters<typeof scopeOf>[0], runnerId: string, changed: LabelChange) =>
    present(await changeRunnerLabels(deps, request.actor, { scope: scopeOf(request), runnerId: idOf(runnerId), change: changed }))

  app.get(
    labels,
    {
      config: route('list-labels-for-a-self-hosted-runner', runnerReadNeeds[scope]),
      schema: { operationId: operation('list-labels-for-self-hosted-runner'), params: RunnerParams, response: { 200: LabelsBody } },
    },
    async (request) =>
      present(await listRunnerLabels(deps, request.actor, { scope: scopeOf(request), runnerId: idOf(request.params.runner_id) })),
  )

  app.post(
    labels,
    {
      config: route('add-custom-labels-to-a-self-hosted-runner'),
      schema: {
        operationId: operation('add-custom-labels-to-self-hosted-runner'),
        params: RunnerParams,
        body: AddRequest,
        response: { 200: LabelsBody },
      },
    },
    (request) => change(request, request.params.runner_id, { kind: 'add', labels: request.body.labels }),
  )

  app.put(
    labels,
    {
      config: route('set-custom-labels-for-a-self-hosted-runner'),
      schema: {
        operationId: operation('set-custom-labels-for-self-hosted-runner'),
        params: RunnerParams,
        body: SetRequest,
        response: { 200: LabelsBody },
      },
    },
    (request) => change(request, request.params.runner_id, { kind: 'set', labels: request.body.labels }),
  )

  app.delete(
    labels,
    {
      config: route('remove-all-custom-labels-from-a-self-hosted-runner'),
      schema: {
        operationId: operation('remove-all-custom-labels-from-self-hosted-runner'),
        params: RunnerParams,
        response: { 200: LabelsBody },
      },
    },
    (request) => change(request, request.params.runner_id, { kind: 'clear' }),
  )

  app.delete(
    `${labels}/:name`,
    {
      config: route('remove-a-custom-label-from-a-self-hosted-runner'),
      schema: {
        operationId: operation('remove-custom-label-from-self-hosted-runner'),
        params: Type.Object({ runner_id: Type.String(), name: Type.String() }),
        response: { 200: LabelsBody },
      },
    },
    (request) => change(request, request.params.runner_id, { kind: 'remove', name: request.params.name }),
  )
}

function present(labels: Label[]) {
  return { total_count: labels.length, labels }
}
