import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createNodeMiddleware, Webhooks } from '@octokit/webhooks'
import { App, Octokit } from 'octokit'
import { expect, test } from 'vitest'
import { installApp, makeApp } from '../support/apps.ts'
import { eventually } from '../support/eventually.ts'
import { sendHooks } from '../support/hooks.ts'
import { oneJob, queueRun } from '../support/queue.ts'
import { startServer } from '../support/start-server.ts'
import { wireRunner } from '../support/wire-runner.ts'

/* octokit 5 with all its plugins, `@octokit/app` in it, and `@octokit/webhooks` as a receiver. */

const never = () => {
  throw new Error('octokit took the answer for a rate limit')
}
/** Waits are in units of this many milliseconds, for a second each: what octokit does is the same, only sooner. */
const SOON = { retry: { retryAfterBaseValue: 5 }, throttle: { retryAfterBaseValue: 5, onRateLimit: never, onSecondaryRateLimit: never } }

test('paginate follows every page of runners, groups, labels, runs and jobs, under the address that Link names', async () => {
  await using server = await startServer()
  await server.organization('acme')
  const repository = await server.repository('acme', 'rocket')
  const octokit = new Octokit({ auth: server.adminToken, baseUrl: `${server.url}/api/v3`, ...SOON })
  for (const name of ['a', 'b', 'c', 'd', 'e']) await wireRunner(server, 'acme', { name })
  const made = await octokit.request('POST /orgs/{org}/actions/runner-groups', { org: 'acme', name: 'Metal', visibility: 'all' })
  for (let i = 0; i < 3; i++) await queueRun(server, repository, oneJob())
  const asked: string[] = []
  octokit.hook.before('request', ({ url }) => void asked.push(url))

  const runners = await octokit.paginate(octokit.rest.actions.listSelfHostedRunnersForOrg, { org: 'acme', per_page: 2 })
  const groups = await octokit.paginate('GET /orgs/{org}/actions/runner-groups', { org: 'acme', per_page: 1 })
  const runs = await octokit.paginate(octokit.rest.actions.listWorkflowRunsForRepo, { owner: 'acme', repo: 'rocket', per_page: 1 })
  const names: string[] = []
  const pages = octokit.paginate.iterator(octokit.rest.actions.listSelfHostedRunnersForOrg, { org: 'acme', per_page: 4 })
  for await (const { data } of pages) names.push(...data.map(({ name }) => name))

  expect(runners.map(({ name }) => name)).toEqual(['a', 'b', 'c', 'd', 'e'])
  expect(names).toEqual(['a', 'b', 'c', 'd', 'e'])
  // The last one is the enterprise's, which the organization inherits.
  expect(groups.map(({ name }) => name)).toEqual(['Default', 'Metal', 'Default'])
  expect(runs).toHaveLength(3)
  const followed = asked.filter((url) => url.includes('&page='))
  expect(followed).toHaveLength(2 + 2 + 2 + 1)
  expect(followed.every((url) => /\/api\/v3\/(?:organizations|repositories)\/\d+\//.test(url))).toBe(true)
  expect(made.data.id).toBeGreaterThan(1)
})

test('the calls of a fleet by their methods: labels, tokens, JIT, dispatch, jobs, and errors with their status', async () => {
  await using server = await startServer()
  await server.organization('acme')
  const repository = await server.repository('acme', 'rocket')
  const octokit = new Octokit({ auth: server.adminToken, baseUrl: `${server.url}/api/v3`, ...SOON })
  const { actions, rateLimit } = octokit.rest
  const at = { owner: 'acme', repo: 'rocket' }
  await server.push(server.adminToken, repository, { '.github/workflows/ci.yml': oneJob().replace('on: push', 'on: workflow_dispatch') })

  const { data: jit } = await actions.generateRunnerJitconfigForRepo({ ...at, name: 'jit', runner_group_id: 1, labels: ['gpu'] })
  const runner = { ...at, runner_id: jit.runner.id }
  await actions.addCustomLabelsToSelfHostedRunnerForRepo({ ...runner, labels: ['metal'] })
  const { data: labels } = await actions.setCustomLabelsForSelfHostedRunnerForRepo({ ...runner, labels: ['metal', 'fast one'] })
  await actions.removeCustomLabelFromSelfHostedRunnerForRepo({ ...runner, name: 'fast one' })
  const { data: left } = await actions.listLabelsForSelfHostedRunnerForRepo(runner)
  const { status: dispatched } = await actions.createWorkflowDispatch({ ...at, workflow_id: 'ci.yml', ref: 'main' })
  const { data: runs } = await actions.listWorkflowRuns({ ...at, workflow_id: 'ci.yml', status: 'queued' })
  const run = { ...at, run_id: runs.workflow_runs[0]?.id ?? 0 }
  const { data: jobs } = await actions.listJobsForWorkflowRun(run)
  await actions.cancelWorkflowRun(run)
  await actions.deleteSelfHostedRunnerFromRepo(runner)
  const limit = await rateLimit.get()
  const tokens = await Promise.all([
    actions.createRegistrationTokenForOrg({ org: 'acme' }),
    actions.createRemoveTokenForOrg({ org: 'acme' }),
  ])

  expect(labels.labels.map(({ name }) => name)).toEqual(expect.arrayContaining(['metal', 'fast one']))
  expect(left.labels.map(({ name }) => name)).not.toContain('fast one')
  expect(dispatched).toBe(204)
  expect(jobs.jobs).toMatchObject([{ status: 'queued', name: 'a' }])
  await expect(actions.getSelfHostedRunnerForRepo(runner)).rejects.toMatchObject({ status: 404, message: /^Not Found/ })
  const wrong = new Octokit({ auth: 'ghp_wrong', baseUrl: `${server.url}/api/v3`, ...SOON })
  await expect(wrong.rest.users.getAuthenticated()).rejects.toMatchObject({ status: 401, message: /^Bad credentials/ })
  expect(limit.data.rate.remaining).toBeGreaterThan(0)
  expect(tokens.map(({ status }) => status)).toEqual([201, 201])
})

test('retry asks again after a conflict, and the call goes through when the name is free', async () => {
  await using server = await startServer()
  await server.organization('acme')
  const jit = { org: 'acme', name: 'box', runner_group_id: 1, labels: ['gpu'] }
  const statuses: number[] = []
  let taken = 0
  // Hooks of octokit see what comes of all tries; fetch sees each.
  const watched = async (...args: Parameters<typeof fetch>) => {
    const answer = await fetch(...args)
    statuses.push(answer.status)
    if (statuses.filter((status) => status === 409).length === 2) await server.admin('DELETE', `/orgs/acme/actions/runners/${taken}`)
    return answer
  }
  const octokit = new Octokit({ auth: server.adminToken, baseUrl: `${server.url}/api/v3`, request: { fetch: watched }, ...SOON })
  taken = (await octokit.rest.actions.generateRunnerJitconfigForOrg(jit)).data.runner.id

  const made = await octokit.rest.actions.generateRunnerJitconfigForOrg(jit)
  // What cannot change is not asked again.
  await expect(octokit.rest.actions.getSelfHostedRunnerForOrg({ org: 'acme', runner_id: 999 })).rejects.toMatchObject({ status: 404 })

  expect(made.status).toBe(201)
  expect(made.data.runner.id).not.toBe(taken)
  expect(statuses).toEqual([201, 409, 409, 201, 404])
})

test('throttling takes none of our answers for a limit; a limiter in front of the server that refuses costs a wait, no call', async () => {
  await using server = await startServer()
  await server.organization('acme')
  let refuse = 2
  const limiter = createServer((request, response) => {
    if (refuse > 0) {
      refuse--
      const body = JSON.stringify({ message: 'You have exceeded a secondary rate limit.' })
      response.writeHead(403, { 'Content-Type': 'application/json', 'Retry-After': '1' }).end(body)
      return
    }
    const headers = { 'user-agent': 'limiter', authorization: request.headers.authorization ?? '' }
    void fetch(server.url + (request.url ?? ''), { method: request.method ?? 'GET', headers }).then(async (answer) => {
      const told = ['content-type', 'x-ratelimit-remaining', 'x-ratelimit-limit', 'x-ratelimit-reset']
      response.writeHead(answer.status, Object.fromEntries(told.map((name) => [name, answer.headers.get(name) ?? ''])))
      response.end(await answer.text())
    })
  })
  await new Promise<void>((resolve) => limiter.listen(0, '127.0.0.1', resolve))
  const waits: number[] = []
  const throttle = {
    retryAfterBaseValue: 5,
    onRateLimit: never,
    onSecondaryRateLimit: (retryAfter: number) => waits.push(retryAfter) > 0,
  }
  const baseUrl = `http://127.0.0.1:${(limiter.address() as AddressInfo).port}/api/v3`
  const octokit = new Octokit({ auth: server.adminToken, baseUrl, throttle, retry: { retryAfterBaseValue: 5 } })

  const answers = await Promise.all(Array.from({ length: 5 }, () => octokit.rest.actions.listSelfHostedRunnersForOrg({ org: 'acme' })))
  limiter.closeAllConnections()
  await new Promise((resolve) => limiter.close(resolve))

  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200])
  expect(waits).toEqual([1, 1])
  expect(Number(answers[4]?.headers['x-ratelimit-remaining'])).toBeGreaterThan(0)
})

test('an App finds its installations and acts in one, over every repository it was given', async () => {
  await using server = await startServer()
  await server.organization('acme')
  await server.repository('acme', 'rocket')
  await server.repository('acme', 'site')
  const made = await makeApp(server, { organization_self_hosted_runners: 'write', actions: 'read' })
  await installApp(server, made, 'acme', ['rocket'])
  const app = new App({ appId: made.id, privateKey: made.pem, Octokit: Octokit.defaults({ baseUrl: `${server.url}/api/v3`, ...SOON }) })

  const seen: string[] = []
  for await (const { repository } of app.eachRepository.iterator()) seen.push(repository.full_name)
  for await (const { octokit, installation } of app.eachInstallation.iterator()) {
    const org = installation.account && 'login' in installation.account ? installation.account.login : ''
    const { data } = await octokit.rest.actions.createRegistrationTokenForOrg({ org })
    await wireRunner(server, org, { token: data.token, name: 'by-app' })
    seen.push(...(await octokit.paginate(octokit.rest.actions.listSelfHostedRunnersForOrg, { org })).map(({ name }) => name))
  }
  const { data: self } = await app.octokit.rest.apps.getAuthenticated()

  expect(seen).toEqual(['acme/rocket', 'by-app'])
  expect(self).toMatchObject({ id: made.id, slug: made.slug })
})

test('@octokit/webhooks verifies what we sign and hears of a job; what is signed with another secret it refuses, and the delivery says so', async () => {
  await using server = await startServer()
  await server.organization('acme')
  const repository = await server.repository('acme', 'rocket')
  const octokit = new Octokit({ auth: server.adminToken, baseUrl: `${server.url}/api/v3`, ...SOON })
  const webhooks = new Webhooks({ secret: 'good secret' })
  const heard: string[] = []
  webhooks.onError(() => {})
  webhooks.on('ping', ({ payload }) => void heard.push(`ping of hook ${payload.hook_id}`))
  webhooks.on('workflow_job.queued', ({ payload }) => void heard.push(`${payload.workflow_job.name} of ${payload.repository.full_name}`))
  const log = { debug() {}, info() {}, warn() {}, error() {} }
  const hear = createNodeMiddleware(webhooks, { path: '/hook', log })
  const receiver = createServer((request, response) => void hear(request, response))
  await new Promise<void>((resolve) => receiver.listen(0, '127.0.0.1', resolve))
  const url = `http://127.0.0.1:${(receiver.address() as AddressInfo).port}/hook`
  const hookWith = (secret: string, at = url) =>
    octokit.rest.orgs.createWebhook({
      org: 'acme',
      name: 'web',
      events: ['workflow_job'],
      config: { url: at, secret, content_type: 'json' },
    })

  const good = await hookWith('good secret')
  const bad = await hookWith('another secret', `${url}?again`)
  await queueRun(server, repository, oneJob())
  await eventually(async () => {
    await sendHooks(server)
    const { data } = await octokit.rest.orgs.listWebhookDeliveries({ org: 'acme', hook_id: good.data.id })
    expect(data.map(({ event, status_code }) => `${event} ${status_code}`).sort()).toEqual(['ping 200', 'workflow_job 200'])
  })
  const refused = await octokit.rest.orgs.listWebhookDeliveries({ org: 'acme', hook_id: bad.data.id })
  receiver.closeAllConnections()
  await new Promise((resolve) => receiver.close(resolve))

  expect(heard).toEqual([`ping of hook ${good.data.id}`, 'a of acme/rocket'])
  expect(refused.data.map(({ status_code }) => status_code)).toEqual([400, 400])
})
