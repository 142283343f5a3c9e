import { readFileSync } from 'node:fs'

/* Prints the plain closing line of a test run from vitest's JSON report, and fails when anything failed or nothing ran. */

interface Report {
  numPassedTests: number
  numFailedTests: number
  numPendingTests: number
  numFailedTestSuites: number
  success: boolean
}

const report = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8')) as Report
// A file that cannot be loaded has no tests that could fail.
const failed = report.numFailedTests === 0 && !report.success ? Math.max(1, report.numFailedTestSuites) : report.numFailedTests
console.log(`${report.numPassedTests} passed, ${failed} failed, ${report.numPendingTests} skipped`)
process.exit(failed > 0 || report.numPassedTests === 0 ? 1 : 0)
