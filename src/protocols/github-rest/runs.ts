import { Readable } from 'node:stream'
import type { FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { getCheckRun, getJob, jobLogAddress, listAnnotations, listJobs, runLogsAddress } from '../../core/jobs/jobs.ts'
import { signIn } from '../../core/access/sign-in.ts'
import { followJob, jobSummary } from '../../core/logs/live.ts'
import { cancelRun, dispatchWorkflow, getRun, getWorkflow, listRuns, listWorkflows } from '../../core/runs/runs.ts'
import { baseOf, contentBaseOf } from '../../http/addresses.ts'
import { linkPages, PageQuery, pageOf } from '../../http/paging.ts'
import type { App } from '../../http/server.ts'
import { needs } from '../../model/access.ts'
import { fullName, type Repository } from '../../model/account.ts'
import type { Bases } from './present-account.ts'
import { presentCheckRun } from './present-check-run.ts'
import { presentDispatched, presentJob, presentRun, presentWorkflow } from './present-run.ts'
import { apiOf, type RestDeps } from './room.ts'
import { idOf } from '../../http/places.ts'
import { sendEvents } from './server-sent-events.ts'
import { mediaTypes, NoBody } from '../../http/answers.ts'
import {
  AnnotationsBody,
  ArtifactsBody,
  DispatchedBody,
  JobBody,
  JobsBody,
  RunBody,
  RunsBody,
  WorkflowBody,
  WorkflowsBody,
} from './shapes-run.ts'
import { CheckRunBody } from './shapes-check-run.ts'

const RunsQuery = Type.Object({
  ...PageQuery.properties,
  actor: Type.Optional(Type.String()),
  branch: Type.Optional(Type.String()),
  event: Type.Optional(Type.String()),
  status: Type.Optional(Type.String()),
  created: Type.Optional(Type.String()),
  check_suite_id: Type.Optional(Type.String()),
  head_sha: Type.Optional(Type.String()),
  exclude_pull_requests: Type.Optional(Type.String()),
})

const DispatchRequest = Type.Object({
  ref: Type.String({ minLength: 1, maxLength: 1000 }),
  inputs: Type.Optional(Type.Union([Type.Record(Type.String(), Type.Unknown()), Type.Null()])),
  return_run_details: Type.Optional(Type.Boolean()),
})

const read = { access: { by: 'actor' as const, need: needs.actionsRead } }
const checks = { access: { by: 'actor' as const, need: needs.checksRead } }
const write = { access: { by: 'actor' as const, need: needs.actionsWrite } }

/** Workflows, their runs, jobs and logs: https://docs.github.com/rest/actions/workflow-runs */
export function runRoutes(app: App, deps: RestDeps): void {
  for (const path of ['/repos/:owner/:repo', '/repositories/:repository_id']) {
    workflowRoutes(app, deps, path)
    runOnlyRoutes(app, deps, path)
    jobRoutes(app, deps, path)
  }
}

function workflowRoutes(app: App, deps: RestDeps, path: string): void {
  const workflows = `${path}/actions/workflows`
  app.get(
    workflows,
    {
      config: { ...read, docs: 'actions/workflows' },
      schema: { operationId: 'actions/list-repo-workflows', response: { 200: WorkflowsBody }, querystring: PageQuery },
    },
    async (request, reply) => {
      const page = pageOf(request.query)
      const listed = await listWorkflows(deps, request.actor, repositoryOf(request), page)
      linkPages(reply, `${canonical(deps, request, listed.repository)}/actions/workflows`, request.query, page, listed.total)
      const bases = basesOf(deps, request)
      return {
        total_count: listed.total,
        workflows: listed.workflows.map((workflow) => presentWorkflow(bases, listed.repository, workflow)),
      }
    },
  )
  app.get(
    `${workflows}/:workflow_id`,
    {
      config: { ...read, docs: 'actions/workflows' },
      schema: { operationId: 'actions/get-workflow', response: { 200: WorkflowBody }, params: Type.Object({ workflow_id: Type.String() }) },
    },
    async (request) => {
      const { repository, workflow } = await getWorkflow(deps, request.actor, repositoryOf(request), request.params.workflow_id)
      return presentWorkflow(basesOf(deps, request), repository, workflow)
    },
  )
  app.post(
    `${workflows}/:workflow_id/dispatches`,
    {
      config: { ...write, docs: 'actions/workflows#create-a-workflow-dispatch-event' },
      schema: {
        operationId: 'actions/create-workflow-dispatch',
        response: { 200: DispatchedBody, 204: NoBody },
        params: Type.Object({ workflow_id: Type.String() }),
        body: DispatchRequest,
      },
    },
    async (request, reply) => {
      const { ref, inputs, return_run_details } = request.body
      const { run, repository } = await dispatchWorkflow(deps, request.actor, {
        repository: repositoryOf(request),
        workflow: request.params.workflow_id,
        ref,
        inputs: inputs ?? {},
      })
      // The newer version always answers with the run (rest-api.md 1.4).
      if (request.apiVersion === '2022-11-28' && !return_run_details) return reply.code(204).send()
      return reply.code(200).send(presentDispatched(basesOf(deps, request), repository, run))
    },
  )
  app.get(
    `${workflows}/:workflow_id/runs`,
    {
      config: { ...read, docs: 'actions/workflow-runs' },
      schema: {
        operationId: 'actions/list-workflow-runs',
        response: { 200: RunsBody },
        params: Type.Object({ workflow_id: Type.String() }),
        querystring: RunsQuery,
      },
    },
    async (request, reply) => {
      const { workflow_id } = request.params
      const page = pageOf(request.query)
      const filter = { ...filterOf(request.query), workflow: workflow_id }
      const listed = await listRuns(deps, request.actor, repositoryOf(request), filter, page)
      const address = `${canonical(deps, request, listed.repository)}/actions/workflows/${listed.workflow?.id ?? workflow_id}/runs`
      linkPages(reply, address, request.query, page, listed.total)
      const bases = basesOf(deps, request)
      return { total_count: listed.total, workflow_runs: listed.runs.map((view) => presentRun(bases, view)) }
    },
  )
}

function runOnlyRoutes(app: App, deps: RestDeps, path: string): void {
  const runs = `${path}/actions/runs`
  const params = Type.Object({ run_id: Type.String() })
  const docs = 'actions/workflow-runs'
  app.get(
    runs,
    {
      config: { ...read, docs },
      schema: { operationId: 'actions/list-workflow-runs-for-repo', response: { 200: RunsBody }, querystring: RunsQuery },
    },
    async (request, reply) => {
      const page = pageOf(request.query)
      const listed = await listRuns(deps, request.actor, repositoryOf(request), filterOf(request.query), page)
      linkPages(reply, `${canonical(deps, request, listed.repository)}/actions/runs`, request.query, page, listed.total)
      const bases = basesOf(deps, request)
      return { total_count: listed.total, workflow_runs: listed.runs.map((view) => presentRun(bases, view)) }
    },
  )
  app.get(
    `${runs}/:run_id`,
    { config: { ...read, docs }, schema: { operationId: 'actions/get-workflow-run', response: { 200: RunBody }, params } },
    async (request) =>
      presentRun(basesOf(deps, request), await getRun(deps, request.actor, repositoryOf(request), idOf(request.params.run_id))),
  )
  app.post(
    `${runs}/:run_id/cancel`,
    { config: { ...write, docs }, schema: { operationId: 'actions/cancel-workflow-run', response: { 202: Type.Object({}) }, params } },
    async (request, reply) => {
      await cancelRun(deps, request.actor, repositoryOf(request), idOf(request.params.run_id))
      return reply.code(202).send({})
    },
  )
  app.get(
    `${runs}/:run_id/logs`,
    { config: { ...read, docs }, schema: { operationId: 'actions/download-workflow-run-logs', params } },
    async (request, reply) => {
      const address = await runLogsAddress(deps, request.actor, repositoryOf(request), idOf(request.params.run_id))
      return reply.redirect(contentBaseOf(deps.book, request) + address, 302)
    },
  )
  // Runs have no artifacts here. gh asks for them before it shows a run, and shows nothing when they are not found (rest-api.md §6.2).
  app.get(
    `${runs}/:run_id/artifacts`,
    {
      config: { ...read, docs: 'actions/artifacts' },
      schema: { operationId: 'actions/list-workflow-run-artifacts', response: { 200: ArtifactsBody }, params, querystring: PageQuery },
    },
    async (request) => {
      await getRun(deps, request.actor, repositoryOf(request), idOf(request.params.run_id))
      return { total_count: 0, artifacts: [] }
    },
  )
  app.get(
    `${runs}/:run_id/jobs`,
    {
      config: { ...read, docs: 'actions/workflow-jobs' },
      schema: {
        operationId: 'actions/list-jobs-for-workflow-run',
        response: { 200: JobsBody },
        params,
        querystring: Type.Object({ ...PageQuery.properties, filter: Type.Optional(Type.String()) }),
      },
    },
    async (request, reply) => {
      const page = pageOf(request.query)
      const runId = idOf(request.params.run_id)
      const attempt = request.query.filter === 'all' ? ('all' as const) : ('latest' as const)
      const listed = await listJobs(deps, request.actor, { repository: repositoryOf(request), runId, attempt, ...page })
      linkPages(reply, `${canonical(deps, request, listed.repository)}/actions/runs/${runId}/jobs`, request.query, page, listed.total)
      const bases = basesOf(deps, request)
      return { total_count: listed.total, jobs: listed.jobs.map((view) => presentJob(bases, listed.repository, view)) }
    },
  )
}

function jobRoutes(app: App, deps: RestDeps, path: string): void {
  const jobs = `${path}/actions/jobs`
  const params = Type.Object({ job_id: Type.String() })
  const docs = 'actions/workflow-jobs'
  app.get(
    `${jobs}/:job_id`,
    { config: { ...read, docs }, schema: { operationId: 'actions/get-job-for-workflow-run', response: { 200: JobBody }, params } },
    async (request) => {
      const { repository, view } = await getJob(deps, request.actor, repositoryOf(request), idOf(request.params.job_id))
      return presentJob(basesOf(deps, request), repository, view)
    },
  )
  app.get(
    `${jobs}/:job_id/logs`,
    { config: { ...read, docs }, schema: { operationId: 'actions/download-job-logs-for-workflow-run', params } },
    async (request, reply) => {
      const address = await jobLogAddress(deps, request.actor, repositoryOf(request), idOf(request.params.job_id))
      return reply.redirect(contentBaseOf(deps.book, request) + address, 302)
    },
  )
  // Beyond GitHub: the lines of a running job as server-sent events that resume at Last-Event-ID.
  app.get(
    `${jobs}/:job_id/logs/live`,
    {
      config: { ...read, docs, produces: ['text/event-stream'], isStream: true },
      schema: {
        operationId: 'fleetfoot/follow-job-log',
        summary: 'Follow the log of a job while it runs',
        description: 'Server-sent events, one a line; `Last-Event-ID` resumes.',
        tags: ['actions'],
        params,
        response: { 200: mediaTypes({ 'text/event-stream': Type.String() }) },
      },
    },
    async (request, reply) => {
      const after = request.headers['last-event-id']
      const input = {
        repository: repositoryOf(request),
        jobId: idOf(request.params.job_id),
        after: typeof after === 'string' ? after : '',
      }
      const who = () => signIn(deps, request.headers.authorization)
      return sendEvents(request, reply, deps, (abort) => followJob(deps, who, input, abort))
    },
  )
  // Beyond GitHub: what the steps wrote to GITHUB_STEP_SUMMARY. A page of ours it never is (architecture 1.4).
  app.get(
    `${jobs}/:job_id/summary`,
    {
      config: { ...read, docs },
      schema: {
        operationId: 'fleetfoot/get-job-summary',
        summary: 'Get the summary that the steps of a job wrote',
        description: 'As Markdown.',
        tags: ['actions'],
        params,
        response: { 200: mediaTypes({ 'text/markdown': Type.String() }) },
      },
    },
    async (request, reply) => {
      const summary = await jobSummary(deps, request.actor, repositoryOf(request), idOf(request.params.job_id))
      return reply
        .header('Content-Type', 'text/markdown; charset=utf-8')
        .header('X-Content-Type-Options', 'nosniff')
        .header('Content-Security-Policy', "sandbox; default-src 'none'")
        .send(Readable.from(summary, { objectMode: false }))
    },
  )
  app.get(
    `${path}/check-runs/:check_run_id`,
    {
      config: { ...checks, docs: 'checks/runs' },
      schema: { operationId: 'checks/get', response: { 200: CheckRunBody }, params: Type.Object({ check_run_id: Type.String() }) },
    },
    async (request) => {
      const { repository, view, annotations } = await getCheckRun(
        deps,
        request.actor,
        repositoryOf(request),
        idOf(request.params.check_run_id),
      )
      return presentCheckRun(basesOf(deps, request), repository, view, annotations)
    },
  )
  app.get(
    `${path}/check-runs/:check_run_id/annotations`,
    {
      config: { ...checks, docs: 'checks/runs' },
      schema: {
        operationId: 'checks/list-annotations',
        response: { 200: AnnotationsBody },
        params: Type.Object({ check_run_id: Type.String() }),
        querystring: PageQuery,
      },
    },
    async (request, reply) => {
      const page = pageOf(request.query)
      const jobId = idOf(request.params.check_run_id)
      const listed = await listAnnotations(deps, request.actor, { repository: repositoryOf(request), jobId, ...page })
      const address = `${canonical(deps, request, listed.repository)}/check-runs/${jobId}/annotations`
      linkPages(reply, address, request.query, page, listed.total)
      return listed.annotations.map((annotation) => ({
        path: annotation.path ?? '.github',
        start_line: annotation.startLine ?? 1,
        end_line: annotation.endLine ?? annotation.startLine ?? 1,
        start_column: annotation.startColumn,
        end_column: annotation.endColumn,
        annotation_level: annotation.level,
        title: annotation.title,
        message: annotation.message,
        raw_details: annotation.rawDetails,
        blob_href: `${basesOf(deps, request).web}/${fullName(listed.repository)}`,
      }))
    },
  )
}

function filterOf(query: Record<string, string | undefined>) {
  const { actor, branch, event, status, head_sha, check_suite_id, created } = query
  return {
    actor,
    branch,
    event,
    status,
    headSha: head_sha,
    checkSuiteId: check_suite_id === undefined || !/^\d{1,15}$/.test(check_suite_id) ? undefined : Number(check_suite_id),
    created: createdRange(created),
  }
}

/** `>=2026-01-01`, `<2026-01-01`, `2026-01-01..2026-01-31`; what cannot be read filters nothing. */
function createdRange(text: string | undefined): { from?: number; to?: number } | undefined {
  if (text === undefined) return undefined
  const day = 24 * 60 * 60_000
  const at = (part: string) => (Number.isNaN(Date.parse(part)) ? undefined : Date.parse(part))
  const endOf = (part: string) => (/^\d{4}-\d{2}-\d{2}$/.test(part) ? (at(part) ?? 0) + day - 1 : at(part))
  const between = /^(.+)\.\.(.+)$/.exec(text)
  if (between) return { ...limit('from', at(between[1] ?? '')), ...limit('to', endOf(between[2] ?? '')) }
  const compared = /^(>=|<=|>|<)(.+)$/.exec(text)
  const value = compared?.[2] ?? text
  if (!compared) return { ...limit('from', at(value)), ...limit('to', endOf(value)) }
  if (compared[1] === '>=') return limit('from', at(value))
  if (compared[1] === '>') return limit('from', plus(endOf(value), 1))
  return compared[1] === '<=' ? limit('to', endOf(value)) : limit('to', plus(at(value), -1))
}

const plus = (value: number | undefined, more: number) => (value === undefined ? undefined : value + more)
const limit = (name: 'from' | 'to', value: number | undefined) => (value === undefined ? {} : { [name]: value })

export function repositoryOf(request: FastifyRequest) {
  const params = request.params as Record<string, string>
  if (params['repository_id'] !== undefined) return { id: idOf(params['repository_id']) }
  return { owner: params['owner'] ?? '', name: params['repo'] ?? '' }
}

export function basesOf(deps: RestDeps, request: FastifyRequest): Bases {
  const web = baseOf(deps.book, request)
  return { api: `${web}/api/v3`, web }
}

function canonical(deps: RestDeps, request: FastifyRequest, repository: Repository): string {
  return `${apiOf(deps, request)}/repositories/${repository.id}`
}
