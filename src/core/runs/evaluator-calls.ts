/** What the evaluator's two sides say to each other. */
import type { JobContexts, JobDecision, ParsedWorkflow, PlannedJob, Triggers, WorkflowPlan } from '../../model/workflow/plan.ts'
import type { PushedRef } from '../../model/workflow/patterns.ts'

export interface EvaluatorCalls {
  parse: { args: { path: string; content: string }; result: ParsedWorkflow }
  evaluateJob: { args: { job: PlannedJob; contexts: JobContexts }; result: JobDecision }
  runTitle: { args: { plan: Pick<WorkflowPlan, 'runName'>; contexts: Pick<JobContexts, 'github' | 'inputs'> }; result: string | undefined }
  matchesPush: { args: { on: Triggers; pushed: PushedRef }; result: boolean }
}

export type CallName = keyof EvaluatorCalls

export interface CallMessage<Name extends CallName = CallName> {
  name: Name
  args: EvaluatorCalls[Name]['args']
}

/** The first answer says that the worker is there; each further one belongs to the one call under way. */
export type AnswerMessage = { ready: true } | { result: unknown } | { error: string }
