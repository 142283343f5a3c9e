import { defineConfig } from 'vitest/config'

// @actions/workflow-parser imports JSON without the attribute that Node requires: vite transforms it instead.
const server = { deps: { inline: [/@actions\//] } }
const patient = { testTimeout: 30_000, hookTimeout: 30_000 }

/** A PostgreSQL server whose user may make databases; with it the same suite runs there too, and the tests of several nodes. */
const postgres = process.env['FLEETFOOT_TEST_DATABASE_URL']

export default defineConfig({
  test: {
    // Two cores: more files at once only make each other late.
    maxWorkers: 3,
    // The packages' source maps name files that they do not ship.
    onConsoleLog: (log) => !log.includes('points to missing source files'),
    projects: [
      {
        test: {
          name: 'main',
          include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
          exclude: ['test/cluster/**', 'test/runner/**', 'test/clients/**', 'node_modules/**'],
          env: { FLEETFOOT_TEST_DATABASE_KIND: 'sqlite' },
          ...patient,
          server,
        },
      },
      ...(postgres
        ? [
            {
              test: {
                name: 'postgres',
                include: [
                  'src/store/**/*.test.ts',
                  'src/core/**/*.test.ts',
                  'src/protocols/**/*.test.ts',
                  'test/e2e/**/*.test.ts',
                  'test/malformed*.test.ts',
                ],
                exclude: [
                  // These start servers of their own, always on SQLite.
                  'test/e2e/kills.test.ts',
                  'test/e2e/webhook-kills.test.ts',
                  'test/e2e/demo.test.ts',
                  // These ask the database for next to nothing.
                  'test/e2e/hostile-workflows.test.ts',
                  'src/core/repos/git.test.ts',
                  'src/protocols/git/git.test.ts',
                  'src/core/repos/archive-cache.test.ts',
                ],
                env: { FLEETFOOT_TEST_DATABASE_KIND: 'postgres' },
                testTimeout: 60_000,
                hookTimeout: 60_000,
                server,
              },
            },
            {
              test: {
                name: 'cluster',
                include: ['test/cluster/**/*.test.ts'],
                env: { FLEETFOOT_TEST_DATABASE_KIND: 'postgres' },
                testTimeout: 180_000,
                hookTimeout: 60_000,
                fileParallelism: false,
                server,
              },
            },
          ]
        : []),
      {
        test: {
          name: 'runner',
          include: ['test/runner/**/*.test.ts'],
          env: { FLEETFOOT_TEST_DATABASE_KIND: 'sqlite' },
          testTimeout: 300_000,
          hookTimeout: 120_000,
          fileParallelism: false,
          server,
        },
      },
      {
        test: {
          name: 'clients',
          include: ['test/clients/**/*.test.ts'],
          env: { FLEETFOOT_TEST_DATABASE_KIND: 'sqlite' },
          testTimeout: 60_000,
          hookTimeout: 60_000,
          server,
        },
      },
    ],
  },
})
