import type { Assignment, Step } from '../../model/job.ts'
import { stepReportGet, stepReportReplace } from '../../store/logs.ts'
import type { Deps } from '../deps.ts'
import { isUnfinished } from '../jobs/job-tokens.ts'

const STEPS_LIMIT = 2100

/**
 * Takes in what a runner says of its steps. Older than what is known (`changeOrder` counts up), or after the end of the job: ignored.
 * Steps that the update does not name keep their state.
 */
export async function updateSteps(
  { db, signals }: Pick<Deps, 'db' | 'signals'>,
  assignment: Assignment,
  { changeOrder, steps }: { changeOrder: number; steps: Step[] },
): Promise<void> {
  if (!isUnfinished(assignment)) return
  for (;;) {
    const known = await stepReportGet(db, assignment.jobId)
    const isSame = known?.assignmentId === assignment.id
    if (isSame && known.changeOrder >= changeOrder) return
    const byId = new Map((isSame ? known.steps : []).map((step) => [step.externalId, step]))
    for (const step of steps) byId.set(step.externalId, step)
    const merged = [...byId.values()].sort((a, b) => a.number - b.number).slice(0, STEPS_LIMIT)
    const report = { jobId: assignment.jobId, assignmentId: assignment.id, changeOrder, steps: merged }
    if (await stepReportReplace(db, report, known)) break
  }
  signals.send('job', assignment.jobId)
}
