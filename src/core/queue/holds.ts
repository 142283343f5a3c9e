import type { Line } from '../../model/job.ts'
import type { Pause } from '../../store/pauses.ts'

/** Whether the pause of a label keeps a line's jobs waiting: those of the place where it was made, and below. */
export function holdsLine(pause: Pause, line: Pick<Line, 'labels' | 'ownerId' | 'repositoryId'>): boolean {
  if (pause.kind !== 'label' || !line.labels.includes(pause.labelKey)) return false
  if (pause.scopeKind === 'organization') return pause.scopeId === line.ownerId
  return pause.scopeKind === 'enterprise' || pause.scopeId === line.repositoryId
}
