import type { Access } from './access.ts'
import type { Deprecation } from './deprecation.ts'
import type { App } from './server.ts'

/** A route as it declares itself. */
export interface ServedRoute {
  method: string
  url: string
  access: Access | undefined
  operationId: string | undefined
  deprecated: Deprecation | undefined
  schema: { params?: unknown; querystring?: unknown; body?: unknown; response?: unknown }
}

/** Every route that is registered from now on, of all rooms. */
export function collectRoutes(app: App): ServedRoute[] {
  const routes: ServedRoute[] = []
  app.addHook('onRoute', ({ method, url, config, schema = {} }) => {
    for (const each of [method].flat()) {
      const { params, querystring, body, response } = schema
      // Fastify adds HEAD to each GET.
      if (each !== 'HEAD') {
        routes.push({
          method: each,
          url,
          access: config?.access,
          operationId: schema.operationId,
          deprecated: config?.deprecated,
          schema: { params, querystring, body, response },
        })
      }
    }
  })
  return routes
}

/** The violations of an answer; a body is text. */
export type JudgeAnswer = (answer: { operationId: string; status: number; body: string; contentType: string | undefined }) => string[]

/** Lets every answer of a named operation be judged before it is sent; one that does not fit becomes a failure that no test overlooks. */
export function judgeAnswers(app: App, judge: JudgeAnswer): void {
  app.addHook('onSend', async (request, reply, payload) => {
    const { operationId } = request.routeOptions.schema ?? {}
    if (operationId === undefined || (payload !== null && payload !== undefined && typeof payload !== 'string')) return payload
    const contentType = reply.getHeader('content-type')
    const answer = {
      operationId,
      status: reply.statusCode,
      body: payload ?? '',
      contentType: contentType === undefined ? undefined : String(contentType),
    }
    const violations = judge(answer)
    if (violations.length > 0) throw new Error(`${operationId} ${reply.statusCode}: ${violations.join('; ')}`)
    return payload
  })
}
