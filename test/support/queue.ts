import { systemActor } from '../../src/model/access.ts'
import type { Repository } from '../../src/model/account.ts'
import type { Run } from '../../src/model/job.ts'
import { advanceRun } from '../../src/core/runs/advance-run.ts'
import { makeRun } from '../../src/core/runs/trigger.ts'
import { accountByLogin } from '../../src/store/accounts.ts'
import { workflowEnsure } from '../../src/store/runs.ts'
import type { TestServer } from './start-server.ts'

/** Makes a run of a workflow text in a repository, without a push. */
export async function queueRun(server: TestServer, repository: Repository, text: string): Promise<Run> {
  const { deps } = server
  const path = '.github/workflows/ci.yml'
  const parsed = await deps.evaluator.parse({ path, content: text })
  const sender = await accountByLogin(deps.db, 'admin')
  if (!sender) throw new Error('there is no admin')
  const workflow = await workflowEnsure(deps.db, { repositoryId: repository.id, path, name: 'CI', now: deps.now() })
  const person = { name: 'Ada', email: 'ada@example.com' }
  const run = await makeRun(deps, systemActor, {
    repository,
    workflow,
    parsed,
    source: null,
    event: 'push',
    ref: 'refs/heads/main',
    head: {
      id: '1'.repeat(40),
      treeId: '2'.repeat(40),
      message: 'change',
      timestamp: '2026-01-01T00:00:00Z',
      author: person,
      committer: person,
    },
    title: 'change',
    sender,
    payload: {},
    inputs: {},
  })
  if (!run) throw new Error('no run was made')
  await advanceRun(deps, run.id)
  return run
}

/** One job that asks for these labels. */
export const oneJob = (labels = 'self-hosted', more = '') =>
  `on: push\njobs:\n  a:\n    runs-on: ${labels}\n${more}    steps:\n      - run: echo hi\n`
