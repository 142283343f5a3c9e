/*
 * Reads the part of GraphQL's language that clients ask fixed questions in: one query, fields with aliases and arguments, variables, named and
 * inline fragments (https://spec.graphql.org/October2021/#sec-Language). Directives, mutations and subscriptions are refused.
 */

/** What is asked for; a fragment's fields stand where it is spread. */
export interface Selection {
  name: string
  /** The name in the answer: the alias, where there is one. */
  key: string
  args: Record<string, unknown>
  selections: Selection[]
}

/** Says what is wrong with a query. Its message is for whoever asked. */
export class QueryError extends Error {
  override name = 'QueryError'
}

const TOKEN = /[\s,\uFEFF]+|#[^\n\r]*|(\.\.\.|[!$()&:=@[\]{|}]|[A-Za-z_]\w*|-?\d[\d.eE+-]*|"""[^]*?"""|"(?:[^"\\\n\r]|\\.)*")/y
const MAX_DEPTH = 20
/** Of the whole answer: a few fragments that spread each other could ask for any number. */
const MAX_FIELDS = 1000

/** What a query selects at its root, variables filled in. Throws `QueryError`. */
export function parseQuery(text: string, variables: Record<string, unknown>): Selection[] {
  const reader = new Reader(tokensOf(text), variables)
  return reader.document()
}

function tokensOf(text: string): string[] {
  const tokens: string[] = []
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex
    const found = TOKEN.exec(text)
    if (!found) throw new QueryError(`Parse error on ${JSON.stringify(text.slice(at, at + 10))}`)
    if (found[1] !== undefined) tokens.push(found[1])
  }
  return tokens
}

/** A selection as it is written: fragments are looked up when all of the text is read. */
type Written = { spread: string } | { field: Omit<Selection, 'selections'>; of: Written[] } | { inline: Written[] }

class Reader {
  private at = 0
  private readonly fragments = new Map<string, Written[]>()
  private readonly tokens: readonly string[]
  private readonly variables: Record<string, unknown>
  private fields = 0

  constructor(tokens: readonly string[], variables: Record<string, unknown>) {
    this.tokens = tokens
    this.variables = { ...variables }
  }

  document(): Selection[] {
    const operations: Written[][] = []
    while (this.at < this.tokens.length) {
      if (this.peek() === '{') operations.push(this.selectionSet(0))
      else if (this.take('query')) operations.push(this.operation())
      else if (this.take('fragment')) this.fragment()
      else throw new QueryError(`Parse error on ${JSON.stringify(this.peek())}: only queries are answered here`)
    }
    const [operation] = operations
    if (!operation || operations.length > 1) throw new QueryError('Exactly one query is expected')
    return this.resolve(operation, 0)
  }

  private operation(): Written[] {
    if (this.peek() !== '{' && this.peek() !== '(') this.name()
    if (this.take('(')) {
      while (!this.take(')')) this.variableDefinition()
    }
    return this.selectionSet(0)
  }

  private variableDefinition(): void {
    this.must('$')
    const name = this.name()
    this.must(':')
    while (this.take('['));
    this.name()
    while (this.take(']') || this.take('!'));
    if (this.take('=')) {
      const value = this.value(0)
      if (!Object.hasOwn(this.variables, name)) this.variables[name] = value
    }
  }

  private fragment(): void {
    const name = this.name()
    this.must('on')
    this.name()
    this.fragments.set(name, this.selectionSet(0))
  }

  private selectionSet(depth: number): Written[] {
    if (depth > MAX_DEPTH) throw new QueryError('The query is nested too deeply')
    this.must('{')
    const selections: Written[] = []
    while (!this.take('}')) selections.push(this.selection(depth))
    if (selections.length === 0) throw new QueryError('A selection is empty')
    return selections
  }

  private selection(depth: number): Written {
    if (this.take('...')) {
      if (this.take('on')) this.name()
      else if (this.peek() !== '{') return { spread: this.name() }
      return { inline: this.selectionSet(depth + 1) }
    }
    const key = this.name()
    const name = this.take(':') ? this.name() : key
    const args: Record<string, unknown> = Object.create(null)
    if (this.take('(')) {
      while (!this.take(')')) {
        const arg = this.name()
        this.must(':')
        args[arg] = this.value(0)
      }
    }
    return { field: { name, key, args }, of: this.peek() === '{' ? this.selectionSet(depth + 1) : [] }
  }

  private value(depth: number): unknown {
    if (depth > MAX_DEPTH) throw new QueryError('The query is nested too deeply')
    if (this.take('$')) {
      const name = this.name()
      return Object.hasOwn(this.variables, name) ? this.variables[name] : null
    }
    if (this.take('[')) {
      const list: unknown[] = []
      while (!this.take(']')) list.push(this.value(depth + 1))
      return list
    }
    if (this.take('{')) {
      const entries: [string, unknown][] = []
      while (!this.take('}')) {
        const name = this.name()
        this.must(':')
        entries.push([name, this.value(depth + 1)])
      }
      return Object.fromEntries(entries)
    }
    return scalarOf(this.next())
  }

  private resolve(written: Written[], depth: number): Selection[] {
    if (depth > MAX_DEPTH) throw new QueryError('The query is nested too deeply')
    // What is asked for twice is one field, with all that is asked of it.
    const merged = new Map<string, Selection>()
    for (const part of written) {
      if (++this.fields > MAX_FIELDS) throw new QueryError(`More than ${MAX_FIELDS} fields are asked for`)
      for (const selection of this.resolveOne(part, depth)) {
        const known = merged.get(selection.key)
        if (!known) merged.set(selection.key, selection)
        else if (known.name === selection.name) known.selections.push(...selection.selections)
        else throw new QueryError(`Field '${selection.key}' has a conflict`)
      }
    }
    return [...merged.values()]
  }

  private resolveOne(part: Written, depth: number): Selection[] {
    if ('field' in part) return [{ ...part.field, selections: this.resolve(part.of, depth + 1) }]
    if ('inline' in part) return this.resolve(part.inline, depth + 1)
    const fragment = this.fragments.get(part.spread)
    if (!fragment) throw new QueryError(`Fragment ${part.spread} was used, but not defined`)
    return this.resolve(fragment, depth + 1)
  }

  private peek(): string | undefined {
    return this.tokens[this.at]
  }

  private next(): string {
    const token = this.tokens[this.at++]
    if (token === undefined) throw new QueryError('Unexpected end of document')
    return token
  }

  private take(token: string): boolean {
    if (this.peek() !== token) return false
    this.at++
    return true
  }

  private must(token: string): void {
    const found = this.next()
    if (found !== token) throw new QueryError(`Expected ${JSON.stringify(token)}, actual: ${JSON.stringify(found.slice(0, 50))}`)
  }

  private name(): string {
    const token = this.next()
    if (!/^[A-Za-z_]/.test(token)) throw new QueryError(`Expected a name, actual: ${JSON.stringify(token.slice(0, 50))}`)
    return token
  }
}

function scalarOf(token: string): unknown {
  if (token.startsWith('"""')) return token.slice(3, -3)
  if (token === 'null') return null
  // An enum's word is a string to whoever resolves it.
  if (/^[A-Za-z_]/.test(token) && token !== 'true' && token !== 'false') return token
  try {
    const value = JSON.parse(token) as unknown
    // As everywhere in bodies (http/body.ts): PostgreSQL has no NUL.
    return typeof value === 'string' ? value.replaceAll('\0', '') : value
  } catch {
    throw new QueryError(`Parse error on ${JSON.stringify(token.slice(0, 50))}`)
  }
}
