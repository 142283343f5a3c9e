import type { HookHandlers } from '../../core/repos/hooks.ts'
import type { Deps } from '../../core/deps.ts'
import { completePush, receivePush } from '../../core/repos/push.ts'
import { reconcilePushById } from '../../core/repos/reconcile-pushes.ts'
import type { Actor } from '../../model/access.ts'
import type { Repository } from '../../model/account.ts'
import { AppError } from '../../model/errors.ts'

export interface PushInProgress {
  handlers: HookHandlers
  /** To be called when git has ended: a push that moved nothing is closed. */
  ended: () => Promise<void>
}

/** Turns the hooks of one push into use-cases, and failures into lines for the pusher. */
export function hooksOf(deps: Deps, actor: Actor, repository: Repository): PushInProgress {
  let pushId: number | undefined
  let completed = false

  return {
    handlers: {
      async preReceive(updates, quarantine) {
        try {
          pushId = await receivePush(deps, actor, repository, updates, quarantine)
          return { refused: false, lines: [] }
        } catch (error) {
          if (error instanceof AppError) return { refused: true, lines: [error.message] }
          deps.log.error({ err: error, repositoryId: repository.id }, 'a push could not be recorded')
          return { refused: true, lines: ['The server cannot take this push at the moment; try again shortly.'] }
        }
      },
      async postReceive(updates) {
        if (pushId === undefined) throw new Error('post-receive without pre-receive')
        completed = true
        try {
          return { refused: false, lines: await completePush(deps, pushId, updates) }
        } catch (error) {
          // The refs have moved, and the push is on record: the reconciler will settle it.
          deps.log.error({ err: error, pushId }, 'a push could not be settled')
          return { refused: false, lines: ['Your commits are stored; their workflow runs will follow.'] }
        }
      },
    },
    ended: async () => {
      if (pushId !== undefined && !completed) await reconcilePushById(deps, pushId)
    },
  }
}
