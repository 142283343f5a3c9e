import { randomUUID } from 'node:crypto'
import { createServer as createHttpServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http'
import { createServer as createHttpsServer } from 'node:https'
import type { Duplex } from 'node:stream'
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox'
import { Ajv, type ValidateFunction } from 'ajv'
import { requireReadable } from './access.ts'
import { failureOf } from './failures.ts'
import { serve } from './request-log.ts'
import Fastify, { LogController, type FastifyBaseLogger, type FastifyInstance, type FastifyReply, type RawServerDefault } from 'fastify'

/** An instance whose handlers get their types from TypeBox schemas. */
export type App = FastifyInstance<RawServerDefault, IncomingMessage, ServerResponse, FastifyBaseLogger, TypeBoxTypeProvider>

export interface ServerOptions {
  logger: FastifyBaseLogger
  trustedProxies: string[]
  tls: (() => { cert: string; key: string }) | undefined
  /** Called with every WebSocket handshake. */
  onUpgrade: (request: IncomingMessage, socket: Duplex, head: Buffer) => void
}

export interface HttpServer {
  app: App
  /** One more listening server with the same routes; closing the app closes those that it started itself only. */
  makeServer(): Server
  /**
   * Drops connections on which no request came yet, as browsers and fetch open them ahead: `closeIdleConnections` takes them for busy, and
   * the end of the server would wait for them.
   */
  closeUnused: () => void
}

const BODY_LIMIT = 1024 * 1024
/** Above the .NET connection pool's idle time of about a minute, so that no POST meets a connection that is just closing. */
const KEEP_ALIVE_MS = 75_000
const HEADERS_TIMEOUT_MS = 80_000

/** The server that all rooms register in: ids, limits, schemas compiled on first use, one request listener for all addresses. */
export function createServer(options: ServerOptions): HttpServer {
  let listener: RequestListener = () => {}
  const unused = new Set<Duplex>()
  const makeServer = (): Server => {
    const settings = { keepAlive: true, requestTimeout: 0, connectionsCheckingInterval: 30_000 }
    const tls = options.tls
    const server = tls ? createHttpsServer({ ...settings, ...tls() }, listener) : createHttpServer(settings, listener)
    server.keepAliveTimeout = KEEP_ALIVE_MS
    server.headersTimeout = HEADERS_TIMEOUT_MS
    server.on('upgrade', options.onUpgrade)
    server.on(tls ? 'secureConnection' : 'connection', (socket: Duplex) => {
      unused.add(socket)
      socket.once('close', () => unused.delete(socket))
    })
    for (const event of ['request', 'upgrade']) server.on(event, ({ socket }: IncomingMessage) => void unused.delete(socket))
    return server
  }
  const app = Fastify({
    loggerInstance: options.logger,
    logController: new LogController({ disableRequestLogging: true }),
    bodyLimit: BODY_LIMIT,
    trustProxy: options.trustedProxies.length > 0 ? options.trustedProxies : false,
    genReqId: newRequestId,
    requestIdHeader: false,
    routerOptions: { maxParamLength: 500, querystringParser: parseQuery },
    rewriteUrl: (request) => rewriteForApiHost(request),
    forceCloseConnections: 'idle',
    return503OnClosing: true,
    // A path that cannot be decoded, before any room is found; in the form of what is not found.
    frameworkErrors: (error, request, reply) => {
      const { status, message } = failureOf(error, request)
      const answer = reply as FastifyReply
      void answer.code(status).header('X-GitHub-Request-Id', request.id).type('application/json; charset=utf-8')
      void answer.send(JSON.stringify({ message, documentation_url: 'https://docs.github.com/rest', status: String(status) }))
    },
    serverFactory: (handler) => {
      listener = handler
      return makeServer()
    },
  }).withTypeProvider<TypeBoxTypeProvider>() as App

  app.setValidatorCompiler(({ schema, httpPart }) => lazyValidator(schema as object, httpPart !== 'body'))
  app.setSerializerCompiler(() => (answer) => JSON.stringify(answer))
  app.addHook('onRequest', (request, reply, done) => {
    reply.header('X-GitHub-Request-Id', request.id)
    serve(request, done)
  })
  // After every room's sign-in, so that the room can answer.
  app.addHook('preValidation', async ({ params }) => requireReadable(params))
  // Where a room has no form of its own, and for what fails before a room is found.
  app.setErrorHandler(async (error: Error, request, reply) => {
    const { status, message } = failureOf(error, request)
    reply.serializer(JSON.stringify).header('Content-Type', 'application/json; charset=utf-8')
    return reply.code(status).send({ message, documentation_url: 'https://docs.github.com/rest', status: String(status) })
  })
  // Paths that no room has, in a form that GitHub's clients, Twirp's and a person can read. The REST room has its own.
  app.setNotFoundHandler(async (_request, reply) =>
    reply.code(404).send({
      code: 'bad_route',
      msg: 'Not Found',
      message: 'Not Found',
      documentation_url: 'https://docs.github.com/rest',
      status: '404',
    }),
  )
  return { app, makeServer, closeUnused: () => unused.forEach((socket) => socket.destroy()) }
}

/** Five hex groups with colons, as clients print in errors (rest-api.md 3.9). */
function newRequestId(): string {
  const hex = randomUUID().toUpperCase()
  return `${hex.slice(0, 4)}:${hex.slice(4, 8)}${hex.slice(9, 11)}:${hex.slice(11, 13)}${hex.slice(15, 18)}${hex.slice(20, 22)}:${hex.slice(24, 31)}:${hex.slice(31)}`
}

/** REST is at `/api/v3` of every host, and at the root of hosts that begin with `api.` (rest-api.md 3.1). */
function rewriteForApiHost(request: IncomingMessage): string {
  const url = request.url ?? '/'
  const host = request.headers.host ?? ''
  // A proxy may send the absolute form (runner-protocol.md 1.3).
  const path = /^https?:\/\//i.test(url) ? absolutePath(url) : url
  return /^api\./i.test(host) && !path.startsWith('/api/') ? `/api/v3${path}` : path
}

function absolutePath(url: string): string {
  if (!URL.canParse(url)) return '/'
  const { pathname, search } = new URL(url)
  return pathname + search
}

/** NUL is left out: no name has one, and PostgreSQL takes none in text. */
function parseQuery(text: string): Record<string, string> {
  const query: Record<string, string> = {}
  for (const [name, value] of new URLSearchParams(text)) if (name !== '__proto__') query[name] = value.replaceAll('\0', '')
  return query
}

const coercing = new Ajv({ coerceTypes: true, useDefaults: true, strict: false, allErrors: true })
const exact = new Ajv({ coerceTypes: false, useDefaults: true, strict: false, allErrors: true })

/** Compiled with the first request, so that the start does not wait for hundreds of schemas. Text becomes numbers outside bodies only. */
function lazyValidator(schema: object, coerce: boolean) {
  let validate: ValidateFunction | undefined
  return (value: unknown) => {
    validate ??= (coerce ? coercing : exact).compile(schema)
    if (validate(value)) return { value }
    return { error: Object.assign(new Error('validation failed'), { validation: validate.errors ?? [] }) }
  }
}
