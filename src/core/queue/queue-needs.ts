import { needs } from '../../model/access.ts'
import { runnerNeeds } from '../runners/registration-tokens.ts'

/** Who may see a queue: those who manage runners, and in a repository whoever may read it. */
export const queueReadNeeds = { ...runnerNeeds, repository: needs.actionsRead }
/** Who may steer it: those who manage the runners there. */
export const queueSteerNeeds = runnerNeeds
