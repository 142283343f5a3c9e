import path from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { runProgram } from '../support/client-program.ts'
import { eventually } from '../support/eventually.ts'
import { startTlsServer, type TlsServer } from '../support/tls-server.ts'

/* GitHub's command (Debian `gh`, 2.23), as people point it at an Enterprise server: a host, a token, a certificate that the system trusts. */

const WORKFLOW = `name: CI
on:
  push:
  workflow_dispatch:
    inputs:
      who: { default: world }
jobs:
  build:
    runs-on: self-hosted
    steps:
      - name: Greet
        run: |
          echo "hello \${{ inputs.who }}"
          echo "::warning file=README.md,line=1::careful"
`
const HOLD = `name: Hold
on: workflow_dispatch
jobs:
  wait:
    runs-on: nobody-has-this
    steps:
      - run: 'true'
`

let tls: TlsServer
beforeAll(async () => {
  tls = await startTlsServer()
})
afterAll(async () => tls[Symbol.asyncDispose]())

/** Runs gh as the administrator; it must succeed. */
async function gh(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await ghRaw(args)
  expect({ args, code, stderr }).toEqual({ args, code: 0, stderr: '' })
  return stdout
}

function ghRaw(args: string[], { token = tls.server.adminToken } = {}) {
  const env = {
    GH_HOST: tls.host,
    GH_ENTERPRISE_TOKEN: token,
    SSL_CERT_FILE: tls.cert,
    GH_CONFIG_DIR: path.join(tls.folder, 'gh'),
    GH_NO_UPDATE_NOTIFIER: '1',
    GH_PROMPT_DISABLED: '1',
    NO_COLOR: '1',
    HOME: tls.folder,
  }
  return runProgram('gh', args, { env, cwd: tls.folder })
}

const at = () => ['--repo', `${tls.host}/acme/rocket`]
const json = async (...args: string[]) => JSON.parse(await gh(...args)) as never

// `gh auth login` takes no port in a host, so the token comes by the environment, as in CI.
test('auth status tells who signed in and with which scopes, and that a token is no good', async () => {
  const status = await ghRaw(['auth', 'status'])
  const refused = await ghRaw(['auth', 'status'], { token: 'ghp_wrong' })

  // Its words go to standard error.
  expect(status.code).toBe(0)
  expect(status.stderr).toContain(`Logged in to ${tls.host} as admin`)
  expect(status.stderr).toContain('admin:enterprise')
  expect(refused.code).toBe(1)
  expect(refused.stderr).toContain('authentication failed')
})

test('api: runners, their labels, groups and tokens, page after page', async () => {
  const register = await json('api', '-X', 'POST', 'orgs/acme/actions/runners/registration-token')
  expect(register).toMatchObject({ token: expect.stringMatching(/^A[A-Z2-7]{28}$/) as string })
  expect(await json('api', '-X', 'POST', 'repos/acme/rocket/actions/runners/remove-token')).toHaveProperty('token')

  const jit = ['-X', 'POST', 'orgs/acme/actions/runners/generate-jitconfig', '-F', 'runner_group_id=1', '-f', 'labels[]=gpu']
  const ids: number[] = []
  for (const name of ['one', 'two', 'three']) ids.push(Number(await gh('api', ...jit, '-f', `name=${name}`, '--jq', '.runner.id')))
  const names = await gh('api', '--paginate', 'orgs/acme/actions/runners?per_page=1', '--jq', '.runners[].name')
  expect(names.trim().split('\n')).toEqual(['one', 'three', 'two'])

  const labels = `orgs/acme/actions/runners/${ids[0]}/labels`
  expect(await gh('api', '-X', 'POST', labels, '-f', 'labels[]=metal', '--jq', '.total_count')).toMatch(/^\d+\n$/)
  expect(await gh('api', labels, '--jq', '.labels[].name')).toContain('metal')
  await gh('api', '-X', 'DELETE', `${labels}/metal`)
  expect(await gh('api', labels, '--jq', '.labels[].name')).not.toContain('metal')

  const group = await gh('api', 'orgs/acme/actions/runner-groups', '-f', 'name=Metal', '-f', 'visibility=all', '--jq', '.id')
  const groupPath = `orgs/acme/actions/runner-groups/${group.trim()}`
  await gh('api', '-X', 'PUT', `${groupPath}/runners/${ids[1]}`)
  expect(await gh('api', `${groupPath}/runners`, '--jq', '.runners[].name')).toBe('two\n')
  await gh('api', '-X', 'PATCH', groupPath, '-f', 'name=Bare metal')
  expect(await gh('api', 'orgs/acme/actions/runner-groups', '--jq', '.runner_groups[].name')).toContain('Bare metal')
  await gh('api', '-X', 'DELETE', groupPath)
  await gh('api', '-X', 'DELETE', `orgs/acme/actions/runners/${ids[2]}`)
  expect(await gh('api', 'orgs/acme/actions/runners', '--jq', '.total_count')).toBe('2\n')

  const missing = await ghRaw(['api', `orgs/acme/actions/runners/${ids[2]}`])
  expect(missing).toMatchObject({ code: 1, stderr: 'gh: Not Found (HTTP 404)\n' })
})

test('repo view and graphql: what gh asks of GraphQL is answered, and what is not served is an error that it shows', async () => {
  const [viewer, repo] = ['{viewer{login}}', 'query($n: String!) { repository(owner: "acme", name: $n) { defaultBranchRef { name } } }']

  expect(await gh('api', 'graphql', '-f', `query=${viewer}`, '--jq', '.data.viewer.login')).toBe('admin\n')
  await gh('api', 'graphql', '-f', `query=${repo}`, '-f', 'n=rocket')
  expect(await json('repo', 'view', `${tls.host}/acme/rocket`, '--json', 'nameWithOwner,isPrivate,viewerPermission')).toEqual({
    nameWithOwner: 'acme/rocket',
    isPrivate: true,
    viewerPermission: 'ADMIN',
  })
  const issues = await ghRaw(['issue', 'list', ...at()])
  expect(issues.code).toBe(1)
  expect(issues.stderr).toContain("doesn't exist on type")
})

test('run and workflow: a pushed workflow is listed, watched, viewed with its log, dispatched and cancelled', async () => {
  await tls.push({ '.github/workflows/ci.yml': WORKFLOW, '.github/workflows/hold.yml': HOLD })
  expect((await gh('run', 'list', ...at())).split('\t')).toEqual(expect.arrayContaining(['queued', 'Say hello', 'CI', 'main', 'push', '1']))
  const token = await gh('api', '-X', 'POST', 'repos/acme/rocket/actions/runners/registration-token', '--jq', '.token')
  tls.startRunner(token.trim())

  const watched = await gh('run', 'watch', '1', '--interval', '1', '--exit-status', ...at())
  expect(watched).toContain('✓ Greet')
  expect(await json('run', 'view', '1', '--json', 'conclusion,headBranch,event,jobs,workflowName', ...at())).toMatchObject({
    conclusion: 'success',
    headBranch: 'main',
    event: 'push',
    workflowName: 'CI',
    jobs: [{ name: 'build', conclusion: 'success' }],
  })
  const log = await gh('run', 'view', '1', '--log', ...at())
  expect(log.split('\n').filter((line) => /^build\tGreet\t\S+Z hello/.test(line))).toHaveLength(1)
  const run = await gh('run', 'view', '1', ...at())
  expect(run).toContain('✓ main CI · 1')
  expect(run).toContain('! careful')
  const job = await gh('run', 'view', '--job', '1', ...at())
  expect(job).toContain('✓ build')
  expect(job).toContain('! careful')

  expect(await gh('workflow', 'list', ...at())).toBe('CI\tactive\t1\nHold\tactive\t2\n')
  expect(await gh('workflow', 'view', 'CI', ...at())).toContain('Total runs 1')
  expect(await gh('workflow', 'view', 'ci.yml', '--yaml', ...at())).toBe(WORKFLOW)

  // Without a ref it asks GraphQL for the default branch.
  await gh('workflow', 'run', 'ci.yml', '--raw-field', 'who=mona', ...at())
  const dispatched = await eventually(async () => {
    const found = await gh('run', 'list', '--workflow', 'ci.yml', '--json', 'databaseId,event,conclusion', ...at())
    expect(JSON.parse(found)).toMatchObject([{ event: 'workflow_dispatch', conclusion: 'success' }, { event: 'push' }])
    return (JSON.parse(found) as { databaseId: number }[])[0]?.databaseId
  })
  expect(await gh('run', 'view', String(dispatched), '--log', ...at())).toContain('hello mona')

  await gh('workflow', 'run', 'Hold', '--ref', 'main', ...at())
  const held = await gh('run', 'list', '--workflow', 'Hold', '--json', 'databaseId', '--jq', '.[0].databaseId', ...at())
  const cancel = await ghRaw(['run', 'cancel', held.trim(), ...at()])
  expect(cancel.code).toBe(0)
  const waited = await ghRaw(['run', 'watch', held.trim(), '--interval', '1', '--exit-status', ...at()])
  expect({ code: waited.code, stdout: waited.stdout }).toMatchObject({ code: 1, stdout: expect.stringContaining('Hold') as string })
  expect(await gh('run', 'view', held.trim(), '--json', 'conclusion', '--jq', '.conclusion', ...at())).toBe('cancelled\n')
})
