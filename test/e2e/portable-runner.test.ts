import { expect, test } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { startListeningRunner } from '../support/listening-runner.ts'
import { startServer } from '../support/start-server.ts'

const WORKFLOW = `name: CI
on: push
env:
  LEVEL: info
jobs:
  build:
    runs-on: self-hosted
    outputs:
      version: \${{ steps.v.outputs.version }}
    steps:
      - id: v
        run: |
          echo "level is $LEVEL"
          echo "version=1.2.3" >> "$GITHUB_OUTPUT"
      - run: exit 3
        continue-on-error: true
      - run: echo "# Built" >> "$GITHUB_STEP_SUMMARY"
  deploy:
    needs: build
    if: needs.build.outputs.version == '1.2.3'
    runs-on: [self-hosted, linux]
    steps:
      - run: echo "deploying \${{ needs.build.outputs.version }}"
  never:
    needs: build
    if: needs.build.result == 'failure'
    runs-on: self-hosted
    steps:
      - run: echo never
`

test('a pushed workflow runs on a runner that registered with a token, and its log is there', async () => {
  await using server = await startServer({ background: true })
  const { token } = await server.user('mona')
  await server.organization('acme', { mona: 'owner' })
  const repository = await server.repository('acme', 'rocket')
  await using runner = await startListeningRunner({ url: `${server.url}/acme`, token: await server.registrationToken('/orgs/acme') })

  const remote = await server.push(token, repository, { '.github/workflows/ci.yml': WORKFLOW })

  expect(remote).toContain('CI #1 started')
  const call = server.call(token)
  const run = await eventually(async () => {
    const listed = (await (await call('GET', '/repos/acme/rocket/actions/runs')).json()) as { workflow_runs: Record<string, unknown>[] }
    expect(listed.workflow_runs[0]).toMatchObject({ status: 'completed' })
    return listed.workflow_runs[0]
  })
  expect(run).toMatchObject({ conclusion: 'success', event: 'push', head_branch: 'main', run_number: 1 })
  const { jobs } = (await (await call('GET', `/repos/acme/rocket/actions/runs/${String(run?.['id'])}/jobs`)).json()) as {
    jobs: {
      id: number
      name: string
      conclusion: string
      runner_name: string
      waiting_reason: unknown
      steps: { name: string; conclusion: string }[]
    }[]
  }
  expect(jobs.map(({ name, conclusion }) => [name, conclusion])).toEqual([
    ['build', 'success'],
    ['deploy', 'success'],
    ['never', 'skipped'],
  ])
  expect(jobs[1]).toMatchObject({ runner_name: 'worker-1', waiting_reason: null })
  const redirect = await call('GET', `/repos/acme/rocket/actions/jobs/${jobs[1]?.id}/logs`)
  expect(redirect.status).toBe(302)
  const log = await (await fetch(redirect.headers.get('location') ?? '')).text()
  expect(log).toMatch(/^\d{4}-\d\d-\d\dT[\d:.]+Z /)
  expect(log).toContain('deploying 1.2.3')
  expect(runner.events.filter(({ kind }) => kind === 'job-completed')).toHaveLength(2)
})
