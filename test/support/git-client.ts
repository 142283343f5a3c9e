import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync, mkdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

export interface GitOutcome {
  code: number
  stdout: string
  stderr: string
}

/** The real git as its users run it, in a folder of its own and without anybody's configuration. */
export interface GitClient extends Disposable {
  folder: string
  /** Runs git, in `at` below the folder; the outcome whatever it is. */
  run(at: string, ...args: string[]): Promise<GitOutcome>
  /** Runs git and gives what it wrote; fails when git does. */
  git(at: string, ...args: string[]): Promise<string>
  /** Writes files and commits them; the new commit's id. */
  commit(at: string, message: string, files: Record<string, string | Buffer>): Promise<string>
}

export function makeGitClient(): GitClient {
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-git-'))
  const config = path.join(folder, 'gitconfig')
  writeFileSync(
    config,
    '[user]\n  name = Ada\n  email = ada@example.com\n[init]\n  defaultBranch = main\n[advice]\n  detachedHead = false\n',
  )
  const env = {
    PATH: process.env['PATH'],
    HOME: folder,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: config,
    GIT_TERMINAL_PROMPT: '0',
    LC_ALL: 'C',
  }

  const run = (at: string, ...args: string[]) =>
    new Promise<GitOutcome>((resolve, reject) => {
      const child = spawn('git', args, { cwd: path.join(folder, at), env, stdio: ['ignore', 'pipe', 'pipe'] })
      let [stdout, stderr] = ['', '']
      child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
      child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
      child.once('error', reject)
      child.once('close', (code) => resolve({ code: code ?? -1, stdout, stderr }))
    })
  const git = async (at: string, ...args: string[]) => {
    const { code, stdout, stderr } = await run(at, ...args)
    if (code !== 0) throw new Error(`git ${args.join(' ')} ended with ${code}: ${stderr}`)
    return stdout.trim()
  }

  return {
    folder,
    run,
    git,
    async commit(at, message, files) {
      for (const [name, content] of Object.entries(files)) {
        const file = path.join(folder, at, name)
        mkdirSync(path.dirname(file), { recursive: true })
        writeFileSync(file, content)
      }
      await git(at, 'add', '--all')
      await git(at, 'commit', '--quiet', '--allow-empty', '--message', message)
      return git(at, 'rev-parse', 'HEAD')
    },
    [Symbol.dispose]() {
      rmSync(folder, { recursive: true, force: true })
    },
  }
}
