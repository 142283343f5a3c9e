import { stripVTControlCharacters, styleText } from 'node:util'
import type { JobBody, RunBody, StepBody, WatchEvent } from './watch-run.ts'

/** Prints a followed run for a person, a line for each thing that happens; `write` gets lines without their end. */
export function runPrinter(write: (line: string) => void): (event: WatchEvent) => void {
  return (event) => {
    switch (event.kind) {
      case 'run':
        write(describeRun(event.run))
        return
      case 'job':
        printJob(write, event.job)
        return
      case 'step':
        // Told by the log while it runs, and by the list at the job's end.
        return
      case 'log':
        for (const line of event.lines.map(readable)) if (line !== undefined) write(`${nameOf(event.job)} ${dim('│')} ${line}`)
        return
      case 'notice':
        write(`${styleText('yellow', 'notice')} ${event.message}`)
        return
      case 'end':
        if (event.run.problem !== null) write(event.run.problem)
        write(`${event.run.name ?? 'run'} #${event.run.run_number}: ${colored(event.run.conclusion ?? '')}`)
    }
  }
}

export function describeRun(run: RunBody): string {
  const state = run.status === 'completed' ? (run.conclusion ?? '') : run.status
  return `${run.name ?? 'run'} #${run.run_number} (run ${run.id}): ${run.event} on ${run.head_branch ?? run.head_sha.slice(0, 7)}, ${JSON.stringify(run.display_title)}, ${state.replaceAll('_', ' ')}`
}

function printJob(write: (line: string) => void, job: JobBody): void {
  if (job.status !== 'completed') {
    write(`${nameOf(job)} ${stateOf(job)}`)
    return
  }
  for (const step of job.steps) write(`${nameOf(job)}   ${markOf(step)} ${step.name}`)
  const where = job.runner_name === null ? '' : ` on ${job.runner_name}`
  write(`${nameOf(job)} ${colored(job.conclusion ?? '')}${where}${job.problem === null ? '' : `: ${job.problem}`}`)
}

function stateOf({ status, waiting_reason: reason, runner_name: runner }: JobBody): string {
  if (reason !== null) return reason.startsWith('waits ') ? reason : `waits: ${reason}`
  return `${status.replaceAll('_', ' ')}${runner === null ? '' : ` on ${runner}`}`
}

const nameOf = (job: JobBody) => styleText('bold', job.name)
const dim = (text: string) => styleText('dim', text)

function markOf({ conclusion }: StepBody): string {
  if (conclusion === 'success') return styleText('green', '✓')
  return conclusion === 'skipped' ? dim('-') : styleText('red', '✗')
}

function colored(conclusion: string): string {
  return styleText(conclusion === 'success' ? 'green' : conclusion === 'skipped' ? 'dim' : 'red', conclusion)
}

/** Lines as a page shows them: the folding marks of the runner are for pages. */
function readable(line: string): string | undefined {
  if (line.startsWith('##[endgroup]')) return undefined
  return harmless(line.replace(/^##\[(?:group|command)\]/, '').replace(/^##\[(error|warning|notice|debug)\]/, '$1: '))
}

const COLOR = new RegExp(`(${String.fromCharCode(27)}\\[[\\d;]*m)`)

/** What a job wrote must not steer the reader's terminal: colours stay, where there are any, everything else goes. */
function harmless(line: string): string {
  const hasColors = styleText('red', '') !== ''
  return line
    .split(COLOR)
    .map((part, index) => (index % 2 === 1 ? (hasColors ? part : '') : stripVTControlCharacters(part).replaceAll(/[^\P{Cc}\t]/gu, '')))
    .join('')
}
