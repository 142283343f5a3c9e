import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import { makeGitClient } from '../../test/support/git-client.ts'
import { commandFor } from '../../test/support/run-command.ts'
import { startServer } from '../../test/support/start-server.ts'

interface InitBody {
  token: string
  registration_token: string
  made: string[]
}

test('init makes owner, repository and token, and twice makes nothing twice', async () => {
  await using server = await startServer()
  const { run } = commandFor(server)

  const first = JSON.parse((await run('init', 'acme/rocket', '--user', 'mona', '--json')).stdout) as InitBody
  const second = JSON.parse((await run('init', 'acme/rocket', '--user', 'mona', '--json')).stdout) as InitBody

  expect(first.made).toEqual(['user mona', 'organization acme', 'repository acme/rocket'])
  expect(second.made).toEqual([])
  expect((await server.call(first.token)('GET', '/user')).status).toBe(401)
  const repository = await server.call(second.token)('GET', '/repos/acme/rocket')
  expect(await repository.json()).toMatchObject({ private: true, visibility: 'private', permissions: { admin: true } })
})

test('the printed push can be pasted and starts a run', async () => {
  await using server = await startServer()
  const { env, run } = commandFor(server)
  using git = makeGitClient()
  await git.git('.', 'init', '--quiet', 'work')
  await git.commit('work', 'first', {
    '.github/workflows/ci.yml': 'on: push\njobs:\n  a:\n    runs-on: self-hosted\n    steps:\n      - run: echo\n',
  })

  const { code, stdout } = await run('init', 'acme/rocket', '--user', 'mona')
  const push = /^ +(git remote add .*)$/m.exec(stdout)?.[1] ?? ''
  // Not the synchronous call: the server is in this process.
  await promisify(execFile)('bash', ['-ec', push], { cwd: `${git.folder}/work`, env: { ...process.env, ...env } })
  const listed = await run('runs', 'list', 'acme/rocket')

  expect(code).toBe(0)
  expect(stdout).toContain(`./config.sh --unattended --url ${server.url}/acme/rocket --token A`)
  expect(stdout).toContain('config.sh drops the port')
  expect(stdout).toMatch(new RegExp(`fleetfoot runner --url ${server.url}/acme/rocket --token A`))
  expect(stdout).toMatch(/fleetfoot runs watch acme\/rocket$/m)
  expect(listed.stdout).toMatch(/^1 +queued .* push +main /)
})

test('a user can be the owner', async () => {
  await using server = await startServer()
  const { run } = commandFor(server)

  const refused = await run('init', 'mona/notes', '--user', 'mona', '--json')

  expect(JSON.parse(refused.stdout)).toMatchObject({ owner: 'mona', made: ['user mona', 'repository mona/notes'] })
})
