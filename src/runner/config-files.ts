import { chmod, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'

import type { RsaParams } from './key.ts'
import { RegistrationError, type RunnerConfig } from './registration.ts'

/**
 * The files in which a runner keeps its configuration: `.runner`, `.credentials`, `.credentials_rsaparams`.
 * The official runner writes them with a byte-order mark and indented; a JIT configuration carries them in base64.
 */
const FILES = ['.runner', '.credentials', '.credentials_rsaparams'] as const

type FileName = (typeof FILES)[number]

/** Refuses a folder that holds no unpacked official runner, or one that is configured already. */
export async function requireOfficialRunner(dir: string): Promise<void> {
  for (const needed of ['run.sh', 'bin/Runner.Listener'])
    if (!(await exists(join(dir, needed))))
      throw new RegistrationError(`${dir} holds no official runner: ${needed} is missing. Unpack an actions-runner archive there first.`)
  for (const name of FILES)
    if (await exists(join(dir, name)))
      throw new RegistrationError(`${dir} is already configured: ${name} exists. Remove that runner first (./config.sh remove).`)
}

/** Writes the files that `config.sh` writes, so that `run.sh` in this folder listens for jobs. Secrets get mode 0600. */
export async function writeOfficialFiles(dir: string, config: RunnerConfig): Promise<void> {
  await requireOfficialRunner(dir)
  const contents = officialFiles(config)
  for (const name of FILES.toReversed()) {
    const path = join(dir, name)
    // Made with its mode and not narrowed afterwards: nobody gets to open it in between.
    await writeFile(path, `\uFEFF${JSON.stringify(contents[name], undefined, 2)}`, { mode: name === '.runner' ? 0o644 : 0o600, flag: 'wx' })
    if (name !== '.runner') await chmod(path, 0o600)
  }
  // What `env.sh` leaves for `run.sh` and the service: the PATH of the person who configured.
  await writeFile(join(dir, '.path'), process.env['PATH'] ?? '')
  if (!(await exists(join(dir, '.env')))) await writeFile(join(dir, '.env'), `LANG=${process.env['LANG'] ?? 'C.UTF-8'}\n`)
}

/** Reads a configured folder again, whoever configured it. */
export async function readConfig(dir: string): Promise<RunnerConfig> {
  const texts: Record<string, string> = {}
  for (const name of FILES) texts[name] = await readFile(join(dir, name), 'utf8')
  return configFromTexts(texts)
}

/** Deletes the configuration of a folder, as a runner does whose registration is gone. */
export async function removeConfigFiles(dir: string): Promise<void> {
  for (const name of FILES) await rm(join(dir, name), { force: true })
}

/** Reads what `generate-jitconfig` gives: base64 of a JSON object from file names to base64 of their bytes. */
export function configFromJit(encoded: string): RunnerConfig {
  let files: Record<string, string>
  try {
    files = JSON.parse(Buffer.from(encoded, 'base64').toString('utf8')) as Record<string, string>
  } catch (error) {
    throw new RegistrationError('the JIT configuration is no base64 of a JSON object', { cause: error })
  }
  return configFromTexts(
    Object.fromEntries(Object.entries(files).map(([name, content]) => [name, Buffer.from(content, 'base64').toString('utf8')])),
  )
}

function officialFiles(config: RunnerConfig): Record<FileName, object> {
  return {
    '.runner': {
      agentId: config.agentId,
      agentName: config.agentName,
      ...(config.disableUpdate ? { disableUpdate: true } : {}),
      ...(config.ephemeral ? { ephemeral: true } : {}),
      poolId: config.poolId,
      poolName: config.poolName,
      serverUrl: config.serverUrl,
      gitHubUrl: config.gitHubUrl,
      workFolder: config.workFolder,
      isHostedServer: false,
      useV2Flow: true,
      useRunnerAdminFlow: true,
      serverUrlV2: config.serverUrl,
    },
    '.credentials': {
      scheme: 'OAuth',
      data: {
        clientId: config.clientId,
        authorizationUrl: config.authorizationUrl,
        requireFipsCryptography: config.requireFipsCryptography ? 'True' : 'False',
      },
    },
    '.credentials_rsaparams': {
      d: config.key.d,
      dp: config.key.dp,
      dq: config.key.dq,
      exponent: config.key.exponent,
      inverseQ: config.key.inverseQ,
      modulus: config.key.modulus,
      p: config.key.p,
      q: config.key.q,
    },
  }
}

function configFromTexts(texts: Record<string, string>): RunnerConfig {
  const runner = anyCase(parse(texts, '.runner'))
  const data = anyCase((parse(texts, '.credentials')['data'] ?? parse(texts, '.credentials')['Data'] ?? {}) as Record<string, unknown>)
  const key = parse(texts, '.credentials_rsaparams') as unknown as RsaParams
  const text = (value: unknown): string => (typeof value === 'string' ? value : typeof value === 'number' ? String(value) : '')
  // GitHub writes numbers and booleans of a JIT configuration as strings.
  const isTrue = (value: unknown): boolean => value === true || text(value).toLowerCase() === 'true'

  return {
    agentId: Number(runner('agentId')),
    agentName: text(runner('agentName')),
    poolId: Number(runner('poolId') ?? 1),
    poolName: text(runner('poolName') ?? 'Default'),
    serverUrl: text(runner('serverUrlV2') ?? runner('serverUrl')),
    gitHubUrl: text(runner('gitHubUrl')),
    workFolder: text(runner('workFolder')) || '_work',
    ephemeral: isTrue(runner('ephemeral')),
    disableUpdate: isTrue(runner('disableUpdate')),
    clientId: text(data('clientId')),
    authorizationUrl: text(data('authorizationUrl')),
    requireFipsCryptography: isTrue(data('requireFipsCryptography')),
    key,
  }
}

function parse(texts: Record<string, string>, name: FileName): Record<string, unknown> {
  const text = texts[name]
  if (text === undefined) throw new RegistrationError(`the configuration lacks ${name}`)
  return JSON.parse(text.replace(/^\uFEFF/, '')) as Record<string, unknown>
}

function anyCase(values: Record<string, unknown>): (name: string) => unknown {
  const lowered = new Map(Object.entries(values).map(([name, value]) => [name.toLowerCase(), value]))
  return (name) => lowered.get(name.toLowerCase())
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  )
}
