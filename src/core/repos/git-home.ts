import { createHash } from 'node:crypto'
import { accessSync, chmodSync, constants, mkdirSync, renameSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { randomHex } from '../../model/secret-text.ts'
import { hookScripts } from './hooks.ts'

/** Refs that pushes may not touch; those under `refs/fleetfoot` are not listed to readers either. */
const PULL_REFS = 'refs/pull'
const OWN_REFS = 'refs/fleetfoot'

/**
 * Writes the only configuration that git reads here, and its hooks, and gives the environment that makes it so.
 *
 * The folder is named by its content: nodes of two versions, or with another path to the shared folder, do not change it under each other.
 */
export function writeGitHome(dir: string, maxPushBytes: number): NodeJS.ProcessEnv {
  const digest = createHash('sha256')
    .update(JSON.stringify([dir, configuration('', maxPushBytes), hookScripts]))
    .digest('hex')
  const home = path.join(dir, `_home-${digest.slice(0, 12)}`)
  const hooks = path.join(home, 'hooks')
  const config = path.join(home, 'config')

  mkdirSync(hooks, { recursive: true, mode: 0o755 })
  writeWhole(config, configuration(hooks, maxPushBytes), 0o644)
  for (const [name, text] of Object.entries(hookScripts)) {
    writeWhole(path.join(hooks, name), text, 0o755)
    requireExecutable(path.join(hooks, name))
  }

  return {
    // Where the git program is, and nothing else of our own environment.
    PATH: process.env['PATH'],
    HOME: home,
    XDG_CONFIG_HOME: home,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_ATTR_NOSYSTEM: '1',
    GIT_CONFIG_GLOBAL: config,
    GIT_TERMINAL_PROMPT: '0',
    GIT_OPTIONAL_LOCKS: '0',
    LC_ALL: 'C',
    TZ: 'UTC',
  }
}

/** Old commits of well-known repositories break these three rules; forges let them pass. */
const TOLERATED = ['badTimezone', 'missingSpaceBeforeDate', 'zeroPaddedFilemode']

function configuration(hooks: string, maxPushBytes: number): string {
  return `# Written by Fleetfoot at its start.
[core]
  hooksPath = ${JSON.stringify(hooks)}
  quotePath = false
  warnAmbiguousRefs = false
  # A push that was answered is on disk, with its refs.
  fsync = committed,reference
[init]
  defaultBranch = main
[safe]
  directory = *
[gc]
  auto = 0
[maintenance]
  auto = false
[transfer]
  hideRefs = ${OWN_REFS}
  advertiseSID = false
[receive]
  fsckObjects = true
  maxInputSize = ${maxPushBytes}
  hideRefs = ${PULL_REFS}
  autogc = false
  advertisePushOptions = false
  # As on GitHub: another branch must become the default first. Schedules and dispatches read their workflows there.
  denyDeleteCurrent = refuse
[receive "fsck"]
${TOLERATED.map((rule) => `  ${rule} = ignore\n`).join('')}[uploadpack]
  # Not allowRefInWant: git 2.39 sends wanted-refs before shallow-info, and its own shallow clones fail at that.
  allowFilter = true
  allowReachableSHA1InWant = true
  allowAnySHA1InWant = true
[pack]
  threads = 2
[user]
  name = Fleetfoot
  email = noreply@fleetfoot.invalid
`
}

/** Other processes may be reading the file: they see the old or the new one, never a part. */
function writeWhole(file: string, text: string, mode: number): void {
  const draft = `${file}.${randomHex(6)}`
  writeFileSync(draft, text, { mode })
  chmodSync(draft, mode)
  renameSync(draft, file)
}

/** Git skips a hook that it cannot run, and pushes would pass unseen. */
function requireExecutable(file: string): void {
  try {
    accessSync(file, constants.X_OK)
  } catch (cause) {
    throw new Error(`${file} cannot be executed: FLEETFOOT_REPOS_DIR must not be on a file system mounted with noexec`, { cause })
  }
}
