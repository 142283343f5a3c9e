import { readFileSync } from 'node:fs'
import path from 'node:path'

/** A row of our reference of GitHub's REST API: what an operation asks of its caller and how it may answer. */
export interface RestRow {
  /** Where the row stands in the reference: '1', '2.3', … */
  section: string
  /** P0 to P3; P0 comes first. */
  priority: string
  method: string
  path: string
  operationId: string
  /** Of a classic token, in the words of the reference: 'repo', 'repo*' (only when the repository is private), 'none', 'site admin', … */
  scope: string
  /** Of an App or fine-grained token, in the words of the reference: 'administration:read', 'none', 'public', … */
  permission: string
  ok: number[]
  /** Beside 401, 403 and 404, which any operation may answer. */
  errors: number[]
  /** Those of `errors` that GitHub's description does not list. */
  notDescribed: number[]
  /** Which of GitHub's descriptions has it: github.com's, GitHub Enterprise Server's or both. */
  in: 'both' | 'cloud' | 'GHES'
  notes: string
}

/** The rows of test/conformance/rest-api.json, made by tools/refresh-rest-table.ts. */
export function readRestTable(): RestRow[] {
  return JSON.parse(readFileSync(path.join(import.meta.dirname, '../conformance/rest-api.json'), 'utf8')) as RestRow[]
}
