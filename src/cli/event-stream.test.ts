import { expect, test } from 'vitest'
import { readEvents, type ServerEvent } from './event-stream.ts'

async function collect(body: ReadableStream<Uint8Array>): Promise<ServerEvent[]> {
  const events: ServerEvent[] = []
  for await (const event of readEvents(body)) events.push(event)
  return events
}

async function read(...parts: string[]): Promise<ServerEvent[]> {
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const part of parts) controller.enqueue(Buffer.from(part))
      controller.close()
    },
  })
  return collect(body)
}

test('events are read wherever the connection cut them', async () => {
  const events = await read('id: 7\nevent: li', 'nes\nda', 'ta: {"a"', ':1}\n', '\nevent: end\ndata: x\n\n')

  expect(events).toEqual([
    { id: '7', event: 'lines', data: '{"a":1}' },
    { id: undefined, event: 'end', data: 'x' },
  ])
})

test('letters of several bytes may be cut, too', async () => {
  const bytes = Buffer.from('data: größer\n\n')
  const body = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const byte of bytes) controller.enqueue(Uint8Array.of(byte))
      controller.close()
    },
  })

  expect(await collect(body)).toEqual([{ id: undefined, event: 'message', data: 'größer' }])
})

test('signs of life are no events, and data of several lines is one text', async () => {
  expect(await read(':\n\n:ping\n\n', 'data: a\ndata: b\n\n')).toEqual([{ id: undefined, event: 'message', data: 'a\nb' }])
})

test('an event that the end of the stream cut is none', async () => {
  expect(await read('data: half')).toEqual([])
})
