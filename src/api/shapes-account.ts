// Shapes of answers about what an account has: artifacts, money, models.
import { Type } from 'typebox';
import { KINDS } from '../domain/job.ts';
import { LotAnswer } from './lots.ts';
import { At, Free, MoneyShape, nullable } from './shapes.ts';

export const ArtifactAnswer = Type.Object(
  {
    id: Type.String(),
    object: Type.Literal('artifact'),
    direction: Type.Enum(['input', 'output']),
    job_id: nullable(Type.String()),
    content_type: Type.String(),
    bytes: Type.Integer(),
    sha256: Type.String(),
    width: nullable(Type.Integer()),
    height: nullable(Type.Integer()),
    duration_ms: nullable(Type.Integer()),
    created_at: At,
    expires_at: nullable(At),
  },
  { description: 'An artifact' },
);

export const TransactionAnswer = Type.Object({
  id: Type.String(),
  object: Type.Literal('transaction'),
  sequence: Type.Integer(),
  type: Type.Enum(['hold', 'capture', 'release', 'grant', 'expire', 'adjust']),
  job_id: nullable(Type.String()),
  amount: Type.Integer({
    description: 'Signed: holds, captures and expiries are negative, grants and releases positive.',
  }),
  available_change: Type.Integer(),
  balance_after: Type.Integer({
    description: 'Available credits after this row; the sum of available_change up to it.',
  }),
  reason: nullable(Type.String()),
  created_at: At,
});

const Window = Type.Object({
  rule: Type.String(),
  limit: Type.Integer(),
  used: Type.Integer(),
  resets_at: At,
});

export const AccountAnswer = Type.Object({
  id: Type.String(),
  object: Type.Literal('account'),
  name: Type.String(),
  email: nullable(Type.String()),
  status: Type.Enum(['active', 'restricted', 'suspended', 'closed']),
  livemode: Type.Boolean(),
  plan: Type.Object({
    id: Type.String(),
    name: Type.String(),
    renews_at: nullable(At),
    cancel_at_period_end: Type.Boolean(),
  }),
  balance: Type.Object({
    available: MoneyShape,
    held: MoneyShape,
    lots: Type.Array(LotAnswer),
  }),
  slots: Type.Object({ used: Type.Integer(), total: Type.Integer() }),
  line: Type.Object({ waiting: Type.Integer(), max: Type.Integer() }),
  windows: Type.Array(Window),
  caps: Type.Unsafe<Record<string, number | string>>({
    type: 'object',
    additionalProperties: { type: ['integer', 'string'] },
    description: 'By cap, or `cap:tag` where it concerns models with that tag.',
  }),
  budgets: Type.Array(Free),
  newcomer: nullable(Free),
});

const Unit = Type.Object({
  name: Type.String(),
  measure: Type.String(),
  credits_per_million: Type.String(),
  usd_per_million: Type.String(),
});

export const ModelAnswer = Type.Object({
  id: Type.String(),
  object: Type.Literal('model'),
  created: Type.Integer(),
  owned_by: Type.String(),
  kind: Type.Enum([...KINDS]),
  aliases: Type.Array(Type.String()),
  name: Type.String(),
  tags: Type.Array(Type.String()),
  units: Type.Array(Unit),
  default_output_tokens: nullable(Type.Integer()),
  context_length: nullable(Type.Integer()),
  charge_refused: Type.Boolean({ description: "What the vendor's content policy refuses is charged." }),
  routes: Type.Array(
    Type.Object({
      id: Type.String(),
      provider: Type.String(),
      available: Type.Boolean(),
      units: Type.Array(Unit),
    }),
  ),
  trademark_notice: nullable(Type.String()),
  deprecated_at: nullable(At),
  sunset_at: nullable(At),
  replacement: nullable(Type.String()),
});
