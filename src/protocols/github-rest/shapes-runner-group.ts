import { Type, type Static } from 'typebox'
import { Word } from '../../http/answers.ts'

export type RunnerGroupBody = Static<typeof RunnerGroupBody>
export const RunnerGroupBody = Type.Object(
  {
    id: Type.Integer(),
    name: Type.String(),
    visibility: Word('all', 'selected', 'private'),
    default: Type.Boolean(),
    selected_repositories_url: Type.Optional(
      Type.String({ description: 'With the visibility `selected`, at organizations and repositories.' }),
    ),
    selected_organizations_url: Type.Optional(Type.String({ description: 'With the visibility `selected`, at the enterprise.' })),
    runners_url: Type.String(),
    hosted_runners_url: Type.String(),
    inherited: Type.Optional(Type.Boolean({ description: 'It is of the enterprise. Not told there.' })),
    inherited_allows_public_repositories: Type.Optional(Type.Boolean()),
    allows_public_repositories: Type.Boolean(),
    restricted_to_workflows: Type.Boolean(),
    selected_workflows: Type.Array(Type.String()),
    workflow_restrictions_read_only: Type.Boolean(),
    is_hosted: Type.Boolean(),
  },
  { title: 'RunnerGroup' },
)
export const RunnerGroupsBody = Type.Object({ total_count: Type.Integer(), runner_groups: Type.Array(RunnerGroupBody) })
