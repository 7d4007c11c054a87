// What comes in and goes out of the routes of webhooks.
import { Type, type Static } from 'typebox';
import { EVENT_PATTERN, EVENT_PATTERNS } from '../../domain/event-types.ts';
import { WEBHOOK_URL_MAX } from '../../domain/submission.ts';
import { type CallResult, CALLS_MAX } from '../../domain/webhook.ts';
import type { DeliveryRow } from '../../store/delivery-log.ts';
import type { Endpoint } from '../../store/endpoints.ts';
import { At, nullable } from '../shapes.ts';

const fields = {
  url: Type.String({
    minLength: 1,
    maxLength: WEBHOOK_URL_MAX,
    description: 'https, on port 443 or 8443, of a public place.',
  }),
  events: Type.Array(Type.String({ pattern: EVENT_PATTERN, maxLength: 40 }), {
    minItems: 1,
    maxItems: EVENT_PATTERNS.length,
    description: 'Types, all of a subject (`job.*`), or all (`*`). Default: the four ends of a job.',
  }),
  description: Type.String({ maxLength: 500 }),
  payload: Type.Enum(['full', 'thin'], {
    description: '`thin`: of `data` nothing but ids, status and version.',
  }),
  enabled: Type.Boolean(),
};
const { url, events, description, payload, enabled } = fields;

export const EndpointForm = Type.Object(
  {
    url,
    events: Type.Optional(events),
    description: Type.Optional(description),
    payload: Type.Optional(payload),
    enabled: Type.Optional(enabled),
  },
  { additionalProperties: false },
);
export type EndpointForm = Static<typeof EndpointForm>;

export const EndpointPatch = Type.Partial(EndpointForm, { additionalProperties: false, minProperties: 1 });
export type EndpointPatch = Static<typeof EndpointPatch>;

export const SpanForm = Type.Object(
  {
    after: Type.String({ format: 'date-time', description: 'Deliveries from that instant on.' }),
    before: Type.Optional(
      Type.String({ format: 'date-time', description: 'And up to that one; default: now.' }),
    ),
    only_failed: Type.Optional(
      Type.Boolean({
        default: true,
        description: 'Those that were given up; else also those that got through.',
      }),
    ),
  },
  { additionalProperties: false },
);
export type SpanForm = Static<typeof SpanForm>;

const endpoint = {
  id: Type.String(),
  object: Type.Literal('webhook_endpoint'),
  url: Type.Union([Type.String(), Type.Null()], {
    description: "Null: it stands for single jobs' webhooks, which have their own URLs.",
  }),
  events: Type.Array(Type.String()),
  description,
  payload,
  enabled,
  disabled_reason: Type.Union([Type.Enum(['client', 'gone', 'failing']), Type.Null()], {
    description: '`gone`: it answered 410. `failing`: nothing has got through for five days.',
  }),
  disabled_at: nullable(At),
  failing_since: Type.Union([At, Type.Null()], { description: 'Since when nothing has got through.' }),
  old_secret_until: Type.Union([At, Type.Null()], {
    description: 'Until then the secret before signs besides.',
  }),
  created_at: At,
};
export const EndpointAnswer = Type.Object(endpoint, { description: 'A webhook endpoint' });
export const EndpointWithSecret = Type.Object(
  { ...endpoint, secret: Type.String({ description: '`whsec_` and base64, as Standard Webhooks has it.' }) },
  { description: 'A webhook endpoint and its secret' },
);

export function endpointView(endpoint: Endpoint) {
  const { forJobs } = endpoint;
  return {
    id: endpoint.id,
    object: 'webhook_endpoint',
    url: forJobs ? null : endpoint.url,
    events: endpoint.events,
    description: endpoint.description,
    payload: endpoint.payload,
    enabled: endpoint.enabled,
    disabled_reason: endpoint.disabledReason,
    disabled_at: endpoint.disabledAt,
    failing_since: endpoint.failingSince,
    old_secret_until: endpoint.oldSecretUntil,
    created_at: endpoint.createdAt,
  };
}

const Call = Type.Object({
  n: Type.Integer(),
  at: At,
  duration_ms: Type.Integer(),
  http_status: nullable(Type.Integer()),
  error: Type.Union([Type.String(), Type.Null()], {
    description: 'What was wrong, such as `timeout`; null: nothing.',
  }),
  response_body: Type.Union([Type.String(), Type.Null()], {
    description: 'As much as is kept: 64 KiB, in lists its first 1,024 characters.',
  }),
});

export const DeliveryAnswer = Type.Object(
  {
    id: Type.String(),
    object: Type.Literal('delivery'),
    event_id: Type.Union([Type.String(), Type.Null()], {
      description: 'Null: the event is not kept any more.',
    }),
    event_type: nullable(Type.String()),
    endpoint_id: Type.String(),
    url: Type.Union([Type.String(), Type.Null()], {
      description: "Of a single job's webhook; else the endpoint's.",
    }),
    status: Type.Enum(['pending', 'delivered', 'failed', 'exhausted'], {
      description: `\`exhausted\`: ${CALLS_MAX} calls were in vain. \`failed\`: given up before that, since the endpoint is no more.`,
    }),
    attempts: Type.Array(Call),
    next_attempt_at: nullable(At),
    created_at: At,
    ended_at: nullable(At),
  },
  { description: 'An event on its way to an endpoint' },
);

export function deliveryView(row: DeliveryRow) {
  return {
    id: row.id,
    object: 'delivery',
    event_id: row.eventId,
    event_type: row.eventType,
    endpoint_id: row.endpointId,
    url: row.url,
    status: row.status,
    attempts: row.attempts,
    next_attempt_at: row.nextAttemptAt,
    created_at: row.createdAt,
    ended_at: row.endedAt,
  };
}

export const TestAnswer = Type.Object(
  {
    object: Type.Literal('webhook_test'),
    event_id: Type.String(),
    delivered: Type.Boolean(),
    duration_ms: Type.Integer(),
    http_status: nullable(Type.Integer()),
    error: nullable(Type.String()),
    response_body: nullable(Type.String()),
  },
  { description: 'What came back' },
);

export function testView(result: CallResult & { eventId: string }) {
  return {
    object: 'webhook_test',
    event_id: result.eventId,
    delivered: result.error === null,
    duration_ms: result.durationMs,
    http_status: result.httpStatus,
    error: result.error,
    response_body: result.body,
  };
}

export const SpanAnswer = Type.Object(
  {
    object: Type.Literal('redelivery'),
    redelivered: Type.Integer(),
    next_after: Type.Union([At, Type.Null()], {
      description: 'There may be more: go on with this as `after`.',
    }),
  },
  { description: 'What is sent again' },
);
