import { Probot, Server } from 'probot'
import { expect, test } from 'vitest'
import { installApp, makeApp } from '../support/apps.ts'
import { eventually } from '../support/eventually.ts'
import { sendHooks } from '../support/hooks.ts'
import { oneJob, queueRun } from '../support/queue.ts'
import { freePort, startServer } from '../support/start-server.ts'

/*
 * probot 14 as people write Apps with it: its server receives our deliveries, and the App answers with calls of its installation. It asks which
 * one that is, since a webhook of an organization does not say so; one of the App does.
 */

test('an App on probot hears of a queued job and makes a runner for it', async () => {
  await using server = await startServer()
  await server.organization('acme')
  const repository = await server.repository('acme', 'rocket')
  const made = await makeApp(server, { organization_self_hosted_runners: 'write', actions: 'read' })
  await installApp(server, made, 'acme')
  const port = await freePort()
  const secret = 'between us'
  const options = { appId: made.id, privateKey: made.pem, secret, baseUrl: `${server.url}/api/v3`, logLevel: 'fatal' as const }
  const probot = new Server({ Probot: Probot.defaults(options), host: '127.0.0.1', port, webhookPath: '/hook' })
  const seen: string[] = []
  const failures: string[] = []
  await probot.load((app) => {
    app.onError(({ message }) => void failures.push(message))
    app.on('workflow_job.queued', async (context) => {
      const { payload } = context
      const asApp = await app.auth()
      const org = payload.repository.owner.login
      const installation = payload.installation ?? (await asApp.rest.apps.getOrgInstallation({ org })).data
      const octokit = await app.auth(installation.id)
      const job = await octokit.rest.actions.getJobForWorkflowRun({ ...context.repo(), job_id: payload.workflow_job.id })
      seen.push(`${job.data.name}: ${job.data.status}`)
      const runner = { org, name: `for-job-${job.data.id}`, runner_group_id: 1, labels: payload.workflow_job.labels }
      await octokit.rest.actions.generateRunnerJitconfigForOrg(runner)
    })
  })
  await probot.start()
  const config = { url: `http://127.0.0.1:${port}/hook`, content_type: 'json', secret }
  await server.admin('POST', '/orgs/acme/hooks', { name: 'web', events: ['workflow_job'], config })

  await queueRun(server, repository, oneJob('gpu'))
  const runners = await eventually(async () => {
    await sendHooks(server)
    const listed = (await (await server.admin('GET', '/orgs/acme/actions/runners')).json()) as { total_count: number; runners: unknown[] }
    expect(failures.length + listed.total_count).toBe(1)
    return listed.runners
  })
  await probot.stop()

  expect(failures).toEqual([])
  expect(seen).toEqual(['a: queued'])
  expect(runners).toMatchObject([{ name: 'for-job-1', ephemeral: true, labels: [{ name: 'gpu' }] }])
})
