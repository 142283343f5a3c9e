import { Type, type Static } from 'typebox'
import { orNull, texts, Time } from '../../http/answers.ts'
import { SimpleUserBody } from './shapes-account.ts'
import { JobBody } from './shapes-run.ts'

const { status, conclusion } = JobBody.properties

export type ActionsAppBody = Static<typeof ActionsAppBody>
export const ActionsAppBody = Type.Object(
  {
    id: Type.Integer(),
    ...texts('slug', 'node_id'),
    owner: SimpleUserBody,
    ...texts('name', 'description', 'external_url', 'html_url'),
    created_at: Time,
    updated_at: Time,
    permissions: Type.Record(Type.String(), Type.String()),
    events: Type.Array(Type.String()),
  },
  { title: 'ActionsApp', description: 'The App that check runs of jobs are of.' },
)

export type CheckRunBody = Static<typeof CheckRunBody>
export const CheckRunBody = Type.Object(
  {
    id: Type.Integer({ description: 'That of its job.' }),
    ...texts('name', 'node_id', 'head_sha', 'external_id', 'url', 'html_url', 'details_url'),
    status,
    conclusion,
    started_at: Time,
    completed_at: orNull(Time),
    output: Type.Object({
      title: orNull(Type.String()),
      summary: Type.Union([Type.String(), Type.Null()], { description: 'Why the job ended without a report of its runner.' }),
      text: Type.Null(),
      annotations_count: Type.Integer(),
      annotations_url: Type.String(),
    }),
    check_suite: Type.Object({ id: Type.Integer() }),
    app: ActionsAppBody,
    pull_requests: Type.Array(Type.Unknown()),
  },
  { title: 'CheckRun' },
)
