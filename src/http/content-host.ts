import type { AddressBook } from './addresses.ts'
import type { App } from './server.ts'

declare module 'fastify' {
  interface FastifyContextConfig {
    /** Also served under FLEETFOOT_CONTENT_URL, where nothing else is. */
    isContent?: boolean
  }
}

/**
 * Keeps everything but content away from the content's own host: what a job wrote must not find our API, or a page of ours, on its own
 * origin (architecture 1.4, rule 4). Content stays where it was too: addresses that were signed before are good for a day.
 */
export function useContentHost(app: App, { url, contentUrl }: Pick<AddressBook, 'url' | 'contentUrl'>): void {
  if (contentUrl === undefined || hostOf(contentUrl) === hostOf(url)) return
  const standardPort = contentUrl.startsWith('https:') ? ':443' : ':80'
  const host = hostOf(contentUrl)
  app.addHook('onRequest', async (request, reply) => {
    if (request.routeOptions.config.isContent) return undefined
    const asked = request.host.toLowerCase()
    if (asked !== host && asked !== host + standardPort) return undefined
    return reply
      .code(404)
      .header('Content-Type', 'application/json')
      .serializer(JSON.stringify)
      .send({ message: 'Not Found', documentation_url: 'https://docs.github.com/rest', status: '404' })
  })
}

function hostOf(base: string): string {
  return new URL(base).host
}
