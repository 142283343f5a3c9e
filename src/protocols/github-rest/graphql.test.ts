import { afterAll, beforeAll, expect, test } from 'vitest'
import { startServer, type Caller, type TestServer } from '../../../test/support/start-server.ts'

let server: TestServer
let mona: Caller
let stranger: Caller
beforeAll(async () => {
  server = await startServer()
  mona = (await server.user('mona')).call
  stranger = (await server.user('stranger')).call
  await server.organization('acme', { mona: 'owner' })
  await server.repository('acme', 'rocket')
})
afterAll(async () => server[Symbol.asyncDispose]())

async function ask(query: unknown, variables?: object, { call = mona, path = '/api/graphql' } = {}) {
  const answer = await call('POST', path, { query, ...(variables && { variables }) })
  return { status: answer.status, body: (await answer.json()) as { data?: unknown; errors?: { type?: string; message: string }[] } }
}

/** What gh 2.23 asks before `gh workflow run`, in its words: fragments, variables, a parent that is not there. */
const REPOSITORY_INFO = `fragment repo on Repository { id name owner { login } hasIssuesEnabled description hasWikiEnabled viewerPermission defaultBranchRef { name } }
  query RepositoryInfo($owner: String!, $name: String!) {
    repository(owner: $owner, name: $name) { ...repo parent { ...repo } mergeCommitAllowed rebaseMergeAllowed squashMergeAllowed }
  }`

test('GraphQL tells whose token it is', async () => {
  for (const query of ['query UserCurrent{viewer{login}}', '{ viewer { login } }', '\n query {\n viewer\n{ login\n}\n}\n']) {
    expect(await ask(query)).toEqual({ status: 200, body: { data: { viewer: { login: 'mona' } } } })
  }
  expect((await ask('{viewer{login}}', undefined, { path: '/api/v3/graphql' })).status).toBe(200)
  expect((await ask('{viewer{login}}', undefined, { call: server.call(undefined) })).status).toBe(401)
  expect((await ask(7)).status).toBe(422)
  expect((await mona('GET', '/api/graphql')).status).toBe(404)
})

test('GraphQL tells what a repository is, its default branch once there is one, and that a run has no pull request', async () => {
  const variables = { owner: 'acme', name: 'rocket' }
  const empty = await ask(REPOSITORY_INFO, variables)
  await server.push(server.adminToken, { owner: { login: 'acme' }, name: 'rocket' } as never, { 'README.md': 'hi' })
  const pushed = await ask(REPOSITORY_INFO, variables)
  const pulls = await ask(
    `query PullRequestForRun($owner: String!, $repo: String!, $headRefName: String!) { repository(owner: $owner, name: $repo) {
      pullRequests(headRefName: $headRefName, first: 1, orderBy: { field: CREATED_AT, direction: DESC }) { nodes { number headRepository { name } } } } }`,
    { owner: 'acme', repo: 'rocket', headRefName: 'main' },
  )
  const aliased = await ask('{ mine: repository(owner: "acme", name: "rocket") { nameWithOwner owner { login } owner { __typename } } }')

  expect(empty.body.data).toMatchObject({ repository: { defaultBranchRef: null } })
  expect(pushed.body).toEqual({
    data: {
      repository: {
        id: expect.any(String) as string,
        name: 'rocket',
        owner: { login: 'acme' },
        hasIssuesEnabled: false,
        description: null,
        hasWikiEnabled: false,
        viewerPermission: 'ADMIN',
        defaultBranchRef: { name: 'main' },
        parent: null,
        mergeCommitAllowed: false,
        rebaseMergeAllowed: false,
        squashMergeAllowed: false,
      },
    },
  })
  expect(pulls.body).toEqual({ data: { repository: { pullRequests: { nodes: [] } } } })
  expect(aliased.body).toEqual({ data: { mine: { nameWithOwner: 'acme/rocket', owner: { login: 'acme', __typename: 'Organization' } } } })
})

test('GraphQL does not tell strangers of a private repository', async () => {
  for (const [call, name] of [[stranger, 'rocket'] as const, [mona, 'nothing'] as const, [mona, '\\u0000'] as const]) {
    const { status, body } = await ask(`{ repository(owner: "acme", name: "${name}") { name } }`, undefined, { call })
    expect({ status, ...body }).toMatchObject({ status: 200, data: { repository: null }, errors: [{ type: 'NOT_FOUND' }] })
  }
})

test('what GraphQL does not know or cannot read is an error and no data, whatever it is', async () => {
  const deep = '{a'.repeat(40_000)
  const bomb = `${Array.from({ length: 19 }, (_, i) => `fragment f${i} on R { a: b { ...f${i + 1} } c: d { ...f${i + 1} } }`).join(' ')} fragment f19 on R { x } { ...f0 }`
  for (const query of [
    '',
    '{viewer{login email}}',
    '{viewer}',
    '{viewer{login{x}}}',
    '{viewer{}}',
    '{nodes{id}}',
    'mutation{a}',
    '{viewer{login}} {viewer{login}}',
    '{repository{name}}',
    '{repository(owner: 1, name: {}) {name}}',
    '{viewer{...none}}',
    'fragment a on User {...a} {viewer{...a}}',
    '{viewer{constructor}}',
    '{__proto__:viewer{hasOwnProperty}}',
    '{viewer @skip(if: true) {login}}',
    '{a(b: "\\ud800',
    '{a(b: --1) {c}}',
    `query ${' '.repeat(50_000)}x`,
    `query q($${'[['.repeat(20_000)}`,
    `{a(b: ${'['.repeat(40_000)})}`,
    deep,
    bomb,
  ]) {
    const { status, body } = await ask(query)
    expect({ query: query.slice(0, 60), status, errors: body.errors?.length, data: 'data' in body }).toEqual({
      query: query.slice(0, 60),
      status: 200,
      errors: 1,
      data: false,
    })
  }
})
