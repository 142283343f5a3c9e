import { isoTime } from '../../http/places.ts'
import type { AppView, NewApp } from '../../core/apps/apps.ts'
import type { InstallationView } from '../../core/apps/installations.ts'
import { accountType } from '../../model/account.ts'
import { presentSimpleUser, type Bases } from './present-account.ts'
import { nodeId } from './room.ts'
import type { AppBody, InstallationBody, NewAppBody } from './shapes-app.ts'

/** integration: an App. */
export function presentApp(bases: Bases, { app, owner, installations }: AppView): AppBody {
  return {
    id: app.id,
    client_id: app.clientId,
    slug: app.slug,
    node_id: nodeId('App', app.id),
    owner: presentSimpleUser(bases, owner),
    name: app.name,
    description: app.description,
    external_url: app.externalUrl,
    html_url: `${bases.web}/apps/${app.slug}`,
    created_at: isoTime(app.createdAt),
    updated_at: isoTime(app.updatedAt),
    permissions: app.permissions,
    events: app.events,
    installations_count: installations,
  }
}

/** The one answer that has the secrets of an App. */
export function presentNewApp(bases: Bases, made: NewApp): NewAppBody {
  return { ...presentApp(bases, made), client_secret: made.clientSecret, webhook_secret: made.webhookSecret, pem: made.privateKey }
}

/** installation. */
export function presentInstallation(bases: Bases, { installation, app, account }: InstallationView): InstallationBody {
  const { id, repositorySelection, permissions, events, createdAt, updatedAt, suspendedAt } = installation
  const isOrganization = account.kind === 'organization'
  return {
    id,
    client_id: app.clientId,
    account: presentSimpleUser(bases, account),
    repository_selection: repositorySelection,
    access_tokens_url: `${bases.api}/app/installations/${id}/access_tokens`,
    repositories_url: `${bases.api}/installation/repositories`,
    html_url: `${bases.web}/${isOrganization ? `organizations/${account.login}/` : ''}settings/installations/${id}`,
    app_id: app.id,
    app_slug: app.slug,
    target_id: account.id,
    target_type: accountType(account),
    permissions,
    events,
    created_at: isoTime(createdAt),
    updated_at: isoTime(updatedAt),
    single_file_name: null,
    has_multiple_single_files: false,
    single_file_paths: [],
    suspended_by: null,
    suspended_at: suspendedAt === null ? null : isoTime(suspendedAt),
  }
}
