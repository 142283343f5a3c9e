import { expect } from 'vitest'
import type { Repository } from '../../src/model/account.ts'
import { eventually } from './eventually.ts'
import { makeGitClient } from './git-client.ts'
import type { Caller } from './start-server.ts'

export interface RunBody {
  id: number
  status: string
  conclusion: string | null
  problem: string | null
}

export interface JobBody {
  id: number
  name: string
  status: string
  conclusion: string | null
  runner_name: string | null
  waiting_reason: string | null
  problem: string | null
  steps: { name: string; status: string; conclusion: string | null; number: number }[]
}

/** What a test asks of runs, jobs and logs over REST. */
export function actionsClient(call: Caller, repository: string) {
  const get = async <T>(target: string): Promise<T> => {
    const response = await call('GET', `/repos/${repository}${target}`)
    if (response.status !== 200) throw new Error(`${target}: ${response.status} ${await response.text()}`)
    return (await response.json()) as T
  }
  const client = {
    get,
    runs: async () => (await get<{ workflow_runs: RunBody[] }>('/actions/runs')).workflow_runs,
    jobs: async (runId: number) => (await get<{ jobs: JobBody[] }>(`/actions/runs/${runId}/jobs`)).jobs,
    async log(jobId: number) {
      const redirect = await call('GET', `/repos/${repository}/actions/jobs/${jobId}/logs`)
      if (redirect.status !== 302) throw new Error(`no log: ${redirect.status}`)
      return (await fetch(redirect.headers.get('location') ?? '')).text()
    },
    /** The newest run, once it has ended. */
    finished: (withinMs = 60_000) =>
      eventually(
        async () => {
          const [run] = await client.runs()
          expect(run?.status).toBe('completed')
          return run as RunBody
        },
        { withinMs },
      ),
    /** The newest run, once the step of this name is at work. */
    running: (step: string, withinMs = 60_000) =>
      eventually(
        async () => {
          const [run] = await client.runs()
          const jobs = run ? await client.jobs(run.id) : []
          const found = jobs.find(({ steps }) => steps.some(({ name, status }) => name.includes(step) && status === 'in_progress'))
          if (!run || !found) throw new Error(`step ${step} is not running: ${JSON.stringify(jobs)}`)
          return { run, job: found }
        },
        { withinMs },
      ),
  }
  return client
}

/** Makes an organization with a private repository over REST. */
export async function makeRepository(admin: Caller, owner: string, name: string): Promise<void> {
  const organization = await admin('POST', '/admin/organizations', { login: owner, admin: 'admin' })
  if (organization.status !== 201 && organization.status !== 422) throw new Error(await organization.text())
  const repository = await admin('POST', `/orgs/${owner}/repos`, { name, private: true })
  if (repository.status !== 201) throw new Error(await repository.text())
}

/** Commits files on top of nothing and pushes them; what git said. */
export async function pushFiles(
  url: string,
  token: string,
  repository: string | Repository,
  files: Record<string, string | Buffer>,
): Promise<string> {
  const name = typeof repository === 'string' ? repository : `${repository.owner.login}/${repository.name}`
  using client = makeGitClient()
  const remote = `http://x-access-token:${token}@${new URL(url).host}/${name}`
  const cloned = await client.run('.', 'clone', '--quiet', remote, 'work')
  if (cloned.code !== 0) throw new Error(cloned.stderr)
  await client.commit('work', 'change', files)
  const { code, stderr } = await client.run('work', 'push', 'origin', 'HEAD:refs/heads/main')
  if (code !== 0) throw new Error(stderr)
  return stderr
}
