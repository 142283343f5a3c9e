import { WebSocket } from 'ws'
import type { RunningJob } from './running-job.ts'

const STEP = '0f0e0d0c-0000-4000-8000-000000000001'

export interface OpenFeed extends AsyncDisposable {
  send(startLine: number, lines: string[], options?: { stepId?: string; fragment?: number }): void
  raw(data: string | Buffer): void
  terminate(): void
  /** When the other side has ended the connection. */
  closed: Promise<void>
}

/** The runner's side of the live feed. */
export async function openFeed(job: RunningJob): Promise<OpenFeed> {
  const url = job.message.resources.endpoints[0]?.data['FeedStreamUrl'] ?? ''
  const ws = new WebSocket(url, { headers: { Authorization: `Bearer ${job.token}` }, perMessageDeflate: false })
  await new Promise<void>((resolve, reject) => {
    ws.once('open', resolve)
    ws.once('error', reject)
  })
  ws.on('error', () => {})
  const closed = new Promise<void>((resolve) => ws.once('close', () => resolve()))
  return {
    closed,
    send(startLine, lines, { stepId = STEP, fragment } = {}) {
      const bytes = Buffer.from(JSON.stringify({ value: lines, stepId, startLine, count: lines.length }))
      const size = fragment ?? bytes.length
      for (let at = 0; at < bytes.length; at += size)
        ws.send(bytes.subarray(at, at + size), { binary: false, fin: at + size >= bytes.length })
    },
    raw: (data) => ws.send(data),
    terminate: () => ws.terminate(),
    async [Symbol.asyncDispose]() {
      if (ws.readyState === WebSocket.CLOSED) return
      ws.close(1000, 'Closing websocket')
      await closed
    },
  }
}

export interface FollowedEvent {
  id: string | undefined
  event: string
  data: { step_id?: string; start_line?: number; lines?: string[]; status?: string; conclusion?: string | null }
}

export interface Follower extends AsyncDisposable {
  status: number
  events: FollowedEvent[]
  lines(): string[]
  /** The id to resume from. */
  lastId(): string | undefined
  /** Resolves when the server has ended the stream. */
  ended: Promise<void>
}

/** Follows the live lines of a job over server-sent events. */
export async function follow(
  { server, repository, id }: Pick<RunningJob, 'server' | 'repository' | 'id'>,
  { lastId, token = server.adminToken, url = server.url }: { lastId?: string | undefined; token?: string; url?: string } = {},
): Promise<Follower> {
  const abort = new AbortController()
  const answer = await fetch(`${url}/api/v3/repos/acme/${repository.name}/actions/jobs/${id}/logs/live`, {
    headers: { Authorization: `token ${token}`, Accept: 'text/event-stream', ...(lastId !== undefined && { 'Last-Event-ID': lastId }) },
    signal: abort.signal,
  })
  const events: FollowedEvent[] = []
  const read = async () => {
    let rest = ''
    const decoder = new TextDecoder()
    for await (const part of answer.body ?? []) {
      const blocks = (rest + decoder.decode(part, { stream: true })).split('\n\n')
      rest = blocks.pop() ?? ''
      for (const block of blocks) {
        const fields = new Map(block.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]))
        const data = fields.get('data')
        if (data !== undefined)
          events.push({ id: fields.get('id'), event: fields.get('event') ?? '', data: JSON.parse(data) as FollowedEvent['data'] })
      }
    }
  }
  const ended = answer.status === 200 ? read() : Promise.resolve()
  ended.catch(() => {})
  return {
    status: answer.status,
    events,
    ended,
    lines: () => events.flatMap(({ data }) => data.lines ?? []),
    lastId: () => events.findLast(({ id }) => id !== undefined)?.id,
    async [Symbol.asyncDispose]() {
      abort.abort()
      await ended.catch(() => {})
    },
  }
}
