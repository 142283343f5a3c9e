import { Type, type Static } from 'typebox'
import type { Repository } from '../../model/account.ts'

const MAX_DESCRIPTION = 350

const Visibility = Type.Union([Type.Literal('public'), Type.Literal('private'), Type.Literal('internal')])
// GitHub refuses control characters in descriptions; other fields of its are not offered and ignored.
const Description = Type.Union([Type.String({ maxLength: MAX_DESCRIPTION, pattern: '^[^\\u0000-\\u001f\\u007f]*$' }), Type.Null()])

export type NewRepositoryBody = Static<typeof NewRepositoryBody>
export const NewRepositoryBody = Type.Object({
  name: Type.String({ minLength: 1, maxLength: 100 }),
  description: Type.Optional(Description),
  private: Type.Optional(Type.Boolean()),
  visibility: Type.Optional(Visibility),
  auto_init: Type.Optional(Type.Boolean()),
})

export type RepositoryChangeBody = Static<typeof RepositoryChangeBody>
export const RepositoryChangeBody = Type.Object({
  name: Type.Optional(Type.String({ minLength: 1, maxLength: 100 })),
  description: Type.Optional(Description),
  private: Type.Optional(Type.Boolean()),
  visibility: Type.Optional(Visibility),
  default_branch: Type.Optional(Type.String({ minLength: 1, maxLength: 250 })),
})

/** What a body of `POST …/repos` asks for. */
export function newRepositoryOf(body: NewRepositoryBody): {
  name: string
  description: string | null | undefined
  private: boolean | undefined
  visibility: Repository['visibility'] | undefined
  autoInit: boolean | undefined
} {
  const { name, description, visibility, auto_init } = body
  return { name, description, private: body.private, visibility, autoInit: auto_init }
}
