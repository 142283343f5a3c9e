import { readFileSync } from 'node:fs'
import path from 'node:path'
import { Ajv, type ErrorObject } from 'ajv'

/*
 * GitHub's description of what webhooks send (test/conformance/github/README.md). Alternatives of it overlap, so one of them is enough; an
 * address that is a template is any text.
 */

interface Description {
  sent: Record<string, string>
  components: { schemas: Record<string, unknown> }
}

const file = path.join(import.meta.dirname, '../conformance/github/webhooks-ghes-3.19.json')
const { sent, components } = JSON.parse(readFileSync(file, 'utf8')) as Description

const date = (text: string) => /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)$/.test(text) && !Number.isNaN(Date.parse(text))
const ajv = new Ajv({
  strict: false,
  allErrors: true,
  allowUnionTypes: true,
  formats: {
    'date-time': date,
    uri: (text: string) => /^[a-z][a-z\d+.-]*:\S+$/i.test(text),
    email: /^[^\s@]+@[^\s@]+$/,
    'uri-template': true,
    int64: true,
  },
})
ajv.addSchema(anyOf({ $id: 'github', components }) as object)

/** In what a payload does not fit GitHub's description; an empty list when it fits. */
export function payloadViolations(event: string, payload: { action?: string }): string[] {
  const name = sent[payload.action === undefined ? event : `${event}.${payload.action}`]
  if (name === undefined) return [`${event} ${payload.action} is not in the extract: see tools/refresh-webhook-description.ts`]
  const validate = ajv.getSchema(`github#/components/schemas/${name}`)
  if (!validate) throw new Error(`no schema ${name}`)
  return validate(payload)
    ? []
    : (validate.errors ?? []).map(
        ({ instancePath, message, params }: ErrorObject) => `${instancePath} ${message} ${JSON.stringify(params)}`,
      )
}

function anyOf(node: unknown): unknown {
  if (Array.isArray(node)) return node.map(anyOf)
  if (typeof node !== 'object' || node === null) return node
  return Object.fromEntries(Object.entries(node).map(([key, value]) => [key === 'oneOf' ? 'anyOf' : key, anyOf(value)]))
}
