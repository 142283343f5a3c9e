import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'

/** One JSON file of a published package, which is packed into a temporary folder for it: it is too large for our dependencies. */
export function readPackageJson(packed: { name: string; version: string; file: string }): Record<string, unknown> {
  const folder = mkdtempSync(path.join(tmpdir(), 'fleetfoot-description-'))
  try {
    const archive = execFileSync('npm', ['pack', '--silent', `${packed.name}@${packed.version}`], { cwd: folder, encoding: 'utf8' }).trim()
    execFileSync('tar', ['xzf', archive, `package/${packed.file}`], { cwd: folder })
    return JSON.parse(readFileSync(path.join(folder, 'package', packed.file), 'utf8')) as Record<string, unknown>
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}
