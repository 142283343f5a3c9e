import { Type, type Static } from 'typebox'
import { orNull, Time, Word } from '../../http/answers.ts'

export type HookConfigBody = Static<typeof HookConfigBody>
export const HookConfigBody = Type.Object(
  {
    content_type: Word('json', 'form'),
    insecure_ssl: Word('0', '1'),
    url: Type.String(),
    secret: Type.Optional(Type.String({ description: 'Stars where there is one: it is never told.' })),
  },
  { title: 'HookConfig' },
)

export type HookBody = Static<typeof HookBody>
export const HookBody = Type.Object(
  {
    type: Type.String(),
    id: Type.Integer(),
    name: Type.String({ description: 'Always `web`.' }),
    active: Type.Boolean(),
    events: Type.Array(Type.String()),
    config: HookConfigBody,
    updated_at: Time,
    created_at: Time,
    url: Type.String(),
    test_url: Type.Optional(Type.String({ description: 'Of webhooks of repositories.' })),
    ping_url: Type.String(),
    deliveries_url: Type.String(),
    last_response: Type.Optional(
      Type.Object(
        { code: orNull(Type.Integer()), status: orNull(Type.String()), message: orNull(Type.String()) },
        { description: 'How the last request of a webhook of a repository ended.' },
      ),
    ),
  },
  { title: 'Hook' },
)

const DELIVERY = {
  id: Type.Integer(),
  guid: Type.String({ description: 'The same for every request about one event of one webhook.' }),
  delivered_at: Time,
  redelivery: Type.Boolean(),
  duration: Type.Number({ description: 'Of the last request, in seconds.' }),
  status: Type.String({ description: 'How the last request ended; empty while there was none.' }),
  status_code: Type.Integer({ description: '0 where there was no answer.' }),
  event: Type.String(),
  action: orNull(Type.String()),
  installation_id: orNull(Type.Integer()),
  repository_id: orNull(Type.Integer()),
  throttled_at: Type.Null(),
  attempts: Type.Integer({ description: 'How often it was tried. Beside GitHub, which makes no tries by itself.' }),
  next_attempt_at: orNull(Time),
}
export type DeliveryBody = Static<typeof DeliveryBody>
export const DeliveryBody = Type.Object(DELIVERY, { title: 'HookDelivery' })

const Headers = orNull(Type.Record(Type.String(), Type.String()))
export type WholeDeliveryBody = Static<typeof WholeDeliveryBody>
export const WholeDeliveryBody = Type.Object(
  {
    ...DELIVERY,
    url: Type.String(),
    request: Type.Object({ headers: Headers, payload: Type.Record(Type.String(), Type.Unknown()) }),
    response: Type.Object({ headers: Headers, payload: orNull(Type.String()) }),
    attempts_made: Type.Array(
      Type.Object({ at: Time, status: Type.String(), status_code: Type.Integer(), duration: Type.Number({ description: 'Seconds.' }) }),
    ),
  },
  { title: 'WholeHookDelivery', description: 'A delivery with all that was sent and answered.' },
)
