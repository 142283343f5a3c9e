import type { Annotation } from './wire.ts'

/** Workflow commands (`::error file=a::text`) and the file commands of a step. */
export interface Command {
  name: string
  properties: Record<string, string>
  message: string
}

/** Reads a line as a workflow command; undefined when it is none. */
export function parseCommand(line: string): Command | undefined {
  const text = line.trimStart()
  if (!text.startsWith('::')) return undefined
  const end = text.indexOf('::', 2)
  if (end < 0) return undefined
  const head = text.slice(2, end)
  const space = head.indexOf(' ')
  const name = space < 0 ? head : head.slice(0, space)
  if (!name) return undefined

  const properties: Record<string, string> = {}
  for (const property of space < 0 ? [] : head.slice(space + 1).split(',')) {
    const equals = property.indexOf('=')
    const value = equals < 0 ? '' : unescapeProperty(property.slice(equals + 1))
    if (value) properties[property.slice(0, equals).trim().toLowerCase()] = value
  }
  return { name: name.toLowerCase(), properties, message: unescapeData(text.slice(end + 2)) }
}

/** The old form, `##[error]text`, of those commands that it has. */
export function parseOldCommand(line: string): Command | undefined {
  const match = /^\s*##\[(error|warning|notice)\](.*)$/s.exec(line)
  return match ? { name: match[1] ?? '', properties: {}, message: match[2] ?? '' } : undefined
}

/** The annotation of an `error`, `warning` or `notice`. Without a file its lines are those of the step's log. */
export function commandAnnotation({ name, properties, message }: Command, logLine: number, stepNumber: number): Annotation {
  const level = name === 'error' ? 'failure' : name === 'warning' ? 'warning' : 'notice'
  const number = (key: string): number => Number.parseInt(properties[key] ?? '', 10) || 0
  const path = properties['file']
  const line = path ? number('line') : logLine
  const endLine = path ? number('endline') || line : logLine
  const column = path ? number('col') : 0
  const endColumn = path ? number('endcolumn') : 0
  return {
    level,
    message,
    ...(properties['title'] ? { title: properties['title'] } : {}),
    ...(path ? { path } : {}),
    ...(line ? { startLine: line } : {}),
    ...(endLine ? { endLine } : {}),
    // Columns only make sense within one line.
    ...(column && line === endLine ? { startColumn: column } : {}),
    ...(endColumn && line === endLine ? { endColumn } : {}),
    stepNumber,
  }
}

/** Reads `GITHUB_ENV` and `GITHUB_OUTPUT`: `name=value` and `name<<END … END`. */
export function parseFileCommand(text: string): [string, string][] {
  const pairs: [string, string][] = []
  const lines = text.replace(/^\uFEFF/, '').split(/\r?\n/)
  for (let at = 0; at < lines.length; at++) {
    const line = lines[at] ?? ''
    if (!line) continue
    const equals = line.indexOf('=')
    const heredoc = line.indexOf('<<')
    if (equals >= 0 && (heredoc < 0 || equals < heredoc)) {
      if (equals === 0) throw new Error(`Invalid format '${line}'. Name must not be empty`)
      pairs.push([line.slice(0, equals), line.slice(equals + 1)])
      continue
    }
    if (heredoc < 0) throw new Error(`Invalid format '${line}'`)
    const name = line.slice(0, heredoc)
    const delimiter = line.slice(heredoc + 2)
    if (!name || !delimiter) throw new Error(`Invalid format '${line}'. Name must not be empty and delimiter must not be empty`)
    const end = lines.indexOf(delimiter, at + 1)
    if (end < 0) throw new Error(`Invalid value. Matching delimiter not found '${delimiter}'`)
    pairs.push([name, lines.slice(at + 1, end).join('\n')])
    at = end
  }
  return pairs
}

function unescapeData(text: string): string {
  return text.replaceAll('%0D', '\r').replaceAll('%0A', '\n').replaceAll('%25', '%')
}

function unescapeProperty(text: string): string {
  return text.replaceAll('%0D', '\r').replaceAll('%0A', '\n').replaceAll('%3A', ':').replaceAll('%2C', ',').replaceAll('%25', '%')
}
