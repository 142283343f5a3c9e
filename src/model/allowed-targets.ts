import { BlockList, isIP, isIPv4 } from 'node:net'

/** IPv4 that is not of the public internet: this machine, private, shared, link-local, documentation, benchmarks, multicast, reserved. */
const INNER_V4 = `0.0.0.0/8 10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 169.254.0.0/16 172.16.0.0/12 192.0.0.0/24 192.0.2.0/24 192.88.99.0/24
  192.168.0.0/16 198.18.0.0/15 198.51.100.0/24 203.0.113.0/24 224.0.0.0/4 240.0.0.0/4`.split(/\s+/)
/** What global unicast (2000::/3) has of addresses that lead elsewhere: Teredo, 6to4, documentation, benchmarks. */
const INNER_V6 = '2001::/23 2001:db8::/32 2002::/16 3fff::/20'.split(' ')
/** What the word `private` stands for. Link-local is not in it: clouds tell secrets to whoever asks 169.254.169.254. */
const PRIVATE = '10.0.0.0/8 100.64.0.0/10 127.0.0.0/8 172.16.0.0/12 192.168.0.0/16 ::1/128 fc00::/7'.split(' ')

const innerV4 = listOf(INNER_V4)
const innerV6 = listOf(INNER_V6)
const globalV6 = listOf(['2000::/3'])
const mapped = listOf(['::ffff:0:0/96'])

/** Where requests of webhooks may go beside the public internet. */
export interface AllowedTargets {
  networks: BlockList
  /** Lower case; one that begins with a dot stands for all names below it. */
  names: string[]
}

export const publicTargetsOnly: AllowedTargets = { networks: new BlockList(), names: [] }

/**
 * Reads a comma-separated list of networks, addresses, host names (`.example.com` for all below) and the word `private`.
 *
 * @throws Error that names the entry that is none of these
 */
export function parseAllowedTargets(text: string): AllowedTargets {
  const names: string[] = []
  const networks: string[] = []
  for (const entry of text.split(',').map((part) => part.trim().toLowerCase())) {
    if (entry === 'private') networks.push(...PRIVATE)
    else if (isIP(entry.split('/')[0] ?? '')) networks.push(entry)
    else if (/^\.?[a-z0-9_](?:[a-z0-9_.-]{0,250}[a-z0-9_])?$/.test(entry)) names.push(entry)
    else throw new Error(entry)
  }
  return { networks: listOf(networks), names }
}

/** Whether a host may be asked whatever its address is: the operator named it. */
export function isAllowedName({ names }: AllowedTargets, host: string): boolean {
  const plain = host.toLowerCase().replace(/\.$/, '')
  return names.some((name) => (name.startsWith('.') ? plain.endsWith(name) : plain === name))
}

/** Whether requests may go to an address: it is of the public internet, or in a network that the operator allows. */
export function isAllowedAddress({ networks }: AllowedTargets, address: string): boolean {
  const plain = unmapped(address)
  if (!isIP(plain)) return false
  const family = isIPv4(plain) ? 'ipv4' : 'ipv6'
  if (networks.check(plain, family)) return true
  return family === 'ipv4' ? !innerV4.check(plain, family) : globalV6.check(plain, family) && !innerV6.check(plain, family)
}

/** `::ffff:127.0.0.1`, in any spelling, is 127.0.0.1. */
function unmapped(address: string): string {
  const plain = address.split('%')[0] ?? ''
  if (isIP(plain) !== 6 || !mapped.check(plain, 'ipv6')) return plain
  const text = new URL(`http://[${plain}]`).hostname.slice(1, -1)
  const [high = '0', low = '0'] = text.replace('::ffff:', '').split(':')
  const bits = (Number.parseInt(high, 16) << 16) | Number.parseInt(low, 16)
  return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 255).join('.')
}

function listOf(networks: string[]): BlockList {
  const list = new BlockList()
  for (const network of networks) {
    const [address = '', prefix] = network.split('/')
    const family = isIPv4(address) ? 'ipv4' : 'ipv6'
    try {
      if (prefix === undefined) list.addAddress(address, family)
      else if (/^\d{1,3}$/.test(prefix)) list.addSubnet(address, Number(prefix), family)
      else throw new Error('no prefix')
    } catch {
      throw new Error(network)
    }
  }
  return list
}
