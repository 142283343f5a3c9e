import type { PauseBody, QueuedJobBody, RuleBody } from '../protocols/console/queue.ts'
import { callPages, openClient, type ApiClient } from './api-client.ts'
import { parseCommand, printJson, printTable, takeArguments, UsageError, withUsage } from './command.ts'
import { scopePath } from './scope.ts'
import { untilDrained } from './until-drained.ts'

const USAGE = `usage: fleetfoot queue <command> [--at PLACE]

  list [--limit N]                       jobs that wait for a runner: position, why, since when, when they probably start
  expedite JOB                           before all others of the place; on runners of the enterprise only before one's own
  move JOB --before JOB                  before another one that waits for the same label
  move JOB --priority N                  -100 to 100, higher goes first
  move JOB --labels a,b                  ask for other labels
  reset JOB                              back to where the rules put it
  pause LABEL --reason TEXT              jobs that ask for the label wait
  drain LABEL --reason TEXT [--wait]     the same; --wait returns when none of them runs any more
  resume LABEL
  pauses                                 what is paused: runners, groups and labels, by whom and why
  rules list
  rules add NAME [--match KEY=PATTERN]… [--priority N] [--most N] [--longest-wait SECONDS] [--fallback SECONDS:a,b]… [--position N]
  rules change ID [--name NAME] …        what is given changes, 'none' ends a setting
  rules delete ID

  PLACE is ORG, OWNER/REPO or enterprises/SLUG. list does without it for site administrators. KEY is one of repository, workflow, branch, event,
  actor, labels. list, pauses and rules list take --json.
  The server is FLEETFOOT_URL; the token FLEETFOOT_ADMIN_TOKEN, or the one in the data folder (FLEETFOOT_DATA_DIR).`

const OPTIONS = {
  at: { type: 'string' },
  limit: { type: 'string' },
  before: { type: 'string' },
  priority: { type: 'string' },
  labels: { type: 'string' },
  reason: { type: 'string' },
  match: { type: 'string', multiple: true },
  most: { type: 'string' },
  'longest-wait': { type: 'string' },
  fallback: { type: 'string', multiple: true },
  position: { type: 'string' },
  name: { type: 'string' },
  wait: { type: 'boolean' },
  json: { type: 'boolean' },
} as const

type Values = Partial<{
  at: string
  limit: string
  before: string
  priority: string
  labels: string
  reason: string
  match: string[]
  most: string
  'longest-wait': string
  fallback: string[]
  position: string
  name: string
  wait: boolean
  json: boolean
}>

/** `fleetfoot queue …`: see and steer what waits. Gives the exit code. */
export function queueCommand(argv: string[]): Promise<number> {
  return withUsage(USAGE, argv, async () => {
    const { values, positionals } = parseCommand(argv, OPTIONS)
    const [verb = '', ...given] = positionals
    const client = openClient()
    switch (verb) {
      case 'list':
        return list(client, given, values)
      case 'expedite':
        return steer(client, takeArguments(given, 'JOB')[0], values, { expedite: true })
      case 'move':
        return steer(client, takeArguments(given, 'JOB')[0], values, moveOf(values))
      case 'reset':
        return steer(client, takeArguments(given, 'JOB')[0], values, { reset: true })
      case 'pause':
      case 'drain':
        return pauseLabel(client, takeArguments(given, 'LABEL')[0], values, verb === 'drain')
      case 'pauses':
        takeArguments(given)
        return pauses(client, values)
      case 'resume':
        await client.call('DELETE', `${queueAt(values)}/pauses/labels/${encodeURIComponent(takeArguments(given, 'LABEL')[0])}`)
        console.log(`the label ${given[0]} is given out again`)
        return 0
      case 'rules':
        return rules(client, given, values)
      default:
        throw new UsageError(`there is no command 'queue ${verb}'`)
    }
  })
}

function queueAt({ at }: Values): string {
  if (at === undefined) throw new UsageError('--at PLACE is missing: an organization, OWNER/REPO or enterprises/SLUG')
  return `/api/fleetfoot${scopePath(at)}/queue`
}

async function list(client: ApiClient, given: string[], values: Values): Promise<number> {
  takeArguments(given)
  const path = values.at === undefined ? '/api/fleetfoot/queue' : queueAt(values)
  const jobs = await callPages<QueuedJobBody>(client, path, 'jobs', values.limit === undefined ? 30 : numberOf('--limit', values.limit))
  if (values.json) printJson(jobs)
  else if (jobs.length === 0) console.log('no job waits for a runner')
  else {
    printTable([
      ['JOB', 'POSITION', 'REPOSITORY', 'NAME', 'SINCE', 'STARTS', 'WHY'],
      ...jobs.map((job) => [
        String(job.id),
        job.position === null ? 'over 1000' : String(job.position),
        job.repository,
        job.name,
        job.waiting_since,
        job.estimated_start_at ?? 'unknown',
        job.waiting_reason,
      ]),
    ])
  }
  return 0
}

function moveOf({ before, priority, labels }: Values): object {
  const moves = [
    ...(before === undefined ? [] : [{ before: numberOf('--before', before) }]),
    ...(priority === undefined ? [] : [{ priority: numberOf('--priority', priority) }]),
    ...(labels === undefined ? [] : [{ labels: words(labels) }]),
  ]
  const [move] = moves
  if (!move || moves.length > 1) throw new UsageError('give one of --before, --priority and --labels')
  return move
}

async function steer(client: ApiClient, job: string, values: Values, move: object): Promise<number> {
  const moved = await client.call<{ id: number; name: string }>('PATCH', `${queueAt(values)}/jobs/${numberOf('JOB', job)}`, move)
  console.log(`job ${moved.id} (${moved.name}) moved`)
  return 0
}

async function pauseLabel(client: ApiClient, label: string, values: Values, drain: boolean): Promise<number> {
  if (values.reason === undefined) throw new UsageError('--reason TEXT is missing: it is shown to those who wait')
  const path = `${queueAt(values)}/pauses`
  const paused = await client.call<PauseBody>('PUT', `${path}/labels/${encodeURIComponent(label)}`, { reason: values.reason, drain })
  console.log(`jobs that ask for ${paused.name} wait: ${paused.reason}${drain ? `; ${paused.running} still running` : ''}`)
  if (!drain || !values.wait) return 0
  await untilDrained(client, path, ({ kind, name }) => kind === 'label' && name === paused.name)
  console.log(`${paused.name} is drained`)
  return 0
}

async function pauses(client: ApiClient, values: Values): Promise<number> {
  const { pauses: found } = await client.call<{ pauses: PauseBody[] }>('GET', `${queueAt(values)}/pauses`)
  if (values.json) printJson(found)
  else if (found.length === 0) console.log('nothing is paused')
  else {
    printTable([
      ['KIND', 'NAME', 'STATE', 'RUNNING', 'SINCE', 'BY', 'WHY'],
      ...found.map(({ kind, name, drain, running, paused_at, paused_by, reason }) => [
        kind,
        name,
        drain ? 'draining' : 'paused',
        String(running),
        paused_at,
        paused_by ?? '',
        reason,
      ]),
    ])
  }
  return 0
}

async function rules(client: ApiClient, [verb = '', ...given]: string[], values: Values): Promise<number> {
  const path = `${queueAt(values)}/rules`
  if (verb === 'list') {
    takeArguments(given)
    const { rules: found } = await client.call<{ rules: RuleBody[] }>('GET', path)
    if (values.json) printJson(found)
    else
      printTable(found.map((rule) => [String(rule.id), String(rule.position), rule.name, describe(rule.match), describe(effectOf(rule))]))
    return 0
  }
  if (verb === 'add') {
    const [name] = takeArguments(given, 'NAME')
    const made = await client.call<RuleBody>('POST', path, { ...ruleOf(values), name })
    console.log(`rule ${made.id} made`)
    return 0
  }
  if (verb === 'change') {
    const [id] = takeArguments(given, 'ID')
    await client.call('PATCH', `${path}/${numberOf('ID', id)}`, ruleOf(values))
    console.log(`rule ${id} changed`)
    return 0
  }
  if (verb === 'delete') {
    await client.call('DELETE', `${path}/${numberOf('ID', takeArguments(given, 'ID')[0])}`)
    console.log(`rule ${given[0]} deleted`)
    return 0
  }
  throw new UsageError(`there is no command 'queue rules ${verb}'`)
}

function ruleOf({ match = [], name, position, priority, most, fallback = [], 'longest-wait': wait }: Values): object {
  const entries = match.map((text) => {
    const at = text.indexOf('=')
    const key = text.slice(0, Math.max(at, 0))
    if (!['repository', 'workflow', 'branch', 'event', 'actor', 'labels'].includes(key))
      throw new UsageError(`--match: '${text}' is not KEY=PATTERN`)
    return [key, key === 'labels' ? words(text.slice(at + 1)) : text.slice(at + 1)] as const
  })
  const setting = (option: string, text: string) => (text === 'none' ? null : numberOf(option, text))
  return {
    ...(match.length > 0 && { match: Object.fromEntries(entries) }),
    ...(name !== undefined && { name }),
    ...(position !== undefined && { position: numberOf('--position', position) }),
    ...(priority !== undefined && { priority: setting('--priority', priority) }),
    ...(most !== undefined && { most_at_once: setting('--most', most) }),
    ...(wait !== undefined && { longest_wait_seconds: setting('--longest-wait', wait) }),
    ...(fallback.length > 0 && { fallback: fallback[0] === 'none' ? null : fallback.map(stepOf) }),
  }
}

function stepOf(text: string): object {
  const [seconds = '', labels = ''] = text.split(':')
  return { after_seconds: numberOf('--fallback', seconds), labels: words(labels) }
}

function effectOf({ priority, most_at_once, longest_wait_seconds, fallback }: RuleBody): Record<string, unknown> {
  return {
    priority,
    'most at once': most_at_once,
    'longest wait': longest_wait_seconds,
    fallback: fallback?.map((step) => `${step.after_seconds}:${step.labels.join(',')}`),
  }
}

function describe(fields: Record<string, unknown>): string {
  const given = Object.entries(fields).filter(([, value]) => value !== undefined)
  return given.map(([key, value]) => `${key}=${String(value)}`).join(' ') || 'all'
}

function words(text: string): string[] {
  return text
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '')
}

function numberOf(name: string, text: string): number {
  if (!/^-?\d{1,15}$/.test(text)) throw new UsageError(`${name}: '${text}' is no number`)
  return Number(text)
}
