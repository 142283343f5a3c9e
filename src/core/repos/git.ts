import type { ChildProcess } from 'node:child_process'
import { access, mkdir, readdir, rename, rm, stat } from 'node:fs/promises'
import path from 'node:path'
import { PassThrough, type Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { AppError } from '../../model/errors.ts'
import type { Commit, HeadCommit } from '../../model/job.ts'
import { isObjectId, isRefName, noCommit } from '../../model/push.ts'
import { randomHex } from '../../model/secret-text.ts'
import type { Log } from '../deps.ts'
import { makeGate, type Gate } from './gate.ts'
import { writeGitHome } from './git-home.ts'
import { parseCommit, parseNameStatus, parseRefs, parseTree, records, refFormat } from './git-parse.ts'
import { runGit, startGit, type GitResult, type RunOptions } from './git-run.ts'
import { hookEnvironment } from './hooks.ts'

/*
 * Bare repositories, one folder for each repository's id, so that renaming one moves nothing. The git program does the work, with our
 * configuration only (git-home.ts). Names from outside reach it after `--end-of-options` or as input of `cat-file`; ids are checked to be
 * ids. A folder that is missing is an empty repository: `create` makes it on first use.
 */

/** A bare repository's contents, by the repository's id. Commits are named by full id wherever a parameter is called `sha`. */
export interface Git {
  /** Makes the folder; does nothing when it is there. */
  create(id: number, defaultBranch: string): Promise<void>
  /** Deletes the folder; does nothing when there is none. */
  remove(id: number): Promise<void>
  /** The commit that a branch, a tag, a full ref, `HEAD` or a commit id (also shortened) names; a branch before a tag. */
  resolve(id: number, ref: string): Promise<string | undefined>
  /** All refs by name, hidden ones too. */
  refs(id: number): Promise<Ref[]>
  /** The default branch, and whether it has a commit. */
  head(id: number): Promise<{ branch: string; unborn: boolean }>
  /** @throws Error when there is no such branch name */
  setHead(id: number, branch: string): Promise<void>
  /** @throws AppError not_found */
  commit(id: number, sha: string): Promise<HeadCommit>
  /** The same with its parents and the time of its author. @throws AppError not_found */
  readCommit(id: number, sha: string): Promise<Commit>
  /** Commits that a push brought, oldest first; the newest `limit` of them. `refs` are the refs of the same push. */
  commitsBetween(id: number, before: string | undefined, after: string, limit: number, refs?: string[]): Promise<PushedCommit[]>
  /**
   * Files that differ before and after a push; for a new branch, against the parent of the oldest commit that no other branch reaches.
   * `refs` are those that the push made; without them, the only branch at `after`. `unknown` for more than `limit` files, more than 1,000
   * commits, or when `before` is not there.
   */
  changedPaths(id: number, before: string | undefined, after: string, limit: number, refs?: string[]): Promise<string[] | 'unknown'>
  /** Whether one commit is the other or comes before it; false when either is missing. */
  isAncestor(id: number, ancestor: string, descendant: string): Promise<boolean>
  /** Entries of a folder (`''` is the top one); undefined when there is none at this path. */
  listDirectory(id: number, sha: string, directory: string): Promise<DirectoryEntry[] | undefined>
  /**
   * Files below a folder at a commit that no branch has at the same path with the same content. `quarantine` is where git keeps what a push
   * brings until it is accepted.
   */
  newFiles(id: number, sha: string, folder: string, quarantine: string): Promise<string[]>
  /** A file's content; undefined when there is none at this path. @throws AppError too_large */
  readFile(id: number, sha: string, file: string, maxBytes: number): Promise<Buffer | undefined>
  /** Makes a commit of files on a branch that has none. */
  writeFirstCommit(id: number, branch: string, commit: FirstCommit): Promise<string>
  /** The files of a commit, under one folder. Destroying the stream, or the signal, ends git. */
  archive(id: number, sha: string, format: 'tar.gz' | 'zip', prefix: string, signal?: AbortSignal): Promise<Readable>
  /** Starts `git http-backend` for a repository, with CGI variables. It leads a process group of its own. */
  startBackend(id: number, variables: Record<string, string>, signal?: AbortSignal): Promise<ChildProcess>
  /** Packs what many pushes left loose, when there is enough of it. What no ref reaches is kept as long as runs may ask for it. */
  tidy(id: number): Promise<void>
  /** Removes what a death left half made or half removed, and packs of pushes that it cut off, untouched since `before`. Answers how many. */
  sweep(before: number): Promise<number>
  /** One after the other in the order of the calls, for each repository; on this node only. */
  inTurn<T>(id: number, act: () => Promise<T>): Promise<T>
  /** Fails with one line for the operator when git is missing or too old. */
  check(): Promise<void>
}

export interface Ref {
  name: string
  sha: string
  /** What an annotated tag points to; else the same. */
  commitSha: string
}

export interface CommitFiles {
  added: string[]
  removed: string[]
  modified: string[]
}

export interface PushedCommit extends HeadCommit, CommitFiles {}

export interface DirectoryEntry {
  name: string
  sha: string
  /** Null for anything but a file. */
  size: number | null
  mode: string
  type: 'blob' | 'tree' | 'commit'
}

export interface FirstCommit {
  files: Record<string, string>
  message: string
  author: { name: string; email: string }
  at: number
}

export interface GitOptions {
  dir: string
  log: Log
  /** The largest pack that a push may send. */
  maxPushBytes?: number
}

const GIB = 1024 * 1024 * 1024

/** Short questions of ours: processor bound. */
const QUESTIONS = 8
/** Clones, pushes and archives: they wait for their client most of the time, and must not keep questions out. */
const TRANSFERS = 64
const MAY_WAIT = 2000

/** GitHub runs workflows whatever their `paths` when a push brings more commits than this. */
const MAX_COMMITS_LOOKED_AT = 1000
const MAX_DIFF_BYTES = 16 * 1024 * 1024
const EMPTY_TREE = '4b825dc642cb6eb9a060e54bf8d69288fbee4904'

/** Opens the folder of all repositories and writes git's configuration to it. @throws Error when hooks cannot be executed there */
export function openGit({ dir, maxPushBytes = 2 * GIB, log }: GitOptions): Git {
  const env = writeGitHome(path.resolve(dir), maxPushBytes)
  const place = (id: number) => path.join(path.resolve(dir), String(Math.floor(id / 1000)), `${id}.git`)
  const context: Context = { env, place, log, questions: makeGate(QUESTIONS, MAY_WAIT), transfers: makeGate(TRANSFERS, MAY_WAIT) }

  return {
    create: (id, defaultBranch) => create(context, id, defaultBranch),
    remove: (id) => remove(context, id),
    resolve: (id, ref) => resolve(context, id, ref),
    refs: (id) => refs(context, id),
    head: (id) => head(context, id),
    setHead: (id, branch) => setHead(context, id, branch),
    commit: async (id, sha) => headOf(await readCommit(context, id, sha)),
    readCommit: (id, sha) => readCommit(context, id, sha),
    commitsBetween: (id, before, after, limit, refs) => commitsBetween(context, id, { before, after, refs }, limit),
    changedPaths: (id, before, after, limit, refs) => changedPaths(context, id, { before, after, refs }, limit),
    isAncestor: (id, ancestor, descendant) => isAncestor(context, id, ancestor, descendant),
    listDirectory: (id, sha, directory) => listDirectory(context, id, sha, directory),
    newFiles: (id, sha, folder, quarantine) => newFiles(context, id, sha, folder, quarantine),
    readFile: (id, sha, file, maxBytes) => readFile(context, id, sha, file, maxBytes),
    writeFirstCommit: (id, branch, commit) => writeFirstCommit(context, id, branch, commit),
    archive: (id, sha, format, prefix, signal) => archive(context, id, sha, { format, prefix, signal }),
    startBackend: (id, variables, signal) => startBackend(context, id, variables, signal),
    tidy: (id) => tidy(context, id),
    sweep: (before) => sweep(path.resolve(dir), before),
    inTurn: makeTurns(),
    check: () => check(context),
  }
}

interface Context {
  env: NodeJS.ProcessEnv
  place: (id: number) => string
  log: Log
  questions: Gate
  transfers: Gate
}

interface Range {
  before: string | undefined
  after: string
  refs: string[] | undefined
}

/** Made aside and moved to its place: nobody sees half of it, and of two that make it at once one wins. */
async function create(context: Context, id: number, defaultBranch: string): Promise<void> {
  const folder = context.place(id)
  if (await exists(folder)) return
  const draft = `${folder}.${randomHex(6)}`
  await mkdir(path.dirname(folder), { recursive: true, mode: 0o750 })
  try {
    const args = ['init', '--quiet', '--bare', '--template=', `--initial-branch=${checkBranch(defaultBranch)}`, '--end-of-options', draft]
    await runGit(context.questions, args, { cwd: path.dirname(folder), env: context.env })
    await rename(draft, folder)
  } catch (error) {
    await rm(draft, { recursive: true, force: true })
    if (!(await exists(folder))) throw error
  }
}

/** Moved away first, so that a running operation does not see it vanish file by file. */
async function remove(context: Context, id: number): Promise<void> {
  const folder = context.place(id)
  const trash = `${folder}.${randomHex(6)}`
  try {
    await rename(folder, trash)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return
    throw error
  }
  await rm(trash, { recursive: true, force: true, maxRetries: 3 })
}

async function resolve(context: Context, id: number, ref: string): Promise<string | undefined> {
  const names = candidates(ref)
  if (names.length === 0) return undefined
  const input = names.map((name) => `${name}^{commit}\n`).join('')
  const result = await ask(context, id, ['cat-file', '--batch-check=%(objectname) %(objecttype)'], { input })
  const found = result?.stdout
    .toString('utf8')
    .split('\n')
    .map((line) => /^([0-9a-f]{40}) commit$/.exec(line)?.[1])
  return found?.find((sha) => sha !== undefined)
}

/** What a name may mean, in order of precedence. */
function candidates(ref: string): string[] {
  if (isObjectId(ref)) return [ref]
  if (!isRefName(ref)) return []
  if (ref === 'HEAD') return ['HEAD']
  if (ref.startsWith('refs/')) return [ref]
  const names = [`refs/heads/${ref}`, `refs/tags/${ref}`]
  if (ref.startsWith('heads/') || ref.startsWith('tags/')) names.push(`refs/${ref}`)
  // `abcd` could be read as a ref of that name, of which there is none here: a shortened id names objects only.
  if (/^[0-9a-f]{4,39}$/.test(ref)) names.push(ref)
  return names
}

async function refs(context: Context, id: number): Promise<Ref[]> {
  const result = await ask(context, id, ['for-each-ref', `--format=${refFormat}`])
  return result ? parseRefs(result.stdout) : []
}

async function head(context: Context, id: number): Promise<{ branch: string; unborn: boolean }> {
  const result = await ask(context, id, ['symbolic-ref', '--quiet', 'HEAD'], { codes: [0, 1] })
  const branch = result?.stdout.toString('utf8').trim().replace('refs/heads/', '') ?? 'main'
  return { branch, unborn: (await resolve(context, id, 'HEAD')) === undefined }
}

async function setHead(context: Context, id: number, branch: string): Promise<void> {
  await create(context, id, branch)
  await ask(context, id, ['symbolic-ref', 'HEAD', `refs/heads/${checkBranch(branch)}`])
}

async function readCommit(context: Context, id: number, sha: string): Promise<Commit> {
  const commit = await readOneCommit(context, id, `${checkId(sha)}^{commit}`)
  if (!commit) throw new AppError('not_found', `No commit found for SHA: ${sha}`)
  return commit
}

/** The headers and the message of a commit; of one that is longer, as much as is kept of any. */
const COMMIT_BYTES = 256 * 1024

async function readOneCommit(context: Context, id: number, name: string): Promise<Commit | undefined> {
  const limit = { maxBytes: COMMIT_BYTES + HEADER_BYTES }
  const result = await ask(context, id, ['cat-file', '--batch'], { input: `${name}\n`, ...limit })
  const [object] = result ? objectsIn(result.stdout, 1) : []
  return object && parseCommit(object.sha, object.content)
}

/** What events and runs keep of a commit. */
function headOf({ id, treeId, message, timestamp, author, committer }: Commit): HeadCommit {
  return { id, treeId, message, timestamp, author, committer }
}

async function commitsBetween(context: Context, id: number, range: Range, limit: number): Promise<PushedCommit[]> {
  const ids = await newCommits(context, id, range, limit)
  if (ids === undefined || ids.length === 0) return []
  const oldestFirst = ids.slice(0, limit).reverse()
  const commits = await readCommits(context, id, oldestFirst)
  const files = await filesOf(context, id, oldestFirst)
  return commits.map((commit) => ({ ...headOf(commit), ...(files.get(commit.id) ?? { added: [], removed: [], modified: [] }) }))
}

/** All with one process, unless one of them is too long for that. */
async function readCommits(context: Context, id: number, names: string[]): Promise<Commit[]> {
  const limit = { maxBytes: names.length * (COMMIT_BYTES + HEADER_BYTES) }
  const result = await ask(context, id, ['cat-file', '--batch'], { input: names.map((name) => `${name}\n`).join(''), ...limit })
  if (result && !result.cut) {
    return objectsIn(result.stdout, names.length).flatMap((object) => (object ? [parseCommit(object.sha, object.content)] : []))
  }
  const commits: Commit[] = []
  for (const name of names) {
    const commit = await readOneCommit(context, id, name)
    if (commit) commits.push(commit)
  }
  return commits
}

/** What each commit changed against its first parent. */
async function filesOf(context: Context, id: number, commits: string[]) {
  const args = ['diff-tree', '--stdin', '-r', '-z', '--root', '--diff-merges=first-parent', '--no-renames', '--name-status', '--always']
  const result = await ask(context, id, args, { input: commits.map((sha) => `${sha}\n`).join(''), maxBytes: MAX_DIFF_BYTES })
  return result && !result.cut ? parseNameStatus(result.stdout) : new Map()
}

/** Newest first, one more than the limit when there are more; undefined when an end of the range is not there. */
async function newCommits(context: Context, id: number, range: Range, limit: number): Promise<string[] | undefined> {
  const { before, after } = range
  const hidden = before === undefined || before === noCommit ? await otherBranches(context, id, range) : [checkId(before)]
  const input = [checkId(after), ...hidden.map((sha) => `^${sha}`)].map((line) => `${line}\n`).join('')
  const result = await ask(context, id, ['rev-list', '--topo-order', `--max-count=${limit + 1}`, '--stdin'], { input, codes: [0, 128] })
  if (!result || result.code !== 0) return undefined
  return result.stdout
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '')
}

/** Where the branches are that a new ref is compared with. */
async function otherBranches(context: Context, id: number, { after, refs: made }: Range): Promise<string[]> {
  const branches = (await refs(context, id)).filter(({ name }) => name.startsWith('refs/heads/'))
  const atIt = branches.filter(({ sha }) => sha === after).map(({ name }) => name)
  const own = new Set(made ?? (atIt.length === 1 ? atIt : []))
  return [...new Set(branches.filter(({ name }) => !own.has(name)).map(({ sha }) => sha))]
}

async function changedPaths(context: Context, id: number, range: Range, limit: number): Promise<string[] | 'unknown'> {
  const ids = await newCommits(context, id, range, MAX_COMMITS_LOOKED_AT)
  if (ids === undefined || ids.length > MAX_COMMITS_LOOKED_AT) return 'unknown'

  const { before, after } = range
  let from = before
  if (from === undefined || from === noCommit) {
    const oldest = ids.at(-1)
    if (oldest === undefined) return []
    from = (await firstParent(context, id, oldest)) ?? EMPTY_TREE
  }
  const args = ['diff-tree', '-r', '-z', '--name-only', '--no-renames', from, after]
  const result = await ask(context, id, args, { codes: [0, 128], maxBytes: MAX_DIFF_BYTES })
  if (!result || result.cut || result.code !== 0) return 'unknown'
  const paths = records(result.stdout)
  return paths.length > limit ? 'unknown' : paths
}

async function firstParent(context: Context, id: number, sha: string): Promise<string | undefined> {
  const result = await ask(context, id, ['cat-file', '--batch-check=%(objectname)'], { input: `${sha}^1\n` })
  return /^[0-9a-f]{40}$/m.exec(result?.stdout.toString('utf8') ?? '')?.[0]
}

async function isAncestor(context: Context, id: number, ancestor: string, descendant: string): Promise<boolean> {
  const args = ['merge-base', '--is-ancestor', checkId(ancestor), checkId(descendant)]
  const result = await ask(context, id, args, { codes: [0, 1, 128] })
  return result?.code === 0
}

async function listDirectory(context: Context, id: number, sha: string, directory: string): Promise<DirectoryEntry[] | undefined> {
  const tree = `${checkId(sha)}:${checkPath(directory)}`
  const result = await ask(context, id, ['ls-tree', '-l', '-z', '--end-of-options', tree], { codes: [0, 128] })
  return result?.code === 0 ? parseTree(result.stdout) : undefined
}

/** What is asked of all branches together; beyond it a file counts as new. */
const MAX_COMPARED = 200_000

async function newFiles(context: Context, id: number, sha: string, folder: string, quarantine: string): Promise<string[]> {
  const env = {
    ...context.env,
    GIT_OBJECT_DIRECTORY: quarantine,
    GIT_ALTERNATE_OBJECT_DIRECTORIES: path.join(context.place(id), 'objects'),
  }
  const pushed = { ...context, env }
  const types = await ask(pushed, id, ['cat-file', '--batch-check=%(objecttype)'], { input: `${checkId(sha)}\n${sha}^{tree}\n` })
  const [type, tree] = types?.stdout.toString('utf8').split('\n') ?? []
  if (type === undefined || type.endsWith('missing')) throw new Error(`${sha} is not among what was pushed`)
  // A tag may name a single file, which has nothing below it.
  if (tree !== 'tree') return []
  const listed = await ask(pushed, id, ['ls-tree', '-r', '-l', '-z', '--full-tree', sha, `${checkPath(folder)}/`])
  const files = listed ? parseTree(listed.stdout) : []
  if (files.length === 0) return []

  const tips = [...new Set((await refs(context, id)).filter(({ name }) => name.startsWith('refs/heads/')).map(({ sha }) => sha))]
  const questions = files.flatMap((file) => tips.map((tip) => ({ file, name: `${tip}:${file.name}` })))
  if (questions.length > MAX_COMPARED || questions.some(({ name }) => name.includes('\n'))) return files.map(({ name }) => name)
  const input = questions.map(({ name }) => `${name}\n`).join('')
  const answers =
    (await ask(context, id, ['cat-file', '--batch-check=%(objectname)'], { input }))?.stdout.toString('utf8').split('\n') ?? []
  const known = new Set(questions.filter(({ file }, index) => answers[index] === file.sha).map(({ file }) => file.name))
  return files.map(({ name }) => name).filter((name) => !known.has(name))
}

async function readFile(context: Context, id: number, sha: string, file: string, maxBytes: number): Promise<Buffer | undefined> {
  const [object] = await readObjects(context, id, [`${checkId(sha)}:${checkPath(file)}`], maxBytes)
  return object?.type === 'blob' ? object.content : undefined
}

interface ReadObject {
  sha: string
  type: string
  /** Of the whole, also where the content is cut. */
  size: number
  content: Buffer
}

/** What a header of `cat-file --batch` and a line end take, at most. */
const HEADER_BYTES = 128

/** Reads objects with one `cat-file --batch`. Names hold no line end. @throws AppError too_large */
async function readObjects(context: Context, id: number, names: string[], maxBytes?: number): Promise<(ReadObject | undefined)[]> {
  const limit = maxBytes === undefined ? {} : { maxBytes: names.length * (maxBytes + HEADER_BYTES) }
  const result = await ask(context, id, ['cat-file', '--batch'], { input: names.map((name) => `${name}\n`).join(''), ...limit })
  if (!result) return names.map(() => undefined)
  const objects = objectsIn(result.stdout, names.length)
  const large = objects.find((object) => object && object.size > Math.min(object.content.length, maxBytes ?? Infinity))
  if (large) throw new AppError('too_large', `This file is ${large.size} bytes long; ${maxBytes ?? 0} are allowed.`)
  return objects
}

/** What `cat-file --batch` printed of so many names; undefined for one that is not there. The last of an output that was cut is cut. */
function objectsIn(output: Buffer, count: number): (ReadObject | undefined)[] {
  let at = 0
  return Array.from({ length: count }, () => {
    const end = output.indexOf('\n', at)
    const header = output.subarray(at, end < 0 ? undefined : end).toString('utf8')
    at = end + 1
    const match = /^([0-9a-f]{40}) (\w+) (\d+)$/.exec(header)
    if (!match) return undefined
    const [, sha = '', type = '', sizeText] = match
    const size = Number(sizeText)
    const content = output.subarray(at, at + size)
    at += size + 1
    return { sha, type, size, content }
  })
}

/** Written with plumbing: there is no work tree, and no other ref yet that could be in the way. */
async function writeFirstCommit(
  context: Context,
  id: number,
  branch: string,
  { files, message, author, at }: FirstCommit,
): Promise<string> {
  await create(context, id, branch)
  const run = async (args: string[], input: string, env: NodeJS.ProcessEnv = {}) => {
    const result = await runGit(context.questions, args, { cwd: context.place(id), env: { ...context.env, ...env }, input })
    return result.stdout.toString('utf8').trim()
  }

  const entries: string[] = []
  for (const [name, text] of Object.entries(files)) {
    entries.push(`100644 blob ${await run(['hash-object', '-w', '--stdin'], text)}\t${name}\0`)
  }
  const tree = await run(['mktree', '-z'], entries.join(''))
  const date = `@${Math.floor(at / 1000)} +0000`
  const person = { GIT_AUTHOR_NAME: author.name, GIT_AUTHOR_EMAIL: author.email, GIT_AUTHOR_DATE: date }
  const committer = { GIT_COMMITTER_NAME: author.name, GIT_COMMITTER_EMAIL: author.email, GIT_COMMITTER_DATE: date }
  const sha = await run(['commit-tree', tree], message, { ...person, ...committer })
  await run(['update-ref', `refs/heads/${checkBranch(branch)}`, sha, noCommit], '')
  return sha
}

async function archive(
  context: Context,
  id: number,
  sha: string,
  { format, prefix, signal }: { format: 'tar.gz' | 'zip'; prefix: string; signal: AbortSignal | undefined },
): Promise<Readable> {
  if (!(await resolve(context, id, checkId(sha)))) throw new AppError('not_found', `No commit found for SHA: ${sha}`)

  const leave = await context.transfers.enter(signal)
  let child: ChildProcess
  try {
    const args = ['archive', `--format=${format}`, `--prefix=${checkPath(prefix)}/`, '--end-of-options', sha]
    child = await startGit(args, { cwd: context.place(id), env: context.env, stdio: ['ignore', 'pipe', 'ignore'] })
  } catch (error) {
    leave()
    throw error
  }
  const ended = new Promise<number>((resolve) => child.once('close', (code) => resolve(code ?? -1)))
  const files = new PassThrough()
  const abort = () => files.destroy(signal?.reason as Error)
  signal?.addEventListener('abort', abort, { once: true })
  files.once('close', () => {
    signal?.removeEventListener('abort', abort)
    child.kill('SIGKILL')
  })
  void finishArchive(child, ended, files).finally(leave)
  return files
}

/** The stream ends well only if git did: a reader must not take half an archive for a whole one. */
async function finishArchive(child: ChildProcess, ended: Promise<number>, files: PassThrough): Promise<void> {
  try {
    await pipeline(child.stdout ?? [], files, { end: false })
    const code = await ended
    if (code === 0) files.end()
    else files.destroy(new Error(`git archive ended with ${code}`))
  } catch (error) {
    files.destroy(error as Error)
    await ended
  }
}

async function startBackend(
  context: Context,
  id: number,
  variables: Record<string, string>,
  signal: AbortSignal | undefined,
): Promise<ChildProcess> {
  const leave = await context.transfers.enter(signal)
  const folder = context.place(id)
  const env = { ...context.env, ...hookEnvironment, ...variables, GIT_PROJECT_ROOT: path.dirname(folder), GIT_HTTP_EXPORT_ALL: '1' }
  try {
    const stdio = ['pipe', 'pipe', 'pipe', 'pipe', 'pipe'] as const
    const child = await startGit(['http-backend'], { cwd: folder, env, stdio: [...stdio], detached: true })
    child.once('close', leave)
    return child
  } catch (error) {
    leave()
    throw error
  }
}

/** Objects and packs from which on tidying pays, and how long unreachable commits stay. */
const TIDY = ['gc.auto=1000', 'gc.autoPackLimit=30', 'gc.autoDetach=false', 'gc.pruneExpire=100.days.ago', 'gc.writeCommitGraph=true']
const TIDY_MS = 30 * 60_000

async function tidy(context: Context, id: number): Promise<void> {
  const leave = await context.transfers.enter()
  try {
    const settings = TIDY.flatMap((setting) => ['-c', setting])
    // A gate of its own: a long one must not keep questions out.
    await ask({ ...context, questions: makeGate(1, 0) }, id, [...settings, 'gc', '--auto', '--quiet'], { timeoutMs: TIDY_MS })
  } finally {
    leave()
  }
}

/** Drafts and trash stand beside a repository; what a push brought waits in a folder of its own until it is accepted. */
const LEFT_BESIDE = /^\d+\.git\.[0-9a-f]+$/
const LEFT_INSIDE = /^(?:tmp_objdir-|incoming-)/

async function sweep(dir: string, before: number): Promise<number> {
  let removed = 0
  const removeOld = async (folder: string) => {
    const found = await stat(folder).catch(() => undefined)
    // Moving a folder away changes only the time of its entry.
    if (!found || Math.max(found.mtimeMs, found.ctimeMs) >= before) return
    await rm(folder, { recursive: true, force: true })
    removed++
  }
  for (const shelf of await namesIn(dir)) {
    if (!/^\d+$/.test(shelf)) continue
    for (const name of await namesIn(path.join(dir, shelf))) {
      const folder = path.join(dir, shelf, name)
      if (LEFT_BESIDE.test(name)) await removeOld(folder)
      if (!/^\d+\.git$/.test(name)) continue
      const objects = path.join(folder, 'objects')
      for (const inner of await namesIn(objects)) if (LEFT_INSIDE.test(inner)) await removeOld(path.join(objects, inner))
    }
  }
  return removed
}

async function namesIn(folder: string): Promise<string[]> {
  return readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== 'ENOENT') throw error
    return []
  })
}

function makeTurns(): Git['inTurn'] {
  const last = new Map<number, Promise<unknown>>()
  return async (id, act) => {
    const mine = (last.get(id) ?? Promise.resolve()).then(act, act)
    last.set(id, mine)
    try {
      return await mine
    } finally {
      if (last.get(id) === mine) last.delete(id)
    }
  }
}

/** The oldest with all that is used here: `--diff-merges` on bare repositories, and archives compressed without another program. */
const OLDEST_GIT = [2, 38] as const

async function check(context: Context): Promise<void> {
  const { stdout } = await runGit(context.questions, ['--version'], { cwd: '/', env: context.env })
  const text = stdout.toString('utf8').trim()
  const [major = 0, minor = 0] = /(\d+)\.(\d+)/.exec(text)?.slice(1).map(Number) ?? []
  if (major > OLDEST_GIT[0] || (major === OLDEST_GIT[0] && minor >= OLDEST_GIT[1])) return
  throw new Error(`git ${OLDEST_GIT.join('.')} or later is needed, and ${text} was found: install a later one`)
}

/** Runs git in a repository; undefined when the repository has no folder yet. */
async function ask(
  context: Context,
  id: number,
  args: string[],
  options: Omit<RunOptions, 'cwd' | 'env'> = {},
): Promise<GitResult | undefined> {
  const folder = context.place(id)
  if (!(await exists(folder))) return undefined
  return runGit(context.questions, args, { cwd: folder, env: { ...context.env, GIT_DIR: folder }, ...options })
}

async function exists(folder: string): Promise<boolean> {
  return access(folder).then(
    () => true,
    () => false,
  )
}

function checkId(sha: string): string {
  if (!isObjectId(sha)) throw new AppError('invalid', `${JSON.stringify(sha.slice(0, 60))} is not a commit id.`)
  return sha
}

function checkBranch(branch: string): string {
  if (!isRefName(branch)) throw new AppError('invalid', `${JSON.stringify(branch.slice(0, 60))} is not a name for a branch.`)
  return branch
}

/** `./x` and `../x` would be relative to a folder in git's syntax; a line end would be a second question. */
function checkPath(file: string): string {
  const clean = file.replace(/^\/+|\/+$/g, '')
  // oxlint-disable-next-line no-control-regex
  if (/[\u0000\n\r]/.test(clean) || clean.split('/').some((part) => part === '.' || part === '..')) {
    throw new AppError('invalid', 'path contains a malformed path component')
  }
  return clean
}
