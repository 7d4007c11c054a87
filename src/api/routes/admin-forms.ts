// What operators send.
import { Type, type Static } from 'typebox';
import { KINDS } from '../../domain/job.ts';

const strict = { additionalProperties: false };
const Data = Type.Object({}, { additionalProperties: true });

const Overrides = Type.Object(
  {
    slots: Type.Optional(Type.Integer({ minimum: 0, maximum: 100_000 })),
    line_length: Type.Optional(Type.Integer({ minimum: 0, maximum: 10_000_000 })),
    caps: Type.Optional(Type.Array(Data)),
    max_audio_ms: Type.Optional(Type.Integer({ minimum: 1 })),
    max_deadline_s: Type.Optional(Type.Integer({ minimum: 1, maximum: 86_400 })),
  },
  strict,
);

export const AccountForm = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 200 }),
    plan: Type.Optional(Type.String()),
    credits: Type.Optional(Type.Integer({ minimum: 0 })),
    overrides: Type.Optional(Overrides),
  },
  strict,
);
export type AccountForm = Static<typeof AccountForm>;

export const AccountPatch = Type.Object(
  {
    plan: Type.Optional(Type.String()),
    status: Type.Optional(Type.Enum(['active', 'restricted', 'suspended', 'closed'])),
    overrides: Type.Optional(Overrides),
    reason: Type.String({ minLength: 1, maxLength: 500 }),
  },
  strict,
);
export type AccountPatch = Static<typeof AccountPatch>;

export const GrantForm = Type.Object(
  {
    credits: Type.Integer({ minimum: 1 }),
    reason: Type.String({ minLength: 1, maxLength: 500 }),
    expires_at: Type.Optional(Type.String({ format: 'date-time' })),
    tag: Type.Optional(Type.String()),
  },
  strict,
);
export type GrantForm = Static<typeof GrantForm>;

export const ModelForm = Type.Object(
  {
    kind: Type.Enum([...KINDS]),
    name: Type.Optional(Type.String()),
    aliases: Type.Optional(Type.Array(Type.String())),
    tags: Type.Optional(Type.Array(Type.String())),
    enabled: Type.Optional(Type.Boolean()),
    data: Type.Optional(Data),
  },
  strict,
);
export type ModelForm = Static<typeof ModelForm>;

const PriceLines = Type.Array(
  Type.Object(
    {
      name: Type.Enum(['token', 'image', 'character', 'millisecond']),
      measure: Type.Enum(['input', 'output']),
      credits_per_million: Type.String({ pattern: '^[0-9]{1,18}$' }),
    },
    strict,
  ),
);

export const RouteForm = Type.Object(
  {
    model: Type.String(),
    provider: Type.Enum(['sim', 'openai']),
    upstream_model: Type.Optional(Type.String()),
    base_url: Type.Optional(Type.String({ pattern: '^https?://' })),
    api_key: Type.Optional(Type.String({ minLength: 1 })),
    rank: Type.Optional(Type.Integer()),
    enabled: Type.Optional(Type.Boolean()),
    cost: Type.Optional(PriceLines),
    data: Type.Optional(Data),
  },
  strict,
);
export type RouteForm = Static<typeof RouteForm>;

export const PriceForm = Type.Object({ model: Type.String(), lines: PriceLines }, strict);
export type PriceForm = Static<typeof PriceForm>;
