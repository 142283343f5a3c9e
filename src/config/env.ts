import { readFileSync } from 'node:fs'

/** A start that cannot go on. The message is one line that names the variable and the mend; the command exits with 2. */
export class ConfigError extends Error {
  override name = 'ConfigError'
}

export type Environment = Readonly<Record<string, string | undefined>>

/** Reads a variable, or the file that `NAME_FILE` names (one trailing newline dropped). Empty text counts as unset. */
export function readVariable(env: Environment, name: string): string | undefined {
  const direct = env[name]
  const file = env[`${name}_FILE`]
  if (direct && file) throw new ConfigError(`${name} and ${name}_FILE are both set: keep one of them`)
  if (!file) return direct === '' ? undefined : direct
  try {
    const text = readFileSync(file, 'utf8').replace(/\r?\n$/, '')
    return text === '' ? undefined : text
  } catch (error) {
    throw new ConfigError(`${name}_FILE: cannot read ${file} (${(error as NodeJS.ErrnoException).code ?? 'error'}): name a readable file`)
  }
}
