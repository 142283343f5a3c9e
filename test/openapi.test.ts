import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startServer, type TestServer } from './support/start-server.ts'
import { wireRunner } from './support/wire-runner.ts'

/*
 * Our OpenAPI descriptions, as generators of code and people read them. That they are true is checked elsewhere, with every answer of every
 * test that starts a server: test/support/own-description.ts.
 */

type Json = Record<string, unknown>
interface Operation {
  operationId: string
  summary: string
  tags: string[]
  parameters: { name: string; in: string; required: boolean; description?: string; schema: Json }[]
  requestBody?: { required: boolean; content: Record<string, { schema: Json }> }
  responses: Record<string, { description: string; content?: Record<string, { schema: Json }> }>
}
interface Document {
  openapi: string
  servers: { url: string }[]
  tags: { name: string }[]
  paths: Record<string, Record<string, Operation>>
  components: { schemas: Record<string, Json> }
}

let server: TestServer
beforeAll(async () => void (server = await startServer()))
afterAll(() => server[Symbol.asyncDispose]())

async function read(prefix: string) {
  const answer = await fetch(`${server.url}${prefix}/openapi.json`, { headers: { 'User-Agent': 'test' } })
  expect(answer.status).toBe(200)
  const document = (await answer.json()) as Document
  const operations = Object.entries(document.paths).flatMap(([at, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ at, method, operation })),
  )
  return { document, operations }
}

/** Every object and list in a document. */
function* nodesOf(node: unknown): Generator<Json> {
  if (typeof node !== 'object' || node === null) return
  if (!Array.isArray(node)) yield node as Json
  for (const each of Object.values(node)) yield* nodesOf(each)
}

describe.each(['/api/v3', '/api/fleetfoot'])('%s', (prefix) => {
  test('every operation stands there once, with a line about it, a tag and a name', async () => {
    const { document, operations } = await read(prefix)

    expect(document).toMatchObject({ openapi: '3.1.0', servers: [{ url: server.url + prefix }] })
    const ids = operations.map(({ operation }) => operation.operationId)
    expect(new Set(ids).size).toBe(ids.length)
    expect(ids.filter((id) => !/^[a-z-]+\/[a-z-]+$/.test(id))).toEqual([])
    const tags = document.tags.map(({ name }) => name)
    for (const { operation } of operations) {
      expect(operation).toMatchObject({ summary: expect.stringMatching(/^[A-Z].{5,}[^.]$/), tags: [expect.any(String)] })
      expect(tags).toContain(operation.tags[0])
    }
  })

  test('no good answer is without its status and, where it has a body, a schema', async () => {
    const { operations } = await read(prefix)

    const bare: string[] = []
    for (const { at, method, operation } of operations) {
      const good = Object.entries(operation.responses).filter(([status]) => /^(2\d\d|302)$/.test(status))
      if (good.length === 0) bare.push(`${method} ${at}: no status`)
      for (const [status, { content = {} }] of good) {
        const hasBody = !/^(202|204|302)$/.test(status)
        const schemas = Object.values(content).map(({ schema }) => Object.keys(schema).length)
        if ((hasBody && schemas.length === 0) || schemas.includes(0)) bare.push(`${method} ${at}: ${status}`)
      }
      expect(Object.keys(operation.responses).filter((status) => !/^(\d{3}|default)$/.test(status))).toEqual([])
    }
    expect(bare).toEqual([])
  })

  test('it is OpenAPI 3.1 that generators can read', async () => {
    const { document, operations } = await read(prefix)

    const shapes = Object.keys(document.components.schemas)
    const used = new Set<string>()
    for (const { $ref, type, nullable } of nodesOf(document)) {
      if (typeof $ref === 'string') used.add($ref.replace('#/components/schemas/', ''))
      expect(type).not.toBe('undefined')
      expect(typeof nullable).not.toBe('boolean')
    }
    expect([...used].sort()).toEqual(shapes.toSorted())
    expect(shapes.filter((name) => !/^[A-Z][A-Za-z]+$/.test(name))).toEqual([])
    for (const { at, method, operation } of operations) {
      const named = [...at.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
      const inPath = operation.parameters.filter((parameter) => parameter.in === 'path')
      expect(inPath.map(({ name }) => name)).toEqual(named)
      expect(inPath.every(({ required }) => required)).toBe(true)
      const names = operation.parameters.map((parameter) => `${parameter.in} ${parameter.name}`)
      expect(new Set(names).size).toBe(names.length)
      expect(operation.parameters.filter(({ description }) => description === undefined).map(({ name }) => `${at} ${name}`)).toEqual([])
      if (method === 'get') expect(operation.requestBody).toBeUndefined()
    }
  })
})

test('a body that may be left out is not required', async () => {
  const rest = (await read('/api/v3')).document
  const own = (await read('/api/fleetfoot')).document

  const of = ({ paths }: Document, at: string) => paths[at]?.['post']?.requestBody?.required
  expect(of(rest, '/app/installations/{installation_id}/access_tokens')).toBe(false)
  expect(of(rest, '/orgs/{org}/actions/runner-groups')).toBe(true)
  expect(of(own, '/orgs/{org}/queue/rules')).toBe(true)
})

test('names of operations that are ours are none of GitHub', async () => {
  const own = (await read('/api/fleetfoot')).operations

  expect(own.filter(({ operation }) => !operation.operationId.startsWith('fleetfoot/'))).toEqual([])
})

test('calls that no other test makes answer as they are described, too', async () => {
  await server.organization('acme')
  await server.repository('acme', 'rocket')
  const runners = { enterprise: await wireRunner(server, 'enterprises/fleetfoot'), repo: await wireRunner(server, 'acme/rocket') }
  const places = { enterprise: '/api/fleetfoot/enterprises/fleetfoot/queue', repo: '/api/fleetfoot/repos/acme/rocket/queue' }
  const status = async (method: string, path: string, body?: unknown) => (await server.admin(method, path, body)).status

  for (const name of ['enterprise', 'repo'] as const) {
    const targets = [`runners/${runners[name].id}`, 'labels/gpu', ...(name === 'repo' ? [] : ['groups/1'])]
    for (const target of targets) {
      const at = `${places[name]}/pauses/${target}`
      expect([at, await status('PUT', at, { reason: 'repair' }), await status('DELETE', at)]).toEqual([at, 200, 204])
    }
  }
  const made = (await (await server.admin('POST', `${places.repo}/rules`, { name: 'r', priority: -1 })).json()) as { id: number }
  const rule = `${places.repo}/rules/${made.id}`
  expect([await status('PATCH', rule, { name: 's' }), await status('DELETE', rule)]).toEqual([200, 204])
  expect(await status('PUT', `${places.repo}/pauses/groups/1`, { reason: 'repair' })).toBe(404)
})
