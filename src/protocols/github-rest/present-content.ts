import type { Content, ContentItem } from '../../core/repos/contents.ts'
import type { Ref } from '../../core/repos/git.ts'
import { fullName, type Repository } from '../../model/account.ts'
import type { Commit } from '../../model/job.ts'
import type { Bases } from './present-account.ts'
import { nodeId } from './room.ts'
import type { BranchBody, CommitBody, RefBody } from './shapes-content.ts'

/** Beyond this GitHub leaves the content out of JSON; `Accept: application/vnd.github.raw` gives it. */
const MAX_EMBEDDED_BYTES = 1024 * 1024

/** commit. Authors are names in the commit; which accounts they belong to is not known here. */
export function presentCommit({ api, web }: Bases, repository: Repository, commit: Commit): CommitBody {
  const name = fullName(repository)
  const url = (sha: string) => `${api}/repos/${name}/commits/${sha}`
  return {
    sha: commit.id,
    node_id: nodeId(`Commit:${repository.id}`, commit.id),
    commit: {
      author: { ...commit.author, date: inUtc(commit.authoredAt) },
      committer: { ...commit.committer, date: inUtc(commit.timestamp) },
      message: commit.message,
      tree: { sha: commit.treeId, url: `${api}/repos/${name}/git/trees/${commit.treeId}` },
      url: `${api}/repos/${name}/git/commits/${commit.id}`,
      comment_count: 0,
      verification: { verified: false, reason: 'unsigned', signature: null, payload: null, verified_at: null },
    },
    url: url(commit.id),
    html_url: `${web}/${name}/commit/${commit.id}`,
    comments_url: `${url(commit.id)}/comments`,
    author: null,
    committer: null,
    parents: commit.parents.map((sha) => ({ sha, url: url(sha), html_url: `${web}/${name}/commit/${sha}` })),
  }
}

function inUtc(time: string): string {
  return `${new Date(time).toISOString().slice(0, 19)}Z`
}

/** branch-with-protection; nothing is protected. */
export function presentBranch(bases: Bases, repository: Repository, branch: string, commit: Commit): BranchBody {
  const name = fullName(repository)
  const url = `${bases.api}/repos/${name}/branches/${inPath(branch)}`
  return {
    name: branch,
    commit: presentCommit(bases, repository, commit),
    _links: { self: url, html: `${bases.web}/${name}/tree/${inPath(branch)}` },
    protected: false,
    protection: { enabled: false, required_status_checks: { enforcement_level: 'off', contexts: [], checks: [] } },
    protection_url: `${url}/protection`,
  }
}

/** git-ref. */
export function presentRef({ api }: Bases, repository: Repository, { name, sha, commitSha }: Ref): RefBody {
  const type = sha === commitSha ? 'commit' : 'tag'
  const repo = `${api}/repos/${fullName(repository)}`
  return {
    ref: name,
    node_id: nodeId(`Ref:${repository.id}`, name),
    url: `${repo}/git/${inPath(name)}`,
    object: { sha, type, url: `${repo}/git/${type}s/${sha}` },
  }
}

/** content-file, content-directory, content-symlink or content-submodule. */
export function presentContent(
  bases: Bases,
  repository: Repository,
  ref: string,
  content: Content,
  options: { asObject: boolean; path: string },
) {
  const present = (item: ContentItem) => presentItem(bases, repository, ref, item)
  if (content.kind === 'directory') {
    const entries = content.entries.map((entry) => ({ ...present(entry), type: typeOf(entry) }))
    if (!options.asObject) return entries
    const { path } = options
    const folder = { name: path.split('/').at(-1) ?? '', path, sha: '', size: 0, mode: '', type: 'tree' as const }
    const { sha: _sha, ...shown } = present(folder)
    return { ...shown, type: 'dir', entries }
  }
  const item = present(content.item)
  if (content.kind === 'symlink') return { ...item, type: 'symlink', target: content.target }
  if (content.kind === 'submodule') return { ...item, type: 'submodule', submodule_git_url: `${bases.web}/` }
  const fits = content.bytes.length <= MAX_EMBEDDED_BYTES
  return { ...item, type: 'file', encoding: fits ? 'base64' : 'none', content: fits ? inLines(content.bytes) : '' }
}

function presentItem({ api, web }: Bases, repository: Repository, ref: string, item: ContentItem) {
  const name = fullName(repository)
  const url = `${api}/repos/${name}/contents/${inPath(item.path)}?ref=${encodeURIComponent(ref)}`
  const git = item.type === 'commit' ? null : `${api}/repos/${name}/git/${item.type}s/${item.sha}`
  const html = item.type === 'commit' ? null : `${web}/${name}/${item.type}/${inPath(ref)}/${inPath(item.path)}`
  return {
    name: item.name,
    path: item.path,
    sha: item.sha,
    size: item.size ?? 0,
    url,
    html_url: html,
    git_url: git,
    // There is no address that gives files to whoever has it: ask this one for the raw type.
    download_url: null,
    _links: { self: url, git, html },
  }
}

function typeOf({ type, mode }: ContentItem): 'dir' | 'file' | 'symlink' | 'submodule' {
  if (type === 'tree') return 'dir'
  if (type === 'commit') return 'submodule'
  return mode === '120000' ? 'symlink' : 'file'
}

/** Lines of 60, as GitHub breaks them. */
function inLines(bytes: Buffer): string {
  return bytes.toString('base64').replace(/.{1,60}/g, '$&\n')
}

function inPath(text: string): string {
  return text.split('/').map(encodeURIComponent).join('/')
}
