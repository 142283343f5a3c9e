import { Type, type Static } from 'typebox'
import { orNull, texts, Time, Word } from '../../http/answers.ts'
import { SimpleUserBody } from './shapes-account.ts'
import { RepositoryBody } from './shapes-repository.ts'

const Permissions = Type.Record(Type.String(), Type.String(), { description: 'The level of each permission: `read`, `write` or `admin`.' })
const Selection = Word('all', 'selected')

const APP = {
  id: Type.Integer(),
  ...texts('client_id', 'slug', 'node_id'),
  owner: SimpleUserBody,
  name: Type.String(),
  description: orNull(Type.String()),
  ...texts('external_url', 'html_url'),
  created_at: Time,
  updated_at: Time,
  permissions: Permissions,
  events: Type.Array(Type.String()),
  installations_count: Type.Integer(),
}
export type AppBody = Static<typeof AppBody>
export const AppBody = Type.Object(APP, { title: 'App' })

export type NewAppBody = Static<typeof NewAppBody>
export const NewAppBody = Type.Object(
  { ...APP, client_secret: Type.String(), webhook_secret: orNull(Type.String()), pem: Type.String() },
  { title: 'NewApp', description: 'The one answer that has the secrets of an App.' },
)

export type InstallationBody = Static<typeof InstallationBody>
export const InstallationBody = Type.Object(
  {
    id: Type.Integer(),
    client_id: Type.String(),
    account: SimpleUserBody,
    repository_selection: Selection,
    ...texts('access_tokens_url', 'repositories_url', 'html_url'),
    app_id: Type.Integer(),
    app_slug: Type.String(),
    target_id: Type.Integer(),
    target_type: Word('User', 'Organization', 'Bot'),
    permissions: Permissions,
    events: Type.Array(Type.String()),
    created_at: Time,
    updated_at: Time,
    single_file_name: Type.Null(),
    has_multiple_single_files: Type.Boolean(),
    single_file_paths: Type.Array(Type.String()),
    suspended_by: Type.Null(),
    suspended_at: orNull(Time),
  },
  { title: 'Installation' },
)
export const InstallationsBody = Type.Array(InstallationBody)

export const InstallationTokenBody = Type.Object(
  {
    token: Type.String(),
    expires_at: Time,
    permissions: Permissions,
    repository_selection: Selection,
    repositories: Type.Optional(Type.Array(RepositoryBody)),
  },
  { title: 'InstallationToken' },
)
