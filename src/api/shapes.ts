// Shapes of answers, for the OpenAPI document. What is sent is built elsewhere; a test holds the two together.
import { Type } from 'typebox';
import { ERRORS } from '../domain/errors.ts';
import { JOB_ERROR_CODES, KINDS, PRIORITIES, STATUSES } from '../domain/job.ts';

export const nullable = <T extends Parameters<typeof Type.Union>[0][number]>(schema: T) =>
  Type.Union([schema, Type.Null()]);
export const At = Type.String({ format: 'date-time' });
export const Free = Type.Object({}, { additionalProperties: true });

export const MoneyShape = Type.Object({
  credits: Type.Integer({ description: '2,000,000 are one US dollar.' }),
  usd: Type.String({ description: 'The same, exactly, as a decimal.' }),
});

const Usage = Type.Object({
  name: Type.Enum(['token', 'image', 'character', 'millisecond']),
  measure: Type.Enum(['input', 'output']),
  quantity: Type.Integer(),
});

const Bounds = Type.Object(
  {
    max_output_tokens: Type.Optional(Type.Integer()),
    n: Type.Optional(Type.Integer()),
    size: Type.Optional(Type.String()),
    characters: Type.Optional(Type.Integer()),
    audio_ms: Type.Optional(Type.Integer()),
    charge_refused: Type.Optional(
      Type.Literal(true, { description: "What the vendor's content policy refuses is charged." }),
    ),
  },
  { description: 'What the cost is bounded by, as it is sent upstream' },
);

const stored = {
  artifact_id: Type.String(),
  url: Type.String(),
  content_type: Type.String(),
  bytes: Type.Integer(),
  sha256: Type.String(),
  expires_at: nullable(At),
};
const ChatOutput = Type.Object({
  text: Type.String(),
  completion: Type.Union([Free, Type.Null()], {
    description: "The provider's chat.completion, untouched; null where it was ended on the way.",
  }),
});
const ImageOutput = Type.Object({
  images: Type.Array(
    Type.Object({
      ...stored,
      width: Type.Integer(),
      height: Type.Integer(),
      seed: Type.Optional(Type.Integer()),
      revised_prompt: Type.Optional(Type.String()),
    }),
  ),
});
const TtsOutput = Type.Object({
  audio: Type.Object({
    ...stored,
    duration_ms: nullable(Type.Integer()),
    sample_rate: nullable(Type.Integer()),
  }),
});
const SttOutput = Type.Object({
  text: Type.String(),
  language: nullable(Type.String()),
  duration_ms: nullable(Type.Number()),
  segments: Type.Array(Type.Object({ start_ms: Type.Number(), end_ms: Type.Number(), text: Type.String() })),
});

export const JobAnswer = Type.Object(
  {
    id: Type.String(),
    object: Type.Literal('job'),
    livemode: Type.Boolean(),
    kind: Type.Enum([...KINDS]),
    model: Type.String(),
    status: Type.Enum([...STATUSES]),
    version: Type.Integer(),
    attempt: Type.Integer(),
    priority: Type.Enum([...PRIORITIES]),
    key_id: Type.String(),
    metadata: Type.Unsafe<Record<string, string>>({
      type: 'object',
      additionalProperties: { type: 'string' },
    }),
    input: nullable(Free),
    bounds: Bounds,
    output: Type.Union([ChatOutput, ImageOutput, TtsOutput, SttOutput, Type.Null()], {
      description: 'By kind; null until there is one.',
    }),
    error: nullable(
      Type.Object({
        code: Type.Enum([...JOB_ERROR_CODES]),
        message: Type.String(),
        retryable: Type.Boolean(),
        details: Free,
      }),
    ),
    usage: nullable(Type.Array(Usage)),
    hold: MoneyShape,
    cost: nullable(MoneyShape),
    price_version: Type.String(),
    queue: nullable(
      Type.Object({
        position: Type.Integer(),
        waiting_for: Type.Enum(['slot', 'worker', 'retry', 'provider']),
      }),
    ),
    eta_ms: nullable(Type.Integer()),
    deadline: At,
    cancel_requested_at: nullable(At),
    canceled_by: nullable(Type.Enum(['client', 'operator', 'suspension'])),
    created_at: At,
    started_at: nullable(At),
    ended_at: nullable(At),
    data_deleted_at: nullable(At),
    webhook: nullable(Type.String()),
    client_request_id: nullable(Type.String()),
    links: Type.Object(
      {
        self: Type.String(),
        events: Type.String(),
        cancel: Type.String(),
        explain: Type.String(),
      },
      { description: 'Paths below the root of the API.' },
    ),
  },
  { description: 'A job' },
);

export const listOf = <T extends Parameters<typeof Type.Array>[0]>(item: T) =>
  Type.Object({
    object: Type.Literal('list'),
    data: Type.Array(item),
    has_more: Type.Boolean(),
    next_after: nullable(Type.String()),
  });

export const JobList = listOf(JobAnswer);

export const ErrorAnswer = Type.Object(
  {
    statusCode: Type.Integer(),
    code: Type.Enum(Object.keys(ERRORS)),
    message: Type.String(),
    path: Type.String(),
    requestId: Type.String(),
    timestamp: At,
    retryable: Type.Boolean(),
    details: Free,
  },
  { description: 'An error' },
);

export const Quote = Type.Object(
  {
    object: Type.Literal('quote'),
    admitted: Type.Boolean(),
    reason: nullable(Type.String()),
    hold: MoneyShape,
    expected: Type.Object({ credits: Type.Integer(), usd: Type.String(), samples: Type.Integer() }),
    queue: Type.Object({ position: Type.Integer(), waiting_for: Type.Enum(['slot', 'worker']) }),
    bounds: Bounds,
    price_version: Type.String(),
  },
  { description: 'What admission would say' },
);

const ByLot = Type.Object({
  credits: Type.Integer(),
  usd: Type.String(),
  lots: Type.Array(Type.Object({ lot_id: Type.String(), credits: Type.Integer(), usd: Type.String() })),
});

export const Explanation = Type.Object(
  {
    object: Type.Literal('explanation'),
    job_id: Type.String(),
    status: Type.Enum([...STATUSES]),
    price_version: Type.String(),
    price: nullable(
      Type.Array(
        Type.Object({ name: Type.String(), measure: Type.String(), credits_per_million: Type.String() }),
      ),
    ),
    bounds: Bounds,
    hold: ByLot,
    attempts: Type.Array(
      Type.Object({
        attempt: Type.Integer(),
        route_id: Type.String(),
        slot: Type.Integer(),
        started_at: At,
        ended_at: nullable(At),
        outcome: nullable(Type.String()),
        error_code: nullable(Type.String()),
        remote_id: nullable(Type.String()),
        provider: nullable(
          Type.Object({
            sent: Type.Boolean({ description: 'Whether any byte of the request may have reached it.' }),
            http_status: nullable(Type.Integer()),
            provider_request_id: nullable(Type.String()),
            first_byte_ms: nullable(Type.Integer()),
            note: nullable(Type.String()),
          }),
        ),
        usage: nullable(Type.Array(Usage)),
      }),
    ),
    settlement: Type.Object({
      captured: ByLot,
      released: ByLot,
      open: MoneyShape,
      usage: nullable(Type.Array(Usage)),
    }),
  },
  { description: 'A job, each credit accounted for' },
);
