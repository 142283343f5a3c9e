import { spawnSync } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, test } from 'vitest'
import { eventually } from '../support/eventually.ts'
import { runCommand, startCommand } from '../support/run-command.ts'

/** A temporary folder for the demo alone, so that what it leaves is seen. */
function ownTemp(): Disposable & { folder: string; env: Record<string, string> } {
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-demo-test-'))
  return { folder, env: { TMPDIR: folder }, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) }
}

/** Processes whose environment names the folder: what the demo started. */
function processesOf(folder: string): string[] {
  return readdirSync('/proc').filter((pid) => {
    try {
      return /^\d+$/.test(pid) && readFileSync(`/proc/${pid}/environ`, 'utf8').includes(folder)
    } catch {
      return false
    }
  })
}

test('the demo shows why a job waits, its log and its conclusion, and leaves nothing behind', async () => {
  using temp = ownTemp()

  const { code, stdout, stderr } = await runCommand(['demo'], temp.env)

  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  const order = [
    'remote: CI #1 started',
    'build waits: no runner is registered',
    'Listening for Jobs',
    'build │ testing the engine ... ok',
    'launch │ launching version 1.0.1',
    'CI #1: success',
    'its registration is gone',
    'conclusion: success',
    'from push to first log line: ',
  ]
  expect(order.map((text) => [text, stdout.includes(text)])).toEqual(order.map((text) => [text, true]))
  // The last lines of a job, too.
  expect(stdout).toMatch(/build │ testing the nose ... ok\n[^]*build │ Cleaning up orphan processes\n[^]*build success on demo-runner\n/)
  const places = order.map((text) => stdout.indexOf(text))
  expect(places).toEqual(places.toSorted((a, b) => a - b))
  expect(stdout).not.toMatch(/ghp_|_sig=/)
  expect(readdirSync(temp.folder)).toEqual([])
  expect(processesOf(temp.folder)).toEqual([])
})

test('Ctrl-C in the middle of the demo deletes everything, too', async () => {
  using temp = ownTemp()
  const demo = startCommand(['demo'], temp.env)
  await eventually(() => expect(demo.written.stdout).toContain('build │ testing the engine'))

  demo.child.kill('SIGINT')
  const { code, stderr } = await demo.ended

  expect(stderr).toContain('stopped; everything is deleted')
  expect(code).toBe(130)
  expect(readdirSync(temp.folder)).toEqual([])
  expect(processesOf(temp.folder)).toEqual([])
})

test('with --keep the server stays up, and what it tells to try works', async () => {
  using temp = ownTemp()
  const demo = startCommand(['demo', '--keep'], temp.env)
  await eventually(() => expect(demo.written.stdout).toContain('admin --help'))
  const variables = /export FLEETFOOT_URL=(\S+) FLEETFOOT_DATA_DIR=(\S+)/.exec(demo.written.stdout)

  const listed = await runCommand(['runs', 'list', 'acme/rocket'], {
    FLEETFOOT_URL: variables?.[1] ?? '',
    FLEETFOOT_DATA_DIR: variables?.[2] ?? '',
  })
  demo.child.kill('SIGINT')
  const { code } = await demo.ended

  expect(listed.stdout).toMatch(/^1 +success +CI #1/)
  expect(code).toBe(0)
  expect(readdirSync(temp.folder)).toEqual([])
  expect(processesOf(temp.folder)).toEqual([])
})

test('without git the demo says what is missing', async () => {
  using temp = ownTemp()
  const script = path.join(import.meta.dirname, '../../src/cli/fleetfoot.ts')

  const { status, stderr } = spawnSync(process.execPath, [script, 'demo'], { env: { ...temp.env, PATH: '/nowhere' }, encoding: 'utf8' })

  expect(stderr).toBe('fleetfoot: git is not on the PATH\n  the demo pushes with it: install git and try again\n')
  expect(status).toBe(1)
})
