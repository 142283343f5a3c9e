import type { ChildProcess } from 'node:child_process'
import type { Socket } from 'node:net'
import { Transform, type Readable, type Writable } from 'node:stream'
import { AppError } from '../../model/errors.ts'
import { answerHooks, type HookHandlers } from '../../core/repos/hooks.ts'
import type { Deps } from '../../core/deps.ts'

/** One request to `git http-backend`, by CGI (RFC 3875). */
export interface BackendRequest {
  repositoryId: number
  /** The part of the path after the repository: `info/refs`. */
  path: string
  method: 'GET' | 'POST'
  query: string
  contentType: string | undefined
  contentLength: string | undefined
  contentEncoding: string | undefined
  /** The `Git-Protocol` header. */
  protocol: string | undefined
  /** Who pushes; readers need no name. */
  user: string | undefined
  body: Readable | undefined
  hooks: HookHandlers | undefined
}

export interface BackendResponse {
  status: number
  headers: Record<string, string>
  body: Readable
  /** Resolves when git and its hooks have ended, however they did. */
  ended: Promise<void>
}

/** Nothing moved for this long: the other side is gone. Git sends a sign of life every 5 s while it works. */
const IDLE_MS = 10 * 60_000
/** Git that was told to end removes its locks and drafts first. */
const GRACE_MS = 10_000
const MAX_HEAD_BYTES = 16 * 1024
const MAX_COMPLAINT_BYTES = 4096

/**
 * Asks git. Bodies stream both ways. When the answer's stream is destroyed, as it is when the client hangs up, git and its children are
 * ended.
 *
 * @throws AppError unavailable when git cannot be started or ends without an answer
 */
export async function askBackend(
  { git, log }: Pick<Deps, 'git' | 'log'>,
  request: BackendRequest,
  hangUp: AbortSignal,
): Promise<BackendResponse> {
  const { repositoryId } = request
  const child = await git.startBackend(repositoryId, variablesOf(request), hangUp)
  const { stdin, stdout } = child
  if (!stdin || !stdout) throw new Error('git was started without pipes')

  const end = enderOf(child)
  // Before anything is awaited: what nobody listens to when git exits is lost.
  const { head, body } = splitHead(stdout, end)
  const complaint = collectComplaint(child)
  feed(request.body, stdin, end)
  hangUp.addEventListener('abort', end, { once: true })
  if (hangUp.aborted) end()
  const watch = endWhenIdle([stdin, stdout] as Socket[], end)

  const closed = new Promise<number>((resolve) => child.once('close', (code) => resolve(code ?? -1)))
  const answered = request.hooks ? answerHooks(child, request.hooks) : Promise.resolve()
  const heard = answered.catch((err: unknown) => {
    log.error({ err, repositoryId }, 'a git hook could not be answered')
    end()
  })
  const ended = Promise.all([closed, heard]).then(([code]) => {
    clearInterval(watch)
    hangUp.removeEventListener('abort', end)
    if (code > 0) log.info({ code, complaint: complaint(), repositoryId }, 'git ended with an error')
  })

  const text = await head
  if (text === undefined) {
    end()
    await ended
    throw new AppError('unavailable', 'Git did not answer.', { cause: new Error(complaint()) })
  }
  return { ...parseHead(text), body, ended }
}

function variablesOf(request: BackendRequest): Record<string, string> {
  const optional = {
    CONTENT_TYPE: request.contentType,
    CONTENT_LENGTH: request.contentLength,
    HTTP_CONTENT_ENCODING: request.contentEncoding,
    GIT_PROTOCOL: request.protocol,
    REMOTE_USER: request.user,
  }
  const given = Object.entries(optional).filter((entry): entry is [string, string] => entry[1] !== undefined)
  return {
    ...Object.fromEntries(given),
    GATEWAY_INTERFACE: 'CGI/1.1',
    REQUEST_METHOD: request.method,
    QUERY_STRING: request.query,
    PATH_INFO: `/${request.repositoryId}.git/${request.path}`,
    GIT_CONFIG_COUNT: '1',
    GIT_CONFIG_KEY_0: 'http.receivepack',
    GIT_CONFIG_VALUE_0: request.user === undefined ? 'false' : 'true',
  }
}

/** A client that goes away in the middle ends git: it must not take a part for the whole. */
function feed(body: Readable | undefined, stdin: Writable, end: () => void): void {
  if (!body) {
    stdin.on('error', () => {})
    stdin.end()
    return
  }
  stdin.on('error', () => {
    // git has read enough, and its answer tells why. The client hears it once it has sent all it had to say.
    body.unpipe(stdin)
    body.resume()
  })
  body.once('error', end)
  body.once('close', () => {
    if (!body.readableEnded) end()
  })
  body.pipe(stdin)
}

/** Takes the head of a CGI answer off its body; undefined when it ends without one. */
function splitHead(stdout: Readable, end: () => void): { head: Promise<string | undefined>; body: Readable } {
  const { promise: head, resolve } = Promise.withResolvers<string | undefined>()
  let seen: Buffer | undefined = Buffer.alloc(0)
  const body = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      if (!seen) return done(null, chunk)
      seen = Buffer.concat([seen, chunk])
      const at = seen.indexOf('\r\n\r\n')
      if (at < 0) return done(seen.length > MAX_HEAD_BYTES ? new Error('git answered without a head') : null)
      const [text, rest] = [seen.subarray(0, at).toString('latin1'), seen.subarray(at + 4)]
      seen = undefined
      resolve(text)
      return done(null, rest)
    },
    flush(done) {
      resolve(undefined)
      done()
    },
  })
  body.on('error', () => {})
  body.once('close', () => {
    resolve(undefined)
    if (!body.readableEnded) end()
  })
  stdout.pipe(body)
  return { head, body }
}

function collectComplaint(child: ChildProcess): () => string {
  let text = ''
  child.stderr?.on('data', (chunk: Buffer) => {
    if (text.length < MAX_COMPLAINT_BYTES) text += chunk.toString()
  })
  return () => text.trim()
}

function endWhenIdle(sockets: Socket[], end: () => void): NodeJS.Timeout {
  const moved = () => sockets.reduce((sum, { bytesRead, bytesWritten }) => sum + bytesRead + bytesWritten, 0)
  let before = -1
  const watch = setInterval(() => {
    const now = moved()
    if (now === before) end()
    before = now
  }, IDLE_MS)
  return watch.unref()
}

function parseHead(head: string): { status: number; headers: Record<string, string> } {
  let status = 200
  const headers: Record<string, string> = {}
  for (const line of head.split('\r\n')) {
    const colon = line.indexOf(':')
    const name = line.slice(0, colon).toLowerCase()
    const value = line.slice(colon + 1).trim()
    if (name === 'status') status = Number.parseInt(value, 10)
    else headers[name] = value
  }
  return { status, headers }
}

/** Ends the group that http-backend leads: its own child does the work. Does so until the last of them has let go of the pipes. */
function enderOf(child: ChildProcess): () => void {
  let closed = false
  child.once('close', () => (closed = true))
  const signal = (name: 'SIGTERM' | 'SIGKILL') => {
    if (closed || child.pid === undefined) return
    try {
      process.kill(-child.pid, name)
    } catch {
      // It has just ended.
    }
  }
  let asked = false
  return () => {
    if (asked) return
    asked = true
    signal('SIGTERM')
    setTimeout(() => signal('SIGKILL'), GRACE_MS).unref()
  }
}
