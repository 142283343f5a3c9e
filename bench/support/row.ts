/** One line of the table. */
export interface Row {
  what: string
  measured: string
  aim: string
  /** Undefined where the line only informs. */
  met: boolean | undefined
  remark?: string
}

export interface BenchOptions {
  /** Smaller sizes and fewer rounds: to see that it runs, not to be quoted. */
  quick: boolean
  /** Where servers leave their processor profiles. */
  profileDir: string | undefined
  /** Says what goes on, beside the table. */
  say: (text: string) => void
}

/** What `--only` names. */
export interface Bench {
  name: string
  run(options: BenchOptions): Promise<Row[]>
}

/** A ratio against its aim. */
export function ratioRow(what: string, measured: number, aim: { atLeast: number } | { atMost: number }, detail: string): Row {
  const met = 'atLeast' in aim ? measured >= aim.atLeast : measured <= aim.atMost
  const text = 'atLeast' in aim ? `≥ ${aim.atLeast}` : `≤ ${aim.atMost} ×`
  return { what, measured: `${measured.toFixed(2)} (${detail})`, aim: text, met }
}
