import type { FastifyReply, FastifyRequest } from 'fastify'
import type { LiveEvent } from '../../core/logs/live.ts'
import type { RestDeps } from './room.ts'

/** Proxies and clients drop a connection that says nothing for long. */
const KEEP_ALIVE_MS = 15_000

/**
 * Sends what a follower yields as server-sent events: `lines` with the number to resume from as its id, `state`, and `end`. The first event
 * is awaited before the answer begins, so that a job that is not there is a 404.
 */
export async function sendEvents(
  request: FastifyRequest,
  reply: FastifyReply,
  deps: RestDeps,
  follow: (abort: AbortSignal) => AsyncGenerator<LiveEvent>,
): Promise<FastifyReply> {
  const abort = new AbortController()
  const end = () => abort.abort()
  deps.shutdown.addEventListener('abort', end)
  reply.raw.on('close', end)
  if (deps.shutdown.aborted) end()
  try {
    const events = follow(abort.signal)
    const first = await events.next()
    reply.hijack()
    reply.raw.writeHead(200, {
      'Content-Type': 'text/event-stream; charset=utf-8',
      'Cache-Control': 'no-cache',
      'X-Accel-Buffering': 'no',
      'X-Content-Type-Options': 'nosniff',
      'X-GitHub-Request-Id': request.id,
    })
    const breath = setInterval(() => reply.raw.write(':\n\n'), KEEP_ALIVE_MS)
    try {
      if (!first.done) await write(reply, first.value, abort.signal)
      for await (const event of events) await write(reply, event, abort.signal)
    } catch (error) {
      request.log.warn({ err: error }, 'following a job failed')
    } finally {
      clearInterval(breath)
    }
    reply.raw.end()
    return reply
  } finally {
    deps.shutdown.removeEventListener('abort', end)
  }
}

async function write(reply: FastifyReply, event: LiveEvent, abort: AbortSignal): Promise<void> {
  if (abort.aborted) return
  const isFlushed = reply.raw.write(textOf(event))
  if (isFlushed) return
  await new Promise<void>((resolve) => {
    const done = () => {
      reply.raw.off('drain', done)
      abort.removeEventListener('abort', done)
      resolve()
    }
    reply.raw.on('drain', done)
    abort.addEventListener('abort', done)
  })
}

function textOf(event: LiveEvent): string {
  if (event.kind === 'lines') {
    const { stepId, startLine, lines } = event.chunk
    return `id: ${event.id}\nevent: lines\ndata: ${JSON.stringify({ step_id: stepId, start_line: startLine, lines })}\n\n`
  }
  const { status, conclusion } = event.job
  return `event: ${event.kind}\ndata: ${JSON.stringify({ status: status === 'assigned' ? 'queued' : status, conclusion })}\n\n`
}
