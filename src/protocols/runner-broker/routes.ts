import { Type } from 'typebox'
import type { Deps } from '../../core/deps.ts'
import type { Dispatcher } from '../../core/jobs/dispatcher.ts'
import { waitForJob, type PollAnswer } from '../../core/jobs/wait-for-job.ts'
import { authenticateRunner, RunnerGone } from '../../core/runners/runner-tokens.ts'
import { closeSession, openSession } from '../../core/runners/sessions.ts'
import { baseOf, type AddressBook } from '../../http/addresses.ts'
import { useAnyJson } from '../../http/body.ts'
import type { App } from '../../http/server.ts'
import { useBrokerErrors } from './errors.ts'

type BrokerDeps = Deps & { dispatcher: Dispatcher; book: AddressBook; shutdown: AbortSignal }

const SessionRequest = Type.Object({
  ownerName: Type.Optional(Type.Union([Type.String({ maxLength: 500 }), Type.Null()])),
  agent: Type.Optional(
    Type.Union([
      Type.Object({
        version: Type.Optional(Type.Union([Type.String({ maxLength: 100 }), Type.Null()])),
        name: Type.Optional(Type.Union([Type.String({ maxLength: 500 }), Type.Null()])),
        osDescription: Type.Optional(Type.Union([Type.String({ maxLength: 500 }), Type.Null()])),
      }),
      Type.Null(),
    ]),
  ),
})

const MessageQuery = Type.Object({
  sessionId: Type.String({ maxLength: 100 }),
  status: Type.Optional(Type.String()),
  runnerVersion: Type.Optional(Type.String({ maxLength: 100 })),
  os: Type.Optional(Type.String({ maxLength: 100 })),
})

/** What a listening runner asks: `BrokerHttpClient.cs` (runner-protocol.md 5). A runner is known by its token, never by the path. */
export function brokerRoom(app: App, { deps }: { deps: BrokerDeps }): void {
  useBrokerErrors(app)
  useAnyJson(app)
  const access = { by: 'runner' as const }

  app.post('/:tenant/_broker/session', { config: { access }, schema: { body: SessionRequest } }, async (request) => {
    const runner = await authenticateRunner(deps, request.headers.authorization)
    const { ownerName, agent } = request.body
    const version = agent?.version ?? ''
    const sessionId = await openSession(deps, runner, {
      ownerName: ownerName ?? '',
      version,
      hasOpenPoll: deps.dispatcher.hasOpenPoll(runner.id),
    })
    return {
      sessionId,
      ownerName: ownerName ?? '',
      agent: { id: runner.id, name: runner.name, version, osDescription: agent?.osDescription ?? '', status: 2 },
      useFipsEncryption: false,
    }
  })

  app.delete('/:tenant/_broker/session', { config: { access } }, async (request, reply) => {
    try {
      await closeSession(deps, await authenticateRunner(deps, request.headers.authorization))
    } catch (error) {
      // A failure here would replace the runner's own outcome (runner-protocol.md 5.2).
      if (!(error instanceof RunnerGone)) throw error
    }
    return reply.code(204).send()
  })

  app.get('/:tenant/_broker/message', { config: { access }, schema: { querystring: MessageQuery } }, async (request, reply) => {
    const runner = await authenticateRunner(deps, request.headers.authorization)
    const { sessionId, status, runnerVersion = '', os = '' } = request.query
    const abort = new AbortController()
    const end = () => abort.abort()
    reply.raw.on('close', end)
    deps.shutdown.addEventListener('abort', end)
    if (deps.shutdown.aborted) end()
    try {
      const poll = { sessionId, status: status === 'Busy' ? ('Busy' as const) : ('Online' as const), version: runnerVersion, os }
      const answer = await waitForJob(deps, runner, poll, abort.signal)
      if (answer.kind === 'nothing') return reply.code(202).send()
      // The answer may not get through: then the message was not delivered, and the job goes back at once.
      reply.raw.once('close', () => {
        if (!reply.raw.writableFinished)
          void answer.undo().catch((error: unknown) => request.log.warn({ err: error }, 'taking back failed'))
      })
      return await reply.send(messageOf(answer, baseOf(deps.book, request)))
    } finally {
      deps.shutdown.removeEventListener('abort', end)
    }
  })

  app.post('/:tenant/_broker/acknowledge', { config: { access } }, async (request, reply) => {
    await authenticateRunner(deps, request.headers.authorization)
    return reply.code(204).send()
  })
}

/** .NET's form of a span: `00:05:00`, with days before it where there are some. */
function timeSpan(ms: number): string {
  const two = (value: number) => String(Math.floor(value)).padStart(2, '0')
  const [days, seconds] = [Math.floor(ms / 86_400_000), (ms % 86_400_000) / 1000]
  return `${days > 0 ? `${days}.` : ''}${two(seconds / 3600)}:${two((seconds % 3600) / 60)}:${two(seconds % 60)}`
}

/** The body of a message is a text that holds JSON, unencrypted (runner-protocol.md 5.5). */
function messageOf(answer: Exclude<PollAnswer, { kind: 'nothing' }>, base: string): object {
  if (answer.kind === 'cancel') {
    const body = { jobId: answer.jobGuid, timeout: timeSpan(answer.timeoutMs) }
    return { messageId: Date.now(), messageType: 'JobCancellation', body: JSON.stringify(body) }
  }
  const { id, requestId } = answer.assignment
  const body = { id: requestId, runner_request_id: requestId, should_acknowledge: false, run_service_url: `${base}/_run/` }
  return { messageId: id, messageType: 'RunnerJobRequest', body: JSON.stringify(body) }
}
