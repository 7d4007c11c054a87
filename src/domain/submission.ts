// The shapes that clients submit (contract 4 and 6). The schema that validates is the schema that documents.
import { Type, type Static } from 'typebox';
import { FAULTS } from './faults.ts';
import { KINDS, PRIORITIES, type Kind } from './job.ts';

/** Not a Record, whose keys are a pattern: `^.*$` lets a key with a line break past, and its value with it. */
const Metadata = Type.Unsafe<Record<string, string>>({
  type: 'object',
  maxProperties: 50,
  propertyNames: { type: 'string', minLength: 1, maxLength: 40 },
  additionalProperties: { type: 'string', maxLength: 500 },
});

/** No plan allows a later deadline. */
const DEADLINE_MAX_S = 86_400;

export const WEBHOOK_URL_MAX = 2_048;

export const Submission = Type.Object(
  {
    kind: Type.Optional(Type.Enum([...KINDS], { description: 'May be left out: the model knows it.' })),
    model: Type.String({ minLength: 1, maxLength: 200 }),
    input: Type.Object({}, { additionalProperties: true, description: "By kind; see the model's page." }),
    priority: Type.Optional(
      Type.Enum([...PRIORITIES], { description: "Orders the account's own line only." }),
    ),
    deadline: Type.Optional(
      Type.String({ format: 'date-time', description: 'The instant by which the job must have ended.' }),
    ),
    expires_in: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: DEADLINE_MAX_S,
        description: 'The deadline, in seconds from now.',
      }),
    ),
    max_credits: Type.Optional(
      Type.Integer({ minimum: 0, description: 'Refuse the job if it may cost more.' }),
    ),
    metadata: Type.Optional(Metadata),
    end_user: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
    webhook: Type.Optional(
      Type.Union([Type.String({ minLength: 1, maxLength: WEBHOOK_URL_MAX }), Type.Null()], {
        description:
          "Where this job's end is told, besides the account's webhook endpoints: an https URL. Signed with the secret of " +
          'GET /v1/webhook-endpoints/for-jobs.',
      }),
    ),
  },
  { additionalProperties: false },
);
export type Submission = Static<typeof Submission>;

/** What a simulated call is asked to do; taken by models of `sim` alone. */
const Sim = Type.Optional(
  Type.Object(
    {
      latency_ms: Type.Optional(Type.Integer({ minimum: 0, maximum: 600_000 })),
      fault: Type.Optional(Type.Enum([...FAULTS])),
      times: Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 })),
    },
    { additionalProperties: false },
  ),
);

const TokenBound = Type.Optional(
  Type.Union([Type.Integer({ minimum: 1, maximum: 10_000_000 }), Type.Null()]),
);

export const ChatInput = Type.Object(
  {
    messages: Type.Array(
      Type.Object(
        { role: Type.String({ minLength: 1 }), content: Type.Optional(Type.Unknown()) },
        { additionalProperties: true },
      ),
      { minItems: 1 },
    ),
    max_tokens: TokenBound,
    max_completion_tokens: TokenBound,
    n: Type.Optional(Type.Union([Type.Integer({ minimum: 1, maximum: 128 }), Type.Null()])),
    stream: Type.Optional(Type.Union([Type.Boolean(), Type.Null()])),
    sim: Sim,
  },
  { additionalProperties: true, description: "OpenAI's chat-completion body without `model`." },
);

export const ImageInput = Type.Object(
  {
    prompt: Type.String({ minLength: 1, maxLength: 32_000 }),
    n: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
    size: Type.Optional(Type.String({ pattern: '^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}$' })),
    seed: Type.Optional(Type.Integer({ minimum: 0, maximum: 4_294_967_295 })),
    quality: Type.Optional(Type.String({ maxLength: 40 })),
    artifact: Type.Optional(Type.String()),
    sim: Sim,
  },
  { additionalProperties: false },
);

export const TtsInput = Type.Object(
  {
    input: Type.String({ minLength: 1 }),
    voice: Type.Optional(Type.String({ maxLength: 100 })),
    response_format: Type.Optional(Type.String({ maxLength: 20 })),
    speed: Type.Optional(Type.Number({ minimum: 0.25, maximum: 4 })),
    instructions: Type.Optional(Type.String({ maxLength: 4_096 })),
    sim: Sim,
  },
  { additionalProperties: false },
);

export const SttInput = Type.Object(
  {
    artifact: Type.Optional(Type.String()),
    url: Type.Optional(Type.String()),
    audio: Type.Optional(Type.String({ description: 'base64', pattern: '^[A-Za-z0-9+/]*={0,2}$' })),
    language: Type.Optional(Type.String({ maxLength: 20 })),
    prompt: Type.Optional(Type.String({ maxLength: 4_096 })),
    max_seconds: Type.Optional(Type.Integer({ minimum: 1, maximum: 86_400 })),
    sim: Sim,
  },
  { additionalProperties: false },
);

export type ChatInput = Static<typeof ChatInput>;
export type ImageInput = Static<typeof ImageInput>;
export type TtsInput = Static<typeof TtsInput>;
export type SttInput = Static<typeof SttInput>;

export const INPUTS = {
  chat: ChatInput,
  image: ImageInput,
  tts: TtsInput,
  stt: SttInput,
} as const satisfies Record<Kind, unknown>;
