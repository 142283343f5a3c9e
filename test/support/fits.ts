import { expect } from 'vitest'
import { describedOperationIds, validateAnswer } from './github-description.ts'

const described = new Set(describedOperationIds())

/** The body of an answer that has this status and, where GitHub describes the operation, its shape. */
// oxlint-disable-next-line typescript/no-explicit-any -- tests look into it as clients do
export async function fits(operationId: string, status: number, answer: Response | Promise<Response>): Promise<any> {
  const response = await answer
  const text = await response.text()
  const isJson = response.headers.get('content-type')?.startsWith('application/json') ?? false
  const body: unknown = isJson ? JSON.parse(text) : text
  expect({ status: response.status, ...(response.status === status ? {} : { text }) }).toEqual({ status })
  if (described.has(operationId)) {
    expect(validateAnswer({ operationId, status, body, headers: response.headers })).toEqual([])
  }
  return body
}
