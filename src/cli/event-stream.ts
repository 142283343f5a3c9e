/** One server-sent event. */
export interface ServerEvent {
  id: string | undefined
  event: string
  data: string
}

/** Reads server-sent events from a body until it ends. @see https://html.spec.whatwg.org/multipage/server-sent-events.html */
export async function* readEvents(body: ReadableStream<Uint8Array>): AsyncGenerator<ServerEvent> {
  const decoder = new TextDecoder()
  let text = ''
  let event = emptyEvent()
  for await (const bytes of body) {
    text += decoder.decode(bytes, { stream: true })
    const lines = text.split(/\r\n|\n|\r(?!$)/)
    text = lines.pop() ?? ''
    for (const line of lines) {
      if (line !== '') addField(event, line)
      else {
        if (event.data !== '') yield { ...event, data: event.data.slice(0, -1) }
        event = emptyEvent()
      }
    }
  }
}

const emptyEvent = (): ServerEvent => ({ id: undefined, event: 'message', data: '' })

function addField(event: ServerEvent, line: string): void {
  const colon = line.indexOf(':')
  // A line that begins with a colon is the server's sign of life.
  if (colon === 0) return
  const name = colon < 0 ? line : line.slice(0, colon)
  const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '')
  if (name === 'data') event.data += `${value}\n`
  else if (name === 'id') event.id = value
  else if (name === 'event') event.event = value
}
