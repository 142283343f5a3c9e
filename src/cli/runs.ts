import { callPages, openClient, unlessMissing, type ApiClient } from './api-client.ts'
import { CommandError, parseCommand, printJson, printTable, splitFullName, takeArguments, UsageError, withUsage } from './command.ts'
import { runPrinter } from './print-run.ts'
import { watchRun, type RunBody, type WatchEvent } from './watch-run.ts'

const USAGE = `usage: fleetfoot runs <command>

  watch ID [--json]                    follow a run to its end: jobs, why they wait, steps, log
  watch OWNER/REPO [--json]            follow the newest run of a repository
  list OWNER/REPO [--limit N] [--json] the runs of a repository, newest first
  cancel ID                            stop a run

  watch ends with 0 when the run ended in success, else with 1. With --json every event is a line of JSON.
  The server is FLEETFOOT_URL; the token FLEETFOOT_ADMIN_TOKEN, or the one in the data folder (FLEETFOOT_DATA_DIR).`

const OPTIONS = { json: { type: 'boolean' }, limit: { type: 'string' } } as const

/** `fleetfoot runs …`: follow, list and cancel runs. Gives the exit code. */
export function runsCommand(argv: string[]): Promise<number> {
  return withUsage(USAGE, argv, async () => {
    const { values, positionals } = parseCommand(argv, OPTIONS)
    const [verb = '', ...given] = positionals
    const client = openClient()
    switch (verb) {
      case 'watch':
        return watch(client, takeArguments(given, 'ID')[0], values.json ?? false)
      case 'list':
        return list(client, takeArguments(given, 'OWNER/REPO')[0], limitOf(values.limit), values.json ?? false)
      case 'cancel':
        return cancel(client, takeArguments(given, 'ID')[0])
      default:
        throw new UsageError(`there is no command 'runs ${verb}'`)
    }
  })
}

async function watch(client: ApiClient, which: string, json: boolean): Promise<number> {
  const { repository, runId } = which.includes('/') ? await newestRun(client, which) : await runNamed(client, which)
  const stop = new AbortController()
  const onSignal = () => stop.abort()
  process.once('SIGINT', onSignal)
  process.once('SIGTERM', onSignal)
  try {
    const onEvent = json ? printEvent : runPrinter((line) => console.log(line))
    const run = await watchRun(client, { repository, runId, onEvent, signal: stop.signal })
    return run.conclusion === 'success' ? 0 : 1
  } catch (error) {
    if (!stop.signal.aborted) throw error
    console.error(`fleetfoot: the run goes on: stop it with 'fleetfoot runs cancel ${runId}'`)
    return 130
  } finally {
    process.off('SIGINT', onSignal)
    process.off('SIGTERM', onSignal)
  }
}

function printEvent(event: WatchEvent): void {
  console.log(JSON.stringify({ ...event, at: new Date().toISOString() }))
}

async function list(client: ApiClient, name: string, limit: number, json: boolean): Promise<number> {
  const { owner, name: repo } = splitFullName(name)
  const runs = await callPages<RunBody>(client, `/repos/${owner}/${repo}/actions/runs`, 'workflow_runs', limit)
  if (json) printJson(runs)
  else {
    printTable(
      runs.map((run) => [
        String(run.id),
        run.status === 'completed' ? (run.conclusion ?? '') : run.status,
        `${run.name ?? ''} #${run.run_number}`,
        run.event,
        run.head_branch ?? run.head_sha.slice(0, 7),
        run.created_at,
        run.display_title,
      ]),
    )
  }
  return 0
}

async function cancel(client: ApiClient, id: string): Promise<number> {
  const { repository, runId } = await runNamed(client, id)
  await client.call('POST', `/repos/${repository}/actions/runs/${runId}/cancel`)
  console.log(`run ${runId} of ${repository} is being cancelled`)
  return 0
}

/** GitHub's API wants the repository of a run; people have its number. */
async function runNamed(client: ApiClient, id: string): Promise<{ repository: string; runId: number }> {
  if (!/^[1-9]\d{0,14}$/.test(id)) throw new UsageError(`'${id}' is no run: write its number, or OWNER/REPO for the newest one`)
  const found = await unlessMissing(client.call<{ repository: string }>('GET', `/api/fleetfoot/runs/${id}`))
  if (!found) throw new CommandError(`there is no run ${id}`, "list the runs of a repository with 'fleetfoot runs list OWNER/REPO'")
  return { repository: found.repository, runId: Number(id) }
}

async function newestRun(client: ApiClient, name: string): Promise<{ repository: string; runId: number }> {
  const { owner, name: repo } = splitFullName(name)
  const [run] = await callPages<RunBody>(client, `/repos/${owner}/${repo}/actions/runs`, 'workflow_runs', 1)
  if (!run) throw new CommandError(`${name} has no run yet`, 'push a commit with a workflow in .github/workflows')
  return { repository: `${owner}/${repo}`, runId: run.id }
}

function limitOf(text = '30'): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new UsageError(`--limit: '${text}' is no number from 1 to 99999`)
  return Number(text)
}
