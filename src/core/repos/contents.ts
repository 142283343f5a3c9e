import { needs, type Actor } from '../../model/access.ts'
import type { Repository } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'
import type { Commit } from '../../model/job.ts'
import { authorizeRepository, type RepositoryRef } from '../access/authorize.ts'
import type { Deps } from '../deps.ts'
import type { ArchiveFormat } from './archive-cache.ts'
import { signArchive } from './archives.ts'
import type { DirectoryEntry, Ref } from './git.ts'

type ContentDeps = Pick<Deps, 'db' | 'log' | 'git'>

/** What a file may weigh in an answer; larger ones are in the archive and in clones. */
const MAX_FILE_BYTES = 32 * 1024 * 1024
/** GitHub cuts folders here, too. */
const MAX_ENTRIES = 1000
const MAX_TARGET_BYTES = 4096

/** The branch with its newest commit. */
export async function getBranch(
  deps: ContentDeps,
  actor: Actor,
  ref: RepositoryRef,
  branch: string,
): Promise<{ repository: Repository; branch: string; commit: Commit }> {
  const repository = await readable(deps, actor, ref)
  const sha = await deps.git.resolve(repository.id, `refs/heads/${branch}`)
  if (sha === undefined) throw new AppError('not_found', 'Branch not found')
  return { repository, branch, commit: await deps.git.readCommit(repository.id, sha) }
}

/** The commit that a branch, a tag or a commit id names. */
export async function getCommit(
  deps: ContentDeps,
  actor: Actor,
  ref: RepositoryRef,
  name: string,
): Promise<{ repository: Repository; commit: Commit }> {
  const repository = await readable(deps, actor, ref)
  const sha = await deps.git.resolve(repository.id, name)
  if (sha === undefined) {
    await requireFilled(deps, repository)
    throw new AppError('invalid', `No commit found for SHA: ${name.slice(0, 200)}`)
  }
  return { repository, commit: await deps.git.readCommit(repository.id, sha) }
}

/** One ref by its name below `refs/`: `heads/main`, `tags/v1`. */
export async function getRef(
  deps: ContentDeps,
  actor: Actor,
  ref: RepositoryRef,
  name: string,
): Promise<{ repository: Repository; ref: Ref }> {
  const repository = await readable(deps, actor, ref)
  const refs = await deps.git.refs(repository.id)
  if (refs.length === 0) throw emptyRepository()
  const found = refs.find((one) => one.name === `refs/${name}`)
  if (!found) throw new AppError('not_found', 'Not Found')
  return { repository, ref: found }
}

export interface ContentItem extends DirectoryEntry {
  path: string
}

export type Content =
  | { kind: 'directory'; entries: ContentItem[] }
  | { kind: 'file'; item: ContentItem; bytes: Buffer }
  | { kind: 'symlink'; item: ContentItem; target: string }
  | { kind: 'submodule'; item: ContentItem }

/** A file or a folder as it is at a commit, the default branch's newest when none is named. */
export async function getContent(
  deps: ContentDeps,
  actor: Actor,
  input: { repository: RepositoryRef; path: string; ref?: string | undefined },
): Promise<{ repository: Repository; ref: string; content: Content }> {
  const repository = await readable(deps, actor, input.repository)
  const { id } = repository
  const ref = input.ref === undefined || input.ref === '' ? repository.defaultBranch : input.ref
  const sha = await deps.git.resolve(id, ref)
  if (sha === undefined) {
    const isEmpty = (await deps.git.refs(id)).length === 0
    throw new AppError('not_found', isEmpty ? 'This repository is empty.' : `No commit found for the ref ${ref.slice(0, 200)}`)
  }

  const path = input.path.replace(/^\/+|\/+$/g, '')
  const item = path === '' ? undefined : await itemAt(deps, id, sha, path)
  return { repository, ref, content: item && item.type !== 'tree' ? await single(deps, id, sha, item) : await folder(deps, id, sha, path) }
}

async function itemAt({ git }: ContentDeps, id: number, sha: string, path: string): Promise<ContentItem> {
  const slash = path.lastIndexOf('/')
  const entries = await git.listDirectory(id, sha, path.slice(0, Math.max(0, slash)))
  const entry = entries?.find(({ name }) => name === path.slice(slash + 1))
  if (!entry) throw new AppError('not_found', 'Not Found')
  return { ...entry, path }
}

async function folder({ git }: ContentDeps, id: number, sha: string, path: string): Promise<Content> {
  const entries = await git.listDirectory(id, sha, path)
  if (!entries) throw new AppError('not_found', 'Not Found')
  const prefix = path === '' ? '' : `${path}/`
  return { kind: 'directory', entries: entries.slice(0, MAX_ENTRIES).map((entry) => ({ ...entry, path: prefix + entry.name })) }
}

async function single({ git }: ContentDeps, id: number, sha: string, item: ContentItem): Promise<Content> {
  if (item.type === 'commit') return { kind: 'submodule', item }
  const isLink = item.mode === '120000'
  if (!isLink && (item.size ?? 0) > MAX_FILE_BYTES) throw tooLarge(item.path)
  const bytes = await git.readFile(id, sha, item.path, isLink ? MAX_TARGET_BYTES : MAX_FILE_BYTES)
  if (!bytes) throw new AppError('not_found', 'Not Found')
  return isLink ? { kind: 'symlink', item, target: bytes.toString('utf8') } : { kind: 'file', item, bytes }
}

function tooLarge(path: string): AppError {
  const limit = `${MAX_FILE_BYTES / 1024 / 1024} MB`
  const detail = { resource: 'Blob', field: 'data', code: 'too_large' }
  return new AppError('forbidden', `Files of up to ${limit} are told here: take ${path.slice(0, 200)} from an archive or a clone.`, {
    details: [detail],
  })
}

/** The signed path of an archive of what a ref names, the default branch when none is named. */
export async function archiveAddress(
  deps: ContentDeps & Pick<Deps, 'keys' | 'now' | 'times'>,
  actor: Actor,
  input: { repository: RepositoryRef; ref: string; format: ArchiveFormat },
): Promise<string> {
  const repository = await readable(deps, actor, input.repository)
  const sha = await deps.git.resolve(repository.id, input.ref === '' ? repository.defaultBranch : input.ref)
  if (sha === undefined) throw new AppError('not_found', 'Not Found')
  return signArchive(deps, repository, sha, input.format)
}

/** How objects are named in a repository: the same everywhere here. */
export async function getHashAlgorithm(deps: ContentDeps, actor: Actor, ref: RepositoryRef): Promise<'sha1'> {
  await authorizeRepository(deps, actor, ref, needs.repositoryRead)
  return 'sha1'
}

async function readable(deps: ContentDeps, actor: Actor, ref: RepositoryRef): Promise<Repository> {
  const { repository } = await authorizeRepository(deps, actor, ref, needs.repositoryContents)
  return repository
}

async function requireFilled({ git }: ContentDeps, { id }: Repository): Promise<void> {
  if ((await git.refs(id)).length === 0) throw emptyRepository()
}

function emptyRepository(): AppError {
  return new AppError('conflict', 'Git Repository is empty.')
}
