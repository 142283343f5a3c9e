import { readFileSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { OPERATIONS } from '../src/protocols/github-rest/operations.ts'
import { readRestTable, type RestRow } from './support/rest-table.ts'
import { startServer } from './support/start-server.ts'

/*
 * docs/api.md is made from what is served and from the reference of GitHub's API: `npx vitest run --project main test/api-table.test.ts -u`
 * writes it anew.
 */

const notDescribed = JSON.parse(readFileSync(path.join(import.meta.dirname, 'conformance/not-described.json'), 'utf8')) as Record<
  string,
  object
>

const plain = (url: string) => url.replaceAll(/[:{][^/}]+\}?/g, '*').toLowerCase()

function isServed(row: RestRow, served: Set<string>): boolean {
  // Undocumented calls of the registration flow stand for all three scopes.
  const paths = row.path.startsWith('{scope}')
    ? ['/orgs/{org}', '/repos/{owner}/{repo}', '/enterprises/{enterprise}'].map((scope) => row.path.replace('{scope}', scope))
    : [row.path]
  return paths.every((at) => served.has(`${row.method} ${plain(at.split('?')[0] ?? '')}`))
}

test('docs/api.md says of each row of the reference whether it is served', async () => {
  await using server = await startServer()
  const served = new Set(
    server.running.routes.map(({ method, url }) => `${method} ${plain(url.replace(/^\/api\/v3/, '').replace('*', '{path}') || '/')}`),
  )
  const rows = readRestTable()
  const counts = ['P0', 'P1', 'P2', 'P3'].map((priority) => {
    const of = rows.filter((row) => row.priority === priority)
    const have = of.filter((row) => isServed(row, served)).length
    return `| ${priority} | ${have} | ${of.length} | ${Math.floor((100 * have) / of.length)} % |`
  })
  expect(rows.filter((row) => /P[01]/.test(row.priority) && !isServed(row, served)).map(({ operationId }) => operationId)).toEqual([])
  const lines = rows.map(
    (row) =>
      `| ${isServed(row, served) ? 'served' : 'not'} | ${row.priority} | ${row.method} | \`${row.path}\` | ${row.operationId} | ${row.scope} | ${row.permission} |`,
  )
  const text = `# What of GitHub's REST API is served

Made by \`test/api-table.test.ts\` from the routes of this server and from \`test/conformance/rest-api.json\`: our own reference of GitHub's API, which was
written after GitHub's OpenAPI description and beyond it, and leaves out what has nothing to do with runners. Answers are checked against the description
itself (\`test/conformance/github\`). P0 are the operations of the founding document, P1 what manages a fleet, P2 runs workflows, P3 is nice to have.

The server describes itself at \`/api/v3/openapi.json\`, and its own calls at \`/api/fleetfoot/openapi.json\`.

| Priority | Served | Of | |
|---|---|---|---|
${counts.join('\n')}

| | | Method | Path | Operation | Classic scope | Permission |
|---|---|---|---|---|---|---|
${lines.join('\n')}
`
  await expect(text).toMatchFileSnapshot(path.join(import.meta.dirname, '../docs/api.md'))
})

test('what is known of the operations is of the reference: bin/node tools/refresh-operations.ts makes it anew', () => {
  expect(OPERATIONS).toEqual(Object.fromEntries(readRestTable().map(({ operationId, path: at, ok }) => [operationId, { path: at, ok }])))
})

test("the server describes GitHub's operations with its statuses and names of parameters", async () => {
  await using server = await startServer()
  const answer = await fetch(`${server.url}/api/v3/openapi.json`, { headers: { 'User-Agent': 'test' } })
  const { paths } = (await answer.json()) as { paths: Record<string, Record<string, { operationId: string; responses: object }>> }
  const group = '/orgs/{org}/actions/runner-groups/{runner_group_id}'
  expect(Object.keys(paths).filter((at) => at.includes('{target_id}'))).toEqual([])
  expect(Object.keys(paths)).toEqual(expect.arrayContaining([`${group}/repositories/{repository_id}`, `${group}/runners/{runner_id}`]))

  const known = new Map(readRestTable().map((row) => [row.operationId, row]))
  const wrong: string[] = []
  for (const each of Object.values(paths).flatMap((methods) => Object.values(methods))) {
    // Some of GitHub's it takes a background for that is not here (201 for an invitation); none that GitHub does not describe.
    const row = known.get(each.operationId)
    if (!row) continue
    const described = Object.keys(each.responses).filter((status) => status.startsWith('2'))
    const more = described.filter((status) => !row.ok.includes(Number(status)) && !(status in (notDescribed[each.operationId] ?? {})))
    const isNone = described.length === 0 && row.ok.some((status) => status < 300)
    if (more.length > 0 || isNone) wrong.push(`${each.operationId}: ${described.join()} and not ${row.ok.join()}`)
  }
  expect(wrong).toEqual([])
  expect(Object.keys(paths[`${group}/repositories`]?.['put']?.responses ?? {})).toEqual(['204', 'default'])
})

test('the server describes itself: every operation once, with its parameters and bodies', async () => {
  await using server = await startServer()
  for (const [prefix, path] of [
    ['/api/v3', '/orgs/{org}/actions/runner-groups'],
    ['/api/fleetfoot', '/orgs/{org}/queue/rules'],
  ] as const) {
    const answer = await fetch(`${server.url}${prefix}/openapi.json`, { headers: { 'User-Agent': 'test' } })
    expect(answer.status).toBe(200)
    const document = (await answer.json()) as {
      openapi: string
      servers: { url: string }[]
      paths: Record<string, Record<string, { operationId: string; parameters: { name: string; in: string }[]; requestBody?: object }>>
    }
    expect(document).toMatchObject({ openapi: '3.1.0', servers: [{ url: server.url + prefix }] })
    expect(document.paths[path]?.['post']).toMatchObject({ parameters: [{ name: 'org', in: 'path' }], requestBody: { required: true } })
    const operations = Object.values(document.paths).flatMap((each) => Object.values(each))
    expect(new Set(operations.map(({ operationId }) => operationId)).size).toBe(operations.length)
    for (const [at, each] of Object.entries(document.paths)) {
      const named = [...at.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
      for (const { parameters } of Object.values(each)) {
        expect(parameters.filter((parameter) => parameter.in === 'path').map(({ name }) => name)).toEqual(named)
      }
    }
  }
})
