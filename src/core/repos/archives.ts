import { AppError } from '../../model/errors.ts'
import { fullName, type Repository } from '../../model/account.ts'
import type { Assignment } from '../../model/job.ts'
import { jobById } from '../../store/jobs.ts'
import { repositoryById, repositoryByName } from '../../store/repositories.ts'
import { checkSignature, signUpload } from '../logs/uploads.ts'
import type { Deps } from '../deps.ts'
import type { ArchiveFormat, OpenArchive } from './archive-cache.ts'

/** An address that gives the files of one commit for `times.archiveUrl`; bound to repository and commit, so it can be cached and shared. */
export function signArchive(
  deps: Pick<Deps, 'keys' | 'now' | 'times'>,
  repository: Repository,
  sha: string,
  format: ArchiveFormat,
): string {
  const key = archiveKey(repository.id, sha, format)
  return `/_blobs/${key}?${signUpload(deps, key, 'r', deps.now() + deps.times.archiveUrl).query}`
}

function archiveKey(repositoryId: number, sha: string, format: ArchiveFormat): string {
  return `archives/${repositoryId}-${sha}.${format}`
}

/** The archive that a signed address names, with one folder at its top, as the runner wants it (job-services.md 7.3). */
export async function openArchive(
  deps: Pick<Deps, 'db' | 'archives' | 'keys' | 'now'>,
  key: string,
  query: Record<string, string | undefined>,
  signal: AbortSignal,
): Promise<OpenArchive & { format: ArchiveFormat; filename: string }> {
  checkSignature(deps, key, query, 'r')
  const match = /^archives\/(\d+)-([0-9a-f]{40})\.(tar\.gz|zip)$/.exec(key)
  const repository = match && (await repositoryById(deps.db, Number(match[1])))
  if (!match || !repository) throw new AppError('not_found', 'Not Found')
  const sha = match[2] ?? ''
  const format = match[3] as ArchiveFormat
  const folder = `${repository.owner.login}-${repository.name}-${sha.slice(0, 7)}`
  const opened = await deps.archives.open({ repositoryId: repository.id, sha, format, folder }, signal)
  return { ...opened, format, filename: `${folder}.${format}` }
}

export interface ResolvedAction {
  name: string
  resolvedName: string
  sha: string
  tarPath: string
  zipPath: string
}

/**
 * Finds what `uses: owner/repo@ref` of a job means: a commit of the workflow's own repository, a public one, or an internal one of the
 * enterprise (architecture 1.9). A private one is "repository not found", as one that is not there.
 *
 * @throws AppError invalid with the sentence that the runner shows
 */
export async function resolveAction(
  deps: Pick<Deps, 'db' | 'git' | 'keys' | 'now' | 'times'>,
  assignment: Assignment,
  action: { name: string; ref: string },
): Promise<ResolvedAction> {
  const { db, git } = deps
  const unable = (why: string) => new AppError('invalid', `Unable to resolve action ${action.name}@${action.ref}, ${why}`)
  const [owner = '', name = '', ...rest] = action.name.split('/')
  const repository = owner && name && rest.length === 0 ? await repositoryByName(db, owner, name) : undefined
  const job = await jobById(db, assignment.jobId)
  const isOpen = repository !== undefined && (repository.visibility !== 'private' || repository.id === job?.repositoryId)
  if (!repository || !isOpen) throw unable('repository not found')
  const sha = await git.resolve(repository.id, action.ref)
  if (sha === undefined) throw unable(`unable to find version ${action.ref}`)
  return {
    name: action.name,
    resolvedName: fullName(repository),
    sha,
    tarPath: signArchive(deps, repository, sha, 'tar.gz'),
    zipPath: signArchive(deps, repository, sha, 'zip'),
  }
}
