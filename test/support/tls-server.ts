import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { makeCertificate } from './certificate.ts'
import { makeGitClient } from './git-client.ts'
import { startCommand, type RunningCommand } from './run-command.ts'
import { freePort, startServer, type TestServer } from './start-server.ts'

/** A server over HTTPS, for clients that know nothing else. They trust its certificate by `SSL_CERT_FILE` or a setting of their own. */
export interface TlsServer extends AsyncDisposable {
  server: TestServer
  url: string
  /** Name and port, as gh wants it. */
  host: string
  /** The PEM file of the certificate. */
  cert: string
  /** A folder that goes with the server. */
  folder: string
  /** Pushes one commit to the main branch of `acme/rocket`. */
  push(files: Record<string, string>): Promise<string>
  /** The portable runner in a process of its own, which is killed with the server. */
  startRunner(token: string, at?: string): RunningCommand
}

/** Starts it with the organization `acme` and its private repository `rocket`; what runs by itself in the product runs here too. */
export async function startTlsServer(): Promise<TlsServer> {
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-tls-'))
  const { cert, key } = makeCertificate(folder, 'server')
  const port = await freePort()
  const host = `127.0.0.1:${port}`
  const url = `https://${host}`
  const server = await startServer({
    background: true,
    config: { tls: { certFile: cert, keyFile: key }, url, listen: [{ host: '127.0.0.1', port }] },
  })
  const runners: RunningCommand[] = []
  await server.organization('acme')
  await server.repository('acme', 'rocket')
  return {
    server,
    url,
    host,
    cert,
    folder,
    async push(files) {
      using git = makeGitClient()
      await git.git('.', 'init', '--quiet', '--initial-branch', 'main', 'work')
      await git.commit('work', 'Say hello', files)
      const remote = `https://x:${server.adminToken}@${host}/acme/rocket`
      const { code, stderr } = await git.run('work', '-c', `http.sslCAInfo=${cert}`, 'push', remote, 'HEAD:refs/heads/main')
      if (code !== 0) throw new Error(`push failed: ${stderr}`)
      return stderr
    },
    startRunner(token, at = 'acme/rocket') {
      const runner = startCommand(
        ['runner', '--url', `${url}/${at}`, '--token', token, '--name', 'box'],
        { NODE_EXTRA_CA_CERTS: cert },
        folder,
      )
      runners.push(runner)
      return runner
    },
    async [Symbol.asyncDispose]() {
      for (const { child, ended } of runners) {
        child.kill('SIGKILL')
        await ended
      }
      await server[Symbol.asyncDispose]()
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}
