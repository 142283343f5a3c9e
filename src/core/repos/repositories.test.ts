import { existsSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from 'vitest'
import { makeRepoDeps } from '../../../test/support/repos.ts'
import { noCommit } from '../../model/push.ts'
import { collaboratorSet } from '../../store/accounts.ts'
import { pushById, pushInsert } from '../../store/pushes.ts'
import { reconcilePushes } from './reconcile-pushes.ts'
import {
  createRepository,
  deleteRepository,
  getRepository,
  listOwnRepositories,
  listRepositories,
  movedRepository,
  updateRepository,
} from './repositories.ts'

const page = { offset: 0, limit: 10 }

test('members make repositories in their organization, users at their own account, site administrators anywhere', async () => {
  await using world = await makeRepoDeps()
  const { deps } = world
  const member = await world.user('member', { role: 'member' })
  const stranger = await world.user('stranger')
  const admin = await world.user('boss', { siteAdmin: true })

  const rocket = await createRepository(deps, member, { owner: 'Acme', name: 'rocket', private: true, description: 'Goes up' })
  expect(rocket).toMatchObject({ owner: { login: 'acme' }, name: 'rocket', visibility: 'private', defaultBranch: 'main', pushedAt: null })
  expect(await createRepository(deps, stranger, { name: 'own' })).toMatchObject({ owner: { login: 'stranger' }, visibility: 'public' })
  expect(await createRepository(deps, admin, { owner: 'stranger', name: 'other' })).toMatchObject({ owner: { login: 'stranger' } })

  await expect(createRepository(deps, stranger, { owner: 'acme', name: 'x' })).rejects.toMatchObject({ kind: 'not_found' })
  await expect(createRepository(deps, member, { owner: 'stranger', name: 'x' })).rejects.toMatchObject({ kind: 'forbidden' })
  await expect(createRepository(deps, { kind: 'anonymous' }, { name: 'x' })).rejects.toMatchObject({ kind: 'unauthenticated' })
  await expect(createRepository(deps, member, { owner: 'acme', name: 'ROCKET' })).rejects.toMatchObject({ kind: 'invalid' })
  await expect(createRepository(deps, member, { owner: 'acme', name: 'a/b' })).rejects.toMatchObject({ kind: 'invalid' })
  const narrow = { ...member, token: { ...member.token, scopes: ['public_repo'] } }
  await expect(createRepository(deps, narrow, { owner: 'acme', name: 'y', private: true })).rejects.toMatchObject({ kind: 'forbidden' })
})

test('a repository can begin with a README', async () => {
  await using world = await makeRepoDeps()
  const member = await world.user('member', { role: 'member' })

  const { id, pushedAt } = await createRepository(world.deps, member, { owner: 'acme', name: 'rocket', autoInit: true, description: 'Up' })

  const sha = (await world.git.resolve(id, 'main')) ?? ''
  expect((await world.git.readFile(id, sha, 'README.md', 100))?.toString()).toBe('# rocket\n\nUp\n')
  expect(await world.git.commit(id, sha)).toMatchObject({ message: 'Initial commit', author: { name: 'member' } })
  expect(pushedAt).toBe(1000)
})

test('a renamed repository keeps its files and is found by its former name until that is taken', async () => {
  await using world = await makeRepoDeps()
  const { deps } = world
  const owner = await world.user('owner', { role: 'owner' })
  const { id } = await createRepository(deps, owner, { owner: 'acme', name: 'rocket', autoInit: true })
  await createRepository(deps, owner, { owner: 'acme', name: 'taken' })

  expect(await updateRepository(deps, owner, { id }, { name: 'Falcon', description: null })).toMatchObject({ id, name: 'Falcon' })
  expect(await movedRepository(deps, 'acme', 'Rocket')).toBe(id)
  expect(await world.git.resolve(id, 'main')).toBeDefined()
  await expect(updateRepository(deps, owner, { id }, { name: 'Taken' })).rejects.toMatchObject({ kind: 'invalid' })

  await createRepository(deps, owner, { owner: 'acme', name: 'rocket' })
  expect(await movedRepository(deps, 'acme', 'rocket')).toBeUndefined()
})

test('the default branch must exist, and clones follow it', async () => {
  await using world = await makeRepoDeps()
  const { deps, git } = world
  const owner = await world.user('owner', { role: 'owner' })
  const { id } = await createRepository(deps, owner, { owner: 'acme', name: 'rocket' })

  expect((await updateRepository(deps, owner, { id }, { defaultBranch: 'trunk' })).defaultBranch).toBe('trunk')
  await git.writeFirstCommit(id, 'trunk', { files: { a: '' }, message: 'a', author: { name: 'a', email: 'a' }, at: 0 })
  await expect(updateRepository(deps, owner, { id }, { defaultBranch: 'absent' })).rejects.toMatchObject({ kind: 'invalid' })
  await expect(updateRepository(deps, owner, { id }, { defaultBranch: '-x' })).rejects.toMatchObject({ kind: 'invalid' })
  expect(await git.head(id)).toEqual({ branch: 'trunk', unborn: false })
})

test('everybody lists what they may see', async () => {
  await using world = await makeRepoDeps()
  const { deps } = world
  const member = await world.user('member', { role: 'member' })
  const guest = await world.user('guest')
  for (const visibility of ['public', 'internal', 'private'] as const) {
    await createRepository(deps, member, { owner: 'acme', name: visibility, visibility })
  }
  const { id } = (await getRepository(deps, member, { owner: 'acme', name: 'private' })).repository
  const names = async (actor: Parameters<typeof listRepositories>[1]) =>
    (await listRepositories(deps, actor, 'acme', page)).repositories.map(({ name }) => name)

  expect(await names(member)).toEqual(['internal', 'private', 'public'])
  expect(await names({ ...member, token: { ...member.token, scopes: [] } })).toEqual(['internal', 'public'])
  expect(await names(guest)).toEqual(['internal', 'public'])
  expect(await names({ kind: 'anonymous' })).toEqual(['public'])
  await collaboratorSet(world.db, { repositoryId: id, userId: guest.userId, permission: 'read', createdAt: 1 })
  expect(await names(guest)).toEqual(['internal', 'private', 'public'])
  expect((await listOwnRepositories(deps, guest, page)).repositories.map(({ name }) => name)).toEqual(['private'])
  expect((await listOwnRepositories(deps, member, page)).total).toBe(3)
})

test('a deleted repository leaves neither files nor name', async () => {
  await using world = await makeRepoDeps()
  const { deps } = world
  const owner = await world.user('owner', { role: 'owner' })
  const member = await world.user('member', { role: 'member' })
  const { id } = await createRepository(deps, owner, { owner: 'acme', name: 'rocket', autoInit: true })

  await expect(deleteRepository(deps, member, { id })).rejects.toMatchObject({ kind: 'forbidden' })
  await deleteRepository(deps, owner, { id })

  expect(existsSync(path.join(world.dir, '0', `${id}.git`))).toBe(false)
  await expect(getRepository(deps, owner, { id })).rejects.toMatchObject({ kind: 'not_found' })
  expect((await createRepository(deps, owner, { owner: 'acme', name: 'rocket' })).id).not.toBe(id)
})

test('pushes that nobody settled are ended by what the refs say', async () => {
  await using world = await makeRepoDeps()
  const { deps, db, clock } = world
  const owner = await world.user('owner', { role: 'owner' })
  const { id, createdAt } = await createRepository(deps, owner, { owner: 'acme', name: 'rocket', autoInit: true })
  const sha = (await world.git.resolve(id, 'main')) ?? ''
  const absent = 'f'.repeat(40)
  const push = (...updates: [string, string, string][]) =>
    pushInsert(db, {
      repositoryId: id,
      userId: owner.userId,
      updates: updates.map(([ref, before, after]) => ({ ref, before, after })),
      createdAt,
    })

  const arrived = await push(['refs/heads/main', noCommit, sha], ['refs/heads/gone', noCommit, absent])
  const lost = await push(['refs/heads/lost', noCommit, absent])
  const deleted = await push(['refs/heads/old', absent, noCommit])
  const overtaken = await push(['refs/heads/side', noCommit, absent])
  const later = await push(['refs/heads/side', absent, sha])
  clock.at += 60_000

  expect(await reconcilePushes(deps, 120_000)).toBe(0)
  expect(await reconcilePushes(deps, 30_000)).toBe(5)

  expect(await pushById(db, arrived)).toMatchObject({ state: 'settled', updates: [{ ref: 'refs/heads/main' }] })
  expect(await pushById(db, lost)).toMatchObject({ state: 'refused', settledAt: clock.at })
  expect(await pushById(db, deleted)).toMatchObject({ state: 'settled' })
  expect(await pushById(db, overtaken)).toMatchObject({ state: 'settled' })
  expect(await pushById(db, later)).toMatchObject({ state: 'refused' })
})
