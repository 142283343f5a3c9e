import { Type, type Static } from 'typebox'
import { PageQuery, pageOf } from '../../http/paging.ts'
import type { Repository } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'

const Word = Type.Optional(Type.String())

/** What lists of repositories are asked with. A word that is not known counts as left out, as with pages (rest-api.md 3.6). */
export type RepositoriesQuery = Static<typeof RepositoriesQuery>
export const RepositoriesQuery = Type.Object({ ...PageQuery.properties, type: Word, sort: Word, direction: Word })

export type OwnRepositoriesQuery = Static<typeof OwnRepositoriesQuery>
export const OwnRepositoriesQuery = Type.Object({
  ...RepositoriesQuery.properties,
  visibility: Word,
  affiliation: Word,
  since: Word,
  before: Word,
})

const SORTS = ['created', 'updated', 'pushed', 'full_name'] as const
const AFFILIATIONS = ['owner', 'collaborator', 'organization_member'] as const
type Affiliation = (typeof AFFILIATIONS)[number]

/** The page and its order: names go up and times go down where the query says nothing. */
export function selectionOf(query: RepositoriesQuery, defaultSort: (typeof SORTS)[number]) {
  const sort = SORTS.find((known) => known === query.sort) ?? defaultSort
  const descending = query.direction === 'desc' || (query.direction !== 'asc' && sort !== 'full_name')
  return { ...pageOf(query), sort, descending }
}

/** Internal ones are private too: `private` is true in what is told of them. There are no forks. */
export function visibilitiesOf(word: string | undefined): { visibilities?: Repository['visibility'][] } {
  if (word === 'public') return { visibilities: ['public'] }
  if (word === 'private') return { visibilities: ['private', 'internal'] }
  if (word === 'internal') return { visibilities: ['internal'] }
  return word === 'forks' ? { visibilities: [] } : {}
}

/** Which of the asker's own. @throws AppError invalid for `type` beside what it stands for */
export function ownSelectionOf(query: OwnRepositoriesQuery) {
  const { type, visibility, affiliation, since, before } = query
  if (type !== undefined && (visibility !== undefined || affiliation !== undefined)) {
    throw new AppError('invalid', 'If you specify visibility or affiliation, you cannot specify type.')
  }
  const after = timeOf(since)
  const until = timeOf(before)
  return {
    ...selectionOf(query, 'full_name'),
    ...visibilitiesOf(visibility ?? type),
    ...affiliationsOf(affiliation, type),
    ...(after !== undefined && { updatedAfter: after }),
    ...(until !== undefined && { updatedBefore: until }),
  }
}

function affiliationsOf(affiliation: string | undefined, type: string | undefined): { affiliations?: Affiliation[] } {
  if (type === 'owner') return { affiliations: ['owner'] }
  if (type === 'member') return { affiliations: ['collaborator', 'organization_member'] }
  const words = affiliation?.split(',').map((word) => word.trim()) ?? []
  const known = AFFILIATIONS.filter((word) => words.includes(word))
  return known.length > 0 ? { affiliations: known } : {}
}

function timeOf(text: string | undefined): number | undefined {
  const at = Date.parse(text ?? '')
  return Number.isNaN(at) ? undefined : at
}
