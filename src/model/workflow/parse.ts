/** From the text of a workflow file to a plan, or to a list of what is wrong in it. */
import { Lexer } from '@actions/expressions'
import { TokenType } from '@actions/expressions/lexer'
import { convertJob } from '@actions/workflow-parser/model/converter/job'
import type { Job, Step } from '@actions/workflow-parser/model/workflow-template'
import { TemplateContext, TemplateValidationErrors } from '@actions/workflow-parser/templates/template-context'
import { readTemplate } from '@actions/workflow-parser/templates/template-reader'
import {
  BasicExpressionToken,
  ExpressionToken,
  MappingToken,
  NullToken,
  SequenceToken,
  StringToken,
  type TemplateToken,
} from '@actions/workflow-parser/templates/tokens/index'
import { NoOperationTraceWriter } from '@actions/workflow-parser/templates/trace-writer'
import { WORKFLOW_ROOT } from '@actions/workflow-parser/workflows/workflow-constants'
import { getWorkflowSchema } from '@actions/workflow-parser/workflows/workflow-schema'
import type { ParsedWorkflow, PlannedJob, PlannedStep, Problem, RunDefaults, StepReference, Token, WorkflowPlan } from './plan.ts'
import { notOffered } from './not-offered.ts'
import { scalarText, type Report } from './problems.ts'
import { sourceProblem, ValueReader } from './reader.ts'
import { readTriggers } from './triggers.ts'

export interface WorkflowFile {
  path: string
  content: string
}

const MAX_FILE_BYTES = 1024 * 1024
const MAX_JOBS = 1000
const MAX_STEPS = 1000
const MAX_EXPRESSION = 21_000
const MAX_DEFAULT = 4096
const MAX_PROBLEMS = 20
const MAX_MESSAGE = 300
const TOO_LONG = 'an expression may not be longer than 21,000 characters'

/**
 * Reads a workflow file. It never throws for what a file holds; what Fleetfoot does not offer yet is a problem, never
 * ignored. With problems come the name and the triggers as far as they could be read, so that a failed run can be shown.
 */
export function parseWorkflow({ path, content }: WorkflowFile): ParsedWorkflow {
  if (content.length > MAX_FILE_BYTES || Buffer.byteLength(content) > MAX_FILE_BYTES) return oneProblem('the file is larger than 1 MiB')
  const unreadable = sourceProblem(content)
  if (unreadable) return { problems: [unreadable] }
  try {
    return readWorkflow(path, content)
  } catch (error) {
    // The YAML library calls itself for each level and the parser meets shapes that it does not expect.
    return oneProblem(error instanceof RangeError ? 'the file is nested too deeply' : `the file cannot be read: ${cut(messageOf(error))}`)
  }
}

function oneProblem(message: string): ParsedWorkflow {
  return { problems: [{ line: 1, column: 1, message }] }
}

function readWorkflow(path: string, content: string): ParsedWorkflow {
  const context = new TemplateContext(new TemplateValidationErrors(), getWorkflowSchema(), new NoOperationTraceWriter())
  const fileId = context.getFileId(path)
  const reader = new ValueReader(fileId, content)
  if (reader.errors.length > 0) {
    return { problems: listed(reader.errors.map(({ message, range }) => ({ ...startOf(range), message: firstLine(message) }))) }
  }
  if (reader.limitProblem) return { problems: [reader.limitProblem] }

  const root = readTemplate(context, WORKFLOW_ROOT, reader, fileId)
  const problems: Problem[] = []
  const report: Report = (at, message) => problems.push({ ...startOf(at?.range), message })
  if (!(root instanceof MappingToken)) {
    return { problems: content.trim() === '' ? [{ line: 1, column: 1, message: 'the file is empty' }] : listed(schemaProblems(context)) }
  }

  forgiveEmptyInputs(context, root.find('on'))
  const on = readTriggers(root.find('on'), report)
  const name = textOf(root.find('name')) || path
  const schemaIsBroken = context.errors.count > 0
  const jobs = schemaIsBroken ? [] : readJobs(context, root, report)
  checkFeatures(root, ROOT_NOT_OFFERED, report)
  checkExpressions(root, report)
  const all = listed([...schemaProblems(context), ...problems])
  if (all.length > 0) return { problems: all, name, on }

  const plan: WorkflowPlan = { path, name, ...tokens({ runName: root.find('run-name') }), on, ...tokens({ env: root.find('env') }), jobs }
  return { plan }
}

/** An input of `workflow_dispatch` without a body is a string for GitHub; the parser's schema refuses it. */
function forgiveEmptyInputs(context: TemplateContext, on: TemplateToken | undefined): void {
  const find = (token: TemplateToken | undefined, key: string) => (token instanceof MappingToken ? token.find(key) : undefined)
  const inputs = find(find(on, 'workflow_dispatch'), 'inputs')
  if (!(inputs instanceof MappingToken)) return
  const empty = new Set([...inputs].filter(({ value }) => value instanceof NullToken).map(({ value }) => value.range))
  const errors = context.errors.getErrors().filter(({ range }) => !empty.has(range))
  context.errors.clear()
  context.errors.add(errors)
}

function schemaProblems(context: TemplateContext): Problem[] {
  return context.errors.getErrors().map(({ rawMessage, range }) => ({ ...startOf(range), message: readable(rawMessage) }))
}

/** In the order of the file, none twice. */
function listed(problems: Problem[]): Problem[] {
  const seen = new Set<string>()
  const distinct = problems.filter(({ line, message }) => !seen.has(`${line} ${message}`) && seen.add(`${line} ${message}`))
  distinct.sort((a, b) => a.line - b.line || a.column - b.column)
  const rest = distinct.splice(MAX_PROBLEMS)
  if (rest[0]) distinct.push({ ...rest[0], message: `and ${rest.length} more problems` })
  return distinct.map((problem) => ({ ...problem, message: cut(problem.message) }))
}

/** Messages quote the file. */
function cut(message: string): string {
  return message.length > MAX_MESSAGE ? `${message.slice(0, MAX_MESSAGE)}…` : message
}

function readJobs(context: TemplateContext, root: MappingToken, report: Report): PlannedJob[] {
  const jobs = root.find('jobs')
  if (!(jobs instanceof MappingToken)) return []
  if (jobs.count > MAX_JOBS) {
    report(jobs, 'more than 1,000 jobs')
    return []
  }
  if (jobs.count === 0) report(jobs, 'the workflow has no jobs')

  const planned: PlannedJob[] = []
  const needs = new Map<string, StringToken[]>()
  for (const { key, value } of jobs) {
    if (!(key instanceof StringToken) || !(value instanceof MappingToken)) {
      report(value, `job '${key.toString()}' must be a mapping`)
      continue
    }
    const steps = value.find('steps')
    needs.set(key.value, stringsOf(value.find('needs')))
    checkFeatures(value, JOB_NOT_OFFERED, report)
    if (!(steps instanceof SequenceToken) || steps.count === 0) {
      if (!value.find('uses')) report(key, `job '${key.value}' has no steps`)
      continue
    }
    if (steps.count > MAX_STEPS) {
      report(steps, `job '${key.value}' has more than 1,000 steps`)
      continue
    }
    const job = convertJobOf(context, key, value, report)
    if (job?.type === 'job' && context.errors.count === 0) planned.push(planJob(job, value, steps, root.find('defaults'), report))
  }
  const ids = new Map(planned.map(({ id }) => [id.toLowerCase(), id]))
  checkGraph(jobs, needs, report)
  for (const job of planned) {
    const needed = needs.get(job.id) ?? []
    job.needs = [...new Set(needed.map(({ value }) => ids.get(value.toLowerCase()) ?? value))]
  }
  return planned
}

function convertJobOf(
  context: TemplateContext,
  key: StringToken,
  value: MappingToken,
  report: Report,
): ReturnType<typeof convertJob> | undefined {
  try {
    return convertJob(context, key, value)
  } catch (error) {
    // The parser numbers steps without id up to 999.
    report(key, `job '${key.value}': ${messageOf(error)} (a thousand steps need ids of their own)`)
    return undefined
  }
}

/** Every need is a job of the file, in any case, and no job waits for itself. */
function checkGraph(jobs: MappingToken, needs: ReadonlyMap<string, StringToken[]>, report: Report): void {
  const ids = new Set([...needs.keys()].map((id) => id.toLowerCase()))
  const dependents = new Map<string, string[]>()
  const waitsFor = new Map<string, number>()
  for (const [id, needed] of needs) {
    const distinct = new Set(needed.map(({ value }) => value.toLowerCase()))
    for (const need of needed) {
      if (!ids.has(need.value.toLowerCase())) {
        report(need, `job '${id}' needs '${need.value}', which is not a job of this workflow`)
        distinct.delete(need.value.toLowerCase())
      }
    }
    waitsFor.set(id.toLowerCase(), distinct.size)
    for (const need of distinct) dependents.set(need, [...(dependents.get(need) ?? []), id.toLowerCase()])
  }

  const ready = [...waitsFor].filter(([, count]) => count === 0).map(([id]) => id)
  for (let id = ready.pop(); id !== undefined; id = ready.pop()) {
    waitsFor.delete(id)
    for (const dependent of dependents.get(id) ?? []) {
      const left = waitsFor.get(dependent)! - 1 // each of them was counted above
      waitsFor.set(dependent, left)
      if (left === 0) ready.push(dependent)
    }
  }
  for (const { key } of jobs) {
    if (waitsFor.has(key.toString().toLowerCase())) report(key, `job '${key.toString()}' can never start: its needs form a circle`)
  }
}

function planJob(
  job: Job,
  raw: MappingToken,
  rawSteps: SequenceToken,
  workflowDefaults: TemplateToken | undefined,
  report: Report,
): PlannedJob {
  checkCondition(job.if, raw.find('if') ?? job.id, report)
  const runDefaults = mergeDefaults([workflowDefaults, raw.find('defaults')], report)
  return {
    id: job.id.value,
    needs: [],
    if: job.if.expression,
    ...tokens({ name: raw.find('name') }),
    runsOn: plain(raw.find('runs-on')!), // the schema asks for it
    ...tokens({ env: raw.find('env') }),
    ...(runDefaults && { defaults: runDefaults }),
    ...tokens({
      outputs: raw.find('outputs'),
      timeoutMinutes: raw.find('timeout-minutes'),
      cancelTimeoutMinutes: raw.find('cancel-timeout-minutes'),
      continueOnError: raw.find('continue-on-error'),
    }),
    steps: planSteps(job.steps, rawSteps, report),
  }
}

/** The runner takes the last `run` whole; the rule of the documentation is that each key of the job wins by itself. */
function mergeDefaults(levels: (TemplateToken | undefined)[], report: Report): RunDefaults | undefined {
  const merged: RunDefaults = {}
  for (const level of levels) {
    const run = level instanceof MappingToken ? level.find('run') : undefined
    if (!(run instanceof MappingToken)) continue
    for (const key of ['shell', 'working-directory'] as const) {
      const value = run.find(key)
      if (!value) continue
      // Each job's plan repeats them.
      if ((scalarText(value) ?? '').length > MAX_DEFAULT) report(value, `the default '${key}' is longer than 4,096 characters`)
      else merged[key] = plain(value)
    }
  }
  return Object.keys(merged).length > 0 ? merged : undefined
}

function planSteps(steps: Step[], rawSteps: SequenceToken, report: Report): PlannedStep[] {
  const seen = new Set<string>()
  return steps.flatMap((step, index) => {
    const raw = rawSteps.get(index)
    if (!(raw instanceof MappingToken)) return []
    if (seen.has(step.id.toLowerCase())) report(raw.find('id') ?? raw, `the step id '${step.id}' is used twice, in another case`)
    seen.add(step.id.toLowerCase())
    return planStep(step, raw, report) ?? []
  })
}

function planStep(step: Step, raw: MappingToken, report: Report): PlannedStep | undefined {
  const condition = 'if' in step ? step.if : undefined
  if (!condition) return undefined
  checkCondition(condition, raw.find('if') ?? raw, report)
  const uses = raw.find('uses')
  const reference = uses ? readUses(uses, report) : { type: 'script' as const }
  if (!reference) return undefined
  const name = raw.find('name')
  const inputs = uses
    ? tokens({ inputs: raw.find('with') })
    : {
        inputs: mapping({ script: raw.find('run'), workingDirectory: raw.find('working-directory'), shell: raw.find('shell') }),
      }
  return {
    contextName: step.id,
    kind: uses ? 'action' : 'script',
    reference,
    condition: condition.expression,
    ...(textOf(name) !== '' && tokens({ displayName: name })),
    ...inputs,
    ...tokens({ env: raw.find('env'), continueOnError: raw.find('continue-on-error'), timeoutMinutes: raw.find('timeout-minutes') }),
  }
}

function readUses(token: TemplateToken, report: Report): StepReference | undefined {
  const uses = scalarText(token) ?? ''
  if (uses.startsWith('./')) return { type: 'repository', repositoryType: 'self', path: uses }
  const [path = '', ref, ...more] = uses.split('@')
  const [owner, repository, ...folders] = path.split('/')
  if (uses.startsWith('docker://')) {
    report(token, notOffered('uses: docker://'))
  } else if (uses.startsWith('$/')) {
    report(token, notOffered('uses: $/'))
  } else if (!owner || !repository || !ref || more.length > 0) {
    report(token, `'${uses}' is not an action: expected './folder' or 'owner/repository@ref'`)
  } else {
    const folder = folders.filter((name) => name !== '').join('/')
    return { type: 'repository', repositoryType: 'GitHub', name: `${owner}/${repository}`, ref, path: folder }
  }
  return undefined
}

const ROOT_NOT_OFFERED = ['concurrency']
const JOB_NOT_OFFERED = ['strategy', 'uses', 'container', 'services', 'concurrency', 'environment', 'snapshot']

function checkFeatures(at: MappingToken, missing: string[], report: Report): void {
  for (const { key, value } of at) {
    const feature = key.toString()
    if (missing.includes(feature)) report(key, notOffered(feature))
    if (feature === 'permissions') checkPermissions(value, report)
  }
}

/** A job's token may read the repository. What asks for less gets that, too; what asks for more must not run. */
function checkPermissions(permissions: TemplateToken, report: Report): void {
  if (!(permissions instanceof MappingToken)) return report(permissions, notOffered(`permissions: ${scalarText(permissions)}`))
  for (const { key, value } of permissions) {
    const scope = key.toString()
    const level = scalarText(value)
    const given = level === 'none' || (level === 'read' && (scope === 'contents' || scope === 'metadata'))
    if (!given) report(key, notOffered(`permissions: ${scope}: ${level}`))
  }
}

function checkExpressions(token: TemplateToken, report: Report): void {
  if (token instanceof MappingToken) {
    for (const { key, value } of token) {
      checkExpressions(key, report)
      checkExpressions(value, report)
    }
  } else if (token instanceof SequenceToken) {
    for (const item of token) checkExpressions(item, report)
  } else if (token instanceof BasicExpressionToken) {
    checkExpression(token.expression, token, report)
    try {
      // The reader looked at the parts only: the whole may be too deep.
      ExpressionToken.validateExpression(token.expression, token.definitionInfo?.allowedContext ?? [])
    } catch (error) {
      report(token, readable(messageOf(error)))
    }
  }
}

function checkCondition(condition: BasicExpressionToken | undefined, at: TemplateToken, report: Report): void {
  if (condition) checkExpression(condition.expression, at, report)
}

function checkExpression(expression: string, at: TemplateToken, report: Report): void {
  if (expression.length > MAX_EXPRESSION) return report(at, TOO_LONG)
  const { tokens } = new Lexer(expression).lex()
  for (const [index, { type, lexeme }] of tokens.entries()) {
    if (type !== TokenType.IDENTIFIER || tokens[index - 1]?.type === TokenType.DOT) continue
    if (tokens[index + 1]?.type === TokenType.LEFT_PAREN) continue
    const context = lexeme.toLowerCase()
    if (context === 'vars') report(at, notOffered('vars'))
    if (context === 'secrets') {
      const secret = memberOf(tokens.slice(index + 1, index + 4))
      if (secret?.toUpperCase() !== 'GITHUB_TOKEN') report(at, notOffered(secret ? `secrets.${secret}` : 'secrets'))
    }
  }
}

/** The name in `.name` or `['name']`. */
function memberOf([open, member]: { type: TokenType; lexeme: string; value?: unknown }[]): string | undefined {
  if (open?.type === TokenType.DOT && member?.type === TokenType.IDENTIFIER) return member.lexeme
  if (open?.type === TokenType.LEFT_BRACKET && member?.type === TokenType.STRING) return String(member.value)
  return undefined
}

function mapping(values: Record<string, TemplateToken | undefined>): Token {
  return { type: 2, map: Object.entries(values).flatMap(([Key, value]) => (value ? [{ Key, Value: plain(value) }] : [])) }
}

/** The given tokens as plain JSON; those that are absent or null are left out. */
function tokens<Name extends string>(values: Record<Name, TemplateToken | undefined>): Partial<Record<Name, Token>> {
  const result: Partial<Record<Name, Token>> = {}
  for (const name in values) {
    const value = values[name]
    const token = value && plain(value)
    if (token !== undefined && token !== null) result[name] = token
  }
  return result
}

function plain(token: TemplateToken): Token {
  return JSON.parse(JSON.stringify(token)) as Token
}

function stringsOf(token: TemplateToken | undefined): StringToken[] {
  const items = token instanceof SequenceToken ? [...token] : [token]
  return items.filter((item) => item instanceof StringToken)
}

function textOf(token: TemplateToken | undefined): string | undefined {
  return token instanceof StringToken ? token.value : undefined
}

function startOf(range: { start: { line: number; column: number } } | undefined): { line: number; column: number } {
  return { line: range?.start.line ?? 1, column: range?.start.column ?? 1 }
}

/** The lexer names its limit by a constant. */
function readable(message: string): string {
  return message === 'ErrorExceededMaxLength' ? TOO_LONG : message
}

/** The YAML library adds an excerpt of the file below its message, and reports its own stack overflow as a fault of the file. */
function firstLine(message: string): string {
  if (message.includes('call stack')) return 'the file is nested too deeply'
  return (message.split('\n')[0] ?? message).replace(/ at line \d+, column \d+:$/, '')
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
