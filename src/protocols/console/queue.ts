import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import type { RunnerScopeRef } from '../../core/access/authorize.ts'
import type { Deps } from '../../core/deps.ts'
import { listQueue, type QueuedJob } from '../../core/queue/list-queue.ts'
import { listPauses, pause, resume, type PauseView, type Target } from '../../core/queue/pauses.ts'
import { createRule, deleteRule, getRule, listRules, updateRule } from '../../core/queue/queue-rules.ts'
import { steerJob, type Steering } from '../../core/queue/steer-job.ts'
import { addressOf, type AddressBook } from '../../http/addresses.ts'
import { linkPages, pageOf, PageQuery } from '../../http/paging.ts'
import { idOf, isoTime, scopeOf } from '../../http/places.ts'
import type { App } from '../../http/server.ts'
import '../../http/access.ts'
import { needs, type Need } from '../../model/access.ts'
import { fullName } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'
import { changedEffect, PRIORITY_LIMIT, type EffectChange, type QueueRule } from '../../model/queue-rule.ts'

const Text = (maxLength: number) => Type.String({ minLength: 1, maxLength, pattern: '^[^\\u0000-\\u001f\\u007f]*$' })
const Priority = Type.Integer({ minimum: -PRIORITY_LIMIT, maximum: PRIORITY_LIMIT })
const DAYS_30 = 30 * 24 * 3600
const Seconds = Type.Integer({ minimum: 1, maximum: DAYS_30 })
const Labels = Type.Array(Text(256), { minItems: 1, maxItems: 100 })

export type QueuedJobBody = Static<typeof QueuedJobBody>
export const QueuedJobBody = Type.Object({
  id: Type.Integer(),
  run_id: Type.Integer(),
  repository: Type.String(),
  name: Type.String(),
  labels: Type.Array(Type.String()),
  runner_group_name: Type.Union([Type.String(), Type.Null()]),
  priority: Type.Integer(),
  position: Type.Union([Type.Integer(), Type.Null()]),
  waiting_reason: Type.String(),
  waiting_since: Type.String(),
  estimated_start_at: Type.Union([Type.String(), Type.Null()]),
  falls_back_at: Type.Union([Type.String(), Type.Null()]),
  fails_at: Type.Union([Type.String(), Type.Null()]),
})
const QueueBody = Type.Object({ total_count: Type.Integer(), jobs: Type.Array(QueuedJobBody) })

/** A key that is not known is refused: a rule with a misspelt condition would speak of everything. */
const STRICT = { additionalProperties: false }
const Match = Type.Object(
  {
    repository: Type.Optional(Text(200)),
    workflow: Type.Optional(Text(500)),
    branch: Type.Optional(Text(500)),
    event: Type.Optional(Text(100)),
    actor: Type.Optional(Text(100)),
    labels: Type.Optional(Labels),
  },
  STRICT,
)
const Fallback = Type.Array(Type.Object({ after_seconds: Seconds, labels: Labels }, STRICT), { minItems: 1, maxItems: 5 })
const MostAtOnce = Type.Integer({ minimum: 1, maximum: 100_000 })
const Rule = {
  priority: Type.Optional(Priority),
  fallback: Type.Optional(Fallback),
  longest_wait_seconds: Type.Optional(Seconds),
  most_at_once: Type.Optional(MostAtOnce),
}
const Position = Type.Integer({ minimum: 0, maximum: 1_000_000 })

export type RuleBody = Static<typeof RuleBody>
export const RuleBody = Type.Object({
  id: Type.Integer(),
  name: Type.String(),
  position: Type.Integer(),
  match: Match,
  ...Rule,
  created_at: Type.String(),
  updated_at: Type.String(),
})
const RulesBody = Type.Object({ total_count: Type.Integer(), rules: Type.Array(RuleBody) })
const CreateRule = Type.Object({ name: Text(100), position: Type.Optional(Position), match: Type.Optional(Match), ...Rule }, STRICT)
/** What is given changes, null ends a setting, the rest stays; `match` is changed as a whole. */
const UpdateRule = Type.Object(
  {
    name: Type.Optional(Text(100)),
    position: Type.Optional(Position),
    match: Type.Optional(Match),
    priority: Type.Optional(Type.Union([Priority, Type.Null()])),
    fallback: Type.Optional(Type.Union([Fallback, Type.Null()])),
    longest_wait_seconds: Type.Optional(Type.Union([Seconds, Type.Null()])),
    most_at_once: Type.Optional(Type.Union([MostAtOnce, Type.Null()])),
  },
  STRICT,
)

const SteerRequest = Type.Object(
  {
    expedite: Type.Optional(Type.Literal(true)),
    before: Type.Optional(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER })),
    priority: Type.Optional(Priority),
    labels: Type.Optional(Labels),
    reset: Type.Optional(Type.Literal(true)),
  },
  STRICT,
)
const SteeredBody = Type.Object({ id: Type.Integer(), run_id: Type.Integer(), name: Type.String(), labels: Type.Array(Type.String()) })

export type PauseBody = Static<typeof PauseBody>
export const PauseBody = Type.Object({
  kind: Type.Union([Type.Literal('runner'), Type.Literal('group'), Type.Literal('label')]),
  id: Type.Union([Type.Integer(), Type.Null()]),
  name: Type.String(),
  reason: Type.String(),
  drain: Type.Boolean(),
  running: Type.Union([Type.Integer(), Type.Null()]),
  paused_at: Type.String(),
  paused_by: Type.Union([Type.String(), Type.Null()]),
})
const PausesBody = Type.Object({ total_count: Type.Integer(), pauses: Type.Array(PauseBody) })
const PauseRequest = Type.Object({ reason: Text(500), drain: Type.Optional(Type.Boolean()) }, STRICT)

type QueueDeps = Deps & { book: AddressBook }

const SCOPES: { path: string; read: Need; steer: Need; rules: boolean }[] = [
  { path: '/enterprises/:enterprise', read: needs.enterpriseRunners, steer: needs.enterpriseRunners, rules: false },
  { path: '/orgs/:org', read: needs.organizationRunnersRead, steer: needs.organizationRunners, rules: true },
  { path: '/repos/:owner/:repo', read: needs.actionsRead, steer: needs.repositoryRunners, rules: true },
]

/** The queue as people see and steer it: every waiting job, rules, moves of one job, pauses. See README.md. */
export function queueRoutes(app: App, deps: QueueDeps): void {
  app.get(
    '/queue',
    { config: config(needs.enterpriseRunners), schema: { querystring: PageQuery, response: { 200: QueueBody } } },
    (request, reply) => waiting(deps, request, reply, { kind: 'enterprise', slug: THE_ENTERPRISE }),
  )
  for (const at of SCOPES) {
    waitingRoutes(app, deps, at)
    pauseRoutes(app, deps, at)
    if (at.rules) ruleRoutes(app, deps, at)
  }
}

/** There is one, and its number stands for it whatever its slug is. */
const THE_ENTERPRISE = '1'

type At = (typeof SCOPES)[number]
const config = (need: Need) => ({ access: { by: 'actor' as const, need } })

function waitingRoutes(app: App, deps: QueueDeps, { path, read, steer }: At): void {
  app.get(`${path}/queue`, { config: config(read), schema: { querystring: PageQuery, response: { 200: QueueBody } } }, (request, reply) =>
    waiting(deps, request, reply, scopeOf(request)),
  )
  app.patch(
    `${path}/queue/jobs/:job_id`,
    {
      config: config(steer),
      schema: { params: Type.Object({ job_id: Type.String() }), body: SteerRequest, response: { 200: SteeredBody } },
    },
    async (request) => {
      const steering = steeringOf(request.body)
      const job = await steerJob(deps, request.actor, { scope: scopeOf(request), jobId: idOf(request.params.job_id), steering })
      return { id: job.id, run_id: job.runId, name: job.name, labels: job.labels }
    },
  )
}

async function waiting(
  deps: QueueDeps,
  request: FastifyRequest,
  reply: FastifyReply,
  scope: RunnerScopeRef,
): Promise<Static<typeof QueueBody>> {
  const query = request.query as Static<typeof PageQuery>
  const page = pageOf(query)
  const { jobs, total } = await listQueue(deps, request.actor, { scope, offset: page.offset, limit: page.limit })
  linkPages(reply, addressOf(deps.book, request), query, page, total)
  const now = deps.now()
  return { total_count: total, jobs: jobs.map((queued) => presentQueued(queued, now)) }
}

function steeringOf({ expedite, before, priority, labels, reset }: Static<typeof SteerRequest>): Steering {
  const given: Steering[] = [
    ...(expedite ? [{ kind: 'expedite' as const }] : []),
    ...(before === undefined ? [] : [{ kind: 'before' as const, jobId: before }]),
    ...(priority === undefined ? [] : [{ kind: 'priority' as const, priority }]),
    ...(labels === undefined ? [] : [{ kind: 'labels' as const, labels }]),
    ...(reset ? [{ kind: 'reset' as const }] : []),
  ]
  const [steering] = given
  if (!steering || given.length > 1) throw new AppError('invalid', 'Give one of expedite, before, priority, labels and reset')
  return steering
}

function presentQueued({ job, repository, position, priority, reason, startsInMs }: QueuedJob, now: number): QueuedJobBody {
  return {
    id: job.id,
    run_id: job.runId,
    repository: fullName(repository),
    name: job.name,
    labels: job.labels,
    runner_group_name: job.groupName,
    priority,
    position,
    waiting_reason: reason,
    waiting_since: isoTime(job.queuedAt ?? job.createdAt),
    estimated_start_at: startsInMs === null ? null : isoTime(now + startsInMs),
    falls_back_at: job.fallbackAt === null ? null : isoTime(job.fallbackAt),
    fails_at: job.waitUntil === null ? null : isoTime(job.waitUntil),
  }
}

function ruleRoutes(app: App, deps: Deps, { path, steer }: At): void {
  const RuleParams = Type.Object({ rule_id: Type.String() })
  app.get(`${path}/queue/rules`, { config: config(steer), schema: { response: { 200: RulesBody } } }, async (request) => {
    const rules = await listRules(deps, request.actor, scopeOf(request))
    return { total_count: rules.length, rules: rules.map(presentRule) }
  })
  app.post(
    `${path}/queue/rules`,
    { config: config(steer), schema: { body: CreateRule, response: { 201: RuleBody } } },
    async (request, reply) => {
      const { name, position, match = {} } = request.body
      const made = await createRule(deps, request.actor, scopeOf(request), {
        name,
        position,
        match,
        effect: changedEffect({}, effectOf(request.body)),
      })
      return reply.code(201).send(presentRule(made))
    },
  )
  app.get(
    `${path}/queue/rules/:rule_id`,
    { config: config(steer), schema: { params: RuleParams, response: { 200: RuleBody } } },
    async (request) => presentRule(await getRule(deps, request.actor, scopeOf(request), idOf(request.params.rule_id))),
  )
  app.patch(
    `${path}/queue/rules/:rule_id`,
    { config: config(steer), schema: { params: RuleParams, body: UpdateRule, response: { 200: RuleBody } } },
    async (request) => {
      const { name, position, match } = request.body
      const updated = await updateRule(deps, request.actor, scopeOf(request), {
        id: idOf(request.params.rule_id),
        ...(name !== undefined && { name }),
        ...(position !== undefined && { position }),
        ...(match !== undefined && { match }),
        effect: effectOf(request.body),
      })
      return presentRule(updated)
    },
  )
  app.delete(`${path}/queue/rules/:rule_id`, { config: config(steer), schema: { params: RuleParams } }, async (request, reply) => {
    await deleteRule(deps, request.actor, scopeOf(request), idOf(request.params.rule_id))
    return reply.code(204).send()
  })
}

function effectOf({ priority, fallback, longest_wait_seconds, most_at_once }: Static<typeof UpdateRule>): EffectChange {
  return {
    ...(priority !== undefined && { priority }),
    ...(fallback !== undefined && {
      fallback: fallback?.map(({ after_seconds, labels }) => ({ afterSeconds: after_seconds, labels })) ?? null,
    }),
    ...(longest_wait_seconds !== undefined && { longestWaitSeconds: longest_wait_seconds }),
    ...(most_at_once !== undefined && { mostAtOnce: most_at_once }),
  }
}

function presentRule({ id, name, position, match, effect, createdAt, updatedAt }: QueueRule): RuleBody {
  const { priority, fallback, longestWaitSeconds, mostAtOnce } = effect
  return {
    id,
    name,
    position,
    match,
    ...(priority !== undefined && { priority }),
    ...(fallback && { fallback: fallback.map(({ afterSeconds, labels }) => ({ after_seconds: afterSeconds, labels })) }),
    ...(longestWaitSeconds !== undefined && { longest_wait_seconds: longestWaitSeconds }),
    ...(mostAtOnce !== undefined && { most_at_once: mostAtOnce }),
    created_at: isoTime(createdAt),
    updated_at: isoTime(updatedAt),
  }
}

function pauseRoutes(app: App, deps: Deps, { path, steer }: At): void {
  app.get(`${path}/queue/pauses`, { config: config(steer), schema: { response: { 200: PausesBody } } }, async (request) => {
    const pauses = await listPauses(deps, request.actor, scopeOf(request))
    return { total_count: pauses.length, pauses: pauses.map(presentPause) }
  })
  const targets: { segment: string; of: (text: string) => Target }[] = [
    { segment: 'runners', of: (text) => ({ kind: 'runner', id: idOf(text) }) },
    { segment: 'groups', of: (text) => ({ kind: 'group', number: idOf(text) }) },
    { segment: 'labels', of: (text) => ({ kind: 'label', name: text }) },
  ]
  const Params = Type.Object({ target: Type.String({ minLength: 1, maxLength: 256 }) })
  for (const { segment, of } of targets) {
    app.put(
      `${path}/queue/pauses/${segment}/:target`,
      { config: config(steer), schema: { params: Params, body: PauseRequest, response: { 200: PauseBody } } },
      async (request) => {
        const { reason, drain = false } = request.body
        return presentPause(await pause(deps, request.actor, { scope: scopeOf(request), target: of(request.params.target), reason, drain }))
      },
    )
    app.delete(`${path}/queue/pauses/${segment}/:target`, { config: config(steer), schema: { params: Params } }, async (request, reply) => {
      await resume(deps, request.actor, { scope: scopeOf(request), target: of(request.params.target) })
      return reply.code(204).send()
    })
  }
}

function presentPause({ pause: { kind, reason, isDrain, createdAt }, name, number, running, by }: PauseView): PauseBody {
  const id = kind === 'label' ? null : number
  return { kind, id, name, reason, drain: isDrain, running, paused_at: isoTime(createdAt), paused_by: by }
}
