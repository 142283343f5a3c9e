import { expect, test } from 'vitest'
import { jobMessage, type JobMessageInput } from './job-message.ts'
import { parseWorkflow } from './parse.ts'
import type { WorkflowPlan } from './plan.ts'

const WORKFLOW = `
name: Hello
on: push
env: { LEVEL: info }
defaults: { run: { shell: bash } }
jobs:
  hello:
    runs-on: x
    env: { REF: '\${{ github.ref_name }}' }
    outputs: { tag: '\${{ steps.t.outputs.tag }}' }
    steps:
      - run: echo hello
        shell: bash
      - id: t
        uses: actions/checkout@v4
        name: Get \${{ github.sha }}
        if: failure()
        env: { A: b }
        with: { fetch-depth: 0 }
        timeout-minutes: 10
        continue-on-error: true
`

function inputFor(plan: WorkflowPlan): JobMessageInput {
  return {
    plan,
    job: plan.jobs[0]!,
    jobName: 'hello',
    ids: {
      planId: '00000000-0000-4000-8000-000000000002',
      timelineId: '00000000-0000-4000-8000-000000000003',
      jobGuid: '00000000-0000-4000-8000-000000000004',
      requestId: 1,
      stepIds: ['00000000-0000-4000-8000-000000000011', '00000000-0000-4000-8000-000000000012'],
    },
    urls: {
      run: 'https://ci.example.com/_run',
      results: 'https://ci.example.com/',
      launch: 'https://ci.example.com',
      feed: 'wss://ci.example.com/_feed/1',
      serverUrl: 'https://ci.example.com/',
      apiUrl: 'https://ci.example.com/api/v3',
      graphqlUrl: 'https://ci.example.com/api/graphql',
    },
    jobToken: 'e30.e30.c2ln',
    githubToken: 'ghs_x',
    github: { repository: 'octo/app', run_id: 42, ref_protected: false, head_ref: null, event: { repository: { id: 101 } } },
    inputs: {},
    needs: { prepare: { result: 'success', outputs: { tag: 'v1' } } },
    jobContext: { workflow_ref: 'r', workflow_sha: 's', workflow_repository: 'octo/app', workflow_file_path: 'a.yml', check_run_id: 9 },
    runnerGroupName: 'Default',
    orchestrationId: 'run1.hello',
  }
}

function planOf(content: string): WorkflowPlan {
  const parsed = parseWorkflow({ path: 'a.yml', content })
  if (!('plan' in parsed)) throw new Error(JSON.stringify(parsed.problems))
  return parsed.plan
}

test('the message of a job has all that the runner reads, and no null in it', () => {
  const message = jobMessage(inputFor(planOf(WORKFLOW)))

  expect(JSON.parse(JSON.stringify(message))).toEqual({
    messageType: 'RunnerJobRequest',
    plan: {
      scopeIdentifier: '00000000-0000-4000-8000-000000000002',
      planType: 'actions',
      version: 9,
      planId: '00000000-0000-4000-8000-000000000002',
    },
    timeline: { id: '00000000-0000-4000-8000-000000000003' },
    jobId: '00000000-0000-4000-8000-000000000004',
    jobName: '__default',
    jobDisplayName: 'hello',
    requestId: 1,
    resources: {
      endpoints: [
        {
          name: 'SystemVssConnection',
          url: 'https://ci.example.com/_run/',
          authorization: { scheme: 'OAuth', parameters: { AccessToken: 'e30.e30.c2ln' } },
          data: {
            PipelinesServiceUrl: 'https://ci.example.com/_run/',
            ResultsServiceUrl: 'https://ci.example.com/',
            FeedStreamUrl: 'wss://ci.example.com/_feed/1',
          },
        },
      ],
    },
    variables: {
      'system.github.token': { value: 'ghs_x', isSecret: true },
      github_token: { value: 'ghs_x', isSecret: true },
      'system.github.job': { value: 'hello' },
      'system.github.results_endpoint': { value: 'https://ci.example.com/' },
      'system.github.launch_endpoint': { value: 'https://ci.example.com/' },
      'system.github.token.permissions': { value: '{"Contents":"read","Metadata":"read"}' },
      'system.orchestrationId': { value: 'run1.hello' },
      'system.runnerEnvironment': { value: 'self-hosted' },
      'system.runnerGroupName': { value: 'Default' },
      'system.runner.lowdiskspacethreshold': { value: '100' },
      'system.github.results_upload_with_sdk': { value: 'true' },
      'DistributedTask.EnhancedAnnotations': { value: 'true' },
      'DistributedTask.AllowRunnerContainerHooks': { value: 'true' },
      'DistributedTask.DeprecateStepOutputCommands': { value: 'true' },
      'RunService.FixEmbeddedIssues': { value: 'true' },
      actions_send_job_level_annotations: { value: 'true' },
      actions_service_container_command: { value: 'true' },
      actions_display_helpful_actions_download_errors: { value: 'true' },
    },
    contextData: {
      github: {
        t: 2,
        d: [
          { k: 'repository', v: 'octo/app' },
          { k: 'run_id', v: '42' },
          { k: 'ref_protected', v: false },
          { k: 'event', v: { t: 2, d: [{ k: 'repository', v: { t: 2, d: [{ k: 'id', v: 101 }] } }] } },
          { k: 'server_url', v: 'https://ci.example.com' },
          { k: 'api_url', v: 'https://ci.example.com/api/v3' },
          { k: 'graphql_url', v: 'https://ci.example.com/api/graphql' },
        ],
      },
      inputs: { t: 2 },
      vars: { t: 2 },
      needs: {
        t: 2,
        d: [
          {
            k: 'prepare',
            v: {
              t: 2,
              d: [
                { k: 'result', v: 'success' },
                { k: 'outputs', v: { t: 2, d: [{ k: 'tag', v: 'v1' }] } },
              ],
            },
          },
        ],
      },
      strategy: {
        t: 2,
        d: [
          { k: 'fail-fast', v: true },
          { k: 'job-index', v: 0 },
          { k: 'job-total', v: 1 },
          { k: 'max-parallel', v: 1 },
        ],
      },
      matrix: null,
      job: {
        t: 2,
        d: [
          { k: 'workflow_ref', v: 'r' },
          { k: 'workflow_sha', v: 's' },
          { k: 'workflow_repository', v: 'octo/app' },
          { k: 'workflow_file_path', v: 'a.yml' },
          { k: 'check_run_id', v: 9 },
        ],
      },
    },
    environmentVariables: [
      { type: 2, map: [{ Key: 'LEVEL', Value: 'info' }] },
      { type: 2, map: [{ Key: 'REF', Value: { type: 3, expr: 'github.ref_name' } }] },
    ],
    defaults: [{ type: 2, map: [{ Key: 'run', Value: { type: 2, map: [{ Key: 'shell', Value: 'bash' }] } }] }],
    jobOutputs: { type: 2, map: [{ Key: 'tag', Value: { type: 3, expr: 'steps.t.outputs.tag' } }] },
    steps: [
      {
        type: 'action',
        id: '00000000-0000-4000-8000-000000000011',
        name: '__run',
        contextName: '__run',
        reference: { type: 'script' },
        inputs: {
          type: 2,
          map: [
            { Key: 'script', Value: 'echo hello' },
            { Key: 'shell', Value: 'bash' },
          ],
        },
        condition: 'success()',
      },
      {
        type: 'action',
        id: '00000000-0000-4000-8000-000000000012',
        name: 't',
        contextName: 't',
        reference: { type: 'repository', repositoryType: 'GitHub', name: 'actions/checkout', ref: 'v4', path: '' },
        condition: 'failure()',
        displayNameToken: { type: 3, expr: "format('Get {0}', github.sha)" },
        inputs: { type: 2, map: [{ Key: 'fetch-depth', Value: '0' }] },
        environment: { type: 2, map: [{ Key: 'A', Value: 'b' }] },
        continueOnError: true,
        timeoutInMinutes: 10,
      },
    ],
  })
})

test('a message leaves out what the job has not', () => {
  const plan = planOf('on: push\njobs: { a: { runs-on: x, steps: [{ run: x }] } }')

  const message = jobMessage(inputFor(plan))

  expect(Object.keys(message)).not.toEqual(expect.arrayContaining(['environmentVariables']))
  expect(message).not.toHaveProperty('defaults')
  expect(message).not.toHaveProperty('jobOutputs')
})
