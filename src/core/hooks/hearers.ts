import type { Repository } from '../../model/account.ts'
import { hookOwnersOf, type Hook } from '../../model/hook.ts'
import { grants, type PermissionNeed } from '../../model/permissions.ts'
import { installationHasRepository, installationsReaching } from '../../store/apps.ts'
import { hooksOfAny } from '../../store/hooks.ts'
import type { Deps } from '../deps.ts'

/** A webhook that may hear of a repository; one of an App through its installation, of what that may see. */
export interface Hearer {
  hook: Hook
  installationId: number | undefined
}

/** What an App must be given to hear of an event, as of what it tells (rest-api.md 2.17). */
const TAKES: Record<string, PermissionNeed> = {
  workflow_job: 'actions:read',
  workflow_run: 'actions:read',
  check_run: 'checks:read',
  push: 'contents:read',
}

/** Active webhooks that hear of what happens in a repository, each with the events that it hears of there. */
export async function hearersOf(db: Deps['db'], repository: Repository): Promise<Hearer[]> {
  const installations = await installationsReaching(db, repository.id, repository.owner.id)
  const apps = installations.map(({ appId }) => ({ kind: 'app' as const, id: appId }))
  const hooks = await hooksOfAny(db, [...hookOwnersOf(repository), ...apps])
  return hooks.map((hook) => {
    const installation = hook.owner.kind === 'app' ? installations.find(({ appId }) => appId === hook.owner.id) : undefined
    if (!installation) return { hook, installationId: undefined }
    const events = hook.events.filter((event) => grants(installation.permissions, TAKES[event] ?? 'none'))
    return { hook: { ...hook, events }, installationId: installation.id }
  })
}

/** Whether an App may still be told of a repository through an installation; `repositoryId` is null for what befell the installation itself. */
export async function isHeardThrough(
  db: Deps['db'],
  live: ReadonlyMap<number, 'all' | 'selected'>,
  { installationId, repositoryId }: { installationId: number | null; repositoryId: number | null },
): Promise<boolean> {
  if (installationId === null) return true
  const selection = live.get(installationId)
  if (selection === 'selected' && repositoryId !== null) return installationHasRepository(db, installationId, repositoryId)
  return selection !== undefined
}
