import { AppError } from './errors.ts'

/** The Default group's number in every organization and enterprise; also what repositories show (rest-api.md 1.5). */
export const DEFAULT_GROUP_NUMBER = 1
export const DEFAULT_GROUP_NAME = 'Default'

export interface GroupOwner {
  kind: 'enterprise' | 'organization'
  id: number
}

/** `selected` names repositories in an organization's group and organizations in an enterprise's; `private` leaves public ones out. */
export type GroupVisibility = 'all' | 'selected' | 'private'

export interface RunnerGroup {
  id: number
  ownerKind: GroupOwner['kind']
  ownerId: number
  number: number
  name: string
  visibility: GroupVisibility
  allowsPublicRepositories: boolean
  restrictedToWorkflows: boolean
  selectedWorkflows: SelectedWorkflow[]
  /** Grows with every change of what the group allows: a claim asks whether what it knows is still so. */
  version: number
}

/** A group of the enterprise as one of its organizations has it: under a number of its own, narrowed if it likes. */
export interface InheritedGroup {
  organizationId: number
  number: number
  group: RunnerGroup
  visibility: GroupVisibility
  /** Null: as the enterprise says. */
  allowsPublicRepositories: boolean | null
}

/** `owner/repo/path@ref`. The repository is kept by its id: whoever takes a name that it gave up does not get in. */
export interface SelectedWorkflow {
  text: string
  repositoryId: number
  path: string
  ref: string
}

/** What the rules of a runner's group let it serve; all of it is asked for each job that it is given. */
export interface GroupPolicy {
  id: number
  version: number
  /** Lower case, as lines have it. */
  name: string
  allowsPublic: boolean
  visibility: GroupVisibility
  /** With `selected`: repositories of an organization's group, organizations of an enterprise's. */
  selected: ReadonlySet<number>
  /** What organizations made narrower of an enterprise's group, by their id. */
  narrowed: ReadonlyMap<number, { visibility: GroupVisibility; allowsPublic: boolean; repositories: ReadonlySet<number> }>
  /** Only these; any where undefined. */
  workflows: readonly SelectedWorkflow[] | undefined
}

/** The rules of a group that is no more. */
export function closedGroup(id: number): GroupPolicy {
  return { id, version: 0, name: '', allowsPublic: false, visibility: 'selected', selected: new Set(), narrowed: new Map(), workflows: [] }
}

const NAME_LIMIT = 64
const WORKFLOWS_LIMIT = 100

/** @throws AppError invalid for a name that is empty, too long or has control characters */
export function checkGroupName(name: string): string {
  const trimmed = name.trim()
  // oxlint-disable-next-line no-control-regex
  if (trimmed === '' || trimmed.length > NAME_LIMIT || /[\u0000-\u001f\u007f]/.test(trimmed)) {
    throw new AppError('invalid', `A runner group's name must have 1 to ${NAME_LIMIT} characters and no control characters`)
  }
  return trimmed
}

/** The parts of `owner/repo/path@ref`; a ref, tag or long SHA is required (rest-api.md 2.4). @throws AppError invalid */
export function parseSelectedWorkflow(text: string): { owner: string; name: string; path: string; ref: string } {
  const match = /^([^/@\s]+)\/([^/@\s]+)\/([^@\s]+)@(\S+)$/.exec(text)
  if (!match || text.length > 500) {
    throw new AppError('invalid', `${JSON.stringify(text.slice(0, 100))} is not of the form owner/repository/path@ref`)
  }
  const [, owner = '', name = '', path = '', ref = ''] = match
  return { owner, name, path, ref }
}

/** @throws AppError invalid for more than a group can have */
export function checkWorkflowCount(count: number): void {
  if (count > WORKFLOWS_LIMIT) throw new AppError('invalid', `A runner group can name ${WORKFLOWS_LIMIT} workflows at most`)
}

const COMMIT = /^[0-9a-f]{40}$/i

/** Whether a workflow is named by the commit that it stands in: then the job's own commit is asked, not its ref. */
export function isPinned({ ref }: Pick<SelectedWorkflow, 'ref'>): boolean {
  return COMMIT.test(ref)
}

/** Whether a ref as an administrator writes it (`main`, `v1`, `refs/heads/main`) is that ref. */
export function namesRef(written: string, ref: string): boolean {
  return written === ref || ref === `refs/heads/${written}` || ref === `refs/tags/${written}`
}
