import type { Readable, Writable } from 'node:stream'
import type { RefUpdate } from '../../model/push.ts'

/*
 * Git's hooks ask the server that started git, over two pipes that git's children inherit: they write to 3 and read from 4.
 *
 *   hook → server   the hook's name and after a blank where the pushed objects wait, one line `before after ref` for each update, `.`
 *   server → hook   lines for the pusher, each after a blank, then `ok` or `refused`
 *
 * The scripts use what is built into sh only: a push starts no other program for them. A server that died is the end of the pipe, and
 * refuses.
 */

/** Set for git when the pipes are there; a push by any other way is refused. */
const PIPES = 'FLEETFOOT_HOOK_PIPES'
const ASKING = 3
const ANSWERING = 4

/** What a child needs in its environment and `stdio` for its hooks to ask. */
export const hookEnvironment = { [PIPES]: '1' }

const script = (name: string) => `#!/bin/sh
# Written by Fleetfoot at its start.
if [ -z "$${PIPES}" ]; then
  echo 'Pushes go through the server.'
  exit 1
fi
{
  printf '%s\\n' "${name} $GIT_QUARANTINE_PATH"
  while IFS= read -r update; do
    printf '%s\\n' "$update"
  done
  echo .
} >&${ASKING}
while IFS= read -r line <&${ANSWERING}; do
  case $line in
    ' '*) printf '%s\\n' "\${line# }" ;;
    ok) exit 0 ;;
    *) exit 1 ;;
  esac
done
echo 'The server did not answer.'
exit 1
`

/** File name to text. */
export const hookScripts: Record<string, string> = {
  'pre-receive': script('pre-receive'),
  'post-receive': script('post-receive'),
}

export interface HookAnswer {
  refused: boolean
  /** Shown to the pusher, each as a `remote:` line. */
  lines: string[]
}

export interface HookHandlers {
  /** Before any ref moves. What was pushed is in the folder `quarantine`, and nowhere else yet. */
  preReceive(updates: RefUpdate[], quarantine: string): Promise<HookAnswer>
  /** After; the updates are those that git made. */
  postReceive(updates: RefUpdate[]): Promise<HookAnswer>
}

/** Answers the hooks of one `git receive-pack` until it ends. A handler that throws refuses. */
export async function answerHooks(child: { stdio: readonly unknown[] }, handlers: HookHandlers): Promise<void> {
  const asking = child.stdio[ASKING] as Readable
  const answering = child.stdio[ANSWERING] as Writable
  // A child that was killed breaks the pipe; that it ended is seen elsewhere.
  answering.on('error', () => {})

  let hook: string | undefined
  let updates: RefUpdate[] = []
  try {
    for await (const line of linesOf(asking)) {
      if (hook === undefined) {
        hook = line
      } else if (line !== '.') {
        updates.push(parseUpdate(line))
      } else {
        answering.write(encode(await answer(handlers, hook, updates)))
        hook = undefined
        updates = []
      }
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ECONNRESET') throw error
  } finally {
    answering.end()
  }
}

async function answer(handlers: HookHandlers, head: string, updates: RefUpdate[]): Promise<HookAnswer> {
  const blank = head.indexOf(' ')
  const [hook, quarantine] = [head.slice(0, blank), head.slice(blank + 1)]
  if (hook === 'pre-receive') return handlers.preReceive(updates, quarantine)
  if (hook === 'post-receive') return handlers.postReceive(updates)
  throw new Error(`no hook is called ${hook}`)
}

function encode({ refused, lines }: HookAnswer): string {
  const shown = lines.flatMap((line) => line.split('\n')).map((line) => ` ${line}\n`)
  return `${shown.join('')}${refused ? 'refused' : 'ok'}\n`
}

function parseUpdate(line: string): RefUpdate {
  const [before = '', after = '', ...ref] = line.split(' ')
  return { before, after, ref: ref.join(' ') }
}

async function* linesOf(stream: Readable): AsyncGenerator<string> {
  let rest = ''
  stream.setEncoding('utf8')
  for await (const chunk of stream) {
    const lines = (rest + (chunk as string)).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
}
