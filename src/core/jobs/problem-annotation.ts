import type { Annotation, Conclusion } from '../../model/job.ts'

/** The heading of why a job ended without a report of its own: of its annotation and of its check run. */
export function problemTitle(conclusion: Conclusion | null): string {
  return conclusion === 'cancelled' ? 'The job was cancelled' : 'The job failed'
}

/** Tells in GitHub's form why a job ended: `gh run view` and receivers of webhooks know no other. */
export function problemAnnotation(conclusion: Conclusion, message: string): Annotation {
  return {
    stepNumber: null,
    level: 'failure',
    title: problemTitle(conclusion),
    message,
    path: '.github',
    startLine: 1,
    endLine: 1,
    startColumn: null,
    endColumn: null,
    rawDetails: null,
  }
}
