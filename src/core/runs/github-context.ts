import type { Account, Repository } from '../../model/account.ts'
import { fullName } from '../../model/account.ts'
import type { Run } from '../../model/job.ts'
import { accountById } from '../../store/accounts.ts'
import type { Attempt } from '../../store/runs.ts'
import type { Deps } from '../deps.ts'

/**
 * The `github` context as the server knows it: texts, so that they become GITHUB_* variables, and the event's payload (job-message.md 1.6).
 * `base` is the address by which the runner reaches us.
 */
export async function githubContext(
  { db, addresses }: Pick<Deps, 'db' | 'addresses'>,
  run: Run,
  repository: Repository,
  attempt: Pick<Attempt, 'number' | 'plan'>,
  base = addresses.url,
): Promise<Record<string, unknown>> {
  const actor: Account | undefined = await accountById(db, run.actorId)
  const path = attempt.plan?.path ?? ''
  const isTag = run.ref.startsWith('refs/tags/')
  return {
    repository: fullName(repository),
    repository_id: String(repository.id),
    repository_owner: repository.owner.login,
    repository_owner_id: String(repository.owner.id),
    repositoryUrl: `${addresses.jobServerUrl.replace(/^http/, 'git')}/${fullName(repository)}.git`,
    ref: run.ref,
    ref_name: run.ref.replace(/^refs\/(?:heads|tags)\//, ''),
    ref_type: isTag ? 'tag' : 'branch',
    ref_protected: false,
    sha: run.headSha,
    event_name: run.event,
    event: run.payload,
    actor: actor?.login ?? '',
    actor_id: String(run.actorId),
    triggering_actor: actor?.login ?? '',
    workflow: attempt.plan?.name ?? path,
    workflow_ref: `${fullName(repository)}/${path}@${run.ref}`,
    workflow_sha: run.headSha,
    run_id: String(run.id),
    run_number: String(run.number),
    run_attempt: String(attempt.number),
    retention_days: '90',
    head_ref: '',
    base_ref: '',
    server_url: addresses.jobServerUrl,
    api_url: `${base}/api/v3`,
    graphql_url: `${base}/api/graphql`,
    secret_source: 'Actions',
  }
}
