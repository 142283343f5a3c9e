/*
 * Lines about GitHub's operations, made of their names: what GitHub writes about them is GitHub's.
 */

/** `actions/get-self-hosted-runner-for-org`: Get a self-hosted runner for an organization. */
export function summaryOf(operationId: string): string {
  const known = UNLIKE[operationId]
  if (known !== undefined) return known
  const [tag = '', name = ''] = operationId.split('/')
  const [verb = '', ...rest] = name.split('-')
  const words = rest.join(' ')
  const noun = NOUNS[tag]
  // Named after the noun of their tag: `orgs/get`, `repos/create-in-org`.
  const isBare = /^(authenticated)?$/.test(words) || /^(for|in|by|from|with) /.test(words)
  const nouns =
    noun && isBare ? `${words.startsWith('authenticated') ? 'authenticated ' : ''}${verb === 'list' ? noun.many : noun.one} ` : ''
  const whole = spell(`${nouns}${nouns === '' ? words : words.replace(/^authenticated/, '')}`)
  // Webhooks are called the same in each place.
  const place = /\bwebhook/.test(whole) && !whole.includes(' for ') ? (WEBHOOKS[tag] ?? '') : ''
  const text = `${verb} ${withArticle(verb, whole)}${place}`
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`
}

/** `actions/list-self-hosted-runners-for-org`: actions. */
export function tagOf(operationId: string): string {
  return operationId.split('/')[0] ?? ''
}

const FACTS = { one: 'facts about the server', many: 'facts about the server' }
const NOUNS: Readonly<Record<string, { one: string; many: string }>> = {
  apps: { one: 'app', many: 'apps' },
  checks: { one: 'check run', many: 'check runs' },
  emojis: { one: 'emojis', many: 'emojis' },
  meta: FACTS,
  orgs: { one: 'org', many: 'orgs' },
  'rate-limit': { one: 'rate limits', many: 'rate limits' },
  repos: { one: 'repo', many: 'repos' },
  users: { one: 'user', many: 'users' },
}
const WEBHOOKS: Readonly<Record<string, string>> = {
  apps: ' of an App',
  orgs: ' of an organization',
  repos: ' of a repository',
}

/** Whose names are no sentences. */
const UNLIKE: Readonly<Record<string, string>> = {
  'actions/get-self-hosted-runners-permissions-organization': 'Get which repositories of an organization may have runners of their own',
  'actions/set-self-hosted-runners-permissions-organization': 'Set which repositories of an organization may have runners of their own',
  'actions/list-selected-repositories-self-hosted-runners-organization':
    'List the repositories of an organization that were selected to have runners of their own',
  'actions/set-selected-repositories-self-hosted-runners-organization':
    'Select the repositories of an organization that may have runners of their own',
  'actions/enable-selected-repository-self-hosted-runners-organization':
    'Select one more repository of an organization that may have runners of its own',
  'actions/disable-selected-repository-self-hosted-runners-organization':
    'Let a repository of an organization have no runners of its own any more',
  'enterprise-admin/get-self-hosted-runners-permissions': 'Get whether repositories of the enterprise may have runners of their own',
  'enterprise-admin/set-self-hosted-runners-permissions': 'Set whether repositories of the enterprise may have runners of their own',
  'checks/get': 'Get a check run',
  'meta/get-zen': 'Get a saying',
  'meta/root': 'Get the addresses of the API',
  'repos/get-content': 'Get a file, or what is in a folder',
  'repos/test-push-webhook': 'Test a webhook of a repository with a push',
}

/** One thing is a thing; many, and what cannot be counted, stand as they are. */
function withArticle(verb: string, text: string): string {
  const [first = ''] = text.split(/ (?:for|from|in|to|by|of|with|about) /)
  if (first.startsWith('authenticated')) return `the ${text}`
  if (verb === 'list' || /(s|access|configuration|zen)$/.test(first)) return text
  return `${/^[aeio]/i.test(first) ? 'an' : 'a'} ${text}`
}

function spell(text: string): string {
  return SPELLED.reduce((before, [word, spelling]) => before.replaceAll(word, spelling), text.trim())
}

const SPELLED: [RegExp, string][] = [
  [/\bself hosted\b/g, 'self-hosted'],
  [/\bgithub hosted\b/g, 'GitHub-hosted'],
  [/\bjitconfig\b/g, 'just-in-time configuration'],
  [/\bo auth\b/g, 'OAuth'],
  [/\bconfig\b/g, 'configuration'],
  [/\brepo\b/g, 'repository'],
  [/\brepos\b/g, 'repositories'],
  [/\borg\b/g, 'organization'],
  [/\borgs\b/g, 'organizations'],
  [/\bapp\b/g, 'App'],
  [/\bapps\b/g, 'Apps'],
  [/\b(for|from|in|to) (?=(repository|group|runner|self-hosted runner|workflow|user)\b)/g, '$1 a '],
  [/\b(for|from|in|to) (?=(App|enterprise|organization|installation)\b)/g, '$1 an '],
  [/\bfor authenticated user\b/g, 'for the authenticated user'],
]
