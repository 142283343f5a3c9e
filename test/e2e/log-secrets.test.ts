import { Writable } from 'node:stream'
import { pino } from 'pino'
import { expect, test } from 'vitest'
import { actionsClient } from '../support/actions-client.ts'
import { follow, openFeed } from '../support/live-feed.ts'
import { startListeningRunner } from '../support/listening-runner.ts'
import { runningJob, sdk, stamped } from '../support/running-job.ts'
import { startServer } from '../support/start-server.ts'
import { wireRunner } from '../support/wire-runner.ts'

test('the log holds no secret, whatever its level; each line is JSON, and a line of a request has the id that its answer had', async () => {
  let text = ''
  const output = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString()
      done()
    },
  })
  await using server = await startServer({ background: true, logger: pino({ level: 'trace' }, output) })
  const secrets = new Map<string, string>([
    ["the administrator's token", server.adminToken],
    ['the secret key', server.config.secrets.key.toString('base64')],
  ])
  const { token } = await server.user('mona')
  secrets.set("a user's token", token)
  const job = await runningJob(server)
  secrets.set('the job token', job.token)
  secrets.set("the runner's token", job.runner.token)
  const registration = await server.registrationToken('/orgs/acme')
  secrets.set('a registration token', registration)
  const uploadUrl = await job.logUrl()
  secrets.set('a signature', new URL(uploadUrl).searchParams.get('sig') ?? '')
  for (const { value, isSecret } of Object.values(job.message.variables)) if (isSecret) secrets.set(`a secret variable`, value)
  const jit = await server.admin('POST', '/orgs/acme/actions/runners/generate-jitconfig', {
    name: 'jit',
    runner_group_id: 1,
    labels: ['x'],
  })
  secrets.set('a just-in-time configuration', ((await jit.json()) as { encoded_jit_config: string }).encoded_jit_config)

  await using feed = await openFeed(job)
  feed.send(1, ['a line that only the job should say'])
  secrets.set('a line of a job', 'a line that only the job should say')
  await using _follower = await follow(job)
  await sdk.put(uploadUrl, stamped(['hello']))
  await job.logDone(undefined, 1)
  await job.runner.complete(job.message)
  await job.log()
  // And what goes wrong: refused tokens, wrong signatures, bodies that cannot be read, a name that is taken.
  const wrong = 'ghp_0123456789012345678901234567890123456789'
  secrets.set('a refused token', wrong)
  const answers = [
    await server.call(wrong)('GET', '/user'),
    await server.admin('GET', `/repos/acme/nothing?token=${token}`),
    await server.admin('POST', '/admin/organizations', `{"login": "${token}`),
    await server.admin('POST', '/admin/organizations', { login: 'acme', admin: 'admin' }),
    await fetch(uploadUrl.replace('/jobs/', '/other/'), { method: 'PUT', body: 'x' }),
    await sdk.seal(uploadUrl),
    await fetch(`${server.url}/_oauth/token`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/x-www-form-urlencoded' },
      body: `client_assertion=${token}`,
    }),
  ]
  await wireRunner(server, 'acme/nothing').catch(() => {})
  const repository = await server.repository('acme', 'whole')
  await server.push(server.adminToken, repository, {
    '.github/workflows/ci.yml': 'on: push\njobs:\n  a: {runs-on: self-hosted, steps: [{run: echo hi}]}\n',
  })
  {
    await using _runner = await startListeningRunner({ url: `${server.url}/acme`, token: registration })
    expect((await actionsClient(server.admin, 'acme/whole').finished()).conclusion).toBe('success')
  }

  const lines = text.trimEnd().split('\n')
  const parsed = lines.map((line) => JSON.parse(line) as { reqId?: string; msg: string; statusCode?: number })
  for (const [name, secret] of secrets) {
    expect(secret.length, name).toBeGreaterThan(10)
    expect(
      lines.filter((line) => line.includes(secret)),
      name,
    ).toEqual([])
  }
  expect(lines.length).toBeGreaterThan(50)
  expect(text).not.toMatch(/BEGIN [A-Z ]*PRIVATE KEY|sig=|Bearer [A-Za-z0-9]|eyJ[A-Za-z0-9_-]{20}/)
  for (const answer of answers) {
    const id = answer.headers.get('x-github-request-id')
    expect(parsed.filter(({ reqId, msg }) => reqId === id && msg === 'request')).toMatchObject([{ statusCode: answer.status }])
  }
})
