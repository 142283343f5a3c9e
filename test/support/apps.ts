import { sign } from 'node:crypto'
import type { NewAppBody } from '../../src/protocols/console/apps.ts'
import type { Caller, TestServer } from './start-server.ts'

export type TestApp = NewAppBody

/** An App with its key, made as an administrator makes it. */
export async function makeApp(
  server: TestServer,
  permissions: Record<string, string>,
  { name = 'Fleet', owner = 'admin' }: { name?: string; owner?: string } = {},
): Promise<TestApp> {
  const made = await server.admin('POST', '/api/fleetfoot/apps', { name, owner, permissions, events: ['workflow_job'] })
  if (made.status !== 201) throw new Error(`the App was not made: ${await made.text()}`)
  return (await made.json()) as TestApp
}

/** Installs it; the answer is the installation's id. Without repositories it is for all. */
export async function installApp(server: TestServer, app: TestApp, account: string, repositories?: string[]): Promise<number> {
  const body = { account, ...(repositories && { repositories }) }
  const made = await server.admin('POST', `/api/fleetfoot/apps/${app.slug}/installations`, body)
  if (made.status !== 201) throw new Error(`the App was not installed: ${await made.text()}`)
  return ((await made.json()) as { id: number }).id
}

/** A JWT as an App signs it; claims and header that are given take the place of good ones. */
export function appJwt(
  app: Pick<TestApp, 'id' | 'pem'>,
  claims: Record<string, unknown> = {},
  header: Record<string, unknown> = {},
): string {
  const now = Math.floor(Date.now() / 1000)
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
  const body = `${part({ alg: 'RS256', typ: 'JWT', ...header })}.${part({ iat: now - 30, exp: now + 570, iss: app.id, ...claims })}`
  return `${body}.${sign('RSA-SHA256', Buffer.from(body), app.pem).toString('base64url')}`
}

/** Calls with a JWT of the App. */
export function asApp(server: TestServer, app: TestApp): Caller {
  return (method, target, body, headers) =>
    server.call(undefined)(method, target, body, { Authorization: `Bearer ${appJwt(app)}`, ...headers })
}

/** A token of an installation. */
export async function installationToken(server: TestServer, app: TestApp, id: number, body?: object): Promise<string> {
  const made = await asApp(server, app)('POST', `/app/installations/${id}/access_tokens`, body)
  if (made.status !== 201) throw new Error(`the token was not made: ${await made.text()}`)
  return ((await made.json()) as { token: string }).token
}
