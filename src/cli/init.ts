import { userInfo } from 'node:os'
import type { NewTokenBody, TokenBody } from '../protocols/console/tokens.ts'
import { ApiError, openClient, unlessMissing, type ApiClient } from './api-client.ts'
import { ownCommand, parseCommand, shellWord, splitFullName, takeArguments, UsageError, withUsage } from './command.ts'

const USAGE = `usage: fleetfoot init OWNER/REPO [--user LOGIN] [--json]

  Makes what is missing of: the organization OWNER, the private repository OWNER/REPO, the user LOGIN as its owner; gives
  LOGIN a token for git, workflows and runners, and prints the next three commands. To call it again makes nothing twice;
  the token of the call before is replaced.

  --user LOGIN   whose token it is (default: who you are on this machine)

  The server is FLEETFOOT_URL; the token FLEETFOOT_ADMIN_TOKEN, or the one in the data folder (FLEETFOOT_DATA_DIR).`

const OPTIONS = { user: { type: 'string' }, json: { type: 'boolean' } } as const

/** What pushing workflows and registering runners takes. */
const TOKEN_SCOPES = ['repo', 'workflow', 'admin:org']

export interface Initialized {
  owner: string
  repository: string
  user: string
  token: string
  /** What was not there before. */
  made: string[]
}

/** `fleetfoot init OWNER/REPO`: from nothing to three commands. Gives the exit code. */
export function initCommand(argv: string[]): Promise<number> {
  return withUsage(USAGE, argv, async () => {
    const { values, positionals } = parseCommand(argv, OPTIONS)
    const [fullName] = takeArguments(positionals, 'OWNER/REPO')
    const { owner, name } = splitFullName(fullName)
    const client = openClient()
    const user = values.user ?? ownLogin()
    if (user.toLowerCase() === owner.toLowerCase() && values.user === undefined) throw sameName(user)
    const done = await initialize(client, { owner, name, user })
    const registration = await registrationToken(client, done)
    if (values.json) console.log(JSON.stringify({ ...done, url: client.config.url, registration_token: registration }, null, 2))
    else console.log(nextCommands(client.config.url, done, registration))
    return 0
  })
}

/** Makes what is missing of organization, repository and user, and a new token of the user in place of the last one. */
export async function initialize(client: ApiClient, input: { owner: string; name: string; user: string }): Promise<Initialized> {
  const { owner, name, user } = input
  const made: string[] = []
  const make = async (what: string, path: string, body: unknown, there: string) => {
    if (await unlessMissing(client.call('GET', there))) return
    try {
      await client.call('POST', path, body)
      made.push(what)
    } catch (error) {
      // Somebody else made it in between.
      if (!(error instanceof ApiError) || error.status !== 422 || !(await unlessMissing(client.call('GET', there)))) throw error
    }
  }
  await make(`user ${user}`, '/admin/users', { login: user }, `/users/${user}`)
  const isOwnAccount = owner.toLowerCase() === user.toLowerCase()
  if (!isOwnAccount) {
    await make(`organization ${owner}`, '/admin/organizations', { login: owner, admin: user }, `/orgs/${owner}`)
    await client.call('PUT', `/orgs/${owner}/memberships/${user}`, { role: 'admin' })
  }
  const token = await renewToken(client, user, `fleetfoot init ${owner}/${name}`)
  const asUser = client.as(token)
  if (!(await unlessMissing(client.call('GET', `/repos/${owner}/${name}`)))) {
    await asUser.call('POST', isOwnAccount ? '/user/repos' : `/orgs/${owner}/repos`, { name, private: true, visibility: 'private' })
    made.push(`repository ${owner}/${name}`)
  }
  return { owner, repository: `${owner}/${name}`, user, token, made }
}

/** Only hashes are kept, so that the token of the last call cannot be shown again: it is replaced. */
async function renewToken(client: ApiClient, user: string, name: string): Promise<string> {
  const tokens = `/api/fleetfoot/users/${user}/tokens`
  const made = await client.call<NewTokenBody>('POST', tokens, { name, scopes: TOKEN_SCOPES })
  const listed = await client.call<TokenBody[]>('GET', tokens)
  for (const old of listed) if (old.name === name && old.id !== made.id) await client.call('DELETE', `${tokens}/${old.id}`)
  return made.token
}

export async function registrationToken(client: ApiClient, { repository }: Pick<Initialized, 'repository'>): Promise<string> {
  const answer = await client.call<{ token: string }>('POST', `/repos/${repository}/actions/runners/registration-token`)
  return answer.token
}

/** The three commands that follow, as they can be pasted. */
export function nextCommands(url: string, done: Initialized, registration: string): string {
  const { repository, user, token, made } = done
  const command = ownCommand()
  const remote = new URL(`/${repository}.git`, url)
  remote.username = user
  remote.password = token
  const target = `${url}/${repository}`
  const lines = [
    made.length > 0 ? `Made ${made.join(', ')}, and a token of ${user}.` : `All was there; ${user} has a new token, the last one is void.`,
    '',
    '1. In a folder with a git repository, push a commit (one with a workflow in .github/workflows starts it):',
    '',
    `   git remote add fleetfoot ${shellWord(remote.href)} || git remote set-url fleetfoot ${shellWord(remote.href)}; git push fleetfoot HEAD:main`,
    '',
    '2. Start a runner. In the folder of an unpacked official runner:',
    '',
    `   ./config.sh --unattended --url ${target} --token ${registration} && ./run.sh`,
    '',
    ...(new URL(url).port === ''
      ? ['   or, without one, the portable runner (`run` steps only):']
      : [
          `   config.sh drops the port of its --url, and looks for this server on port ${url.startsWith('https') ? 443 : 80}. On port ${new URL(url).port} this does the same:`,
          '',
          `   ${command} runner configure . --url ${target} --token ${registration} && ./run.sh`,
          '',
          '   or, without an official runner, the portable one (`run` steps only):',
        ]),
    '',
    `   ${command} runner --url ${target} --token ${registration}`,
    '',
    '3. Follow the run:',
    '',
    `   ${command} runs watch ${repository}`,
  ]
  return lines.join('\n')
}

function ownLogin(): string {
  const login = userInfo().username
  if (!/^[A-Za-z0-9](?:-?[A-Za-z0-9])*$/.test(login)) throw new UsageError(`'${login}' is no login here: name one with --user`)
  return login
}

const sameName = (user: string) =>
  new UsageError(`'${user}' is the owner and you: name another user with --user, or --user ${user} for a repository of your own`)
