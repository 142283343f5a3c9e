import { randomUUID } from 'node:crypto'

import { HttpError, httpSend, jsonOf, type Http, type HttpAnswer } from './http.ts'
import type { StepUpdate } from './wire.ts'

/**
 * The results service of one job: step updates, logs, summaries. Every call is best effort, as in the official
 * runner: 502–504 are repeated, anything else loses that update or log, and the job goes on.
 */
export interface Results {
  http: Http
  /** `system.github.results_endpoint`, with a `/` at its end. */
  baseUrl: string
  planId: string
  jobId: string
  headers: Record<string, string>
  /** `system.github.results_upload_with_sdk`. */
  useSdk: boolean
  death: AbortSignal | undefined
}

/** A log object: that of a step, or of the whole job when `stepId` is undefined. */
export interface LogTarget {
  stepId: string | undefined
}

/** Which part of a log a block is; it decides between one block blob and an append blob. */
export type BlockPlace = 'only' | 'first' | 'middle' | 'last'

const AZURE = 'BLOB_STORAGE_TYPE_AZURE'
const RECEIVER = 'twirp/results.services.receiver.Receiver'

/** Sends the changed steps; `changeOrder` counts up from 1 in a job. */
export async function sendStepUpdates(results: Results, steps: readonly StepUpdate[], changeOrder: number): Promise<void> {
  const path = 'twirp/github.actions.results.api.v1.WorkflowStepUpdateService/WorkflowStepsUpdate'
  await call(results, path, {
    steps,
    change_order: changeOrder,
    workflow_job_run_backend_id: results.jobId,
    workflow_run_backend_id: results.planId,
  })
}

/** Uploads one block of a log; the URL is asked for anew for each. `lineCount` is the total, needed at the end. */
export async function uploadLogBlock(
  results: Results,
  { stepId }: LogTarget,
  block: Buffer,
  place: BlockPlace,
  lineCount: number,
): Promise<void> {
  const ids = { workflow_job_run_backend_id: results.jobId, workflow_run_backend_id: results.planId }
  const step = stepId === undefined ? {} : { step_backend_id: stepId }
  const noun = stepId === undefined ? 'JobLogs' : 'StepLogs'
  const signed = await call<{ logs_url?: string; blob_storage_type?: string }>(results, `${RECEIVER}/Get${noun}SignedBlobURL`, {
    ...ids,
    ...step,
  })
  if (!signed?.logs_url) throw new Error(`Get${noun}SignedBlobURL gave no logs_url`)

  const blob: Blob = { url: signed.logs_url, isAzure: signed.blob_storage_type === AZURE, contentType: 'text/plain' }
  if (place === 'only') await putBlob(results, blob, block)
  else await appendBlob(results, blob, block, place)

  if (place === 'only' || place === 'last') {
    const done = { ...ids, ...step, uploaded_at: new Date().toISOString(), line_count: lineCount }
    await call(results, `${RECEIVER}/Create${noun}Metadata`, done)
  }
}

/** A summary over the service's limit is not uploaded; the limit comes back for the message. */
export async function uploadSummary(results: Results, stepId: string, summary: Buffer): Promise<'sent' | 'too large'> {
  const ids = { workflow_job_run_backend_id: results.jobId, workflow_run_backend_id: results.planId, step_backend_id: stepId }
  const signed = await call<{ summary_url?: string; soft_size_limit?: number | string; blob_storage_type?: string }>(
    results,
    `${RECEIVER}/GetStepSummarySignedBlobURL`,
    ids,
  )
  if (!signed?.summary_url) throw new Error('GetStepSummarySignedBlobURL gave no summary_url')
  if (summary.length > Number(signed.soft_size_limit ?? 0)) return 'too large'

  await putBlob(results, { url: signed.summary_url, isAzure: signed.blob_storage_type === AZURE, contentType: undefined }, summary)
  const done = { ...ids, size: summary.length, uploaded_at: new Date().toISOString() }
  await call(results, `${RECEIVER}/CreateStepSummaryMetadata`, done)
  return 'sent'
}

async function call<T extends object>(results: Results, path: string, body: object): Promise<(T & { ok?: boolean }) | null> {
  const answer = await httpSend(results.http, {
    method: 'POST',
    url: new URL(path, results.baseUrl).href,
    headers: results.headers,
    body,
    signal: results.death,
  })
  const name = path.slice(path.lastIndexOf('/') + 1)
  const value = jsonOf<T & { ok?: boolean }>(name, answer)
  if (!name.startsWith('Get') && value?.ok !== true) throw new Error(`${name} did not answer ok`)
  return value
}

interface Blob {
  url: string
  isAzure: boolean
  contentType: string | undefined
}

/** One PUT of the whole. */
async function putBlob(results: Results, blob: Blob, body: Buffer): Promise<void> {
  if (usesSdk(results, blob)) {
    const type = { ...SDK_CREATE, 'x-ms-blob-type': 'BlockBlob', ...sdkContentType(blob) }
    return put(results, blob.url, { ...type, 'Content-Type': 'application/octet-stream' }, body, 201)
  }
  const azure = blob.isAzure ? { 'x-ms-blob-type': 'BlockBlob' } : {}
  return put(results, blob.url, { ...handMade(results), ...azure, ...plainContentType(blob) }, body)
}

/**
 * Creates the object with its first block, appends the others, seals it with the last.
 * The hand-made way is what the official runner means to do; its first block fails there on a header set twice.
 */
async function appendBlob(results: Results, blob: Blob, block: Buffer, place: BlockPlace): Promise<void> {
  const none = Buffer.alloc(0)
  if (usesSdk(results, blob)) {
    const create = { ...SDK_CREATE, 'x-ms-blob-type': 'AppendBlob', ...sdkContentType(blob) }
    if (place === 'first') await put(results, blob.url, create, none, 201)
    await put(results, withComp(blob.url, 'appendblock'), { ...SDK, 'Content-Type': 'application/octet-stream' }, block, 201)
    if (place === 'last') await put(results, withComp(blob.url, 'seal'), SDK, none, 200)
    return
  }
  const headers = handMade(results)
  const create = blob.isAzure ? { 'x-ms-blob-type': 'AppendBlob' } : {}
  if (place === 'first') await put(results, blob.url, { ...headers, ...create, ...plainContentType(blob) }, none)
  const isLast = place === 'last'
  const sealed = blob.isAzure ? { 'x-ms-blob-sealed': isLast ? 'True' : 'False' } : {}
  await put(results, `${blob.url}&comp=appendblock${isLast ? '&seal=true' : ''}`, { ...headers, ...sealed }, block)
}

const SDK = { 'x-ms-version': '2023-01-03', Accept: 'application/xml', 'x-ms-return-client-request-id': 'true' }
const SDK_CREATE = { ...SDK, 'If-None-Match': '*' }

function usesSdk(results: Results, blob: Blob): boolean {
  return results.useSdk && blob.isAzure
}

function sdkContentType(blob: Blob): Record<string, string> {
  return blob.contentType ? { 'x-ms-blob-content-type': blob.contentType } : {}
}

function plainContentType(blob: Blob): Record<string, string> {
  return blob.contentType ? { 'Content-Type': blob.contentType } : {}
}

/** Hand-made uploads carry the worker's names, but never its token: the signature is in the URL. */
function handMade({ headers }: Results): Record<string, string> {
  const { Authorization: _authorization, Accept: _accept, ...rest } = headers
  return rest
}

/** The SDK puts its own parameters before those of the signed URL. */
function withComp(url: string, comp: string): string {
  const at = url.indexOf('?')
  return at < 0 ? `${url}?comp=${comp}` : `${url.slice(0, at)}?comp=${comp}&${url.slice(at + 1)}`
}

async function put(results: Results, url: string, headers: Record<string, string>, body: Buffer, expected?: number): Promise<void> {
  const id = 'x-ms-version' in headers ? { 'x-ms-client-request-id': randomUUID() } : {}
  const answer: HttpAnswer = await httpSend(results.http, {
    method: 'PUT',
    url,
    headers: { ...headers, ...id },
    body,
    signal: results.death,
  })
  const isSuccess = expected === undefined ? answer.status >= 200 && answer.status <= 299 : answer.status === expected
  if (!isSuccess) throw new HttpError('upload', answer)
}
