import type { RunnerBody } from '../protocols/github-rest/runners.ts'
import type { PauseBody } from '../protocols/console/queue.ts'
import { callPages, openClient, type ApiClient } from './api-client.ts'
import { CommandError, parseCommand, printJson, printTable, takeArguments, UsageError, withUsage } from './command.ts'
import { scopePath } from './scope.ts'
import { untilDrained } from './until-drained.ts'

const USAGE = `usage: fleetfoot runners <command> --at PLACE

  list                                   with state, group, labels, and why one is paused
  pause NAME --reason TEXT               gets no more jobs; the one that it has goes on
  drain NAME --reason TEXT [--wait]      the same; --wait returns when it has none left
  resume NAME
  pause|drain|resume --group GROUP …     all runners of a group

  PLACE is ORG, OWNER/REPO or enterprises/SLUG. NAME is a runner's name or its number. list takes --json.
  The server is FLEETFOOT_URL; the token FLEETFOOT_ADMIN_TOKEN, or the one in the data folder (FLEETFOOT_DATA_DIR).`

const OPTIONS = {
  at: { type: 'string' },
  reason: { type: 'string' },
  group: { type: 'string' },
  wait: { type: 'boolean' },
  json: { type: 'boolean' },
} as const

type Values = Partial<{ at: string; reason: string; group: string; wait: boolean; json: boolean }>

/** `fleetfoot runners …`: list, pause, drain and resume runners and groups. Gives the exit code. */
export function runnersCommand(argv: string[]): Promise<number> {
  return withUsage(USAGE, argv, async () => {
    const { values, positionals } = parseCommand(argv, OPTIONS)
    const [verb = '', ...given] = positionals
    if (values.at === undefined) throw new UsageError('--at PLACE is missing: an organization, OWNER/REPO or enterprises/SLUG')
    const client = openClient()
    const at = scopePath(values.at)
    switch (verb) {
      case 'list':
        takeArguments(given)
        return list(client, at, values.json ?? false)
      case 'pause':
      case 'drain':
        return pause(client, at, await targetOf(client, at, given, values), values, verb === 'drain')
      case 'resume':
        await client.call('DELETE', (await targetOf(client, at, given, values)).path)
        console.log('given jobs again')
        return 0
      default:
        throw new UsageError(`there is no command 'runners ${verb}'`)
    }
  })
}

async function list(client: ApiClient, at: string, json: boolean): Promise<number> {
  const runners = await callPages<RunnerBody>(client, `${at}/actions/runners`, 'runners')
  const { pauses } = await client.call<{ pauses: PauseBody[] }>('GET', `/api/fleetfoot${at}/queue/pauses`)
  const pauseOf = (runner: RunnerBody) =>
    pauses.find(({ kind, id }) => (kind === 'runner' && id === runner.id) || (kind === 'group' && id === runner.runner_group_id))
  if (json) printJson(runners.map((runner) => ({ ...runner, pause: pauseOf(runner) ?? null })))
  else {
    printTable(
      runners.map((runner) => [
        String(runner.id),
        runner.name,
        runner.status === 'offline' ? 'offline' : runner.busy ? 'busy' : 'idle',
        runner.labels.map(({ name }) => name).join(','),
        stateOf(runner, pauseOf(runner)),
      ]),
    )
  }
  return 0
}

function stateOf(runner: RunnerBody, pause: PauseBody | undefined): string {
  if (!pause) return ''
  const word = !pause.drain ? 'paused' : runner.busy ? 'draining' : 'drained'
  return `${word}: ${pause.reason}`
}

interface Target {
  path: string
  name: string
  isMeant: (pause: PauseBody) => boolean
}

async function targetOf(client: ApiClient, at: string, given: string[], { group }: Values): Promise<Target> {
  const pauses = `/api/fleetfoot${at}/queue/pauses`
  const target = (kind: 'runner' | 'group', id: number, name: string): Target => ({
    path: `${pauses}/${kind}s/${id}`,
    name,
    isMeant: (pause) => pause.kind === kind && pause.id === id,
  })
  if (group !== undefined) {
    takeArguments(given)
    const groups = await callPages<{ id: number; name: string }>(client, `${at}/actions/runner-groups`, 'runner_groups')
    const found = groups.find(({ id, name }) => name.toLowerCase() === group.toLowerCase() || String(id) === group)
    if (!found) throw new CommandError(`there is no runner group ${group}`)
    return target('group', found.id, found.name)
  }
  const [name] = takeArguments(given, 'NAME')
  const named = await callPages<RunnerBody>(client, `${at}/actions/runners?name=${encodeURIComponent(name)}`, 'runners', 1)
  const [runner] = named.length > 0 || !/^\d+$/.test(name) ? named : [await client.call<RunnerBody>('GET', `${at}/actions/runners/${name}`)]
  if (!runner) throw new CommandError(`there is no runner ${name}`, `list them with 'fleetfoot runners list --at …'`)
  return target('runner', runner.id, runner.name)
}

async function pause(client: ApiClient, at: string, target: Target, { reason, wait }: Values, drain: boolean): Promise<number> {
  if (reason === undefined) throw new UsageError('--reason TEXT is missing: it is shown to those who wait')
  const paused = await client.call<PauseBody>('PUT', target.path, { reason, drain })
  console.log(`${target.name} gets no more jobs: ${paused.reason}${paused.running ? `; ${paused.running} still running` : ''}`)
  if (!wait) return 0
  await untilDrained(client, `/api/fleetfoot${at}/queue/pauses`, target.isMeant)
  console.log(`${target.name} is drained`)
  return 0
}
