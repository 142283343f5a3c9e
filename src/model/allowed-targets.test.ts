import { expect, test } from 'vitest'
import { isAllowedAddress, isAllowedName, parseAllowedTargets, publicTargetsOnly } from './allowed-targets.ts'

const INNER =
  `127.0.0.1 127.255.0.1 0.0.0.0 10.1.2.3 100.64.0.1 169.254.169.254 172.16.0.1 172.31.255.255 192.168.0.1 192.0.0.170 198.18.0.1
  224.0.0.1 255.255.255.255 ::1 :: fe80::1 fe80::1%eth0 fc00::1 fd12::1 ff02::1 2001:db8::1 2002:7f00:1::1 64:ff9b::7f00:1
  ::ffff:127.0.0.1 ::ffff:7f00:1 0:0:0:0:0:ffff:a01:203 ::127.0.0.1`.split(/\s+/)

test.each(INNER)('%s is not of the public internet', (address) => {
  expect(isAllowedAddress(publicTargetsOnly, address)).toBe(false)
})

test.each(['8.8.8.8', '172.15.0.1', '172.32.0.1', '192.167.1.1', '2606:4700:4700::1111', '::ffff:8.8.8.8'])('%s is', (address) => {
  expect(isAllowedAddress(publicTargetsOnly, address)).toBe(true)
})

test('what is no address is not allowed', () => {
  for (const text of ['', 'localhost', '1.2.3', '::ffff:1.2.3']) expect(isAllowedAddress(publicTargetsOnly, text)).toBe(false)
})

test('an operator allows networks, addresses, names, or all that is private but for link-local', () => {
  const allowed = parseAllowedTargets('10.1.0.0/16, fd00::/8, 192.168.7.7, CI.internal, .corp.example')

  expect(['10.1.9.9', '::ffff:10.1.9.9', 'fd00::5', '192.168.7.7'].every((address) => isAllowedAddress(allowed, address))).toBe(true)
  expect(['10.2.0.1', '192.168.7.8', '127.0.0.1'].some((address) => isAllowedAddress(allowed, address))).toBe(false)
  expect(['ci.internal', 'CI.INTERNAL.', 'a.corp.example', 'a.b.corp.example'].every((name) => isAllowedName(allowed, name))).toBe(true)
  expect(['corp.example', 'xci.internal', 'evilcorp.example'].some((name) => isAllowedName(allowed, name))).toBe(false)
  const inner = parseAllowedTargets('private')
  expect(['127.0.0.1', '10.9.9.9', '192.168.1.1', '::1', 'fd12::1'].every((address) => isAllowedAddress(inner, address))).toBe(true)
  expect(['169.254.169.254', 'fe80::1', '0.0.0.0', '224.0.0.1'].some((address) => isAllowedAddress(inner, address))).toBe(false)
})

test.each(['10.0.0.0/33', '10.0.0.0/x', 'http://x', '', 'a,,b', '-x', '10.0.0.1/'])('%j is refused', (text) => {
  expect(() => parseAllowedTargets(text)).toThrow()
})
