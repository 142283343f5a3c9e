import { pipeline, Readable, Transform } from 'node:stream'
import { Type, type Static } from 'typebox'
import type { Deps } from '../../core/deps.ts'
import { addRunnerPackage, listRunnerPackages, type AddedPackage } from '../../core/runners/runner-packages.ts'
import type { App } from '../../http/server.ts'
import { needs } from '../../model/access.ts'
import { AppError } from '../../model/errors.ts'

export type PackageBody = Static<typeof PackageBody>
export const PackageBody = Type.Object(
  {
    os: Type.String(),
    architecture: Type.String(),
    version: Type.String(),
    filename: Type.String(),
    sha256_checksum: Type.String(),
    size: Type.Integer({ description: 'In bytes.' }),
  },
  { title: 'RunnerPackage' },
)

const GIB = 1024 * 1024 * 1024
const tags = ['runner-packages']
const config = { access: { by: 'actor' as const, need: needs.siteAdmin } }

/** Packages of the runner application that the operator adds; `GET …/actions/runners/downloads` shows them (rest-api.md 1.2). */
export function packageRoutes(app: App, deps: Deps): void {
  app.get(
    '/runner-packages',
    {
      config,
      schema: {
        operationId: 'fleetfoot/list-runner-packages',
        summary: 'List the packages of the runner application that were added',
        tags,
        response: { 200: Type.Array(PackageBody) },
      },
    },
    async (request) => (await listRunnerPackages(deps, request.actor)).map(presentPackage),
  )
  // In a scope of its own, where bodies are passed on as they come.
  void app.register(async (scope) => uploadRoute(scope as App, deps))
}

function uploadRoute(app: App, deps: Deps): void {
  app.removeAllContentTypeParsers()
  app.addContentTypeParser('*', (_request, payload, done) => done(null, payload))
  app.put(
    '/runner-packages/:filename',
    {
      config,
      bodyLimit: GIB,
      schema: {
        operationId: 'fleetfoot/add-runner-package',
        summary: 'Add a package of the runner application',
        description: 'The body is the file as it is, 1 GiB at most. It takes the place of the one for the same system.',
        tags,
        bodyType: 'application/octet-stream',
        params: Type.Object({
          filename: Type.String({ description: 'As upstream names it, such as `actions-runner-linux-x64-2.330.0.tar.gz`.' }),
        }),
        response: { 201: PackageBody },
      },
    },
    async (request, reply) => {
      if (Number(request.headers['content-length'] ?? 0) > GIB) throw tooLarge()
      const body = request.body instanceof Readable ? request.body : Readable.from([])
      const added = await addRunnerPackage(deps, request.actor, { filename: request.params.filename, body: limited(body) })
      return reply.code(201).send(presentPackage(added))
    },
  )
}

/** A body without a length is counted while it comes. */
function limited(body: Readable): Readable {
  let size = 0
  const counter = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      size += chunk.length
      done(size > GIB ? tooLarge() : null, chunk)
    },
  })
  return pipeline(body, counter, () => {})
}

const tooLarge = () => new AppError('too_large', 'A runner package may have 1 GiB at most')

function presentPackage({ os, architecture, version, filename, sha256, size }: Omit<AddedPackage, 'createdAt'>): PackageBody {
  return { os, architecture, version, filename, sha256_checksum: sha256, size }
}
