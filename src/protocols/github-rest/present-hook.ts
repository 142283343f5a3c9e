import { isoTime } from '../../http/places.ts'
import { fullName, type Account, type Enterprise, type Repository } from '../../model/account.ts'
import { maskedSecret, type Delivery, type Hook, type WholeDelivery } from '../../model/hook.ts'
import type { Bases } from './present-account.ts'
import type { DeliveryBody, HookBody, HookConfigBody, WholeDeliveryBody } from './shapes-hook.ts'

/** Whose a webhook is, as its addresses name it. */
export interface HookHome {
  repository?: Repository | undefined
  organization?: Account | undefined
  enterprise?: Enterprise | undefined
}

const TYPES = { repository: 'Repository', organization: 'Organization', enterprise: 'Business', app: 'App', global: 'Global' }

/** `…/hooks` of an owner. */
export function hooksUrl({ api }: Bases, { repository, organization, enterprise }: HookHome): string {
  if (repository) return `${api}/repos/${fullName(repository)}/hooks`
  if (organization) return `${api}/orgs/${organization.login}/hooks`
  return enterprise ? `${api}/enterprises/${enterprise.slug}/hooks` : `${api}/admin/hooks`
}

/** hook, org-hook and global-hook: those of repositories also tell how the last request ended. */
export function presentHook(bases: Bases, home: HookHome, hook: Hook): HookBody {
  const url = `${hooksUrl(bases, home)}/${hook.id}`
  const isOfRepository = hook.owner.kind === 'repository'
  return {
    ...presentAnyHook(hook),
    url,
    ...(isOfRepository && { test_url: `${url}/test` }),
    ping_url: `${url}/pings`,
    deliveries_url: `${url}/deliveries`,
    ...(isOfRepository && { last_response: hook.lastResponse ?? { code: null, status: 'unused', message: null } }),
  }
}

/** The webhook of an App as its ping tells it: it has no address of its own (rest-api.md §5.3). */
export function presentAppHook({ api }: Bases, hook: Hook) {
  return { ...presentAnyHook(hook), app_id: hook.owner.id, deliveries_url: `${api}/app/hook/deliveries` }
}

function presentAnyHook(hook: Hook) {
  return {
    type: TYPES[hook.owner.kind],
    id: hook.id,
    name: 'web',
    active: hook.active,
    events: hook.events,
    config: presentHookConfig(hook),
    updated_at: isoTime(hook.updatedAt),
    created_at: isoTime(hook.createdAt),
  }
}

/** webhook-config; `insecure_ssl` is a text. */
export function presentHookConfig({ contentType, insecureSsl, url, hasSecret }: Hook): HookConfigBody {
  return { content_type: contentType, insecure_ssl: insecureSsl ? '1' : '0', url, ...(hasSecret && { secret: maskedSecret }) }
}

/** hook-delivery-item. */
export function presentDelivery(delivery: Delivery): DeliveryBody {
  const { id, guid, deliveredAt, createdAt, redelivery, durationMs, status, statusCode, event, action, attempts, nextAttemptAt } = delivery
  return {
    id,
    guid,
    delivered_at: isoTime(deliveredAt ?? createdAt),
    redelivery,
    duration: (durationMs ?? 0) / 1000,
    status: status ?? '',
    status_code: statusCode ?? 0,
    event,
    action,
    installation_id: delivery.installationId,
    repository_id: delivery.repositoryId,
    throttled_at: null,
    // Beside GitHub's fields: it makes no tries by itself.
    attempts,
    next_attempt_at: nextAttemptAt === null ? null : isoTime(nextAttemptAt),
  }
}

/** hook-delivery. */
export function presentWholeDelivery(delivery: WholeDelivery): WholeDeliveryBody {
  const { url, payload, requestHeaders, responseHeaders, responseBody, attemptsMade } = delivery
  return {
    ...presentDelivery(delivery),
    url,
    request: { headers: requestHeaders, payload: JSON.parse(payload) as Record<string, unknown> },
    response: { headers: responseHeaders, payload: responseBody },
    attempts_made: attemptsMade.map(({ at, durationMs, statusCode, status }) => ({
      at: isoTime(at),
      status,
      status_code: statusCode,
      duration: durationMs / 1000,
    })),
  }
}
