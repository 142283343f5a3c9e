import { expect, test } from 'vitest'
import { appJwt, installApp, installationToken, makeApp } from './support/apps.ts'
import { BAD_SEGMENTS, BAD_VALUES } from './support/malformed.ts'
import { startServer } from './support/start-server.ts'

/*
 * Every call about Apps and fine-grained tokens, right but for one place, with every value that does not belong there: none is answered with
 * a 5xx, and the App works afterwards.
 */

const BAD: unknown[] = [...BAD_VALUES, { actions: null }]

test('no value in no place of a call about Apps is answered with a 5xx', async () => {
  await using server = await startServer()
  await server.organization('acme')
  await server.repository('acme', 'rocket')
  const app = await makeApp(server, { actions: 'write', contents: 'write', administration: 'write' })
  const id = await installApp(server, app, 'acme')
  const token = await installationToken(server, app, id)
  const admin = `token ${server.adminToken}`
  const signed = `Bearer ${appJwt(app)}`
  const bodies: { method: string; path: string; authorization: string; body: Record<string, unknown> }[] = [
    {
      method: 'POST',
      path: `/api/v3/app/installations/${id}/access_tokens`,
      authorization: signed,
      body: { permissions: { actions: 'read' }, repositories: ['rocket'], repository_ids: [1] },
    },
    {
      method: 'POST',
      path: '/api/fleetfoot/apps',
      authorization: admin,
      body: {
        name: 'Fleet',
        owner: 'acme',
        description: 'd',
        url: 'https://a.example',
        hook_url: 'https://a.example',
        permissions: { actions: 'read' },
        events: ['push'],
      },
    },
    {
      method: 'POST',
      path: '/api/fleetfoot/app-manifests',
      authorization: admin,
      body: { owner: 'acme', manifest: { name: 'Fleet', url: 'https://a.example' } },
    },
    ...['name', 'url', 'description', 'hook_attributes', 'default_permissions', 'default_events'].flatMap((key) =>
      BAD.map((value) => ({
        method: 'POST',
        path: '/api/fleetfoot/app-manifests',
        authorization: admin,
        body: { owner: 'acme', manifest: { name: 'Fleet', url: 'https://a.example', [key]: value } },
      })),
    ),
    {
      method: 'POST',
      path: `/api/fleetfoot/apps/${app.slug}/installations`,
      authorization: admin,
      body: { account: 'absent', repositories: ['rocket'] },
    },
    {
      method: 'POST',
      path: '/api/fleetfoot/users/admin/tokens',
      authorization: admin,
      body: { name: 'x', permissions: { actions: 'read' }, resource_owner: 'acme', repositories: ['rocket'], expires_at: '2099-01-01' },
    },
  ]
  const paths = [
    ['GET', '/api/v3/app/installations/:x', signed],
    ['PUT', '/api/v3/app/installations/:x/suspended', signed],
    ['POST', '/api/v3/app/installations/:x/access_tokens', signed],
    ['GET', '/api/v3/orgs/:x/installation', signed],
    ['GET', '/api/v3/organizations/:x/installation', signed],
    ['GET', '/api/v3/repos/:x/rocket/installation', signed],
    ['GET', '/api/v3/repos/acme/:x/installation', signed],
    ['GET', '/api/v3/repositories/:x/installation', signed],
    ['GET', '/api/v3/users/:x/installation', signed],
    ['GET', '/api/v3/apps/:x', signed],
    ['GET', '/api/v3/app/installations?per_page=:x&page=:x', signed],
    ['GET', '/api/v3/installation/repositories?per_page=:x&page=:x', `token ${token}`],
    ['POST', '/api/v3/app-manifests/:x/conversions', signed],
    ['DELETE', '/api/fleetfoot/apps/:x', admin],
    ['POST', '/api/fleetfoot/apps/:x/keys', admin],
    ['DELETE', '/api/fleetfoot/apps/fleet/keys/:x', admin],
    ['DELETE', '/api/fleetfoot/apps/fleet/installations/:x', admin],
  ] as const

  const failures: string[] = []
  const ask = async (method: string, path: string, authorization: string, body?: unknown) => {
    const answer = await fetch(server.url + path, {
      method,
      headers: { 'User-Agent': 'malformed', Authorization: authorization, 'Content-Type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    })
    if (answer.status >= 500) failures.push(`${answer.status} ${method} ${path} ${JSON.stringify(body)?.slice(0, 200)}`)
    return answer.status
  }
  for (const { method, path, authorization, body } of bodies) {
    await ask(method, path, authorization, body)
    for (const key of Object.keys(body)) for (const value of BAD) await ask(method, path, authorization, { ...body, [key]: value })
  }
  for (const [method, path, authorization] of paths)
    for (const segment of BAD_SEGMENTS) await ask(method, path.replaceAll(':x', segment), authorization)
  for (const claim of ['iss', 'exp', 'iat', 'alg'])
    for (const value of BAD) {
      const bad = claim === 'alg' ? appJwt(app, {}, { alg: value }) : appJwt(app, { [claim]: value })
      // Issued long ago is no failure: `exp` decides.
      const wanted = claim === 'iat' && value === -1 ? 200 : 401
      expect({ claim, value, status: await ask('GET', '/api/v3/app', `Bearer ${bad}`) }).toEqual({ claim, value, status: wanted })
    }

  expect(failures).toEqual([])
  expect(await ask('GET', '/api/v3/app', `Bearer ${appJwt(app)}`)).toBe(200)
  expect(await ask('GET', '/api/v3/repos/acme/rocket/actions/runs', `token ${token}`)).toBe(200)
}, 120_000)
