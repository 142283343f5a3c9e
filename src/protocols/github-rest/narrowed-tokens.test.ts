import { expect, test } from 'vitest'
import { installApp, installationToken, makeApp } from '../../../test/support/apps.ts'
import { oneJob, queueRun } from '../../../test/support/queue.ts'
import { startServer } from '../../../test/support/start-server.ts'

const EVERYTHING = {
  organization_self_hosted_runners: 'write',
  organization_administration: 'write',
  administration: 'write',
  actions: 'write',
}

test.each(['an installation for one repository', 'a token narrowed to one repository'])(
  '%s sees and changes nothing of others by what is asked of the organization',
  async (kind) => {
    await using server = await startServer()
    await server.organization('acme')
    const own = await server.repository('acme', 'own', 'private')
    const other = await server.repository('acme', 'other', 'private')
    for (const repository of [own, other]) await queueRun(server, repository, oneJob())
    const jobs = await server.deps.db.selectFrom('job').select(['id', 'repositoryId']).execute()
    const jobOf = (id: number) => jobs.find(({ repositoryId }) => repositoryId === id)?.id ?? 0
    const app = await makeApp(server, EVERYTHING)
    const isSelected = kind.startsWith('an installation')
    const id = await installApp(server, app, 'acme', isSelected ? ['own'] : undefined)
    const token = await installationToken(server, app, id, isSelected ? undefined : { repositories: ['own'] })
    const { admin } = server
    const call = server.call(token)
    const status = async (method: string, target: string, body?: object) => (await call(method, target, body)).status
    interface Listed {
      total_count: number
      repositories?: { id: number }[]
    }
    const listed = async (caller: typeof call, target: string) => {
      const { total_count: total, repositories = [] } = (await (await caller('GET', target)).json()) as Listed
      expect(total).toBe(repositories.length)
      return repositories.map((repository) => repository.id)
    }

    const queue = await call('GET', '/api/fleetfoot/orgs/acme/queue')
    const text = await queue.text()
    expect(JSON.parse(text)).toMatchObject({ total_count: 1 })
    expect(text).not.toContain('acme/other')
    const steer = (job: number, body: object) => status('PATCH', `/api/fleetfoot/orgs/acme/queue/jobs/${job}`, body)
    expect(await steer(jobOf(other.id), { expedite: true })).toBe(404)
    expect(await steer(jobOf(own.id), { before: jobOf(other.id) })).toBe(404)
    expect(await steer(jobOf(own.id), { expedite: true })).toBe(200)

    const made = await admin('POST', '/orgs/acme/actions/runner-groups', {
      name: 'both',
      visibility: 'selected',
      selected_repository_ids: [own.id, other.id],
    })
    const group = `/orgs/acme/actions/runner-groups/${((await made.json()) as { id: number }).id}/repositories`
    const policy = '/orgs/acme/actions/permissions/self-hosted-runners'
    await admin('PUT', policy, { enabled_repositories: 'selected' })
    await admin('PUT', `${policy}/repositories`, { selected_repository_ids: [own.id, other.id] })
    for (const list of [group, `${policy}/repositories`]) {
      expect(await listed(call, list)).toEqual([own.id])
      expect(await status('DELETE', `${list}/${other.id}`)).toBe(404)
      expect(await status('PUT', `${list}/${other.id}`)).toBe(404)
      expect(await status('PUT', list, { selected_repository_ids: [other.id] })).toBe(422)
      expect(await status('PUT', list, { selected_repository_ids: [] })).toBe(204)
      expect(await listed(admin, list)).toEqual([other.id])
      expect(await status('PUT', `${list}/${own.id}`)).toBe(204)
      expect(await listed(admin, list)).toEqual([own.id, other.id])
    }
    const fresh = { name: 'fresh', visibility: 'selected', selected_repository_ids: [other.id] }
    expect(await status('POST', '/orgs/acme/actions/runner-groups', fresh)).toBe(422)
  },
)
