import type { Actor } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import {
  changedEffect,
  checkRule,
  type EffectChange,
  type FallbackStep,
  type QueueRule,
  type RuleEffect,
  type RuleMatch,
} from '../../model/queue-rule.ts'
import type { Job } from '../../model/job.ts'
import { jobById, jobMove, lineById } from '../../store/jobs.ts'
import { limitsFull, limitsReplace, limitsSweep, linesOfLimits } from '../../store/limits.ts'
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
import { transact } from '../../store/transact.ts'
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

/** One rule of theirs. @throws AppError not_found */
export function getRule(deps: RuleDeps, actor: Actor, ref: RunnerScopeRef, id: number): Promise<QueueRule> {
  return ownRule(deps, actor, ref, id)
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
  input: { id: number; effect: EffectChange } & Partial<Omit<RuleInput, 'effect'>>,
): Promise<QueueRule> {
  const rule = await ownRule(deps, actor, ref, input.id)
  const change = {
    name: input.name ?? rule.name,
    position: input.position ?? rule.position,
    match: input.match ?? rule.match,
    effect: changedEffect(rule.effect, input.effect),
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

const REVIEW_MS = 400

/**
 * Places the jobs anew of those who changed their rules, owners in turns, for a moment at a time, and goes on where it stopped. Jobs that run
 * count for limits from then on. Jobs that somebody moved by hand stay where they are.
 */
export async function reviewQueue(deps: Pick<Deps, 'db' | 'now' | 'signals' | 'log'>): Promise<string> {
  const began = performance.now()
  let seen = 0
  let moved = 0
  while (performance.now() - began < REVIEW_MS) {
    const review = await reviewNext(deps.db)
    if (!review) break
    const ids = await queuedJobsOf(deps.db, review, review.afterJobId, BATCH)
    for (const id of ids) if (await replaceSafely(deps, id)) moved++
    seen += ids.length
    await reviewMove(deps.db, review, ids.length < BATCH ? 'done' : (ids.at(-1) ?? 0))
  }
  return seen === 0 ? 'nothing' : `${moved} of ${seen} jobs placed anew`
}

/** One that cannot be placed now, as it is being given out, must not keep the others: the next change of a rule looks again. */
async function replaceSafely(deps: Pick<Deps, 'db' | 'now' | 'signals' | 'log'>, jobId: number): Promise<boolean> {
  try {
    return await replace(deps, jobId)
  } catch (error) {
    deps.log.warn({ err: error, jobId }, 'a queued job could not be placed anew')
    return false
  }
}

async function replace(deps: Pick<Deps, 'db' | 'now' | 'signals'>, jobId: number): Promise<boolean> {
  const moved = await transact(deps.db, async (tx) => {
    const job = await jobById(tx, jobId)
    if (!job || job.status === 'completed' || job.lineId === null || job.queuedAt === null) return undefined
    const [line, run, repository] = [
      await lineById(tx, job.lineId),
      await runById(tx, job.runId),
      await repositoryById(tx, job.repositoryId),
    ]
    if (!line || !run || !repository) return undefined
    const workflow = line.workflow.split('@')[0] ?? ''
    // Rules speak of what the workflow asked for, also after a fallback.
    const place = await placeJob(tx, { repository, run, workflow, labels: job.askedLabels ?? job.labels }, job.queuedAt)
    if (job.status !== 'queued') {
      await limitsReplace(tx, job.id, place.limitIds)
      return undefined
    }
    const { limitIds, waitUntil, waitRule } = place
    const isFree = job.steeredBy === null
    // Who manages only the repository let it yield; that keeps nobody above from putting it further back.
    const rank = isFree ? place.rank : job.steeredFrom === 'repository' ? Math.max(line.rank, place.rank) : line.rank
    const fallback = isFree ? stepsLeft(job, place.fallback, deps.now()) : job.fallback
    const isAsBefore =
      rank === line.rank &&
      JSON.stringify(limitIds) === JSON.stringify(line.limitIds) &&
      waitUntil === job.waitUntil &&
      waitRule === job.waitRule &&
      JSON.stringify(fallback) === JSON.stringify(job.fallback)
    return isAsBefore ? undefined : jobMove(tx, job, { ...line, rank, limitIds }, { waitUntil, waitRule, fallback })
  })
  if (moved) deps.signals.send('line', moved.line.id)
  return moved !== undefined
}

/** A job that has not fallen back takes every step, at once where its time is over; one that has, those that lie before it. */
function stepsLeft(job: Job, steps: FallbackStep[], now: number): FallbackStep[] {
  return job.askedLabels === null ? steps : steps.filter(({ afterSeconds }) => (job.queuedAt ?? 0) + afterSeconds * 1000 > now)
}

/** Lets somebody look at lines that wait for a limit which has room again: whose job ended may be gone, or busy elsewhere. */
export async function wakeLimited({ db, signals }: Pick<Deps, 'db' | 'signals'>): Promise<string> {
  await transact(db, limitsSweep)
  const waiting = await linesOfLimits(db)
  const full = await limitsFull(db, [...new Set(waiting.flatMap(({ limitIds }) => limitIds))])
  for (const { limitIds, lineId } of waiting) if (!limitIds.some((id) => full.has(id))) signals.send('line', lineId)
  return `${waiting.length} sets of limits`
}
