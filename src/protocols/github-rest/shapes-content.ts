import { Type, type Static } from 'typebox'
import { orNull, texts, Time, Word } from '../../http/answers.ts'

const Signature = Type.Object({ name: Type.String(), email: Type.String(), date: Time })
const Tree = Type.Object(texts('sha', 'url'))

export type CommitBody = Static<typeof CommitBody>
export const CommitBody = Type.Object(
  {
    ...texts('sha', 'node_id', 'url', 'html_url', 'comments_url'),
    commit: Type.Object({
      author: Signature,
      committer: Signature,
      message: Type.String(),
      tree: Tree,
      url: Type.String(),
      comment_count: Type.Integer(),
      verification: Type.Object({
        verified: Type.Boolean(),
        reason: Type.String(),
        signature: Type.Null(),
        payload: Type.Null(),
        verified_at: Type.Null(),
      }),
    }),
    author: Type.Null({ description: 'Which account the author is, is not known here.' }),
    committer: Type.Null(),
    parents: Type.Array(Type.Object(texts('sha', 'url', 'html_url'))),
  },
  { title: 'Commit' },
)

export type BranchBody = Static<typeof BranchBody>
export const BranchBody = Type.Object(
  {
    name: Type.String(),
    commit: CommitBody,
    _links: Type.Object(texts('self', 'html')),
    protected: Type.Boolean(),
    protection: Type.Object({
      enabled: Type.Boolean(),
      required_status_checks: Type.Object({
        enforcement_level: Type.String(),
        contexts: Type.Array(Type.String()),
        checks: Type.Array(Type.Unknown()),
      }),
    }),
    protection_url: Type.String(),
  },
  { title: 'Branch' },
)

export type RefBody = Static<typeof RefBody>
export const RefBody = Type.Object(
  {
    ...texts('ref', 'node_id', 'url'),
    object: Type.Object({ sha: Type.String(), type: Word('commit', 'tag'), url: Type.String() }),
  },
  { title: 'GitRef' },
)

const ITEM = {
  ...texts('name', 'path'),
  size: Type.Integer(),
  url: Type.String(),
  html_url: orNull(Type.String()),
  git_url: orNull(Type.String()),
  download_url: Type.Null({ description: 'There is none: ask this address for the raw type.' }),
  _links: Type.Object({ self: Type.String(), git: orNull(Type.String()), html: orNull(Type.String()) }),
}
const Entry = Type.Object(
  { ...ITEM, sha: Type.String(), type: Word('dir', 'file', 'symlink', 'submodule') },
  { title: 'ContentEntry', description: 'What is in a folder.' },
)
const Folder = Type.Object({ ...ITEM, type: Type.Literal('dir'), entries: Type.Array(Entry) }, { title: 'ContentFolder' })
const File = Type.Object(
  {
    ...ITEM,
    sha: Type.String(),
    type: Type.Literal('file'),
    encoding: Word('base64', 'none'),
    content: Type.String({ description: 'In base64; empty over 1 MB.' }),
  },
  { title: 'ContentFile' },
)
const Symlink = Type.Object(
  { ...ITEM, sha: Type.String(), type: Type.Literal('symlink'), target: Type.String() },
  { title: 'ContentSymlink' },
)
const Submodule = Type.Object(
  { ...ITEM, sha: Type.String(), type: Type.Literal('submodule'), submodule_git_url: Type.String() },
  { title: 'ContentSubmodule' },
)

/** A file, a symlink, a submodule, or what is in a folder: a list, and an object for who asks for `application/vnd.github.object`. */
export const ContentBody = Type.Union([File, Symlink, Submodule, Type.Array(Entry), Folder])
