import type { Repository } from '../../model/account.ts'
import type { ScopeRef } from '../../model/access.ts'
import { labelSet, refusal, type Job, type Line, type Refusal, type Server } from '../../model/job.ts'
import { closedGroup } from '../../model/runner-group.ts'
import { isOnline } from '../../model/runner.ts'
import type { Times } from '../../model/times.ts'
import { enterpriseGet } from '../../store/accounts.ts'
import type { QueueRule } from '../../model/queue-rule.ts'
import { lineById } from '../../store/jobs.ts'
import { limitsFull } from '../../store/limits.ts'
import { pausesAmong, type Pause } from '../../store/pauses.ts'
import { ruleById } from '../../store/queue-rules.ts'
import { groupExists, groupPolicies } from '../../store/runner-groups.ts'
import { candidatesFor, type Candidate } from '../../store/runners.ts'
import type { Deps } from '../deps.ts'
import { holdsLine } from '../queue/holds.ts'

/** Beyond this many the numbers no longer help. */
const COUNTED_AT_MOST = 1000
/** Of the reasons of many pauses. */
const REASONS_TOLD = 3

export interface Waiting {
  reason: string
  since: number
}

/**
 * Why a job waits, in words for the person who wonders, and since when; undefined when it does not wait. Asked when a job is shown, never
 * stored: it is about the runners of this moment.
 */
export async function waitingReason(
  deps: Pick<Deps, 'db' | 'now' | 'times'>,
  repository: Repository,
  job: Job,
  openNeeds: string[],
): Promise<Waiting | undefined> {
  if (job.status === 'pending') return { reason: needsText(openNeeds), since: job.createdAt }
  if (job.status === 'assigned')
    return { reason: `given to runner ${job.runnerName ?? ''}, which is about to start it`, since: job.queuedAt ?? job.createdAt }
  if (job.status !== 'queued') return undefined
  return { reason: (await queuedState(deps, repository, job)).reason, since: job.queuedAt ?? job.createdAt }
}

function needsText(open: string[]): string {
  if (open.length === 0) return 'about to be decided'
  return `waits for ${open.length === 1 ? 'job' : 'jobs'} ${open.join(', ')}`
}

type Found = Awaited<ReturnType<typeof candidatesFor>> & { pauses: Pause[] }

/** What was read for one job of a list and is the same for the next: make one for a list, and none that lives longer. */
export interface SeenRunners {
  candidates: Map<string, Found>
  groups: Map<number, Server['group']>
}

export const nothingSeen = (): SeenRunners => ({ candidates: new Map(), groups: new Map() })

/** Why a queued job waits, and how many of the runners that it may have are online and idle. */
export async function queuedState(
  { db, now, times }: Pick<Deps, 'db' | 'now' | 'times'>,
  repository: Repository,
  job: Job,
  seen = nothingSeen(),
): Promise<{ reason: string; online: number; idle: number }> {
  const none = (reason: string) => ({ reason, online: 0, idle: 0 })
  const enterprise = await enterpriseGet(db)
  const above: ScopeRef[] = [
    { kind: 'organization', id: repository.owner.id },
    ...(repository.owner.kind === 'organization' ? [{ kind: 'enterprise' as const, id: enterprise.id }] : []),
  ]
  const labels = labelSet(job.labels)
  const own = await findRunners(db, [{ kind: 'repository', id: repository.id }], labels)
  const key = JSON.stringify([repository.owner.id, labels])
  const shared = seen.candidates.get(key) ?? (await findRunners(db, above, labels))
  seen.candidates.set(key, shared)
  const matching = [...own.matching, ...shared.matching].slice(0, COUNTED_AT_MOST)
  const labelsSomewhere = new Set([...own.labelsSomewhere, ...shared.labelsSomewhere])
  const any = own.any || shared.any
  if (matching.length === 0) return none(nobodyText(labels, labelsSomewhere, any))

  const line = job.lineId === null ? undefined : await lineById(db, job.lineId)
  if (!line) return none('about to be put in line')
  const unseen = groupsOf(matching).filter((id) => !seen.groups.has(id))
  const policies = await groupPolicies(db, unseen)
  for (const id of unseen) seen.groups.set(id, policies.get(id) ?? closedGroup(id))
  const asked = new Set(line.labels)
  const refused = new Map<Refusal, Candidate[]>()
  const allowed: Candidate[] = []
  for (const runner of matching) {
    const group = runner.groupId === null ? undefined : seen.groups.get(runner.groupId)
    const why = refusal({ scope: runner.scope, labels: asked, group }, line)
    if (why === undefined) allowed.push(runner)
    else if (refused.has(why)) refused.get(why)?.push(runner)
    else refused.set(why, [runner])
  }
  if (allowed.length === 0) {
    const why = refusedText(refused, line)
    if (why !== undefined) return none(`${count(refused.get(nearestMiss(refused) ?? 'public')?.length ?? 0)}, but ${why}`)
    const isThere = line.groupName === null || (await groupExists(db, above, line.groupName))
    return none(
      isThere ? `no runner with these labels is in the group ${line.groupName ?? ''}` : `there is no runner group ${line.groupName}`,
    )
  }
  const pauses = [...own.pauses, ...shared.pauses]
  const label = pauses.find((pause) => holdsLine(pause, line))
  if (label) return none(`the label ${label.labelKey} is paused: ${label.reason}`)
  const [full] = await limitsFull(db, line.limitIds)
  if (full !== undefined) return none(limitText(await ruleById(db, full)))
  const pauseOf = ({ id, groupId }: Candidate) =>
    pauses.find(({ kind, targetId }) => (kind === 'runner' && targetId === id) || (kind === 'group' && targetId === groupId))
  const free = allowed.filter((runner) => !pauseOf(runner))
  if (free.length === 0) return none(pausedText(allowed.length, pauseOf(allowed[0] as Candidate)))
  const online = free.filter((runner) => isOnline(runner, now(), times))
  const idle = online.filter(({ busy }) => !busy).length
  if (free.length === matching.length) return { reason: stateText(free, now(), times), online: online.length, idle }
  const others = [
    ...(free.length < allowed.length ? [pausedPart(allowed.filter((runner) => pauseOf(runner)).map(pauseOf))] : []),
    ...(allowed.length < matching.length ? [refusedPart(refused, line)] : []),
  ]
  return { reason: mixedText(matching.length, free, others, now(), times), online: online.length, idle }
}

/** The runners of these places that have the labels, and every pause that may hold one of them. */
async function findRunners(db: Deps['db'], scopes: ScopeRef[], labels: string[]): Promise<Found> {
  const found = await candidatesFor(db, scopes, labels, COUNTED_AT_MOST)
  const { matching } = found
  if (matching.length === 0) return { ...found, pauses: [] }
  return { ...found, pauses: await pausesAmong(db, { runnerIds: matching.map(({ id }) => id), groupIds: groupsOf(matching) }) }
}

const groupsOf = (runners: Candidate[]) => [...new Set(runners.flatMap(({ groupId }) => groupId ?? []))]

function limitText(rule: QueueRule | undefined): string {
  const most = rule?.effect.mostAtOnce ?? 0
  return `${most} ${most === 1 ? 'job runs' : 'jobs run'}, and the queue rule ${rule?.name ?? ''} allows no more at once`
}

function pausedText(total: number, pause: Pause | undefined): string {
  const of = pause?.kind === 'group' ? 'its group is paused' : 'paused'
  return total === 1 ? `1 runner matches, ${of}: ${pause?.reason ?? ''}` : `${count(total)}, ${all(total)} paused: ${pause?.reason ?? ''}`
}

const REFUSALS = { workflow: 'run the workflow', repository: 'serve this repository', public: 'allow public repositories' } as const

/** The nearest miss says most: the rule asked last that a runner failed. */
function nearestMiss(refused: Map<Refusal, Candidate[]>): keyof typeof REFUSALS | undefined {
  return (['workflow', 'repository', 'public'] as const).find((each) => refused.has(each))
}

function refusedText(refused: Map<Refusal, Candidate[]>, line: Line): string | undefined {
  const why = nearestMiss(refused)
  if (!why) return undefined
  const names = [...new Set(refused.get(why)?.map(({ groupName }) => groupName))]
  const [groups, not] = names.length === 1 ? ['the runner group', 'does not'] : ['the runner groups', 'do not']
  return `${groups} ${names.join(', ')} ${not} ${REFUSALS[why]}${why === 'workflow' ? ` ${line.workflow}` : ''}`
}

function refusedPart(refused: Map<Refusal, Candidate[]>, line: Line): string {
  const total = [...refused.values()].reduce((sum, runners) => sum + runners.length, 0)
  const why = refusedText(refused, line)
  return why === undefined ? `${total} not in the group ${line.groupName ?? ''}` : `${total} not allowed, as ${why}`
}

function pausedPart(pauses: (Pause | undefined)[]): string {
  const reasons = [...new Set(pauses.map((pause) => pause?.reason ?? ''))]
  return `${pauses.length} paused (${reasons.slice(0, REASONS_TOLD).join('; ')}${reasons.length > REASONS_TOLD ? '; …' : ''})`
}

/** Some are free to take the job, others are not: who reads it should not wonder about those that it knows of. */
function mixedText(total: number, free: Candidate[], others: string[], now: number, times: Times): string {
  const { busy, offline, idle } = countsOf(free, now, times)
  const parts = [
    ...(idle > 0 ? [`${idle} idle`] : []),
    ...(busy > 0 ? [`${busy} busy`] : []),
    ...(offline > 0 ? [`${offline} offline`] : []),
    ...others,
  ]
  return `${count(total)}: ${parts.join(', ')}${idle > 0 ? ': about to be given out' : ''}`
}

function countsOf(runners: Candidate[], now: number, times: Times): { busy: number; offline: number; idle: number } {
  const busy = runners.filter((runner) => runner.busy).length
  const offline = runners.filter((runner) => !runner.busy && !isOnline(runner, now, times)).length
  return { busy, offline, idle: runners.length - busy - offline }
}

function nobodyText(labels: string[], somewhere: Set<string>, any: boolean): string {
  if (!any) return 'no runner is registered for this repository, its organization or the enterprise'
  const missing = labels.filter((label) => !somewhere.has(label))
  if (missing.length === 1) return `no runner has the label ${missing[0] ?? ''}`
  if (missing.length > 1) return `no runner has the labels ${missing.join(', ')}`
  return `no runner has all of the labels ${labels.join(', ')}`
}

function stateText(runners: Candidate[], now: number, times: Times): string {
  const { busy, offline, idle } = countsOf(runners, now, times)
  const total = runners.length
  if (idle > 0)
    return `${count(total)}, ${idle === total ? (total === 1 ? 'idle' : `${all(total)} idle`) : `${idle} idle`}: about to be given out`
  if (busy === total) return `${count(total)}, ${total === 1 ? 'busy' : `${all(total)} busy`}`
  if (offline === total) return `${count(total)}, ${total === 1 ? 'offline' : `${all(total)} offline`}`
  return `${count(total)}, ${busy} busy and ${offline} offline`
}

const count = (runners: number) => (runners === 1 ? '1 runner matches' : `${runners} runners match`)
const all = (runners: number) => (runners === 2 ? 'both' : 'all')
