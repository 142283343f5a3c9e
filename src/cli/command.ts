import { existsSync, realpathSync } from 'node:fs'
import path from 'node:path'
import { parseArgs, type ParseArgsOptionsConfig } from 'node:util'

/** What a command cannot do, in a line for the person who asked, with what to do next. The exit code is 1. */
export class CommandError extends Error {
  override name = 'CommandError'
  readonly hint: string | undefined

  constructor(message: string, hint?: string, options?: { cause: unknown }) {
    super(message, options)
    this.hint = hint
  }
}

/** A command that was called wrongly: the reason is printed with its usage, and the exit code is 2. */
export class UsageError extends Error {
  override name = 'UsageError'
  usage = ''
}

/** Options and arguments of a command; `help` is known to every one. @throws UsageError */
export function parseCommand<T extends ParseArgsOptionsConfig>(argv: string[], options: T) {
  try {
    return parseArgs({
      args: withNegatives(argv),
      options: { ...options, help: { type: 'boolean', short: 'h' } },
      allowPositionals: true,
      strict: true,
    })
  } catch (error) {
    throw new UsageError(error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error))
  }
}

/** `--priority -3` as `--priority=-3`: Node takes the number for an option of its own. */
function withNegatives(argv: string[]): string[] {
  const joined: string[] = []
  for (const word of argv) {
    const last = joined.at(-1)
    if (/^-\d+$/.test(word) && last !== undefined && /^--[a-z-]+$/.test(last)) joined[joined.length - 1] = `${last}=${word}`
    else joined.push(word)
  }
  return joined
}

/** Runs a command that may be called wrongly: the usage is printed and 2 given, for `--help` 0. */
export async function withUsage(usage: string, argv: string[], run: () => Promise<number>): Promise<number> {
  if (argv.length === 0 || argv.includes('--help') || argv.includes('-h') || argv[0] === 'help') {
    ;(argv.length === 0 ? process.stderr : process.stdout).write(`${usage}\n`)
    return argv.length === 0 ? 2 : 0
  }
  try {
    return await run()
  } catch (error) {
    if (!(error instanceof UsageError)) throw error
    process.stderr.write(`fleetfoot: ${error.message}\n\n${usage}\n`)
    return 2
  }
}

/** Exactly these arguments. @throws UsageError that names the first one missing or too many */
export function takeArguments<const N extends readonly string[]>(given: string[], ...names: N): { -readonly [K in keyof N]: string } {
  const missing = names[given.length]
  if (missing !== undefined) throw new UsageError(`${missing} is missing`)
  if (given.length > names.length) throw new UsageError(`unexpected argument '${given[names.length] ?? ''}'`)
  return given as unknown as { -readonly [K in keyof N]: string }
}

/** `acme/rocket` in its two parts. @throws UsageError */
export function splitFullName(text: string): { owner: string; name: string } {
  const match = /^([A-Za-z0-9][A-Za-z0-9-]*)\/([A-Za-z0-9._-]+)$/.exec(text)
  if (!match) throw new UsageError(`'${text}' is no repository: write OWNER/NAME, like acme/rocket`)
  return { owner: match[1] ?? '', name: match[2] ?? '' }
}

/** How this very command is called from where the user stands, so that what is printed can be pasted. */
export function ownCommand(): string {
  const own = realpathSync(path.join(import.meta.dirname, '../../bin/fleetfoot'))
  const isOnPath = (process.env['PATH'] ?? '').split(path.delimiter).some((folder) => {
    const candidate = path.join(folder, 'fleetfoot')
    return folder !== '' && existsSync(candidate) && realpathSync(candidate) === own
  })
  if (isOnPath) return 'fleetfoot'
  const relative = path.relative(process.cwd(), own)
  return relative.startsWith('..') ? shellWord(own) : shellWord(relative)
}

/** A word as a shell reads it back. */
export function shellWord(text: string): string {
  return /^[A-Za-z0-9_./:@%+=,-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`
}

/** Rows as columns, for people; nothing for no rows. */
export function printTable(rows: string[][]): void {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? []
  for (const row of rows)
    console.log(
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
}

export function printJson(value: unknown): void {
  console.log(JSON.stringify(value, null, 2))
}
