import { expect, test } from 'vitest'
import { dispatchInputs } from './dispatch.ts'
import type { Triggers } from './plan.ts'

const on: Triggers = {
  workflowDispatch: {
    inputs: [
      { name: 'level', type: 'choice', required: false, options: ['info', 'debug'] },
      { name: 'who', type: 'string', required: true },
      { name: 'dry', type: 'boolean', required: false },
      { name: 'count', type: 'number', required: false, default: '3' },
      { name: 'note', type: 'string', required: false },
    ],
  },
  others: [],
}

test('inputs are completed by their defaults; only booleans are not texts', () => {
  expect(dispatchInputs(on, { WHO: 'mona', dry: true })).toEqual({
    inputs: { level: 'info', who: 'mona', dry: true, count: '3', note: '' },
    eventInputs: { level: 'info', who: 'mona', dry: 'true', count: '3', note: '' },
  })
})

test.each<[given: Record<string, unknown>, message: string]>([
  [{}, "Required input 'who' not provided"],
  [{ who: '' }, "Required input 'who' not provided"],
  [{ who: 'a', x: 1, y: 2 }, 'Unexpected inputs provided: ["x","y"]'],
  [{ who: 'a', level: 'warn' }, "Provided value 'warn' for input 'level' not in the list of allowed values"],
  [{ who: 'a', dry: 'yes' }, "Provided value 'yes' for input 'dry' must be true or false"],
  [{ who: 'a', count: 'many' }, "Provided value 'many' for input 'count' must be a number"],
  [{ who: { a: 1 } }, "Provided value for input 'who' must be a string"],
  [{ who: 'a'.repeat(65_536) }, 'inputs are too large: at most 65535 characters are allowed'],
])('the inputs %j are refused', (given, message) => {
  expect(() => dispatchInputs(on, given)).toThrow(expect.objectContaining({ kind: 'invalid', message }))
})

test('a workflow without the trigger cannot be dispatched', () => {
  expect(() => dispatchInputs({ others: [] }, {})).toThrow("Workflow does not have 'workflow_dispatch' trigger")
})
