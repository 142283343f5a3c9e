import { PassThrough, Readable } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { Type } from 'typebox'
import { ZipFile } from 'yazl'
import type { Deps } from '../../core/deps.ts'
import { runLogFiles } from '../../core/jobs/jobs.ts'
import { appendBlock, createAppendObject, putObject, readObject, sealObject } from '../../core/logs/objects.ts'
import { readJobLog } from '../../core/logs/read-log.ts'
import { checkSignature, requireRunning } from '../../core/logs/uploads.ts'
import { openArchive } from '../../core/repos/archives.ts'
import { getRunnerPackage } from '../../core/runners/runner-packages.ts'
import { failureOf } from '../../http/failures.ts'
import type { App } from '../../http/server.ts'
import { AppError } from '../../model/errors.ts'

type BlobDeps = Deps

const Params = Type.Object({ container: Type.String(), name: Type.String() })
const Query = Type.Record(Type.String(), Type.String())

/**
 * Signed addresses: uploads in the part of Azure's blob protocol that the runner speaks (runner-protocol.md 7.4), downloads of logs,
 * archives and runner packages.
 */
export function blobRoom(app: App, { deps }: { deps: BlobDeps }): void {
  useAzureErrors(app)
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
  const config = { access: { by: 'signature' as const }, isContent: true }

  app.put('/_blobs/:container/:name', { config, schema: { params: Params, querystring: Query } }, async (request, reply) => {
    const key = keyOf(request.params)
    checkSignature(deps, key, request.query, 'w')
    await requireRunning(deps, key)
    const requestId = request.headers['x-ms-client-request-id']
    azureHeaders(request, reply)
    const { comp, seal } = request.query
    if (comp === 'seal') {
      await sealObject(deps, key)
      return reply.code(200).send()
    }
    const body = bodyOf(request)
    if (comp === 'appendblock') {
      const { offset, blocks } = await appendBlock(deps, key, body, typeof requestId === 'string' ? requestId : undefined)
      // The hand-made path of a runner without the SDK seals with its last block.
      if (seal === 'true' || String(request.headers['x-ms-blob-sealed']).toLowerCase() === 'true') await sealObject(deps, key)
      return reply
        .header('x-ms-blob-append-offset', String(offset))
        .header('x-ms-blob-committed-block-count', String(blocks))
        .code(201)
        .send()
    }
    if (comp !== undefined) throw new AppError('malformed', `comp=${comp} is not offered`)
    const contentType = request.headers['x-ms-blob-content-type'] ?? request.headers['content-type']
    const type = typeof contentType === 'string' ? contentType.slice(0, 200) : undefined
    if (request.headers['x-ms-blob-type'] === 'AppendBlob') await createAppendObject(deps, key, type)
    else await putObject(deps, key, body, { contentType: type, length: lengthOf(request) })
    // 200 would be a failure to the SDK: 201 exactly.
    return reply.code(201).send()
  })

  app.get('/_blobs/:container/:name', { config, schema: { params: Params, querystring: Query } }, async (request, reply) => {
    const key = keyOf(request.params)
    checkSignature(deps, key, request.query, 'r')
    if (key.startsWith('archives/')) return sendArchive(deps, request, reply, key)
    if (key.startsWith('logs/job-')) return sendJobLog(deps, reply, Number(key.slice('logs/job-'.length)))
    if (key.startsWith('logs/run-')) return sendRunLogs(deps, reply, Number(key.slice('logs/run-'.length)))
    const object = await readObject(deps, key)
    if (!object) throw new AppError('not_found', 'Not Found')
    return content(reply, 'text/plain; charset=utf-8').send(Readable.from(object.open(), { objectMode: false }))
  })

  app.get(
    '/_packages/:filename',
    { config: { access: { by: 'anyone' }, isContent: true }, schema: { params: Type.Object({ filename: Type.String() }) } },
    async (request, reply) => sendPackage(deps, request, reply, request.params.filename),
  )
}

function keyOf({ container, name }: { container: string; name: string }): string {
  const key = `${container}/${name}`
  if (!/^[a-z]+\/[a-z0-9][a-z0-9.-]*$/.test(key) || key.includes('..')) throw new AppError('not_found', 'Not Found')
  return key
}

function bodyOf(request: FastifyRequest): Readable {
  return request.body instanceof Readable ? request.body : Readable.from([])
}

/** What the body's length is said to be: the HTTP parser lets neither more nor less through. */
function lengthOf(request: FastifyRequest): number | undefined {
  const length = request.headers['content-length']
  return length === undefined ? undefined : Number(length)
}

/** If the client's id is sent at all, it must be the same one (runner-protocol.md 7.4). */
function azureHeaders(request: FastifyRequest, reply: FastifyReply): void {
  reply.header('x-ms-request-id', request.id)
  reply.header('x-ms-version', request.headers['x-ms-version'] ?? '2023-01-03')
  reply.header('ETag', `"0x${Date.now().toString(16).toUpperCase()}"`)
  reply.header('Last-Modified', new Date().toUTCString())
  const clientId = request.headers['x-ms-client-request-id']
  if (typeof clientId === 'string') reply.header('x-ms-client-request-id', clientId)
}

/** What a job wrote is data, never a page of ours (architecture 1.4). */
function content(reply: FastifyReply, type: string, filename?: string): FastifyReply {
  reply
    .header('Content-Type', type)
    .header('X-Content-Type-Options', 'nosniff')
    .header('Content-Security-Policy', "sandbox; default-src 'none'")
  if (filename !== undefined) reply.header('Content-Disposition', `attachment; filename="${filename}"`)
  return reply
}

async function sendJobLog(deps: BlobDeps, reply: FastifyReply, jobId: number) {
  const log = await readJobLog(deps, jobId)
  if (!log) throw new AppError('not_found', 'Not Found')
  return content(reply, 'text/plain; charset=utf-8').send(Readable.from(log, { objectMode: false }))
}

async function sendRunLogs(deps: BlobDeps, reply: FastifyReply, runId: number) {
  const zip = new ZipFile()
  const output = new PassThrough()
  for (const { path, text } of await runLogFiles(deps, runId)) {
    zip.addReadStreamLazy(path, (done) => {
      const file = Readable.from(text(), { objectMode: false })
      // A file that cannot be read breaks the download off: nobody else listens, and the process would end.
      file.on('error', (error) => output.destroy(error))
      done(null, file)
    })
  }
  zip.end()
  zip.outputStream.pipe(output)
  return content(reply, 'application/zip', `logs_${runId}.zip`).send(output)
}

async function sendArchive(deps: BlobDeps, request: FastifyRequest, reply: FastifyReply, key: string) {
  const abort = new AbortController()
  reply.raw.on('close', () => abort.abort())
  const { stream, size, format, filename } = await openArchive(deps, key, request.query as Record<string, string>, abort.signal)
  if (size !== undefined) reply.header('Content-Length', String(size))
  return content(reply, format === 'zip' ? 'application/zip' : 'application/gzip', filename).send(stream)
}

async function sendPackage(deps: BlobDeps, request: FastifyRequest, reply: FastifyReply, filename: string) {
  const found = await getRunnerPackage(deps, filename)
  const range = rangeOf(request.headers.range, found.size)
  if (range === 'none') return reply.code(416).header('Content-Range', `bytes */${found.size}`).send()
  const stream = await deps.blobs.get(found.blobKey, range)
  if (!stream) throw new AppError('not_found', 'Not Found')
  content(reply, 'application/octet-stream', filename).header('Accept-Ranges', 'bytes').header('ETag', `"${found.sha256}"`)
  if (!range) return reply.header('Content-Length', String(found.size)).send(stream)
  return reply
    .code(206)
    .header('Content-Range', `bytes ${range.start}-${range.end}/${found.size}`)
    .header('Content-Length', String(range.end - range.start + 1))
    .send(stream)
}

/** One range of bytes; several, or a form that is not known, count as none asked for. */
function rangeOf(header: string | undefined, size: number): { start: number; end: number } | 'none' | undefined {
  const match = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header ?? '')
  if (!match || (match[1] === '' && match[2] === '')) return undefined
  const [, first = '', last = ''] = match
  const start = first === '' ? Math.max(0, size - Number(last)) : Number(first)
  const end = first === '' || last === '' ? size - 1 : Math.min(Number(last), size - 1)
  return start > end || start >= size ? 'none' : { start, end }
}

const CODES: Record<number, string> = {
  400: 'InvalidQueryParameterValue',
  403: 'AuthenticationFailed',
  404: 'BlobNotFound',
  409: 'BlobAlreadyExists',
  413: 'RequestBodyTooLarge',
  503: 'ServerBusy',
}

/** Azure's XML. The connection ends with it: an error answer on a kept one holds a toolkit step for as long (architecture 3.10). */
function useAzureErrors(app: App): void {
  app.setErrorHandler(async (error: Error, request, reply) => {
    const { status, message } = failureOf(error, request)
    const code = CODES[status] ?? 'InternalError'
    return reply
      .code(status)
      .header('Content-Type', 'application/xml')
      .header('x-ms-error-code', code)
      .header('Connection', 'close')
      .serializer(String)
      .send(`<?xml version="1.0" encoding="utf-8"?><Error><Code>${code}</Code><Message>${escapeXml(message)}</Message></Error>`)
  })
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
