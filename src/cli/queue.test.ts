import { expect, test } from 'vitest'
import { oneJob, queueRun } from '../../test/support/queue.ts'
import { commandFor } from '../../test/support/run-command.ts'
import { startServer } from '../../test/support/start-server.ts'
import { wireRunner } from '../../test/support/wire-runner.ts'

test('the queue is seen and steered, runners are paused and drained, by command', async () => {
  await using server = await startServer({ times: { pollHeld: 50 } })
  await server.organization('acme')
  const repository = await server.repository('acme', 'rocket')
  const runner = await wireRunner(server, 'acme', { name: 'box-1' })
  await runner.connect()
  await queueRun(server, repository, oneJob())
  const current = await runner.takeJob()
  for (let i = 0; i < 2; i++) await queueRun(server, repository, oneJob())
  const run = async (...argv: string[]) => {
    const { code, stdout, stderr } = await commandFor(server).start(...argv).ended
    return `${code} ${stdout}${stderr}`.trimEnd()
  }

  expect(await run('queue', 'list')).toMatch(
    /^0 JOB {2}POSITION[^]*\n2 {4}1 {9}acme\/rocket {2}a {5}\S+Z {2}\S+ {2}1 runner matches, busy\n3 {4}2 /,
  )
  expect(await run('queue', 'expedite', '3', '--at', 'acme')).toBe('0 job 3 (a) moved')
  expect(await run('queue', 'move', '2', '--at', 'acme/rocket', '--priority', '-3')).toBe('0 job 2 (a) moved')
  expect(await run('queue', 'list', '--at', 'acme', '--json')).toMatch(/"priority": -3,\n\s+"position": 2/)
  expect(
    await run('queue', 'rules', 'add', 'nightly', '--at', 'acme', '--match', 'branch=night/**', '--priority', '-5', '--fallback', '60:a,b'),
  ).toBe('0 rule 1 made')
  expect(await run('queue', 'rules', 'list', '--at', 'acme')).toBe('0 1  1  nightly  branch=night/**  priority=-5 fallback=60:a,b')
  expect(await run('queue', 'rules', 'change', '1', '--at', 'acme', '--most', '2', '--priority', 'none', '--position', '4')).toBe(
    '0 rule 1 changed',
  )
  expect(await run('queue', 'rules', 'list', '--at', 'acme')).toBe('0 1  4  nightly  branch=night/**  most at once=2 fallback=60:a,b')
  expect(await run('queue', 'rules', 'delete', '1', '--at', 'acme')).toBe('0 rule 1 deleted')
  expect(await run('queue', 'reset', '3', '--at', 'acme')).toBe('0 job 3 (a) moved')

  expect(await run('runners', 'pause', 'box-1', '--at', 'acme')).toContain('2 fleetfoot: --reason TEXT is missing')
  expect(await run('runners', 'drain', 'box-1', '--at', 'acme', '--reason', 'new disk')).toBe(
    '0 box-1 gets no more jobs: new disk; 1 still running',
  )
  expect(await run('runners', 'list', '--at', 'acme')).toMatch(/box-1 {2}busy {2}self-hosted,Linux,X64 {2}draining: new disk$/)
  await runner.complete(current)
  expect(await run('runners', 'drain', 'box-1', '--at', 'acme', '--reason', 'new disk', '--wait')).toContain('box-1 is drained')
  expect(await runner.poll()).toBeUndefined()
  expect(await run('runners', 'resume', 'box-1', '--at', 'acme')).toBe('0 given jobs again')
  expect(await run('queue', 'pause', 'self-hosted', '--at', 'acme', '--reason', 'moving')).toBe(
    '0 jobs that ask for self-hosted wait: moving',
  )
  expect(await run('queue', 'list')).toContain('the label self-hosted is paused: moving')
  expect(await run('queue', 'pauses', '--at', 'acme')).toMatch(/\nlabel {2}self-hosted {2}paused {2}0 {8}\S+Z {2}admin {2}moving$/)
  expect(await run('queue', 'drain', 'self-hosted', '--at', 'acme', '--reason', 'moving', '--wait')).toContain('self-hosted is drained')
  expect(await run('queue', 'resume', 'self-hosted', '--at', 'acme')).toBe('0 the label self-hosted is given out again')
  expect(await runner.poll()).toMatchObject({ messageType: 'RunnerJobRequest' })
  expect(await run('queue', 'list', '--at', 'a b')).toContain('2 fleetfoot: ')
}, 60_000)
