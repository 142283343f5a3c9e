/** `on` of a workflow file. Read from the raw tokens: the parser's conversion loses inputs of type number. */
import { MappingToken, SequenceToken, StringToken, type TemplateToken } from '@actions/workflow-parser/templates/tokens/index'
import { isValidPattern } from './patterns.ts'
import type { DispatchInput, PushFilters, Triggers } from './plan.ts'
import { notOffered } from './not-offered.ts'
import { scalarText, type Report } from './problems.ts'

const MAX_INPUTS = 25

/** What starts the workflow, with problems reported where filters or inputs cannot be. */
export function readTriggers(on: TemplateToken | undefined, report: Report): Triggers {
  const triggers: Triggers = { others: [] }
  for (const [event, value] of eventsOf(on)) {
    const body = value instanceof MappingToken ? value : undefined
    if (event.value === 'push') triggers.push = readPush(body, report)
    else if (event.value === 'workflow_dispatch') triggers.workflowDispatch = { inputs: readInputs(body?.find('inputs'), report) }
    else triggers.others.push({ event: event.value, line: event.range?.start.line ?? 1 })
  }
  return triggers
}

function eventsOf(on: TemplateToken | undefined): [StringToken, TemplateToken?][] {
  if (on instanceof StringToken) return [[on]]
  if (on instanceof SequenceToken) return [...on].filter((item) => item instanceof StringToken).map((item) => [item])
  if (!(on instanceof MappingToken)) return []
  return [...on].flatMap(({ key, value }): [StringToken, TemplateToken][] => (key instanceof StringToken ? [[key, value]] : []))
}

const FILTERS = { branches: 'branchesIgnore', tags: 'tagsIgnore', paths: 'pathsIgnore' } as const

function readPush(body: MappingToken | undefined, report: Report): PushFilters {
  const filters: PushFilters = {}
  for (const kind of ['branches', 'tags', 'paths'] as const) {
    const include = body?.find(kind)
    const ignore = body?.find(`${kind}-ignore`)
    if (include) filters[kind] = readPatterns(include, report)
    if (ignore) filters[FILTERS[kind]] = readPatterns(ignore, report)
    if (include && ignore) report(ignore, `'${kind}' and '${kind}-ignore' cannot both be given for one event`)
    if (include && filters[kind]?.length && filters[kind].every((pattern) => pattern.startsWith('!'))) {
      report(include, `'${kind}' needs at least one pattern without '!'`)
    }
  }
  return filters
}

function readPatterns(token: TemplateToken, report: Report): string[] {
  const items = token instanceof SequenceToken ? [...token] : [token]
  return items.map((item) => {
    const pattern = scalarText(item) ?? ''
    if (!isValidPattern(pattern)) report(item, `'${pattern}' is not a pattern: '[' without members or without ']'`)
    return pattern
  })
}

function readInputs(inputs: TemplateToken | undefined, report: Report): DispatchInput[] {
  if (!(inputs instanceof MappingToken)) return []
  if (inputs.count > MAX_INPUTS) report(inputs, `more than ${MAX_INPUTS} inputs`)
  return [...inputs].map(({ key, value }) => readInput(key.toString(), value, report))
}

function readInput(name: string, body: TemplateToken, report: Report): DispatchInput {
  const find = (key: string) => (body instanceof MappingToken ? body.find(key) : undefined)
  const type = scalarText(find('type')) ?? 'string'
  if (type === 'environment') report(find('type'), notOffered('type: environment'))
  const options = find('options')
  const description = scalarText(find('description'))
  const input: DispatchInput = {
    name,
    type: type === 'boolean' || type === 'choice' || type === 'number' ? type : 'string',
    required: scalarText(find('required')) === 'true',
    ...(description !== undefined && { description }),
    ...(options instanceof SequenceToken && { options: [...options].map((option) => scalarText(option) ?? '') }),
  }
  if (input.type === 'choice' && !input.options?.length) report(body, `the choice '${name}' has no options`)
  if (input.type !== 'choice' && input.options) report(options, `'options' belongs to inputs of type choice`)
  readDefault(input, find('default'), report)
  return input
}

function readDefault(input: DispatchInput, token: TemplateToken | undefined, report: Report): void {
  if (!token) return
  const text = scalarText(token) ?? ''
  if (input.type === 'choice' && input.options && !input.options.includes(text)) {
    report(token, `the default '${text}' is not an option of '${input.name}'`)
  }
  if (input.type === 'number' && (text.trim() === '' || Number.isNaN(Number(text)))) report(token, `the default '${text}' is not a number`)
  if (input.type !== 'boolean') {
    input.default = text
  } else if (text === 'true' || text === 'false') {
    input.default = text === 'true'
  } else {
    report(token, `the default '${text}' is neither true nor false`)
  }
}
