import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** Holds every request: what a waiting client costs `node:http` itself. */
const held = new Set<ServerResponse>()
const server = createServer((_request, response) => {
  held.add(response)
  response.on('close', () => held.delete(response))
})
server.listen(0, '127.0.0.1', () => process.stdout.write(String((server.address() as AddressInfo).port)))
process.on('SIGTERM', () => process.exit(0))
