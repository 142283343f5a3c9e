import { createHash, randomUUID } from 'node:crypto'
import { pipeline, Transform, type Readable } from 'node:stream'
import { needs, type Actor } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'
import { eventInsert } from '../../store/events.ts'
import { runnerPackageByFilename, runnerPackageList, runnerPackageSet } from '../../store/runners.ts'
import { authorizeRunnerScope, requireSiteAdmin, type RunnerScopeRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import { runnerReadNeeds } from './registration-tokens.ts'

/** The upstream version that this product is tested against. */
export const TESTED_RUNNER_VERSION = '2.336.0'

/** In the order that GitHub lists them (rest-api.md 1.2). */
const UPSTREAM = [
  ['osx', 'x64'],
  ['linux', 'x64'],
  ['linux', 'arm'],
  ['win', 'x64'],
  ['linux', 'arm64'],
  ['osx', 'arm64'],
  ['win', 'arm64'],
] as const

export interface Application {
  os: string
  architecture: string
  filename: string
  sha256: string | undefined
  /** Where upstream serves it; undefined for an added package, which we serve. */
  url: string | undefined
}

/** The runner applications: upstream's public releases, each replaced by the operator's own package of its system once there is one. */
export async function listApplications(deps: Pick<Deps, 'db' | 'log'>, actor: Actor, scope: RunnerScopeRef): Promise<Application[]> {
  await authorizeRunnerScope(deps, actor, scope, runnerReadNeeds)
  const added = await runnerPackageList(deps.db)
  const own = (os: string, architecture: string) => added.find((entry) => entry.os === os && entry.architecture === architecture)
  const listed = UPSTREAM.map(([os, architecture]): Application => {
    const found = own(os, architecture)
    if (found) return { os, architecture, filename: found.filename, sha256: found.sha256, url: undefined }
    const filename = `actions-runner-${os}-${architecture}-${TESTED_RUNNER_VERSION}.${os === 'win' ? 'zip' : 'tar.gz'}`
    const url = `https://github.com/actions/runner/releases/download/v${TESTED_RUNNER_VERSION}/${filename}`
    return { os, architecture, filename, sha256: undefined, url }
  })
  const others = added.filter((entry) => !UPSTREAM.some(([os, architecture]) => os === entry.os && architecture === entry.architecture))
  return [...listed, ...others.map(({ os, architecture, filename, sha256 }) => ({ os, architecture, filename, sha256, url: undefined }))]
}

/**
 * Keeps a package of the runner application, read from a stream; system, architecture and version come from its file name. It replaces
 * the one for that system.
 *
 * @throws AppError invalid for a name that says none of these
 */
export async function addRunnerPackage(
  { db, now, blobs }: Pick<Deps, 'db' | 'now' | 'blobs'>,
  actor: Actor,
  { filename, body }: { filename: string; body: Readable },
): Promise<{ os: string; architecture: string; version: string; filename: string; sha256: string; size: number }> {
  requireSiteAdmin(actor, needs.siteAdmin)
  const match = /^actions-runner-(linux|osx|win)-(x64|arm64|arm|x86)-(\d+\.\d+\.\d+)\.(?:tar\.gz|zip)$/.exec(filename)
  const [, os, architecture, version] = match ?? []
  if (!os || !architecture || !version) {
    throw new AppError('invalid', 'The file must be named as upstream names it, like actions-runner-linux-x64-2.336.0.tar.gz')
  }
  const hash = createHash('sha256')
  const hashing = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      hash.update(chunk)
      done(null, chunk)
    },
  })
  const blobKey = `packages/${randomUUID()}`
  const size = await blobs.put(
    blobKey,
    pipeline(body, hashing, () => {}),
  )
  if (size === 0) {
    await blobs.delete(blobKey)
    throw new AppError('invalid', 'The file is empty')
  }
  const entry = { os, architecture, version, filename, blobKey, sha256: hash.digest('hex'), size, createdAt: now() }
  const replaced = await db.transaction().execute(async (tx) => {
    await eventInsert(tx, { at: now(), actor, kind: 'runner_package.added', subject: { kind: 'enterprise', id: 1 }, payload: { filename } })
    return runnerPackageSet(tx, entry)
  })
  if (replaced) await blobs.delete(replaced)
  return { os, architecture, version, filename, sha256: entry.sha256, size }
}

export interface AddedPackage {
  os: string
  architecture: string
  version: string
  filename: string
  sha256: string
  size: number
  createdAt: number
}

/** The packages that were added, for site administrators. */
export async function listRunnerPackages({ db }: Pick<Deps, 'db'>, actor: Actor): Promise<AddedPackage[]> {
  requireSiteAdmin(actor, needs.siteAdmin)
  return runnerPackageList(db)
}

/** An added package by its file name, for anyone: upstream's are public too. */
export async function getRunnerPackage(
  { db }: Pick<Deps, 'db'>,
  filename: string,
): Promise<{ blobKey: string; size: number; sha256: string }> {
  const found = await runnerPackageByFilename(db, filename)
  if (!found) throw new AppError('not_found', 'Not Found')
  return found
}
