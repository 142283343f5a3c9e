import { defineConfig } from 'vitest/config'

// @actions/workflow-parser imports JSON without the attribute that Node requires: vite transforms it instead.
const server = { deps: { inline: [/@actions\//] } }

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'main',
          include: ['src/**/*.test.ts', 'test/**/*.test.ts'],
          exclude: ['test/cluster/**', 'test/runner/**', 'node_modules/**'],
          testTimeout: 30_000,
          hookTimeout: 30_000,
          server,
        },
      },
      {
        test: {
          name: 'cluster',
          include: ['test/cluster/**/*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 60_000,
          fileParallelism: false,
          server,
        },
      },
      {
        test: {
          name: 'runner',
          include: ['test/runner/**/*.test.ts'],
          testTimeout: 300_000,
          hookTimeout: 120_000,
          fileParallelism: false,
          server,
        },
      },
    ],
  },
})
