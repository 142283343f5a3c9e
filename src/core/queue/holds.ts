import type { Line } from '../../model/job.ts'
import type { RuleEffect } from '../../model/queue-rule.ts'
import { limitUse, type Pause } from '../../store/pauses.ts'
import type { Deps } from '../deps.ts'

/** Whether the pause of a label keeps a line's jobs waiting: those of the place where it was made, and below. */
export function holdsLine(pause: Pause, line: Pick<Line, 'labels' | 'ownerId' | 'repositoryId'>): boolean {
  if (pause.kind !== 'label' || !line.labels.includes(pause.labelKey)) return false
  if (pause.scopeKind === 'organization') return pause.scopeId === line.ownerId
  return pause.scopeKind === 'enterprise' || pause.scopeId === line.repositoryId
}

/** Whether as many jobs of a rule run as it allows; a rule that is gone, or no longer limits, allows all. */
export async function isFull(db: Deps['db'], ruleId: number): Promise<boolean> {
  const use = await limitUse(db, ruleId)
  const most = use && (JSON.parse(use.effect) as RuleEffect).mostAtOnce
  return most !== undefined && use !== undefined && use.running >= most
}
