import { AppError } from './errors.ts'
import { isValidPattern, matchesPattern } from './workflow/patterns.ts'

/** What a job must be for a rule to speak of it: patterns as in workflow files (`*`, `**`, `?`); what is left out matches everything. */
export interface RuleMatch {
  /** `owner/name`. */
  repository?: string
  /** The path of the workflow file. */
  workflow?: string
  /** The branch; a tag is `refs/tags/…`. */
  branch?: string
  event?: string
  actor?: string
  /** The job asks for all of these. */
  labels?: string[]
}

/** After this long in line the job asks for these labels instead. */
export interface FallbackStep {
  afterSeconds: number
  labels: string[]
}

export interface RuleEffect {
  /** Higher goes first; a repository may only yield. */
  priority?: number
  fallback?: FallbackStep[]
  /** After this long in line the job fails. */
  longestWaitSeconds?: number
  /** No more jobs of the rule run at the same time. */
  mostAtOnce?: number
}

/** Settings that change: null ends one. */
export type EffectChange = { [Key in keyof RuleEffect]: RuleEffect[Key] | null }

/** The settings after a change; what it does not name stays. */
export function changedEffect(effect: RuleEffect, change: EffectChange): RuleEffect {
  return Object.fromEntries(Object.entries({ ...effect, ...change }).filter(([, value]) => value !== null))
}

export interface QueueRule {
  id: number
  ownerKind: 'organization' | 'repository'
  ownerId: number
  position: number
  name: string
  match: RuleMatch
  effect: RuleEffect
  createdAt: number
  updatedAt: number
}

export interface JobFacts {
  repository: string
  workflow: string
  ref: string
  event: string
  actor: string
  /** Lower case. */
  labels: readonly string[]
}

/** Where a job stands and how long, by all rules together. */
export interface Placement {
  /** Minus the priority: lower goes first. */
  rank: number
  /** Every rule that limits it, ascending. */
  limitIds: number[]
  waitUntil: number | null
  /** The name of the rule that says so. */
  waitRule: string | null
  fallback: FallbackStep[]
}

export const PRIORITY_LIMIT = 100
/** Before every priority that a rule can give. */
export const EXPEDITED_RANK = -1000

/**
 * Priority and fallback are those of the first rule that matches and has one: the organization's rules in their order, then the repository's.
 * Bounds all bind: every limit, and the shortest of the longest waits.
 */
export function placementOf(rules: readonly QueueRule[], facts: JobFacts, queuedAt: number): Placement {
  const matching = [...rules]
    .sort((a, b) => (a.ownerKind === b.ownerKind ? a.position - b.position || a.id - b.id : a.ownerKind === 'organization' ? -1 : 1))
    .filter(({ match }) => matches(match, facts))
  const first = <K extends keyof RuleEffect>(key: K) => matching.find(({ effect }) => effect[key] !== undefined)
  const [wait] = matching
    .filter(({ effect }) => effect.longestWaitSeconds !== undefined)
    .toSorted((a, b) => (a.effect.longestWaitSeconds ?? 0) - (b.effect.longestWaitSeconds ?? 0))
  return {
    rank: 0 - (first('priority')?.effect.priority ?? 0),
    limitIds: matching
      .filter(({ effect }) => effect.mostAtOnce !== undefined)
      .map(({ id }) => id)
      .toSorted((a, b) => a - b),
    waitUntil: wait?.effect.longestWaitSeconds === undefined ? null : queuedAt + wait.effect.longestWaitSeconds * 1000,
    waitRule: wait?.name ?? null,
    fallback: [...(first('fallback')?.effect.fallback ?? [])].sort((a, b) => a.afterSeconds - b.afterSeconds),
  }
}

function matches(match: RuleMatch, facts: JobFacts): boolean {
  const fits = (pattern: string | undefined, text: string) => pattern === undefined || matchesPattern(pattern, text)
  return (
    fits(match.repository?.toLowerCase(), facts.repository.toLowerCase()) &&
    fits(match.workflow, facts.workflow) &&
    fits(match.branch, facts.ref.replace(/^refs\/heads\//, '')) &&
    fits(match.event, facts.event) &&
    fits(match.actor?.toLowerCase(), facts.actor.toLowerCase()) &&
    (match.labels ?? []).every((label) => facts.labels.includes(label.toLowerCase()))
  )
}

/** @throws AppError invalid for a pattern that cannot be read, an empty rule, or a repository's rule that would overtake others */
export function checkRule(rule: Pick<QueueRule, 'ownerKind' | 'match' | 'effect'>): void {
  for (const [name, pattern] of Object.entries(rule.match)) {
    if (typeof pattern === 'string' && (pattern === '' || !isValidPattern(pattern)))
      throw new AppError('invalid', `match.${name} is no pattern`)
  }
  const { priority, fallback, longestWaitSeconds, mostAtOnce } = rule.effect
  if (priority === undefined && fallback === undefined && longestWaitSeconds === undefined && mostAtOnce === undefined) {
    throw new AppError('invalid', 'A rule must have a priority, fallback labels, a longest wait or a most at once')
  }
  if (rule.ownerKind === 'repository' && priority !== undefined && priority > 0) {
    throw new AppError('invalid', 'A rule of a repository can only lower the priority of its jobs; an organization can raise it')
  }
}
