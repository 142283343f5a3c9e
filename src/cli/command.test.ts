import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { expect, test } from 'vitest'
import { freePort } from '../../test/support/start-server.ts'
import { runCommand } from '../../test/support/run-command.ts'
import { shellWord, splitFullName } from './command.ts'

test.each([
  [['nonsense'], "there is no command 'nonsense'"],
  [['runs', 'nonsense'], "there is no command 'runs nonsense'"],
  [['runs', 'watch'], 'ID is missing'],
  [['runs', 'watch', '1', '2'], "unexpected argument '2'"],
  [['runs', 'watch', '-5'], "Unknown option '-5'"],
  [['runs', 'watch', 'abc'], "'abc' is no run"],
  [['runs', 'list', 'acme'], "'acme' is no repository"],
  [['runs', 'list', 'acme/rocket', '--limit', 'x'], '--limit'],
  [['init'], 'usage: fleetfoot init'],
  [['init', 'acme'], "'acme' is no repository"],
  [['init', 'acme/rocket', '--usr', 'mona'], "Unknown option '--usr'"],
  [['admin'], 'usage: fleetfoot admin'],
  [['admin', 'users', 'crate', 'mona'], "there is no command 'admin users crate'"],
  [['admin', 'users', 'create'], 'LOGIN is missing'],
  [['admin', 'users', 'create', 'mona', '--public'], "'admin users create' has no option --public"],
  [['admin', 'organizations', 'create', 'acme'], '--admin USER is missing'],
  [['admin', 'repositories', 'create', 'acme/rocket', '--public', '--internal'], 'exclude each other'],
  [['admin', 'apps', 'install', 'fleet', 'acme', '--repositories', 'rocket', '--all-repositories'], 'exclude each other'],
  [['admin', 'tokens', 'create', 'mona', '--expires', 'soon'], '--expires'],
  [['admin', 'runner-packages', 'add'], 'FILE is missing'],
  [['demo', '--fast'], "Unknown option '--fast'"],
  [['demo', 'now'], "unexpected argument 'now'"],
])('%j is answered with the reason and the usage, and 2', async (args, reason) => {
  const { code, stdout, stderr } = await runCommand(args, { FLEETFOOT_ADMIN_TOKEN: 'x'.repeat(40) })

  expect(stderr).toContain(reason)
  expect(stderr).toContain('usage: fleetfoot')
  expect({ code, stdout }).toEqual({ code: 2, stdout: '' })
})

test.each([['--help'], ['runs --help'], ['init --help'], ['admin --help'], ['demo --help'], ['serve --help'], ['runner --help']])(
  '%s says how it is used, and 0',
  async (args) => {
    const { code, stdout, stderr } = await runCommand(args.split(' '))

    expect(stdout.toLowerCase()).toContain('usage:')
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  },
)

test('without a server the command says in two lines how to start one', async () => {
  const url = `http://127.0.0.1:${await freePort()}`
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-cli-'))

  const { code, stderr } = await runCommand(['runs', 'list', 'acme/rocket'], { FLEETFOOT_URL: url, FLEETFOOT_DATA_DIR: folder })

  rmSync(folder, { recursive: true })
  expect(stderr).toBe(`fleetfoot: no server answers at ${url}\n  start it with 'npm start', or set FLEETFOOT_URL to where it is\n`)
  expect(code).toBe(1)
})

test('an address that is none ends with the line that the server would give', async () => {
  const { code, stderr } = await runCommand(['runs', 'list', 'acme/rocket'], { FLEETFOOT_URL: 'nonsense' })

  expect(stderr).toMatch(/^fleetfoot: FLEETFOOT_URL: 'nonsense' is no address.*\n$/)
  expect(code).toBe(2)
})

test('words are quoted as a shell reads them', () => {
  expect(['plain-word/x', "it's", 'a b', '$HOME'].map(shellWord)).toEqual(['plain-word/x', "'it'\\''s'", "'a b'", "'$HOME'"])
})

test.each(['acme', 'acme/', '/rocket', 'a/b/c', '../x', 'acme/ro cket', ''])('%j is no repository', (text) => {
  expect(() => splitFullName(text)).toThrow('is no repository')
})
