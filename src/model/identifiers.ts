import { createHash } from 'node:crypto'

/**
 * A GUID made from names, always the same for the same names: plan, job and step ids of a job message need no rows, and a repeated
 * `acquirejob` gives the same message. Version 8, the one for own schemes (RFC 9562).
 */
export function guidOf(...names: (string | number)[]): string {
  const hash = createHash('sha256').update(JSON.stringify(names)).digest()
  hash[6] = ((hash[6] ?? 0) & 0x0f) | 0x80
  hash[8] = ((hash[8] ?? 0) & 0x3f) | 0x80
  const hex = hash.toString('hex')
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20, 32)}`
}

export const planGuid = (attemptId: number) => guidOf('plan', attemptId)
export const jobGuid = (jobId: number) => guidOf('job', jobId)
export const stepGuid = (assignmentId: number, index: number) => guidOf('step', assignmentId, index)
