import type { Repository } from '../../model/account.ts'
import type { ScopeRef } from '../../model/access.ts'
import { labelSet, refusal, type Job, type Line, type Refusal, type Server } from '../../model/job.ts'
import { closedGroup } from '../../model/runner-group.ts'
import { isOnline } from '../../model/runner.ts'
import type { Times } from '../../model/times.ts'
import { enterpriseGet } from '../../store/accounts.ts'
import { lineById } from '../../store/jobs.ts'
import { groupPolicy } from '../../store/runner-groups.ts'
import { candidatesFor, type Candidate } from '../../store/runners.ts'
import type { Deps } from '../deps.ts'

/** Beyond this many the numbers no longer help. */
const COUNTED_AT_MOST = 1000

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
  return { reason: await queuedText(deps, repository, job), since: job.queuedAt ?? job.createdAt }
}

function needsText(open: string[]): string {
  if (open.length === 0) return 'about to be decided'
  return `waits for ${open.length === 1 ? 'job' : 'jobs'} ${open.join(', ')}`
}

async function queuedText({ db, now, times }: Pick<Deps, 'db' | 'now' | 'times'>, repository: Repository, job: Job): Promise<string> {
  const enterprise = await enterpriseGet(db)
  const scopes: ScopeRef[] = [
    { kind: 'repository', id: repository.id },
    { kind: 'organization', id: repository.owner.id },
    ...(repository.owner.kind === 'organization' ? [{ kind: 'enterprise' as const, id: enterprise.id }] : []),
  ]
  const labels = labelSet(job.labels)
  const { matching, labelsSomewhere, any } = await candidatesFor(db, scopes, labels, COUNTED_AT_MOST)
  if (matching.length === 0) return nobodyText(labels, labelsSomewhere, any)

  const line = job.lineId === null ? undefined : await lineById(db, job.lineId)
  if (!line) return 'about to be put in line'
  const servers = new Map<number | null, Server['group']>()
  for (const { groupId } of matching) {
    if (!servers.has(groupId))
      servers.set(groupId, groupId === null ? undefined : ((await groupPolicy(db, groupId)) ?? closedGroup(groupId)))
  }
  const refused = new Map<Refusal, Candidate[]>()
  const allowed: Candidate[] = []
  for (const runner of matching) {
    const why = refusal({ scope: runner.scope, labels: new Set(line.labels), group: servers.get(runner.groupId) }, line)
    if (why === undefined) allowed.push(runner)
    else refused.set(why, [...(refused.get(why) ?? []), runner])
  }
  return allowed.length > 0 ? stateText(allowed, now(), times) : refusedText(refused, line)
}

/** The nearest miss says most: the rule asked last that a runner failed. */
function refusedText(refused: Map<Refusal, Candidate[]>, line: Line): string {
  const groups = (runners: Candidate[]) => {
    const names = [...new Set(runners.map(({ groupName }) => groupName))]
    return `${names.length === 1 ? 'the runner group' : 'the runner groups'} ${names.join(', ')} ${names.length === 1 ? 'does' : 'do'}`
  }
  const byWorkflow = refused.get('workflow')
  if (byWorkflow) return `${count(byWorkflow.length)}, but ${groups(byWorkflow)} not run the workflow ${line.workflow}`
  const byRepository = refused.get('repository')
  if (byRepository) return `${count(byRepository.length)}, but ${groups(byRepository)} not serve this repository`
  const byPublic = refused.get('public')
  if (byPublic) return `${count(byPublic.length)}, but ${groups(byPublic)} not allow public repositories`
  return `no runner with these labels is in the group ${line.groupName ?? ''}`
}

function nobodyText(labels: string[], somewhere: Set<string>, any: boolean): string {
  if (!any) return 'no runner is registered for this repository, its organization or the enterprise'
  const missing = labels.filter((label) => !somewhere.has(label))
  if (missing.length === 1) return `no runner has the label ${missing[0] ?? ''}`
  if (missing.length > 1) return `no runner has the labels ${missing.join(', ')}`
  return `no runner has all of the labels ${labels.join(', ')}`
}

function stateText(runners: Candidate[], now: number, times: Times): string {
  const busy = runners.filter((runner) => runner.busy).length
  const offline = runners.filter((runner) => !runner.busy && !isOnline(runner, now, times)).length
  const idle = runners.length - busy - offline
  const total = runners.length
  if (idle > 0)
    return `${count(total)}, ${idle === total ? (total === 1 ? 'idle' : `${all(total)} idle`) : `${idle} idle`}: about to be given out`
  if (busy === total) return `${count(total)}, ${total === 1 ? 'busy' : `${all(total)} busy`}`
  if (offline === total) return `${count(total)}, ${total === 1 ? 'offline' : `${all(total)} offline`}`
  return `${count(total)}, ${busy} busy and ${offline} offline`
}

const count = (runners: number) => (runners === 1 ? '1 runner matches' : `${runners} runners match`)
const all = (runners: number) => (runners === 2 ? 'both' : 'all')
