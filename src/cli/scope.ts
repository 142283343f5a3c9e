import { splitFullName, UsageError } from './command.ts'

/** `acme`, `acme/rocket` or `enterprises/SLUG` as the path of its calls. @throws UsageError */
export function scopePath(place: string): string {
  const enterprise = /^enterprises\/([A-Za-z0-9._-]+)$/.exec(place)
  if (enterprise) return `/enterprises/${enterprise[1]}`
  if (place.includes('/')) {
    const { owner, name } = splitFullName(place)
    return `/repos/${owner}/${name}`
  }
  if (!/^[A-Za-z0-9][A-Za-z0-9-]*$/.test(place)) throw new UsageError(`'${place}' is no organization, OWNER/REPO or enterprises/SLUG`)
  return `/orgs/${place}`
}
