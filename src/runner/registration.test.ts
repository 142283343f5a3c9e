import { expect, test } from 'vitest'

import { apiAddresses, requireUsableTenant } from './registration.ts'

test.each([
  ['http://127.0.0.1:8080/acme', 'http://127.0.0.1:8080/api/v3', 'http://127.0.0.1:8080/api/v3/orgs/acme/actions'],
  ['http://127.0.0.1:8080/acme/rocket/', 'http://127.0.0.1:8080/api/v3', 'http://127.0.0.1:8080/api/v3/repos/acme/rocket/actions'],
  ['https://forge.example/Enterprises/big', 'https://forge.example/api/v3', 'https://forge.example/api/v3/enterprises/big/actions'],
  ['http://github.localhost:81/acme', 'http://api.github.localhost:81', 'http://api.github.localhost:81/orgs/acme/actions'],
])('%s is registered at the API of its host, port kept', (url, unscoped, scope) => {
  expect(apiAddresses(url)).toEqual({ unscoped, scope })
})

test.each(['http://127.0.0.1:8080/', 'http://127.0.0.1/a/b/c', 'ftp://127.0.0.1/a', 'acme'])('%s is refused', (url) => {
  expect(() => apiAddresses(url)).toThrow(url)
})

test('a broker at the same authority, or below it, is accepted as config.sh accepts it', () => {
  requireUsableTenant('http://forge.example:3000/acme', 'http://forge.example:3000/acme/_broker/')
  requireUsableTenant('https://forge.example/acme', 'https://broker.forge.example/acme/')
})

test.each([
  ['http://forge.example:3000/acme', 'http://forge.example/acme/_broker/', 'is not at forge.example:3000'],
  ['http://forge.example/acme', 'http://notforge.example/acme/', 'is not at forge.example'],
  ['http://forge.example/acme', 'http://forge.example/', 'Cannot find GitHub repository/organization name'],
])('registered at %s, the broker %s is refused', (url, tenant, message) => {
  expect(() => requireUsableTenant(url, tenant)).toThrow(message)
})
