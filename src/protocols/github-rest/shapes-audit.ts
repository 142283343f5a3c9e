import { Type } from 'typebox'
import { orNull } from '../../http/answers.ts'

/** Beside these, the number of what it is about under the name of its kind: `runner_id`, `token_id` … */
export const AuditEntryBody = Type.Object(
  {
    '@timestamp': Type.Integer({ description: 'In milliseconds since 1970.' }),
    _document_id: Type.String(),
    action: Type.String(),
    operation_type: Type.String({ description: 'What the action is: `create`, `modify`, `remove` …' }),
    actor: Type.String(),
    actor_id: orNull(Type.Integer()),
    actor_ip: orNull(Type.String()),
    actor_is_bot: Type.Boolean(),
    user_agent: orNull(Type.String()),
    request_id: orNull(Type.String()),
    created_at: Type.Integer({ description: 'In milliseconds since 1970.' }),
    org: orNull(Type.String()),
    org_id: orNull(Type.Integer()),
    repo: orNull(Type.String()),
    repo_id: orNull(Type.Integer()),
    data: Type.Record(Type.String(), Type.Unknown(), { description: 'What was changed.' }),
  },
  {
    title: 'AuditEntry',
    additionalProperties: Type.Integer({
      description: 'The number of what it is about, under the name of its kind: `runner_id`, `token_id`.',
    }),
  },
)
