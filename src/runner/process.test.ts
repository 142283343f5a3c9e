import { tmpdir } from 'node:os'

import { expect, test } from 'vitest'

import { runProgram, type Program } from './process.ts'

function bash(script: string, lines: string[], more: Partial<Program> = {}): Program {
  return {
    command: 'bash',
    args: ['-c', script],
    cwd: tmpdir(),
    env: { PATH: process.env['PATH'] ?? '' },
    onLine: (line) => lines.push(line),
    cancel: new AbortController().signal,
    death: new AbortController().signal,
    interruptMs: 50,
    terminateMs: 50,
    ...more,
  }
}

test('a program gives its lines, the last one without a newline, and its exit code', async () => {
  const lines: string[] = []

  const exitCode = await runProgram(bash(`printf 'one\\r\\ntwo\\nthree'; exit 3`, lines))

  expect(exitCode).toBe(3)
  expect(lines).toEqual(['one', 'two', 'three'])
})

test('a cancelled program is interrupted first', async () => {
  const cancel = new AbortController()
  const lines: string[] = []
  const onLine = (line: string): void => {
    lines.push(line)
    if (line === 'ready') cancel.abort()
  }

  const exitCode = await runProgram(
    bash(`trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.01; done`, lines, {
      cancel: cancel.signal,
      onLine,
      interruptMs: 20_000,
    }),
  )

  expect(lines).toEqual(['ready', 'interrupted'])
  expect(exitCode).toBe(5)
})

test('a program that ignores every request to end is killed with its children', async () => {
  const cancel = new AbortController()
  const onLine = (): void => cancel.abort()

  const exitCode = await runProgram(bash(`trap '' INT TERM; echo ready; sleep 60 & wait; sleep 60`, [], { cancel: cancel.signal, onLine }))

  expect(exitCode).toBe(137)
})

test('a program that is not there is an error', async () => {
  await expect(runProgram(bash('', [], { command: '/nowhere/program' }))).rejects.toThrow('ENOENT')
})
