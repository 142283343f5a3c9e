/**
 * Replaces secrets by `***` in every line before it leaves the machine: each value, each line of it, and its common
 * encodings (base64 in three alignments, JSON, URI). There is no minimum length, as in the official runner.
 */
export class Masker {
  readonly #values = new Set<string>()
  readonly #patterns: RegExp[] = []
  #sorted: string[] | undefined

  /** Adds a secret. */
  add(secret: string | undefined): void {
    const value = secret?.trim()
    if (!value) return
    this.#addValue(value)
    if (value.includes('\n')) for (const line of value.split(/\r?\n/)) if (line.trim()) this.#addValue(line.trim())
  }

  /** Adds a pattern; one that is no valid expression is still masked as the text it is. */
  addPattern(source: string): void {
    this.add(source)
    try {
      this.#patterns.push(new RegExp(source, 'g'))
    } catch {
      // masked literally above
    }
  }

  mask(text: string): string {
    const ranges = this.#find(text)
    if (ranges.length === 0) return text
    let masked = ''
    let at = 0
    for (const [start, end] of merged(ranges)) {
      masked += `${text.slice(at, start)}***`
      at = end
    }
    return masked + text.slice(at)
  }

  /** Whether a secret is in the text. */
  finds(text: string): boolean {
    return this.#find(text).length > 0
  }

  #addValue(value: string): void {
    this.#sorted = undefined
    this.#values.add(value)
    for (const form of encodedForms(value)) if (form.length > 5) this.#values.add(form)
  }

  #find(text: string): [number, number][] {
    this.#sorted ??= [...this.#values].sort((a, b) => b.length - a.length)
    const ranges: [number, number][] = []
    for (const value of this.#sorted) {
      if (value.length > text.length) continue
      for (let at = text.indexOf(value); at >= 0; at = text.indexOf(value, at + 1)) ranges.push([at, at + value.length])
    }
    for (const pattern of this.#patterns)
      for (const match of text.matchAll(pattern)) if (match[0]) ranges.push([match.index, match.index + match[0].length])
    return ranges
  }
}

function encodedForms(value: string): string[] {
  const bytes = Buffer.from(value)
  const forms = [JSON.stringify(value).slice(1, -1)]
  try {
    forms.push(encodeURIComponent(value))
  } catch {
    // a lone surrogate has no URI form
  }
  for (const shift of [0, 1, 2]) {
    const rest = bytes.subarray(shift)
    if (rest.length === 0) continue
    forms.push(rest.toString('base64'))
    // In the middle of a longer text only the full groups of three bytes look the same.
    forms.push(rest.subarray(0, rest.length - (rest.length % 3)).toString('base64'))
  }
  return forms.filter((form) => form !== value)
}

function merged(ranges: [number, number][]): [number, number][] {
  const result: [number, number][] = []
  for (const [start, end] of ranges.sort((a, b) => a[0] - b[0])) {
    const last = result.at(-1)
    if (last && start <= last[1]) last[1] = Math.max(last[1], end)
    else result.push([start, end])
  }
  return result
}
