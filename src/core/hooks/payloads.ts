import type { Account, Enterprise, Repository } from '../../model/account.ts'
import type { Hook } from '../../model/hook.ts'
import { accountById, enterpriseGet } from '../../store/accounts.ts'
import type { InstallationView } from '../apps/installations.ts'
import type { JobView } from '../jobs/jobs.ts'
import type { RunView } from '../runs/runs.ts'
import type { Deps } from '../deps.ts'

/** What a request tells of, as it was when it happened. */
export type HookMessage =
  | { event: 'workflow_job'; action: 'queued' | 'in_progress' | 'completed'; job: JobView }
  | { event: 'check_run'; action: 'created' | 'completed'; job: JobView; run: RunView; annotations: number }
  | { event: 'workflow_run'; action: 'requested' | 'in_progress' | 'completed'; run: RunView }
  | { event: 'push'; action: null; push: Record<string, unknown> }
  | { event: 'ping'; action: null; hook: Hook }
  | {
      event: 'installation'
      action: 'created' | 'deleted' | 'suspend' | 'unsuspend' | 'new_permissions_accepted'
      view: InstallationView
      repositories: Repository[]
    }
  | { event: 'installation_repositories'; action: 'added' | 'removed'; view: InstallationView; repositories: Repository[] }

/** What stands beside it in each payload. */
export interface HookContext {
  repository: Repository | undefined
  organization: Account | undefined
  enterprise: Enterprise | undefined
  sender: Account | undefined
  /** Of the App that is told. */
  installationId?: number | undefined
}

/** Puts a message in GitHub's form: the room that speaks it knows how. */
export type PresentHookPayload = (message: HookMessage, context: HookContext) => Record<string, unknown>

/** A repository with its organization and enterprise, and who caused what is told. Organizations belong to the enterprise, users do not. */
export async function contextOf(
  { db }: Pick<Deps, 'db'>,
  { repository, organization: given, senderId }: { repository?: Repository; organization?: Account; senderId: number | null },
): Promise<HookContext> {
  const organization = given ?? (repository?.owner.kind === 'organization' ? repository.owner : undefined)
  return {
    repository,
    organization,
    enterprise: organization || !repository ? await enterpriseGet(db) : undefined,
    sender: senderId === null ? undefined : await accountById(db, senderId),
  }
}
