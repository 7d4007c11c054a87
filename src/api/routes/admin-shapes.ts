// What operators are answered.
import { Type } from 'typebox';
import { KINDS } from '../../domain/job.ts';
import { LotAnswer } from '../lots.ts';
import { At, listOf, MoneyShape, nullable } from '../shapes.ts';
import { ModelDataForm, OverridesForm, PriceLineForm, RouteDataForm } from './admin-forms.ts';

const Status = Type.Enum(['active', 'restricted', 'suspended', 'closed']);

/** A lost answer would else lose the keys of an account that exists. */
const ONCE = 'in this answer alone, and in its replays under the same Idempotency-Key';

export const AccountMade = Type.Object({
  id: Type.String(),
  object: Type.Literal('account'),
  api_key: Type.String({ description: `Shown ${ONCE}.` }),
  test_api_key: Type.String({ description: `Of its test twin. Shown ${ONCE}.` }),
});

export const AdminAccount = Type.Object({
  id: Type.String(),
  object: Type.Literal('account'),
  name: Type.String(),
  status: Status,
  plan: Type.String(),
  overrides: OverridesForm,
  livemode: Type.Boolean(),
  balance: Type.Object({
    available: MoneyShape,
    held: MoneyShape,
    lots: Type.Array(LotAnswer),
  }),
  line: Type.Object({ waiting: Type.Integer() }),
  created_at: At,
});

export const GrantMade = Type.Object({
  lot_id: Type.String(),
  object: Type.Literal('grant'),
  granted: MoneyShape,
  available: MoneyShape,
});

export const CancelAsked = Type.Object({
  id: Type.String(),
  object: Type.Literal('job'),
  cancel_requested: Type.Literal(true),
});

const modelFields = {
  id: Type.String(),
  kind: Type.Enum([...KINDS]),
  name: Type.String(),
  aliases: Type.Array(Type.String()),
  tags: Type.Array(Type.String()),
  enabled: Type.Boolean(),
  data: ModelDataForm,
};
const routeFields = {
  id: Type.String(),
  model_id: Type.String(),
  provider: Type.String(),
  upstream_model: Type.String(),
  base_url: nullable(Type.String()),
  rank: Type.Integer(),
  enabled: Type.Boolean(),
  cost: Type.Array(PriceLineForm),
  data: RouteDataForm,
};

export const ModelMade = Type.Object({ object: Type.Literal('model'), ...modelFields });
export const RouteMade = Type.Object({ object: Type.Literal('route'), ...routeFields });

export const AdminModels = listOf(
  Type.Object({
    ...modelFields,
    created_at: At,
    deprecated_at: nullable(At),
    sunset_at: nullable(At),
    replacement: nullable(Type.String()),
    prices: Type.Array(
      Type.Object({
        id: Type.String(),
        model_id: Type.String(),
        lines: Type.Array(PriceLineForm),
        effective_from: At,
      }),
    ),
    routes: Type.Array(Type.Object({ ...routeFields, disabled_reason: nullable(Type.String()) })),
  }),
);

export const RouteSwitched = Type.Object({
  id: Type.String(),
  object: Type.Literal('route'),
  enabled: Type.Boolean(),
});

export const PriceMade = Type.Object({
  id: Type.String(),
  object: Type.Literal('price'),
  model: Type.String(),
  lines: Type.Array(PriceLineForm),
});

export const SimCalls = Type.Object({
  object: Type.Literal('list'),
  data: Type.Array(
    Type.Object({
      job_id: nullable(Type.String()),
      account_id: nullable(Type.String()),
      attempt: nullable(Type.Integer()),
      started_at: At,
      ended_at: nullable(At),
      kind: Type.Enum([...KINDS]),
      outcome: nullable(Type.String()),
      billed: Type.Boolean(),
      started_ns: Type.String({
        description: "Nanoseconds of the simulator's own clock, which only goes forward.",
      }),
      ended_ns: nullable(Type.String()),
    }),
  ),
});

export const Invariants = Type.Object({
  ok: Type.Boolean(),
  checked_at: At,
  rows: Type.Integer(),
  breaches: Type.Array(
    Type.Object({
      invariant: Type.String(),
      account_id: Type.String(),
      subject: Type.String(),
      what: Type.String(),
    }),
  ),
  invariants: Type.Array(
    Type.Object({
      id: Type.String(),
      says: Type.String(),
      rows: Type.Integer(),
      breaches: Type.Integer(),
    }),
  ),
  covered: Type.Object({
    complete: Type.Boolean(),
    accounts: Type.Integer(),
    resumed: Type.Integer({ description: 'Those looked at from a checkpoint on.' }),
    artifacts: Type.Integer({ description: 'Whose bytes were read.' }),
    left_out: Type.Array(Type.String(), {
      description: 'Accounts with too much that is new for one answer: `npm run audit` looks at them.',
    }),
    next_after: Type.Union([Type.String(), Type.Null()]),
  }),
});
