import { readFileSync } from 'node:fs'
import path from 'node:path'
import { clientUrl } from './config.ts'
import { ConfigError, readVariable, type Environment } from './env.ts'

/** What the commands that talk to a running server need. Unlike `loadConfig` it makes nothing. */
export interface ClientConfig {
  url: string
  dataDir: string
  /** Undefined when there is none to be found at `tokenFile`. */
  token: string | undefined
  /** Where the server keeps the token that it made; undefined when the token was given. */
  tokenFile: string | undefined
}

export function loadClientConfig(env: Environment): ClientConfig {
  const url = clientUrl(env)
  const dataDir = path.resolve(readVariable(env, 'FLEETFOOT_DATA_DIR') ?? './data')
  const given = readVariable(env, 'FLEETFOOT_ADMIN_TOKEN')
  if (given !== undefined) return { url, dataDir, token: given, tokenFile: undefined }
  const tokenFile = path.join(dataDir, 'admin-token')
  return { url, dataDir, token: readToken(tokenFile), tokenFile }
}

function readToken(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    const code = (error as NodeJS.ErrnoException).code ?? 'error'
    throw new ConfigError(`FLEETFOOT_ADMIN_TOKEN: cannot read ${file} (${code}): run this as the server's user, or set the variable`)
  }
}
