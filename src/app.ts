import { watchFile, unwatchFile, readFileSync } from 'node:fs'
import type { Server } from 'node:http'
import type { Server as TlsServer } from 'node:tls'
import { pino, type Logger } from 'pino'
import { Driver } from './background/driver.ts'
import { backgroundTasks } from './background/tasks.ts'
import { DiskBlobStore } from './blobs/disk-blob-store.ts'
import type { Config, ListenAddress } from './config/config.ts'
import { deriveKeys } from './core/access/keys.ts'
import type { Deps } from './core/deps.ts'
import { freeHookLanes, HookSender } from './core/hooks/sender.ts'
import { prepareInstallation } from './core/first-start.ts'
import { Dispatcher } from './core/jobs/dispatcher.ts'
import { beatPulse } from './core/jobs/reconcile-jobs.ts'
import { ArchiveCache } from './core/repos/archive-cache.ts'
import { openGit } from './core/repos/git.ts'
import { KeyPool } from './core/runners/key-pool.ts'
import { openEvaluator } from './core/runs/evaluator.ts'
import type { AddressBook } from './http/addresses.ts'
import { collectRoutes, judgeAnswers, type JudgeAnswer, type ServedRoute } from './http/served-route.ts'
import { useContentHost } from './http/content-host.ts'
import { ENTERPRISE_VERSION } from './http/github-manners.ts'
import { RateLimits } from './http/rate-limits.ts'
import { requestLog } from './http/request-log.ts'
import { createServer, type App, type HttpServer } from './http/server.ts'
import { blobRoom } from './protocols/blob-store/routes.ts'
import { consoleRoom } from './protocols/console/routes.ts'
import { gitRoom } from './protocols/git/routes.ts'
import { adminRoutes } from './protocols/github-rest/admin.ts'
import { appRoutes } from './protocols/github-rest/apps.ts'
import { graphqlRoutes } from './protocols/github-rest/graphql.ts'
import { auditLogRoutes } from './protocols/github-rest/audit-log.ts'
import { metaRoutes } from './protocols/github-rest/meta.ts'
import { organizationRoutes } from './protocols/github-rest/organizations.ts'
import { repositoryRoutes } from './protocols/github-rest/repositories.ts'
import { useGitHubRest, type RestDeps } from './protocols/github-rest/room.ts'
import { openApiRoutes, ownOpenApiRoutes } from './protocols/github-rest/openapi.ts'
import { runnerGroupRoutes } from './protocols/github-rest/runner-groups.ts'
import { runnerLabelRoutes } from './protocols/github-rest/runner-labels.ts'
import { runnerPolicyRoutes } from './protocols/github-rest/runner-policy.ts'
import { runnerRoutes } from './protocols/github-rest/runners.ts'
import { runRoutes } from './protocols/github-rest/runs.ts'
import { hookRoutes } from './protocols/github-rest/hooks.ts'
import { presentHookPayload } from './protocols/github-rest/present-hook-payload.ts'
import { userRoutes } from './protocols/github-rest/users.ts'
import { launchRoom } from './protocols/launch/routes.ts'
import { Metrics, operationsRoom } from './protocols/operations/routes.ts'
import { oauthRoom, registrationRoom } from './protocols/registration/routes.ts'
import { Feed } from './protocols/results/feed.ts'
import { resultsRoom } from './protocols/results/routes.ts'
import { runServiceRoom } from './protocols/run-service/routes.ts'
import { brokerRoom } from './protocols/runner-broker/routes.ts'
import { LocalSignals, type Signals } from './signals/signals.ts'
import { PostgresSignals } from './signals/postgres-signals.ts'
import { laterMigration, migrate } from './store/migrate.ts'
import { databaseClock, openDatabase } from './store/open.ts'
import { lockSqlite } from './store/sqlite.ts'

export interface AppOptions {
  logger?: Logger
  now?: () => number
  /** Tests: what is wrong with an answer, if anything. */
  judgeAnswer?: JudgeAnswer
  /** Tests run background tasks by hand. */
  background?: boolean
  /** Keys made ahead for just-in-time runners; tests keep none. */
  keyPoolSize?: number
  /** Listening sockets that are open already (systemd's socket activation), as file descriptors. */
  inherited?: number[]
}

/** The running product. Disposing it ends polls, finishes requests and closes everything. */
export interface RunningApp extends AsyncDisposable {
  app: App
  deps: RestDeps
  /** `host:port` of every listening socket. */
  addresses: string[]
  /** What is served, as each route declares it. */
  routes: ServedRoute[]
  /** Resolves with why this version must stop: a later one changed the database in a way that it does not know. */
  outdated: Promise<string>
}

const SHUTDOWN_MS = 10_000
/** A server that takes the place of one that is stopping waits this long for it. */
const LOCK_WAIT_MS = 5000
/** Node clocks that differ from the database's by more than this would end leases early (architecture part 2). */
const CLOCK_SKEW_MS = 5000

/** Puts everything together and listens: the only place that sees all parts. */
export async function startApp(config: Config, options: AppOptions = {}): Promise<RunningApp> {
  const now = options.now ?? Date.now
  const logger = options.logger ?? pino({ level: 'info' })
  const log = requestLog(logger)
  const stack = new AsyncDisposableStack()
  try {
    if (config.database.kind === 'sqlite') stack.use(lockSqlite(config.database.file, LOCK_WAIT_MS))
    const db = stack.adopt(openDatabase(config.database), (open) => open.destroy())
    await migrate(db, now())
    const signals = stack.use(await openSignals(config))
    const keys = deriveKeys(config.secrets.key)
    await prepareInstallation({ db, now, keys }, { enterprise: config.enterprise, adminToken: config.secrets.adminToken })
    if (config.database.kind === 'postgres') await checkClock(db, now)

    const git = openGit({ dir: config.reposDir, log })
    await git.check()

    const ports = new Set<number>()
    const book = addressBook(config, ports)
    const shutdown = new AbortController()
    const blobs = new DiskBlobStore(config.blobsDir)
    const base: Deps = {
      db,
      now,
      times: config.times,
      keys,
      signals,
      blobs,
      evaluator: stack.use(openEvaluator()),
      git,
      archives: stack.use(new ArchiveCache({ git, blobs, log })),
      log,
      addresses: { url: config.url, jobServerUrl: config.jobServerUrl },
      retentionMs: config.retentionMs,
      webhooks: {
        ...config.webhooks,
        present: (message, context) => presentHookPayload({ api: `${config.url}/api/v3`, web: config.url }, message, context),
        enterpriseVersion: ENTERPRISE_VERSION,
      },
    }
    const dispatcher = stack.use(new Dispatcher(base))
    const hookSender = stack.use(new HookSender(base))
    const jitKeys = stack.use(new KeyPool(options.keyPoolSize))
    const deps = { ...base, dispatcher, jitKeys, book, rateLimits: new RateLimits(now, config.rateLimit), shutdown: shutdown.signal }
    const feed = new Feed(deps)

    const http = createServer({
      logger,
      trustedProxies: config.trustedProxies,
      tls: config.tls && (() => readTls(config.tls)),
      onUpgrade: (request, socket, head) => void feed.upgrade(request, socket, head),
    })
    const { app } = http
    useContentHost(app, book)
    const routes = collectRoutes(app)
    if (options.judgeAnswer) judgeAnswers(app, options.judgeAnswer)
    registerRooms(app, deps, routes)
    const servers = await listen(http, config.listen, options.inherited ?? [])
    const addresses = servers.map((server) => describe(server, ports))
    reloadTls(stack, config, servers)
    stack.defer(() => closeServers(http, servers))
    // An open WebSocket would hold its server open until somebody hangs up: a runner never does while its job runs.
    stack.defer(() => feed[Symbol.asyncDispose]())
    stack.defer(() => shutdown.abort())

    const outdated = Promise.withResolvers<string>()
    await beatPulse(deps)
    if (options.background !== false) {
      const beat = async () => {
        await beatPulse(deps)
        const later = await laterMigration(db)
        if (later !== undefined) outdated.resolve(`the database is of a later version (${later})`)
      }
      const pulse = setInterval(() => void beat().catch(() => {}), config.times.pulseEvery).unref()
      stack.defer(() => clearInterval(pulse))
      stack.use(new Driver(deps, backgroundTasks(deps)))
      // One process alone uses SQLite: what is held was held by one that died.
      if (config.database.kind === 'sqlite') await freeHookLanes(base)
      hookSender.start()
      jitKeys.fill()
    }
    return { app, deps, addresses, routes, outdated: outdated.promise, [Symbol.asyncDispose]: () => stack.disposeAsync() }
  } catch (error) {
    await stack.disposeAsync()
    throw error
  }
}

function registerRooms(app: App, deps: RestDeps, routes: readonly ServedRoute[]): void {
  const metrics = new Metrics(deps)
  app.addHook('onResponse', (request, reply, done) => {
    const { elapsedTime, statusCode } = reply
    if (!request.url.includes('/_broker/message')) metrics.observe(request.method, statusCode, elapsedTime / 1000)
    request.log.debug({ method: request.method, route: request.routeOptions.url, statusCode, ms: Math.round(elapsedTime) }, 'request')
    done()
  })
  // A client that asks again at once would keep its connection, and with it the server, from closing.
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (deps.shutdown.aborted) reply.header('Connection', 'close')
    done()
  })
  const room = (register: (app: App) => void, prefix?: string) =>
    void app.register(async (scope) => register(scope as App), prefix === undefined ? {} : { prefix })

  room((scope) => operationsRoom(scope, { deps, metrics }))
  room((scope) => registrationRoom(scope, { deps }))
  room((scope) => oauthRoom(scope, { deps }))
  room((scope) => brokerRoom(scope, { deps }))
  room((scope) => runServiceRoom(scope, { deps }))
  room((scope) => resultsRoom(scope, { deps }))
  room((scope) => launchRoom(scope, { deps }))
  room((scope) => blobRoom(scope, { deps }))
  room((scope) => void gitRoom(scope, { deps }))
  room((scope) => {
    useGitHubRest(scope, deps)
    runnerRoutes(scope, deps)
    runnerLabelRoutes(scope, deps)
    runnerGroupRoutes(scope, deps)
    runnerPolicyRoutes(scope, deps)
    runRoutes(scope, deps)
    metaRoutes(scope, deps)
    userRoutes(scope, deps)
    organizationRoutes(scope, deps)
    repositoryRoutes(scope, deps)
    adminRoutes(scope, deps)
    appRoutes(scope, deps)
    hookRoutes(scope, deps)
    graphqlRoutes(scope, deps)
    auditLogRoutes(scope, deps)
    openApiRoutes(scope, deps, routes)
  }, '/api/v3')
  room((scope) => {
    useGitHubRest(scope, deps)
    graphqlRoutes(scope, deps)
  }, '/api')
  room((scope) => {
    consoleRoom(scope, deps)
    ownOpenApiRoutes(scope, deps, routes)
  }, '/api/fleetfoot')
}

async function openSignals(config: Config): Promise<Signals> {
  if (config.database.kind === 'sqlite') return new LocalSignals()
  const signals = new PostgresSignals(config.database.url)
  await signals.start()
  return signals
}

async function checkClock(db: Deps['db'], now: () => number): Promise<void> {
  const theirs = await databaseClock(db)
  const skew = Math.abs(theirs - now())
  if (skew > CLOCK_SKEW_MS)
    throw new Error(`the clock of this machine differs from the database's by ${Math.round(skew / 1000)} s: set it right`)
}

async function listen(http: ReturnType<typeof createServer>, addresses: ListenAddress[], inherited: number[]): Promise<Server[]> {
  await http.app.ready()
  const places: (ListenAddress | { fd: number })[] = inherited.length > 0 ? inherited.map((fd) => ({ fd })) : addresses
  const servers: Server[] = []
  for (const [index, place] of places.entries()) {
    const server = index === 0 ? http.app.server : http.makeServer()
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ ...place, backlog: 4096 }, () => {
        server.off('error', reject)
        resolve()
      })
    })
    servers.push(server)
  }
  return servers
}

function describe(server: Server, ports: Set<number>): string {
  const address = server.address()
  if (address === null || typeof address === 'string') return String(address)
  ports.add(address.port)
  return `${address.address.includes(':') ? `[${address.address}]` : address.address}:${address.port}`
}

/** Ends what is left: held polls were ended by `shutdown`; requests in work get some seconds. */
async function closeServers({ app, closeUnused }: HttpServer, servers: Server[]): Promise<void> {
  const closed = servers.map((server) => new Promise<void>((resolve) => void server.close(() => resolve())))
  const closeIdle = () => {
    for (const server of servers) server.closeIdleConnections()
    closeUnused()
  }
  closeIdle()
  const sweep = setInterval(closeIdle, 50)
  const limit = setTimeout(() => servers.forEach((server) => server.closeAllConnections()), SHUTDOWN_MS)
  await Promise.all(closed)
  clearInterval(sweep)
  clearTimeout(limit)
  await app.close()
}

function addressBook({ url, contentUrl }: Config, ports: ReadonlySet<number>): AddressBook {
  const names = new Set(['localhost', '127.0.0.1', '[::1]'])
  return {
    url,
    contentUrl,
    isOwnLoopback(authority) {
      const match = /^(\[[0-9a-f:]+\]|[^:]+)(?::(\d+))?$/i.exec(authority)
      return (
        match !== null && names.has(match[1]?.toLowerCase() ?? '') && ports.has(Number(match[2] ?? (url.startsWith('https') ? 443 : 80)))
      )
    },
  }
}

function readTls(tls: Config['tls']): { cert: string; key: string } {
  return { cert: readFileSync(tls?.certFile ?? '', 'utf8'), key: readFileSync(tls?.keyFile ?? '', 'utf8') }
}

/** Certificates are renewed under our feet: the files are read again when they change. */
function reloadTls(stack: AsyncDisposableStack, { tls }: Config, servers: Server[]): void {
  if (!tls) return
  const reload = () => {
    try {
      for (const server of servers) (server as unknown as TlsServer).setSecureContext(readTls(tls))
    } catch {
      // Half-written files: the next change brings the rest.
    }
  }
  for (const file of [tls.certFile, tls.keyFile]) {
    watchFile(file, { interval: 2000 }, reload)
    stack.defer(() => unwatchFile(file, reload))
  }
}
