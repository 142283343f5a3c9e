import type { FastifySchema } from 'fastify'
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
  schema: Pick<FastifySchema, 'params' | 'querystring' | 'body' | 'bodyType' | 'response' | 'summary' | 'description' | 'tags'>
}

/** Every route that is registered from now on, of all rooms. */
export function collectRoutes(app: App): ServedRoute[] {
  const routes: ServedRoute[] = []
  app.addHook('onRoute', ({ method, url, config, schema = {} }) => {
    for (const each of [method].flat()) {
      // Fastify adds HEAD to each GET.
      if (each !== 'HEAD') {
        const { access, deprecated } = config ?? {}
        routes.push({ method: each, url, access, operationId: schema.operationId, deprecated, schema })
      }
    }
  })
  return routes
}

/** An answer that is about to be sent. */
export interface JudgedAnswer {
  /** Of the route that gave it. */
  operationId: string | undefined
  method: string
  status: number
  /** Text; undefined for what is no text: a stream, or bytes. */
  body: string | undefined
  contentType: string | undefined
}

/** In what an answer is not as it should be. */
export type JudgeAnswer = (answer: JudgedAnswer) => string[]

/** Lets every answer be judged before it is sent; one that does not fit becomes a failure that no test overlooks. */
export function judgeAnswers(app: App, judge: JudgeAnswer): void {
  app.addHook('onSend', async (request, reply, payload) => {
    const { operationId } = request.routeOptions.schema ?? {}
    const contentType = reply.getHeader('content-type')
    const violations = judge({
      operationId,
      method: request.method,
      status: reply.statusCode,
      body: payload === null || payload === undefined ? '' : typeof payload === 'string' ? payload : undefined,
      contentType: contentType === undefined ? undefined : String(contentType),
    })
    if (violations.length > 0) throw new Error(`${operationId ?? request.url} ${reply.statusCode}: ${violations.join('; ')}`)
    return payload
  })
}
