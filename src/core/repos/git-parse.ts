import type { Commit } from '../../model/job.ts'
import type { CommitFiles, DirectoryEntry, Ref } from './git.ts'

/** Reads a commit object, as `git cat-file` gives it. */
/** Messages are kept up to this: each goes into events and job messages. */
const MESSAGE_BYTES = 64 * 1024

export function parseCommit(id: string, raw: Buffer): Commit {
  const end = raw.indexOf('\n\n')
  const headers = (end < 0 ? raw : raw.subarray(0, end)).toString('latin1').split('\n')
  const value = (name: string) => headers.find((line) => line.startsWith(`${name} `))?.slice(name.length + 1) ?? ''
  const decode = decoder(value('encoding'))
  const author = parsePerson(decode(Buffer.from(value('author'), 'latin1')))
  const committer = parsePerson(decode(Buffer.from(value('committer'), 'latin1')))
  return {
    id,
    treeId: value('tree'),
    message: end < 0 ? '' : decode(raw.subarray(end + 2, end + 2 + MESSAGE_BYTES)).replace(/\n+$/, ''),
    timestamp: committer.timestamp,
    author: { name: author.name, email: author.email },
    committer: { name: committer.name, email: committer.email },
    parents: headers.filter((line) => line.startsWith('parent ')).map((line) => line.slice('parent '.length)),
    authoredAt: author.timestamp,
  }
}

function decoder(encoding: string): (bytes: Buffer) => string {
  if (encoding !== '') {
    try {
      const known = new TextDecoder(encoding)
      return (bytes) => known.decode(bytes)
    } catch {
      // An encoding that nobody knows is read as UTF-8.
    }
  }
  return (bytes) => bytes.toString('utf8')
}

/** `Name <email> 1700000000 +0200` */
function parsePerson(text: string): { name: string; email: string; timestamp: string } {
  const match = /^(.*?) ?<([^>]*)>(?: (-?\d+) ([+-]\d{4}))?/.exec(text)
  return { name: match?.[1] ?? '', email: match?.[2] ?? '', timestamp: instantWithOffset(Number(match?.[3] ?? 0), match?.[4] ?? '+0000') }
}

/** `2024-01-31T10:00:00+02:00`: the local time of the committer, as webhooks have it. */
function instantWithOffset(seconds: number, zone: string): string {
  const minutes = (zone.startsWith('-') ? -1 : 1) * (Number(zone.slice(1, 3)) * 60 + Number(zone.slice(3, 5)))
  const local = new Date((seconds + minutes * 60) * 1000)
  if (Number.isNaN(local.getTime())) return '1970-01-01T00:00:00Z'
  const text = local.toISOString().slice(0, 19)
  return minutes === 0 ? `${text}Z` : `${text}${zone.slice(0, 3)}:${zone.slice(3, 5)}`
}

/** The fields that `parseRefs` reads. */
export const refFormat = '%(refname)%00%(objectname)%00%(*objectname)'

export function parseRefs(stdout: Buffer): Ref[] {
  return stdout
    .toString('utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [name = '', sha = '', peeled = ''] = line.split('\0')
      return { name, sha, commitSha: peeled === '' ? sha : peeled }
    })
}

/** `git ls-tree -l -z` */
export function parseTree(stdout: Buffer): DirectoryEntry[] {
  return records(stdout).map((record) => {
    const tab = record.indexOf('\t')
    const [mode = '', type = '', sha = '', size = ''] = record.slice(0, tab).split(/ +/)
    return { name: record.slice(tab + 1), sha, size: size === '-' ? null : Number(size), mode, type: type as DirectoryEntry['type'] }
  })
}

/** `git diff-tree --stdin -z --name-status`: after each commit's id its pairs of status and path. */
export function parseNameStatus(stdout: Buffer): Map<string, CommitFiles> {
  const files = new Map<string, CommitFiles>()
  let current: CommitFiles = { added: [], removed: [], modified: [] }
  const fields = records(stdout)
  for (let i = 0; i < fields.length; i++) {
    const field = (fields[i] ?? '').trim()
    if (/^[0-9a-f]{40}$/.test(field)) {
      current = { added: [], removed: [], modified: [] }
      files.set(field, current)
      continue
    }
    const path = fields[++i] ?? ''
    if (field === 'A') current.added.push(path)
    else if (field === 'D') current.removed.push(path)
    else current.modified.push(path)
  }
  return files
}

/** What `-z` separates. */
export function records(stdout: Buffer): string[] {
  const text = stdout.toString('utf8')
  return text === '' ? [] : text.replace(/\0$/, '').split('\0')
}
