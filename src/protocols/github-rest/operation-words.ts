/*
 * Lines about GitHub's operations, made of their names: what GitHub writes about them is GitHub's.
 */

/** `actions/list-self-hosted-runners-for-org`: List self-hosted runners for an organization. */
export function summaryOf(operationId: string): string {
  const [tag = '', name = ''] = operationId.split('/')
  const [verb = '', ...rest] = name.split('-')
  // Named after the noun of their tag: `orgs/get`, `repos/create-in-org`.
  const noun = NOUNS[tag]
  const hasNone = rest.every((word) => word === 'authenticated') || PREPOSITIONS.has(rest[0] ?? '')
  const at = rest[0] === 'authenticated' ? 1 : 0
  const words = noun && hasNone ? [...rest.slice(0, at), verb === 'list' ? noun.many : noun.one, ...rest.slice(at)] : rest
  const text = [verb === 'root' ? 'get the root' : verb, ...words].join(' ')
  const spelled = SPELLED.reduce((before, [word, spelling]) => before.replaceAll(word, spelling), ` ${text} `).trim()
  return `${spelled.charAt(0).toUpperCase()}${spelled.slice(1)}`
}

/** `actions/list-self-hosted-runners-for-org`: actions. */
export function tagOf(operationId: string): string {
  return operationId.split('/')[0] ?? ''
}

const PREPOSITIONS = new Set(['for', 'in', 'by', 'from', 'with'])

const NOUNS: Readonly<Record<string, { one: string; many: string }>> = {
  apps: { one: 'App', many: 'Apps' },
  emojis: { one: 'emojis', many: 'emojis' },
  meta: { one: 'facts about the server', many: 'facts about the server' },
  orgs: { one: 'organization', many: 'organizations' },
  'rate-limit': { one: 'rate limits', many: 'rate limits' },
  repos: { one: 'repository', many: 'repositories' },
  users: { one: 'user', many: 'users' },
}

/** With spaces around, so that they are whole words. */
const SPELLED: [RegExp, string][] = [
  [/ self hosted /g, ' self-hosted '],
  [/ just in time /g, ' just-in-time '],
  [/ jitconfig /g, ' just-in-time configuration '],
  [/ (for|from|in|to) (enterprise|org|organization) /g, ' $1 an $2 '],
  [/ (for|from|in|to) (repo|user|group|runner|workflow|app|installation|workflow run|self-hosted runner) /g, ' $1 a $2 '],
  [/ for authenticated user /g, ' for the authenticated user '],
  [/ org /g, ' organization '],
  [/ repo /g, ' repository '],
  [/ repos /g, ' repositories '],
  [/ o auth /g, ' OAuth '],
  [/ github /g, ' GitHub '],
  [/ a app /g, ' an App '],
  [/ a installation /g, ' an installation '],
]
