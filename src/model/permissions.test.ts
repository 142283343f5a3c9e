import { describe, expect, test } from 'vitest'
import { AppError } from './errors.ts'
import { acceptedPermissions, checkPermissions, commonPermissions, grants, type PermissionNeed, type Permissions } from './permissions.ts'

describe('what was given reaches what a call takes', () => {
  test.each<[Permissions, PermissionNeed, boolean]>([
    [{ actions: 'read' }, 'actions:read', true],
    [{ actions: 'write' }, 'actions:read', true],
    [{ actions: 'read' }, 'actions:write', false],
    [{ organization_projects: 'admin' }, 'organization_projects:write', true],
    [{ actions: 'write' }, 'administration:read', false],
    [{}, 'public', true],
    [{}, 'any', true],
    [{ actions: 'write' }, 'none', false],
    [{ none: 'write' }, 'none', false],
    [{ actions: 'write' }, 'app JWT', false],
    [{ actions: 'write' }, 'installation token', false],
    [{}, 'constructor:read', false],
    [{}, '__proto__:read', false],
  ])('%j for %s: %s', (given, need, expected) => {
    expect(grants(given, need)).toBe(expected)
  })
})

test('two sides have in common what both gave', () => {
  const one: Permissions = { actions: 'write', contents: 'read', members: 'read' }
  expect(commonPermissions(one, { actions: 'read', contents: 'write', secrets: 'read' })).toEqual({ actions: 'read', contents: 'read' })
  expect(commonPermissions(one, {})).toEqual({})
})

test('permissions are known by key and level, and finding repositories is in all of them', () => {
  expect(checkPermissions({})).toEqual({ metadata: 'read' })
  expect(Object.entries(checkPermissions({ workflows: 'write', actions: 'read' }))).toEqual([
    ['actions', 'read'],
    ['metadata', 'read'],
    ['workflows', 'write'],
  ])
  const bad: Record<string, unknown>[] = [
    { flying: 'read' },
    { workflows: 'read' },
    { actions: 'admin' },
    { actions: null },
    { constructor: 'read' },
  ]
  for (const asked of bad) expect(() => checkPermissions(asked)).toThrow(AppError)
  expect(() => checkPermissions(JSON.parse('{"__proto__":"read"}') as Record<string, unknown>)).toThrow(AppError)
})

test('a call says what it takes', () => {
  expect(acceptedPermissions('organization_self_hosted_runners:read')).toBe('organization_self_hosted_runners=read')
  expect(acceptedPermissions('public')).toBe('allows_permissionless_access=true')
  expect(acceptedPermissions('none')).toBeUndefined()
})
