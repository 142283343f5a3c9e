import { needs } from '../../model/access.ts'
import { runnerNeeds, runnerReadNeeds } from '../runners/registration-tokens.ts'

/** Who may see a queue: those who manage runners, and in a repository whoever may read it. */
export const queueReadNeeds = { ...runnerReadNeeds, repository: needs.actionsRead }
/** Who may steer it: those who manage the runners there. */
export const queueSteerNeeds = runnerNeeds
