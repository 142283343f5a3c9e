import { mkdir, mkdtempDisposable, readFile, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import { expect, test } from 'vitest'

import { configFromJit, readConfig, writeOfficialFiles } from './config-files.ts'
import { newKey } from './key.ts'
import type { RunnerConfig } from './registration.ts'

const key = await newKey()

const CONFIG: RunnerConfig = {
  agentId: 42,
  agentName: 'builder-7',
  poolId: 1,
  poolName: 'Default',
  serverUrl: 'http://127.0.0.1:8080/acme/_broker/',
  gitHubUrl: 'http://127.0.0.1:8080/acme',
  workFolder: '_work',
  ephemeral: false,
  disableUpdate: false,
  clientId: '6f1c1f0e-6f6e-4a3e-9b1f-0d8f4c0a9f10',
  authorizationUrl: 'http://127.0.0.1:8080/_oauth/token',
  requireFipsCryptography: true,
  key,
}

async function unpackedRunner(): Promise<AsyncDisposable & { path: string }> {
  const dir = await mkdtempDisposable(join(tmpdir(), 'fleetfoot-runner-'))
  await mkdir(join(dir.path, 'bin'))
  await writeFile(join(dir.path, 'run.sh'), '')
  await writeFile(join(dir.path, 'bin', 'Runner.Listener'), '')
  return dir
}

async function jsonFile(dir: string, name: string): Promise<unknown> {
  const text = await readFile(join(dir, name), 'utf8')
  expect(text.startsWith('\uFEFF{\n  ')).toBe(true)
  return JSON.parse(text.slice(1))
}

test('a configured folder holds what config.sh writes, byte-order mark and all', async () => {
  await using dir = await unpackedRunner()

  await writeOfficialFiles(dir.path, CONFIG)

  expect(await jsonFile(dir.path, '.runner')).toEqual({
    agentId: 42,
    agentName: 'builder-7',
    poolId: 1,
    poolName: 'Default',
    serverUrl: 'http://127.0.0.1:8080/acme/_broker/',
    gitHubUrl: 'http://127.0.0.1:8080/acme',
    workFolder: '_work',
    isHostedServer: false,
    useV2Flow: true,
    useRunnerAdminFlow: true,
    serverUrlV2: 'http://127.0.0.1:8080/acme/_broker/',
  })
  expect(await jsonFile(dir.path, '.credentials')).toEqual({
    scheme: 'OAuth',
    data: {
      clientId: '6f1c1f0e-6f6e-4a3e-9b1f-0d8f4c0a9f10',
      authorizationUrl: 'http://127.0.0.1:8080/_oauth/token',
      requireFipsCryptography: 'True',
    },
  })
  expect(await jsonFile(dir.path, '.credentials_rsaparams')).toEqual(key)
})

test('the files with secrets are for their owner only', async () => {
  await using dir = await unpackedRunner()

  await writeOfficialFiles(dir.path, CONFIG)

  for (const name of ['.credentials', '.credentials_rsaparams']) expect((await stat(join(dir.path, name))).mode & 0o777).toBe(0o600)
})

test('a configured folder is read again as it was written', async () => {
  await using dir = await unpackedRunner()

  await writeOfficialFiles(dir.path, { ...CONFIG, ephemeral: true, disableUpdate: true })

  expect(await readConfig(dir.path)).toEqual({ ...CONFIG, ephemeral: true, disableUpdate: true })
})

test('a folder without an official runner is refused', async () => {
  await using dir = await mkdtempDisposable(join(tmpdir(), 'fleetfoot-runner-'))

  await expect(writeOfficialFiles(dir.path, CONFIG)).rejects.toThrow('holds no official runner: run.sh is missing')
})

test('a folder that is configured already is refused and left as it is', async () => {
  await using dir = await unpackedRunner()
  await writeOfficialFiles(dir.path, CONFIG)

  await expect(writeOfficialFiles(dir.path, { ...CONFIG, agentId: 43 })).rejects.toThrow('already configured')
  expect(await readConfig(dir.path)).toEqual(CONFIG)
})

test('a JIT configuration is read in the spelling of GitHub, too', () => {
  const files = {
    '.runner': {
      AgentId: '42',
      AgentName: 'builder-7',
      PoolId: '1',
      PoolName: 'Default',
      Ephemeral: 'true',
      ServerUrlV2: CONFIG.serverUrl,
      UseV2Flow: 'true',
      GitHubUrl: CONFIG.gitHubUrl,
      WorkFolder: '_work',
    },
    '.credentials': {
      Scheme: 'OAuth',
      Data: { ClientId: CONFIG.clientId, AuthorizationUrl: CONFIG.authorizationUrl, requireFipsCryptography: 'True' },
    },
    '.credentials_rsaparams': key,
  }
  const inner = Object.entries(files).map(([name, value]) => [name, Buffer.from(JSON.stringify(value)).toString('base64')])
  const encoded = Buffer.from(JSON.stringify(Object.fromEntries(inner))).toString('base64')

  expect(configFromJit(encoded)).toEqual({ ...CONFIG, ephemeral: true })
})

test('a JIT configuration that is none says so', () => {
  expect(() => configFromJit('???')).toThrow('no base64 of a JSON object')
})
