import { ScalarToken, type TemplateToken } from '@actions/workflow-parser/templates/tokens/index'

/** Adds a problem at a token's place. */
export type Report = (at: TemplateToken | undefined, message: string) => void

/** A literal or an expression as text; `undefined` for what is no scalar. */
export function scalarText(token: TemplateToken | undefined): string | undefined {
  return token instanceof ScalarToken ? token.toString() : undefined
}
