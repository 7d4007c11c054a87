// What operators send.
import { Type, type Static, type TSchema } from 'typebox';
import { KINDS } from '../../domain/job.ts';
import { MODEL_ID, TRANSCRIPT_FORMATS } from '../../domain/model.ts';
import { PROVIDER_KINDS, type ProviderName } from '../../domain/providers.ts';

const strict = { additionalProperties: false };

/** 500 million US dollars: a slip of the hand, and far below what a balance can hold. */
const CREDITS_MAX = 1_000_000_000_000_000;
const INT4_MAX = 2_147_483_647;

const ModelId = Type.String({ pattern: MODEL_ID });
const Tag = Type.String({ pattern: '^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$' });
const Name = Type.String({ minLength: 1, maxLength: 200 });
const Reason = Type.String({ minLength: 1, maxLength: 500 });
const PlanId = Type.String({ minLength: 1, maxLength: 64 });
const Size = Type.String({ pattern: '^[1-9][0-9]{0,4}x[1-9][0-9]{0,4}$' });
const Positive = Type.Integer({ minimum: 1, maximum: INT4_MAX });

/** A cap of one request (src/domain/plan.ts). */
const CapForm = Type.Union([
  Type.Object(
    {
      cap: Type.Enum(['max_output_tokens', 'image_count', 'image_attachment', 'image_cost', 'request_cost']),
      max: Type.Integer({ minimum: 0, maximum: CREDITS_MAX }),
      tag: Type.Optional(Tag),
    },
    strict,
  ),
  Type.Object({ cap: Type.Literal('image_size'), max: Size, tag: Type.Optional(Tag) }, strict),
]);

export const OverridesForm = Type.Object(
  {
    slots: Type.Optional(Type.Integer({ minimum: 0, maximum: 100_000 })),
    line_length: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000_000 })),
    caps: Type.Optional(Type.Array(CapForm, { maxItems: 100 })),
    max_audio_ms: Type.Optional(Positive),
    max_deadline_s: Type.Optional(Type.Integer({ minimum: 1, maximum: 86_400 })),
    retention_days: Type.Optional(Type.Integer({ minimum: 1, maximum: 36_500 })),
  },
  strict,
);
export type OverridesForm = Static<typeof OverridesForm>;

/** An override that may also be null, which removes it. */
const orNone = <T extends TSchema & { type: string }>(schema: T) =>
  Type.Optional(Type.Unsafe<Static<T> | null>({ ...schema, type: [schema.type, 'null'] }));

const { slots, line_length, caps, max_audio_ms, max_deadline_s, retention_days } = OverridesForm.properties;
export const OverridesPatch = Type.Object(
  {
    slots: orNone(slots),
    line_length: orNone(line_length),
    caps: orNone(caps),
    max_audio_ms: orNone(max_audio_ms),
    max_deadline_s: orNone(max_deadline_s),
    retention_days: orNone(retention_days),
  },
  {
    ...strict,
    description:
      'What is not named stays as it is; null takes an override away, so that the plan holds again.',
  },
);
export type OverridesPatch = Static<typeof OverridesPatch>;

export const AccountForm = Type.Object(
  {
    name: Name,
    plan: Type.Optional(PlanId),
    credits: Type.Optional(Type.Integer({ minimum: 0, maximum: CREDITS_MAX })),
    overrides: Type.Optional(OverridesForm),
  },
  strict,
);
export type AccountForm = Static<typeof AccountForm>;

export const AccountPatch = Type.Object(
  {
    plan: Type.Optional(PlanId),
    status: Type.Optional(Type.Enum(['active', 'restricted', 'suspended', 'closed'])),
    overrides: Type.Optional(OverridesPatch),
    reason: Reason,
  },
  strict,
);
export type AccountPatch = Static<typeof AccountPatch>;

export const GrantForm = Type.Object(
  {
    credits: Type.Integer({ minimum: 1, maximum: CREDITS_MAX }),
    reason: Reason,
    expires_at: Type.Optional(Type.String({ format: 'date-time' })),
    tag: Type.Optional(Tag),
  },
  strict,
);
export type GrantForm = Static<typeof GrantForm>;

const tokens = (description: string) =>
  Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 1_000_000, description }));

/** What bounds and measures a model's calls (src/domain/model.ts). */
export const ModelDataForm = Type.Object(
  {
    default_output_tokens: Type.Optional(Positive),
    context_length: Type.Optional(Positive),
    bytes_per_token: Type.Optional(Type.Number({ exclusiveMinimum: 0, maximum: 1_000 })),
    attachment_tokens: Type.Optional(Positive),
    default_size: Type.Optional(Size),
    min_side: Type.Optional(Positive),
    max_side: Type.Optional(Positive),
    max_images: Type.Optional(Type.Integer({ minimum: 1, maximum: 100 })),
    image_tokens: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 1_000_000,
        description: 'image sold by tokens: the most output tokens of one image',
      }),
    ),
    max_characters: Type.Optional(Positive),
    tokens_per_character: tokens('tts sold by tokens: the most output tokens of one character'),
    input_tokens_per_second: tokens('stt sold by tokens: the most input tokens of one second of audio'),
    output_tokens_per_second: tokens('stt sold by tokens: the most output tokens of one second of audio'),
    charge_refused: Type.Optional(
      Type.Boolean({
        description:
          'What the content policy refuses is charged, since the vendor bills it; of jobs submitted from now on.',
      }),
    ),
  },
  strict,
);

export const ModelPath = Type.Object({ '*': ModelId });
export const ModelForm = Type.Object(
  {
    kind: Type.Enum([...KINDS]),
    name: Type.Optional(Name),
    aliases: Type.Optional(Type.Array(ModelId, { maxItems: 50 })),
    tags: Type.Optional(Type.Array(Tag, { maxItems: 50 })),
    enabled: Type.Optional(Type.Boolean()),
    data: Type.Optional(ModelDataForm),
  },
  strict,
);
export type ModelForm = Static<typeof ModelForm>;

export const PriceLineForm = Type.Object(
  {
    name: Type.Enum(['token', 'image', 'character', 'millisecond']),
    measure: Type.Enum(['input', 'output']),
    credits_per_million: Type.String({ pattern: '^[0-9]{1,18}$' }),
  },
  strict,
);
const PriceLines = Type.Array(PriceLineForm, { maxItems: 20 });

const FieldNames = Type.Array(Type.String({ minLength: 1, maxLength: 100 }), { maxItems: 200 });

export const RouteDataForm = Type.Object(
  {
    unknown_fields: Type.Optional(Type.Enum(['pass', 'refuse'])),
    fields: Type.Optional(FieldNames),
    leave_out: Type.Optional({
      ...FieldNames,
      description: 'Fields that clients may give, or we would, and that are not sent to this upstream.',
    }),
    transcript_format: Type.Optional(
      Type.Enum([...TRANSCRIPT_FORMATS], {
        description:
          'stt: what the upstream is asked for. By default verbose_json, of a model with "transcribe" in its name json.',
      }),
    ),
    pcm_rate: Type.Optional(
      Type.Integer({
        minimum: 4_000,
        maximum: 384_000,
        description: "tts: samples a second of the upstream's PCM, by default 24000.",
      }),
    ),
    voice: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 100,
        description: 'tts: the voice where the client names none, by default alloy.',
      }),
    ),
    input_map: Type.Optional(
      Type.Unsafe<Record<string, string | null>>({
        type: 'object',
        maxProperties: 50,
        additionalProperties: { type: ['string', 'null'], minLength: 1, maxLength: 100 },
        description: 'replicate: what the upstream calls a field of ours; null: it has none.',
      }),
    ),
    input: Type.Optional(
      Type.Unsafe<Record<string, string | number | boolean>>({
        type: 'object',
        maxProperties: 50,
        additionalProperties: { type: ['string', 'number', 'boolean'], maxLength: 4096 },
        description: 'replicate: further fields of each input, as they are.',
      }),
    ),
    output_hosts: Type.Optional(
      Type.Array(Type.String({ pattern: '^[a-z0-9-]+(\\.[a-z0-9-]+)+$', maxLength: 253 }), {
        maxItems: 20,
        description: 'replicate: hosts, with their subdomains, that outputs are fetched from over https.',
      }),
    ),
  },
  strict,
);
export type RouteDataForm = Static<typeof RouteDataForm>;

export const RouteForm = Type.Object(
  {
    model: ModelId,
    provider: Type.Enum(Object.keys(PROVIDER_KINDS) as ProviderName[]),
    upstream_model: Type.Optional(Name),
    base_url: Type.Optional(
      Type.String({
        maxLength: 500,
        description: "Root of the vendor's API: http or https, without a query.",
      }),
    ),
    api_key: Type.Optional(
      Type.String({ pattern: '^[!-~]{1,500}$', description: 'Kept sealed, and never shown.' }),
    ),
    rank: Type.Optional(Type.Integer({ minimum: -INT4_MAX, maximum: INT4_MAX })),
    enabled: Type.Optional(Type.Boolean()),
    cost: Type.Optional(PriceLines),
    data: Type.Optional(RouteDataForm),
  },
  strict,
);
export type RouteForm = Static<typeof RouteForm>;

export const RoutePatch = Type.Object({ enabled: Type.Boolean(), reason: Type.Optional(Reason) }, strict);
export type RoutePatch = Static<typeof RoutePatch>;

export const PriceForm = Type.Object({ model: ModelId, lines: PriceLines }, strict);
export type PriceForm = Static<typeof PriceForm>;
