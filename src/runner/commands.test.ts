import { expect, test } from 'vitest'

import { commandAnnotation, parseCommand, parseFileCommand, parseOldCommand } from './commands.ts'

test('a workflow command is read with its properties unescaped', () => {
  expect(parseCommand('::warning file=src/a.txt,line=3,endLine=4,title=T%2C1::w%0Aline2')).toEqual({
    name: 'warning',
    properties: { file: 'src/a.txt', line: '3', endline: '4', title: 'T,1' },
    message: 'w\nline2',
  })
})

test.each(['plain', '::no end', 'text ::error::later'])('%s is no workflow command', (line) => {
  expect(parseCommand(line)).toBeUndefined()
})

test('the old form of a warning is one, too', () => {
  expect(parseOldCommand('##[warning]old style')).toEqual({ name: 'warning', properties: {}, message: 'old style' })
})

test('an annotation without a file counts the lines of the log', () => {
  const command = { name: 'error', properties: {}, message: 'plain err' }

  expect(commandAnnotation(command, 20, 2)).toEqual({ level: 'failure', message: 'plain err', startLine: 20, endLine: 20, stepNumber: 2 })
})

test('an annotation with a file has the lines of the file', () => {
  const command = { name: 'warning', properties: { file: 'src/a.txt', line: '3', endline: '4', col: '2', title: 'T' }, message: 'w' }

  expect(commandAnnotation(command, 20, 2)).toEqual({
    level: 'warning',
    message: 'w',
    title: 'T',
    path: 'src/a.txt',
    startLine: 3,
    endLine: 4,
    stepNumber: 2,
  })
})

test('file commands hold pairs and here-documents', () => {
  expect(parseFileCommand('r=ok=yes\nml<<E\n1\n2\nE\nempty=\n')).toEqual([
    ['r', 'ok=yes'],
    ['ml', '1\n2'],
    ['empty', ''],
  ])
})

test.each([
  ['noequals', "Invalid format 'noequals'"],
  ['a<<E\n1\n', "Matching delimiter not found 'E'"],
  ['=x', 'Name must not be empty'],
])('a file command %j is refused', (text, message) => {
  expect(() => parseFileCommand(text)).toThrow(message)
})
