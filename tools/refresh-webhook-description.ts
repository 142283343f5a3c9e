// Extracts what our webhooks send from GitHub's own description of webhooks, GitHub Enterprise Server edition:
//
//   bin/node tools/refresh-webhook-description.ts
//
// The package unpacks to 36 MB, so one file is taken out of it and it stays out of our dependencies. Prose and examples are dropped.
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { readPackageJson } from './read-package-json.ts'

const PACKAGE = '@octokit/openapi-webhooks'
const VERSION = '12.1.0'
const RELEASE = 'ghes-3.19'
const TARGET = path.join(import.meta.dirname, `../test/conformance/github/webhooks-${RELEASE}.json`)

/** Event and action, and the description's name of its payload. */
const SENT: Record<string, string> = {
  ping: 'webhook-ping',
  push: 'webhook-push',
  'installation.created': 'webhook-installation-created',
  'installation.deleted': 'webhook-installation-deleted',
  'installation.suspend': 'webhook-installation-suspend',
  'installation.unsuspend': 'webhook-installation-unsuspend',
  'installation.new_permissions_accepted': 'webhook-installation-new-permissions-accepted',
  'installation_repositories.added': 'webhook-installation-repositories-added',
  'installation_repositories.removed': 'webhook-installation-repositories-removed',
  'check_run.created': 'webhook-check-run-created',
  'check_run.completed': 'webhook-check-run-completed',
  'workflow_job.queued': 'webhook-workflow-job-queued',
  'workflow_job.in_progress': 'webhook-workflow-job-in-progress',
  'workflow_job.completed': 'webhook-workflow-job-completed',
  'workflow_run.requested': 'webhook-workflow-run-requested',
  'workflow_run.in_progress': 'webhook-workflow-run-in-progress',
  'workflow_run.completed': 'webhook-workflow-run-completed',
}
const PROSE = new Set(['description', 'title', 'example', 'examples', 'deprecated', 'externalDocs', 'discriminator', 'readOnly', 'default'])

type Json = Record<string, unknown>

const described = (readPackageJson({ name: PACKAGE, version: VERSION, file: `generated/${RELEASE}.json` })['components'] as Json)[
  'schemas'
] as Json
const schemas: Json = {}
for (const name of Object.values(SENT)) take(name)
const sorted = Object.fromEntries(Object.entries(schemas).toSorted(([a], [b]) => (a < b ? -1 : 1)))
const source = { package: PACKAGE, version: VERSION, file: `generated/${RELEASE}.json`, license: 'MIT' }
writeFileSync(TARGET, `${JSON.stringify({ source, sent: SENT, components: { schemas: sorted } }, null, 1)}\n`)
console.log(`${TARGET}: ${Object.keys(sorted).length} schemas`)

function take(name: string): void {
  if (name in schemas) return
  schemas[name] = {} // before it is walked: schemas refer to themselves
  schemas[name] = plain(described[name], false)
}

/** A schema without prose. In `properties` every key is a name, whatever it is called. */
function plain(node: unknown, areNames: boolean): unknown {
  if (Array.isArray(node)) return node.map((item) => plain(item, false))
  if (typeof node !== 'object' || node === null) return node
  const kept: Json = {}
  for (const [key, value] of Object.entries(node)) {
    if (!areNames && (PROSE.has(key) || key.startsWith('x-'))) continue
    kept[key] = key === 'enum' && !areNames ? value : plain(value, !areNames && key === 'properties')
    if (!areNames && key === '$ref') take(String(value).replace('#/components/schemas/', ''))
  }
  return kept
}
