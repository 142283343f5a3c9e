import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type, type Static } from 'typebox'
import type { RunnerScopeRef } from '../../core/access/authorize.ts'
import type { Deps } from '../../core/deps.ts'
import { listQueue, type QueuedJob } from '../../core/queue/list-queue.ts'
import { listPauses, pause, resume, type PauseView, type Target } from '../../core/queue/pauses.ts'
import { createRule, deleteRule, getRule, listRules, updateRule } from '../../core/queue/queue-rules.ts'
import { steerJob, type Steering } from '../../core/queue/steer-job.ts'
import { addressOf, type AddressBook } from '../../http/addresses.ts'
import { NoBody, Time, Word } from '../../http/answers.ts'
import { linkPages, pageOf, PageQuery } from '../../http/paging.ts'
import { idOf, isoTime, scopeOf } from '../../http/places.ts'
import type { App } from '../../http/server.ts'
import '../../http/access.ts'
import { needs, type Need } from '../../model/access.ts'
import { fullName } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'
import { changedEffect, PRIORITY_LIMIT, type EffectChange, type QueueRule } from '../../model/queue-rule.ts'
import { Taken } from './requests.ts'

const Text = (maxLength: number, description?: string) =>
  Type.String({ minLength: 1, maxLength, pattern: '^[^\\u0000-\\u001f\\u007f]*$', ...(description !== undefined && { description }) })
const Priority = Type.Integer({
  minimum: -PRIORITY_LIMIT,
  maximum: PRIORITY_LIMIT,
  description: 'Higher ones go first; 0 where nobody says anything.',
})
const DAYS_30 = 30 * 24 * 3600
const Seconds = Type.Integer({ minimum: 1, maximum: DAYS_30 })
const Labels = Type.Array(Text(256), { minItems: 1, maxItems: 100, description: 'Labels that a runner must have, all of them.' })

export type QueuedJobBody = Static<typeof QueuedJobBody>
export const QueuedJobBody = Type.Object(
  {
    id: Type.Integer(),
    run_id: Type.Integer(),
    repository: Type.String({ description: '`owner/name`' }),
    name: Type.String(),
    labels: Type.Array(Type.String(), { description: 'The labels that a runner must have to be given it.' }),
    runner_group_name: Type.Union([Type.String(), Type.Null()], { description: 'The group that it asks for, if any.' }),
    priority: Type.Integer({ description: 'Higher ones go first.' }),
    position: Type.Union([Type.Integer(), Type.Null()], {
      description: 'Among the jobs of this place that are filed under the same label, from 1; null beyond the first thousand.',
    }),
    waiting_reason: Type.String({ description: 'Why no runner has it yet, for people to read.' }),
    waiting_since: Time,
    estimated_start_at: Type.Union([Time, Type.Null()], {
      description: 'From how long such jobs took lately; null where that cannot be told.',
    }),
    falls_back_at: Type.Union([Time, Type.Null()], { description: 'When a queue rule gives it other labels.' }),
    fails_at: Type.Union([Time, Type.Null()], { description: 'When it has waited for as long as a queue rule lets it.' }),
  },
  { title: 'QueuedJob' },
)
const QueueBody = Type.Object({ total_count: Type.Integer(), jobs: Type.Array(QueuedJobBody) }, { title: 'Queue' })

const Match = Taken(
  {
    repository: Type.Optional(
      Text(200, 'The name of a repository. A pattern, as all that follow but the labels: `*`, `**` and `?` as in workflow files.'),
    ),
    workflow: Type.Optional(Text(500, 'The path of the workflow file.')),
    branch: Type.Optional(Text(500, 'The branch of the run.')),
    event: Type.Optional(Text(100, 'What started the run, such as `push`.')),
    actor: Type.Optional(Text(100, 'The login of who started the run.')),
    labels: Type.Optional(Type.Array(Text(256), { minItems: 1, maxItems: 100, description: 'The job asks for all of these.' })),
  },
  {
    title: 'QueueRuleMatch',
    description: 'The jobs that a rule is for: those that fit all that is given, and every job where nothing is.',
  },
)
const Fallback = Type.Array(Taken({ after_seconds: Seconds, labels: Labels }), {
  minItems: 1,
  maxItems: 5,
  description: 'Labels that a job gets instead of its own when it has waited for so long.',
})
const LongestWait = Type.Integer({
  minimum: 1,
  maximum: DAYS_30,
  description: 'A job that waits for longer fails. The shortest of all rules counts.',
})
const MostAtOnce = Type.Integer({
  minimum: 1,
  maximum: 100_000,
  description: 'So many of its jobs run at once; the others wait. All rules count.',
})
const Rule = {
  priority: Type.Optional(Priority),
  fallback: Type.Optional(Fallback),
  longest_wait_seconds: Type.Optional(LongestWait),
  most_at_once: Type.Optional(MostAtOnce),
}
const Position = Type.Integer({ minimum: 0, maximum: 1_000_000, description: 'Rules are asked in the order of their positions.' })

export type RuleBody = Static<typeof RuleBody>
export const RuleBody = Type.Object(
  {
    id: Type.Integer(),
    name: Type.String(),
    position: Type.Integer(),
    match: Match,
    ...Rule,
    created_at: Time,
    updated_at: Time,
  },
  { title: 'QueueRule' },
)
const RulesBody = Type.Object({ total_count: Type.Integer(), rules: Type.Array(RuleBody) }, { title: 'QueueRules' })
const CreateRule = Taken({ name: Text(100), position: Type.Optional(Position), match: Type.Optional(Match), ...Rule })
const UpdateRule = Taken(
  {
    name: Type.Optional(Text(100)),
    position: Type.Optional(Position),
    match: Type.Optional(Match),
    priority: Type.Optional(Type.Union([Priority, Type.Null()])),
    fallback: Type.Optional(Type.Union([Fallback, Type.Null()])),
    longest_wait_seconds: Type.Optional(Type.Union([LongestWait, Type.Null()])),
    most_at_once: Type.Optional(Type.Union([MostAtOnce, Type.Null()])),
  },
  { description: 'What is given changes, null ends a setting, the rest stays; `match` is changed as a whole.' },
)

const SteerRequest = Taken(
  {
    expedite: Type.Optional(Type.Literal(true, { description: 'To the head of the line.' })),
    before: Type.Optional(Type.Integer({ minimum: 1, maximum: Number.MAX_SAFE_INTEGER, description: 'Before the job of this number.' })),
    priority: Type.Optional(Priority),
    labels: Type.Optional(Labels),
    reset: Type.Optional(Type.Literal(true, { description: 'Back to where the rules put it.' })),
  },
  { description: 'One of these.' },
)
const SteeredBody = Type.Object(
  { id: Type.Integer(), run_id: Type.Integer(), name: Type.String(), labels: Type.Array(Type.String()) },
  { title: 'SteeredJob' },
)

export type PauseBody = Static<typeof PauseBody>
export const PauseBody = Type.Object(
  {
    kind: Word('runner', 'group', 'label'),
    id: Type.Union([Type.Integer(), Type.Null()], { description: 'The number of the runner or group; null for a label.' }),
    name: Type.String(),
    reason: Type.String({ description: 'Jobs that wait because of it tell it as their reason.' }),
    drain: Type.Boolean({ description: 'It is to become empty: `running` tells when it has.' }),
    running: Type.Integer({ description: 'The jobs that still run there, or ask for the label.' }),
    paused_at: Time,
    paused_by: Type.Union([Type.String(), Type.Null()], { description: 'Who made it; null when that account is gone.' }),
  },
  { title: 'Pause' },
)
const PausesBody = Type.Object({ total_count: Type.Integer(), pauses: Type.Array(PauseBody) }, { title: 'Pauses' })
const PauseRequest = Taken({
  reason: Text(500, 'Why, for those whose jobs wait.'),
  drain: Type.Optional(Type.Boolean({ description: 'It is to become empty, before maintenance for example.' })),
})

type QueueDeps = Deps & { book: AddressBook }

const SCOPES: { path: string; name: string; words: string; read: Need; steer: Need; rules: boolean }[] = [
  {
    path: '/enterprises/:enterprise',
    name: 'enterprise',
    words: 'the enterprise',
    read: needs.enterpriseRunners,
    steer: needs.enterpriseRunners,
    rules: false,
  },
  {
    path: '/orgs/:org',
    name: 'org',
    words: 'an organization',
    read: needs.organizationRunnersRead,
    steer: needs.organizationRunners,
    rules: true,
  },
  {
    path: '/repos/:owner/:repo',
    name: 'repo',
    words: 'a repository',
    read: needs.actionsRead,
    steer: needs.repositoryRunners,
    rules: true,
  },
]

/** The queue as people see and steer it: every waiting job, rules, moves of one job, pauses. See README.md. */
export function queueRoutes(app: App, deps: QueueDeps): void {
  app.get(
    '/queue',
    {
      config: config(needs.enterpriseRunners),
      schema: {
        operationId: 'fleetfoot/list-queue',
        summary: 'List all jobs that wait for a runner',
        tags: ['queue'],
        querystring: PageQuery,
        response: { 200: QueueBody },
      },
    },
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

/** What a call is called at its scope. */
const named = ({ name, words }: At, verb: string, summary: string, description?: string) => ({
  operationId: `fleetfoot/${verb}-for-${name}`,
  summary: `${summary} ${words}`,
  ...(description !== undefined && { description }),
  tags: ['queue'],
})
const config = (need: Need) => ({ access: { by: 'actor' as const, need } })

function waitingRoutes(app: App, deps: QueueDeps, at: At): void {
  const { path, read, steer } = at
  app.get(
    `${path}/queue`,
    {
      config: config(read),
      schema: {
        ...named(
          at,
          'list-queue',
          'List the jobs that wait for a runner in',
          'Those that have waited longest first, with their position, why they wait, and an estimate.',
        ),
        querystring: PageQuery,
        response: { 200: QueueBody },
      },
    },
    (request, reply) => waiting(deps, request, reply, scopeOf(request)),
  )
  app.patch(
    `${path}/queue/jobs/:job_id`,
    {
      config: config(steer),
      schema: {
        ...named(
          at,
          'steer-job',
          'Move a waiting job of',
          'To the head of the line, before another job, by its priority, or to runners with other labels. Who manages one repository of an organization lets its jobs yield or change places.',
        ),
        params: Type.Object({ job_id: Type.String() }),
        body: SteerRequest,
        response: { 200: SteeredBody },
      },
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

function ruleRoutes(app: App, deps: Deps, at: At): void {
  const { path, steer } = at
  const RuleParams = Type.Object({ rule_id: Type.String() })
  app.get(
    `${path}/queue/rules`,
    { config: config(steer), schema: { ...named(at, 'list-queue-rules', 'List the queue rules of'), response: { 200: RulesBody } } },
    async (request) => {
      const rules = await listRules(deps, request.actor, scopeOf(request))
      return { total_count: rules.length, rules: rules.map(presentRule) }
    },
  )
  app.post(
    `${path}/queue/rules`,
    {
      config: config(steer),
      schema: {
        ...named(
          at,
          'create-queue-rule',
          'Make a queue rule for',
          'Jobs that stand in line are placed anew in the background, except those that somebody moved by hand.',
        ),
        body: CreateRule,
        response: { 201: RuleBody },
      },
    },
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
    {
      config: config(steer),
      schema: { ...named(at, 'get-queue-rule', 'Get a queue rule of'), params: RuleParams, response: { 200: RuleBody } },
    },
    async (request) => presentRule(await getRule(deps, request.actor, scopeOf(request), idOf(request.params.rule_id))),
  )
  app.patch(
    `${path}/queue/rules/:rule_id`,
    {
      config: config(steer),
      schema: {
        ...named(at, 'update-queue-rule', 'Change a queue rule of', 'What is given changes, null ends a setting, the rest stays.'),
        params: RuleParams,
        body: UpdateRule,
        response: { 200: RuleBody },
      },
    },
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
  app.delete(
    `${path}/queue/rules/:rule_id`,
    {
      config: config(steer),
      schema: { ...named(at, 'delete-queue-rule', 'End a queue rule of'), params: RuleParams, response: { 204: NoBody } },
    },
    async (request, reply) => {
      await deleteRule(deps, request.actor, scopeOf(request), idOf(request.params.rule_id))
      return reply.code(204).send()
    },
  )
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

function pauseRoutes(app: App, deps: Deps, at: At): void {
  const { path, steer } = at
  app.get(
    `${path}/queue/pauses`,
    { config: config(steer), schema: { ...named(at, 'list-pauses', 'List what is paused in'), response: { 200: PausesBody } } },
    async (request) => {
      const pauses = await listPauses(deps, request.actor, scopeOf(request))
      return { total_count: pauses.length, pauses: pauses.map(presentPause) }
    },
  )
  const targets: { segment: string; kind: Target['kind']; target: string; of: (text: string) => Target }[] = [
    { segment: 'runners', kind: 'runner', target: 'The number of a runner.', of: (text) => ({ kind: 'runner', id: idOf(text) }) },
    {
      segment: 'groups',
      kind: 'group',
      target: 'The number of a runner group in this place.',
      of: (text) => ({ kind: 'group', number: idOf(text) }),
    },
    { segment: 'labels', kind: 'label', target: 'A label.', of: (text) => ({ kind: 'label', name: text }) },
  ]
  for (const { segment, kind, target, of } of targets) {
    // A repository has no groups of its own.
    if (kind === 'group' && at.name === 'repo') continue
    const Params = Type.Object({ target: Type.String({ minLength: 1, maxLength: 256, description: target }) })
    app.put(
      `${path}/queue/pauses/${segment}/:target`,
      {
        config: config(steer),
        schema: {
          ...named(at, `pause-${kind}`, `Pause a ${kind} in`, 'Nothing is given out there until it is resumed; what runs goes on.'),
          params: Params,
          body: PauseRequest,
          response: { 200: PauseBody },
        },
      },
      async (request) => {
        const { reason, drain = false } = request.body
        return presentPause(await pause(deps, request.actor, { scope: scopeOf(request), target: of(request.params.target), reason, drain }))
      },
    )
    app.delete(
      `${path}/queue/pauses/${segment}/:target`,
      {
        config: config(steer),
        schema: { ...named(at, `resume-${kind}`, `Resume a ${kind} in`), params: Params, response: { 204: NoBody } },
      },
      async (request, reply) => {
        await resume(deps, request.actor, { scope: scopeOf(request), target: of(request.params.target) })
        return reply.code(204).send()
      },
    )
  }
}

function presentPause({ pause: { kind, reason, isDrain, createdAt }, name, number, running, by }: PauseView): PauseBody {
  const id = kind === 'label' ? null : number
  return { kind, id, name, reason, drain: isDrain, running, paused_at: isoTime(createdAt), paused_by: by }
}
