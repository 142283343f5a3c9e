import type { JitRunner } from '../../core/runners/jit-config.ts'
import type { RunnerScope } from '../../core/access/authorize.ts'

/** The first path segment of a runner's broker, which names the service on its machine (architecture 1.9). */
export function brokerSegment(scope: RunnerScope): string {
  if (scope.kind === 'enterprise') return scope.enterprise.slug
  if (scope.kind === 'organization') return scope.organization.login
  return `${scope.repository.owner.login}-${scope.repository.name}`
}

/**
 * `encoded_jit_config`: base64 of a JSON object whose values are all texts, file name to base64 of the file, for `run.sh --jitconfig`
 * (runner-protocol.md 2.8). `serverUrl` equals `serverUrlV2`, which keeps the runner from looking for the older protocol.
 */
export function encodeJitConfig({ runner, key, scope, workFolder }: JitRunner, base: string): string {
  const broker = `${base}/${brokerSegment(scope)}/_broker/`
  const files = {
    '.runner': {
      agentId: runner.id,
      agentName: runner.name,
      poolId: runner.groupNumber,
      poolName: runner.groupName,
      serverUrl: broker,
      gitHubUrl: `${base}/${scopePath(scope)}`,
      workFolder,
      ephemeral: true,
      disableUpdate: true,
      isHostedServer: false,
      useV2Flow: true,
      useRunnerAdminFlow: true,
      serverUrlV2: broker,
    },
    '.credentials': {
      scheme: 'OAuth',
      data: { clientId: runner.clientId, authorizationUrl: `${base}/_oauth/token`, requireFipsCryptography: 'True' },
    },
    '.credentials_rsaparams': key.params,
  }
  return toBase64(Object.fromEntries(Object.entries(files).map(([name, content]) => [name, toBase64(content)])))
}

function scopePath(scope: RunnerScope): string {
  if (scope.kind === 'enterprise') return `enterprises/${scope.enterprise.slug}`
  return scope.kind === 'organization' ? scope.organization.login : `${scope.repository.owner.login}/${scope.repository.name}`
}

function toBase64(content: object): string {
  return Buffer.from(JSON.stringify(content)).toString('base64')
}
