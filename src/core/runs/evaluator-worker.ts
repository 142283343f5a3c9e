/** The worker thread of `evaluator.ts`: the only place that loads `@actions/workflow-parser` in a server. */
import { flushCompileCache, getCompileCacheDir, registerHooks } from 'node:module'
import { parentPort } from 'node:worker_threads'
import type { AnswerMessage, CallMessage, CallName, EvaluatorCalls } from './evaluator-calls.ts'

// The parser imports JSON without the attribute that Node asks for.
registerHooks({
  resolve(specifier, context, next) {
    const resolved = next(specifier, context)
    const isSchema = resolved.url.endsWith('.json') && resolved.url.includes('/@actions/workflow-parser/')
    return isSchema ? { ...resolved, importAttributes: { ...resolved.importAttributes, type: 'json' } } : resolved
  },
})

const { parseWorkflow } = await import('../../model/workflow/parse.ts')
const { evaluateJob, runTitle } = await import('../../model/workflow/evaluate.ts')
const { matchesPush } = await import('../../model/workflow/patterns.ts')

const calls: { [Name in CallName]: (args: EvaluatorCalls[Name]['args']) => EvaluatorCalls[Name]['result'] } = {
  parse: parseWorkflow,
  evaluateJob: ({ job, contexts }) => evaluateJob(job, contexts),
  runTitle: ({ plan, contexts }) => runTitle(plan, contexts),
  matchesPush: ({ on, pushed }) => matchesPush(on, pushed),
}

function answer(message: AnswerMessage): void {
  // oxlint-disable-next-line unicorn/require-post-message-target-origin -- a thread, not a window
  parentPort?.postMessage(message)
}

parentPort?.on('message', ({ name, args }: CallMessage) => {
  try {
    // The sender's types tie the arguments to the name.
    answer({ result: (calls[name] as (args: unknown) => unknown)(args) })
  } catch (error) {
    answer({ error: error instanceof Error ? (error.stack ?? error.message) : String(error) })
  }
})
answer({ ready: true })
if (getCompileCacheDir() !== undefined) flushCompileCache()
