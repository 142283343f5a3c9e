// Extracts what we serve from GitHub's own description of its REST API, GitHub Enterprise Server edition:
//
//   bin/node tools/refresh-github-description.ts
//
// The package unpacks to 385 MB, so it is packed into a temporary folder, one file is taken out of it, and it stays out of
// our dependencies. Descriptions and examples are dropped; schemas keep their OpenAPI 3.0 form.
import { readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { readPackageJson } from './read-package-json.ts'

const PACKAGE = '@octokit/openapi'
const VERSION = '23.0.2'
const RELEASE = 'ghes-3.19'
const TARGET = path.join(import.meta.dirname, `../test/conformance/github/${RELEASE}.json`)

interface Row {
  priority: string
  method: string
  path: string
  in: string
}
const TABLE = path.join(import.meta.dirname, '../test/conformance/rest-api.json')
/** The founding operations and all that manages a fleet, and of hooks and Apps the lesser rows too. */
const MANAGED = (JSON.parse(readFileSync(TABLE, 'utf8')) as Row[]).filter(
  ({ priority, path: at, in: where }) =>
    where !== 'cloud' &&
    !at.startsWith('{scope}') &&
    (priority === 'P0' || priority === 'P1' || /\/hooks|\/app(?!s\/)|installation|^\/actions\/(?!runner)/.test(at)),
)

const SERVED = [
  ...MANAGED.map(({ method, path: at }) => `${method} ${at}`),
  'GET /repos/{owner}/{repo}/actions/workflows',
  'GET /repos/{owner}/{repo}/actions/workflows/{workflow_id}',
  'POST /repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches',
  'GET /repos/{owner}/{repo}/actions/workflows/{workflow_id}/runs',
  'GET /repos/{owner}/{repo}/actions/runs',
  'GET /repos/{owner}/{repo}/actions/runs/{run_id}',
  'POST /repos/{owner}/{repo}/actions/runs/{run_id}/cancel',
  'GET /repos/{owner}/{repo}/actions/runs/{run_id}/logs',
  'GET /repos/{owner}/{repo}/actions/runs/{run_id}/jobs',
  'GET /repos/{owner}/{repo}/actions/jobs/{job_id}',
  'GET /repos/{owner}/{repo}/actions/jobs/{job_id}/logs',
  'GET /repos/{owner}/{repo}/check-runs/{check_run_id}/annotations',
  'GET /',
  'GET /meta',
  'GET /rate_limit',
  'GET /zen',
  'GET /user',
  'GET /users/{username}',
  'GET /user/orgs',
  'GET /user/repos',
  'POST /user/repos',
  'GET /user/memberships/orgs/{org}',
  'GET /orgs/{org}',
  'GET /organizations',
  'GET /orgs/{org}/repos',
  'POST /orgs/{org}/repos',
  'GET /orgs/{org}/members',
  'GET /orgs/{org}/memberships/{username}',
  'PUT /orgs/{org}/memberships/{username}',
  'DELETE /orgs/{org}/memberships/{username}',
  'GET /repos/{owner}/{repo}',
  'PATCH /repos/{owner}/{repo}',
  'DELETE /repos/{owner}/{repo}',
  'GET /repos/{owner}/{repo}/branches/{branch}',
  'GET /repos/{owner}/{repo}/commits/{ref}',
  'GET /repos/{owner}/{repo}/git/ref/{ref}',
  'GET /repos/{owner}/{repo}/contents/{path}',
  'GET /repos/{owner}/{repo}/collaborators/{username}/permission',
  'PUT /repos/{owner}/{repo}/collaborators/{username}',
  'DELETE /repos/{owner}/{repo}/collaborators/{username}',
  'GET /repos/{owner}/{repo}/tarball/{ref}',
  'GET /repos/{owner}/{repo}/zipball/{ref}',
  'POST /admin/users',
  'DELETE /admin/users/{username}',
  'POST /admin/organizations',
  'POST /admin/users/{username}/authorizations',
  'DELETE /admin/users/{username}/authorizations',
  'PUT /users/{username}/site_admin',
  'DELETE /users/{username}/site_admin',
  'POST /app-manifests/{code}/conversions',
  'GET /app',
  'GET /apps/{app_slug}',
  // Not `GET /app/installations`: it describes accounts that are a user and an enterprise at once.
  'GET /app/installations/{installation_id}',
  'DELETE /app/installations/{installation_id}',
  'PUT /app/installations/{installation_id}/suspended',
  'DELETE /app/installations/{installation_id}/suspended',
  'POST /app/installations/{installation_id}/access_tokens',
  'GET /orgs/{org}/installation',
  'GET /orgs/{org}/installations',
  'GET /repos/{owner}/{repo}/installation',
  'GET /users/{username}/installation',
  'GET /installation/repositories',
  'DELETE /installation/token',
]

/** Keywords that decide whether a value fits. Everything else is prose, or an error here so that nothing is lost unseen. */
const KEPT = new Set(
  ['type', 'format', 'enum', 'required', 'nullable', 'pattern', 'minimum', 'maximum', 'minLength', 'maxLength', 'minItems'].concat([
    'maxItems',
    'minProperties',
    'maxProperties',
    'uniqueItems',
    'default',
    '$ref',
  ]),
)
const SCHEMAS = new Set(['items', 'additionalProperties', 'not'])
const SCHEMA_LISTS = new Set(['allOf', 'anyOf', 'oneOf'])
const DROPPED = new Set([
  'description',
  'title',
  'example',
  'examples',
  'deprecated',
  'readOnly',
  'writeOnly',
  'externalDocs',
  'discriminator',
])

type Json = Record<string, unknown>

const description = readPackageJson({ name: PACKAGE, version: VERSION, file: `generated/${RELEASE}.json` })
const components: Json = {}
const operations = Object.fromEntries(SERVED.map(extractOperation))
const source = { package: PACKAGE, version: VERSION, file: `generated/${RELEASE}.json`, license: 'MIT' }
writeFileSync(TARGET, `${JSON.stringify({ source, operations, components: { schemas: sortKeys(components) } }, null, 1)}\n`)
console.log(`${TARGET}: ${Object.keys(operations).length} operations, ${Object.keys(components).length} schemas`)

function extractOperation(served: string): [string, Json] {
  const [method = '', route = ''] = served.split(' ')
  const operation = ((description['paths'] as Json)[route] as Json | undefined)?.[method.toLowerCase()] as Json | undefined
  if (!operation) throw new Error(`${served} is not in ${RELEASE} of ${PACKAGE} ${VERSION}`)

  const body = operation['requestBody'] === undefined ? undefined : resolve(operation['requestBody'])
  const extracted = {
    method,
    path: route,
    parameters: ((operation['parameters'] ?? []) as unknown[]).map(extractParameter),
    ...(body ? { requestBody: { required: body['required'] ?? false, content: extractContent(body['content']) } } : {}),
    responses: mapValues(operation['responses'] as Json, extractResponse),
  }
  return [operation['operationId'] as string, extracted]
}

function extractParameter(given: unknown): Json {
  const parameter = resolve(given)
  return {
    name: parameter['name'],
    in: parameter['in'],
    required: parameter['required'] ?? false,
    schema: extractSchema(parameter['schema']),
  }
}

function extractResponse(given: unknown): Json {
  const { content, headers } = resolve(given)
  return {
    ...(headers ? { headers: Object.keys(headers) } : {}),
    ...(content ? { content: extractContent(content) } : {}),
  }
}

function extractContent(content: unknown): Json {
  return mapValues(content as Json, (media) => extractSchema((media as Json)['schema'] ?? {}))
}

function extractSchema(schema: unknown): unknown {
  if (typeof schema !== 'object' || schema === null) return schema // additionalProperties: true
  const extracted: Json = {}
  for (const [key, value] of Object.entries(schema)) {
    if (KEPT.has(key)) extracted[key] = value
    else if (SCHEMAS.has(key)) extracted[key] = extractSchema(value)
    else if (SCHEMA_LISTS.has(key)) extracted[key] = (value as unknown[]).map(extractSchema)
    else if (key === 'properties') extracted[key] = mapValues(value as Json, extractSchema)
    else if (!DROPPED.has(key) && !key.startsWith('x-')) throw new Error(`unknown keyword ${key} in ${JSON.stringify(schema)}`)
  }
  if (typeof extracted['$ref'] === 'string') extractComponent(extracted['$ref'])
  return extracted
}

function extractComponent(ref: string): void {
  const name = ref.replace('#/components/schemas/', '')
  if (name in components) return
  components[name] = {} // before it is walked: schemas refer to themselves
  components[name] = extractSchema(((description['components'] as Json)['schemas'] as Json)[name])
}

/** Follows a reference to a shared parameter, request body or response. */
function resolve(given: unknown): Json {
  const ref = (given as Json)['$ref']
  if (typeof ref !== 'string') return given as Json
  const target = ref
    .split('/')
    .slice(1)
    .reduce<unknown>((node, key) => (node as Json)[key], description)
  return resolve(target)
}

function mapValues<T>(given: Json, change: (value: unknown) => T): Record<string, T> {
  return Object.fromEntries(Object.entries(given).map(([key, value]) => [key, change(value)]))
}

function sortKeys(given: Json): Json {
  return Object.fromEntries(Object.entries(given).toSorted(([a], [b]) => (a < b ? -1 : 1)))
}
