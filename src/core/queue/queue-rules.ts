import type { Actor } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import { checkRule, type QueueRule, type RuleEffect, type RuleMatch } from '../../model/queue-rule.ts'
import { jobById, jobMove, lineById } from '../../store/jobs.ts'
import { eventInsert } from '../../store/events.ts'
import {
  queuedJobsOf,
  reviewAsk,
  reviewMove,
  reviewNext,
  ruleById,
  ruleDelete,
  ruleInsert,
  ruleList,
  ruleUpdate,
} from '../../store/queue-rules.ts'
import { repositoryById } from '../../store/repositories.ts'
import { runById } from '../../store/runs.ts'
import { authorizeRunnerScope, type RunnerScopeRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import { placeJob } from './place-job.ts'
import { queueReadNeeds, queueSteerNeeds } from './queue-needs.ts'

type RuleDeps = Pick<Deps, 'db' | 'log' | 'now'>

const RULES_LIMIT = 200
const BATCH = 200

const notFound = () => new AppError('not_found', 'Not Found')

export interface RuleInput {
  name: string
  position?: number | undefined
  match: RuleMatch
  effect: RuleEffect
}

/** The queue rules of an organization or repository, in the order in which they are asked. */
export async function listRules(deps: RuleDeps, actor: Actor, ref: RunnerScopeRef): Promise<QueueRule[]> {
  const scope = await authorizeRunnerScope(deps, actor, ref, { ...queueReadNeeds, repository: queueSteerNeeds.repository })
  if (scope.kind === 'enterprise') throw notFound()
  return ruleList(deps.db, { ownerKind: scope.kind, ownerId: scope.id })
}

/** Makes a rule; it binds the jobs that are queued from now on, and `review-queue` places those that stand in line anew. @throws AppError invalid */
export async function createRule(deps: RuleDeps, actor: Actor, ref: RunnerScopeRef, input: RuleInput): Promise<QueueRule> {
  const owner = await ownerOf(deps, actor, ref)
  const rules = await ruleList(deps.db, owner)
  if (rules.length >= RULES_LIMIT) throw new AppError('invalid', `There can be ${RULES_LIMIT} queue rules at most`)
  const at = deps.now()
  const position = input.position ?? (rules.at(-1)?.position ?? 0) + 1
  const rule = { ...owner, name: input.name, position, match: input.match, effect: input.effect, createdAt: at, updatedAt: at }
  checkRule(rule)
  return deps.db.transaction().execute(async (tx) => {
    const made = await ruleInsert(tx, rule)
    await changed(tx, actor, made, 'created', at)
    return made
  })
}

/** Changes what is given of a rule. @throws AppError not_found, invalid */
export async function updateRule(
  deps: RuleDeps,
  actor: Actor,
  ref: RunnerScopeRef,
  input: { id: number } & Partial<RuleInput>,
): Promise<QueueRule> {
  const rule = await ownRule(deps, actor, ref, input.id)
  const change = {
    name: input.name ?? rule.name,
    position: input.position ?? rule.position,
    match: input.match ?? rule.match,
    effect: input.effect ?? rule.effect,
    updatedAt: deps.now(),
  }
  checkRule({ ...rule, ...change })
  const updated = await deps.db.transaction().execute(async (tx) => {
    const after = await ruleUpdate(tx, rule.id, change)
    if (after) await changed(tx, actor, after, 'updated', change.updatedAt)
    return after
  })
  if (!updated) throw notFound()
  return updated
}

export async function deleteRule(deps: RuleDeps, actor: Actor, ref: RunnerScopeRef, id: number): Promise<void> {
  const rule = await ownRule(deps, actor, ref, id)
  await deps.db.transaction().execute(async (tx) => {
    await ruleDelete(tx, rule.id)
    await changed(tx, actor, rule, 'deleted', deps.now())
  })
}

async function ownerOf(deps: RuleDeps, actor: Actor, ref: RunnerScopeRef): Promise<Pick<QueueRule, 'ownerKind' | 'ownerId'>> {
  const scope = await authorizeRunnerScope(deps, actor, ref, queueSteerNeeds)
  if (scope.kind === 'enterprise') throw notFound()
  return { ownerKind: scope.kind, ownerId: scope.id }
}

async function ownRule(deps: RuleDeps, actor: Actor, ref: RunnerScopeRef, id: number): Promise<QueueRule> {
  const owner = await ownerOf(deps, actor, ref)
  const rule = await ruleById(deps.db, id)
  if (!rule || rule.ownerKind !== owner.ownerKind || rule.ownerId !== owner.ownerId) throw notFound()
  return rule
}

async function changed(tx: Deps['db'], actor: Actor, rule: QueueRule, what: string, at: number): Promise<void> {
  const { name, ownerKind, ownerId, position, match, effect } = rule
  await reviewAsk(tx, rule)
  const payload = { name, ownerKind, ownerId, position, match, effect }
  await eventInsert(tx, { at, actor, kind: `queue_rule.${what}`, subject: { kind: 'queue_rule', id: rule.id }, payload })
}

/**
 * Places the queued jobs anew of whom changed their rules, a batch at a time, and goes on where it stopped. Jobs that somebody moved by
 * hand stay where they are.
 */
export async function reviewQueue(deps: Pick<Deps, 'db' | 'now' | 'signals'>): Promise<string> {
  const review = await reviewNext(deps.db)
  if (!review) return 'nothing'
  const ids = await queuedJobsOf(deps.db, review, review.afterJobId, BATCH)
  let moved = 0
  for (const id of ids) if (await replace(deps, id)) moved++
  await reviewMove(deps.db, review, ids.length < BATCH ? 'done' : (ids.at(-1) ?? 0))
  return `${moved} of ${ids.length} jobs placed anew`
}

async function replace(deps: Pick<Deps, 'db' | 'now' | 'signals'>, jobId: number): Promise<boolean> {
  const moved = await deps.db.transaction().execute(async (tx) => {
    const job = await jobById(tx, jobId)
    if (job?.status !== 'queued' || job.lineId === null || job.queuedAt === null || job.steeredBy !== null) return undefined
    const [line, run, repository] = [
      await lineById(tx, job.lineId),
      await runById(tx, job.runId),
      await repositoryById(tx, job.repositoryId),
    ]
    if (!line || !run || !repository) return undefined
    const workflow = line.workflow.split('@')[0] ?? ''
    const place = await placeJob(tx, { repository, run, workflow, labels: job.labels }, job.queuedAt)
    const { rank, limitId, waitUntil, waitRule, fallback } = place
    // Steps that lie behind it have been taken.
    const ahead = fallback.filter(({ afterSeconds }) => (job.queuedAt ?? 0) + afterSeconds * 1000 > deps.now())
    return jobMove(tx, job, { ...line, rank, limitId }, { waitUntil, waitRule, fallback: ahead })
  })
  if (moved) deps.signals.send('line', moved.line.id)
  return moved !== undefined
}
