/** Reads YAML into the parser's tokens: the parser's own reader, with limits and three faults mended. */
import { StringToken } from '@actions/workflow-parser/templates/tokens/string-token'
import { YamlObjectReader } from '@actions/workflow-parser/workflows/yaml-object-reader'
import { isAlias, isCollection, isPair, isScalar, Lexer, type Document, type Node, type Pair } from 'yaml'
import type { Problem } from './plan.ts'

const MAX_NODES = 10_000
const MAX_TEXT = 1024 * 1024
const MAX_DEPTH = 100
const MAX_LEXEMES = 200_000
// The lexer's marks, which are not in the text.
const SCALAR_FOLLOWS = '\u001f'
const MARKS = [SCALAR_FOLLOWS, '\u0002', '\u0018']

/**
 * What forbids to parse a text at all. A mebibyte of brackets takes the YAML library seconds and half a gigabyte, and
 * a worker thread that outgrows its heap can take the whole process with it; its lexer alone is quick and small.
 */
export function sourceProblem(content: string): Problem | undefined {
  const nul = content.indexOf('\0')
  if (nul >= 0) return { line: lineAt(content, nul), column: 1, message: 'a text holds the character NUL' }
  let lexemes = 0
  let depth = 0
  let offset = 0
  let previous = ''
  for (const lexeme of new Lexer().lex(content)) {
    const isSyntax = previous !== SCALAR_FOLLOWS
    if (isSyntax && (lexeme === '[' || lexeme === '{')) depth++
    if (isSyntax && (lexeme === ']' || lexeme === '}')) depth--
    lexemes++
    if (depth > MAX_DEPTH) return { line: lineAt(content, offset), column: 1, message: `more than ${MAX_DEPTH} levels deep` }
    if (lexemes > MAX_LEXEMES) return { line: lineAt(content, offset), column: 1, message: 'the file has too many parts' }
    if (!MARKS.includes(lexeme)) offset += lexeme.length
    previous = lexeme
  }
  return undefined
}

function lineAt(content: string, offset: number): number {
  return content.slice(0, offset).split('\n').length
}

/** How large a part of the file is once its aliases are written out. */
interface Size {
  nodes: number
  text: number
  depth: number
}

/**
 * The parser's reader builds the expression of a text over several lines from the YAML source, so that indentation and
 * folding get into scripts; string tokens without `source` make it use the value. It also resolves each alias by
 * walking the whole file, and fails on keys that are not strings: `limit` puts both right before anything is read.
 */
export class ValueReader extends YamlObjectReader {
  /** What forbids reading the file on: its size with aliases written out, a circle of aliases, a key that is no scalar. */
  readonly limitProblem: Problem | undefined

  constructor(fileId: number, content: string) {
    super(fileId, content)
    if (this.errors.length === 0) this.limitProblem = limit((this as unknown as { doc: Document.Parsed }).doc, content)
  }

  override allowLiteral(): ReturnType<YamlObjectReader['allowLiteral']> {
    const token = super.allowLiteral()
    return token instanceof StringToken ? new StringToken(token.file, token.range, token.value, token.definitionInfo) : token
  }
}

/** Measures each anchored part once and puts it in the place of its aliases. */
function limit(doc: Document.Parsed, content: string): Problem | undefined {
  const anchored = new Map<string, Node>()
  const sizes = new Map<Node, Size>()
  const open = new Set<Node>()
  let problem: Problem | undefined
  const report = (node: Node | null, message: string) => {
    problem ??= { line: lineAt(content, node?.range?.[0] ?? 0), column: 1, message }
  }

  const resolve = (node: unknown): unknown => (isAlias(node) ? (anchored.get(node.source) ?? node) : node)

  const measure = (node: Node | null): Size => {
    const known = node && sizes.get(node)
    if (known) return known
    const size = { nodes: 1, text: 0, depth: 1 }
    if (!node) return size
    if (open.has(node) || open.size > MAX_DEPTH) {
      report(node, open.has(node) ? 'an alias stands inside of what it names' : `more than ${MAX_DEPTH} levels deep`)
      return size
    }
    const { anchor } = node as { anchor?: string }
    if (anchor) anchored.set(anchor, node)
    const include = (child: unknown) => {
      const of = measure(child as Node | null)
      size.nodes += of.nodes
      size.text += of.text
      size.depth = Math.max(size.depth, of.depth + 1)
    }
    open.add(node)
    if (isScalar(node)) size.text = typeof node.value === 'string' ? node.value.length : 8
    if (isScalar(node) && typeof node.value === 'string' && node.value.includes('\0')) report(node, 'a text holds the character NUL')
    if (isCollection(node)) {
      for (const [index, item] of node.items.entries()) {
        if (isPair(item)) {
          nameKey(item, resolve(item.key))
          include(item.key)
          item.value = resolve(item.value)
          include(item.value)
        } else {
          node.items[index] = resolve(item)
          include(node.items[index])
        }
      }
    }
    open.delete(node)
    sizes.set(node, size)
    if (size.nodes > MAX_NODES) report(node, `more than ${MAX_NODES.toLocaleString('en')} values, aliases written out`)
    if (size.text > MAX_TEXT) report(node, 'more than 1 MiB of text, aliases written out')
    if (size.depth > MAX_DEPTH) report(node, `more than ${MAX_DEPTH} levels deep`)
    return size
  }

  const nameKey = (pair: Pair, key: unknown) => {
    pair.key = key
    if (!isScalar(key)) return report(pair.key as Node | null, 'a key must be a plain text')
    if (typeof key.value !== 'string') key.value = key.source ?? ''
  }

  measure(doc.contents)
  return problem
}
