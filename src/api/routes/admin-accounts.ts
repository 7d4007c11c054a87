// Accounts and their credits, as the operator sees them.
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { AppError, invalidRequest } from '../../domain/errors.ts';
import { money } from '../../domain/money.ts';
import { notAPlan, type PlanOverrides } from '../../domain/plan.ts';
import { createAccount, grant } from '../../flow/accounts.ts';
import { cancel } from '../../flow/cancel.ts';
import { changeAccount, type OverridesChange } from '../../flow/change-account.ts';
import type { Api } from '../api.ts';
import { idempotencyKey, idempotencyOf } from '../idempotency.ts';
import { lotView } from '../lots.ts';
import {
  AccountForm,
  AccountPatch,
  GrantForm,
  type OverridesForm,
  type OverridesPatch,
} from './admin-forms.ts';
import { AccountMade, AdminAccount, CancelAsked, GrantMade } from './admin-shapes.ts';
import { adminSchema as schema, type AdminTools } from './admin-tools.ts';

const Id = Type.Object({ id: Type.String() });
const RepeatHeaders = Type.Object({
  'idempotency-key': idempotencyKey(
    'With the same key, path and body, for 30 days, nothing is done again: the answer of the first time is given, word for word, with ' +
      "`Idempotent-Replayed: true`; with another path or body the key is refused. A refused request has used no key. Operators' keys " +
      'share one scope.',
  ),
});

export function adminAccountRoutes(
  app: FastifyInstance,
  { ctx, announcer }: Api,
  { changed, log }: AdminTools,
): void {
  const { prisma } = ctx;

  app.post<{ Body: AccountForm }>(
    '/v1/admin/accounts',
    {
      schema: schema('Make an account', {
        body: AccountForm,
        headers: RepeatHeaders,
        response: { 201: AccountMade },
      }),
    },
    async (request, reply) => {
      const { name, plan = 'startup', credits = 0, overrides = {} } = request.body;
      const account = { name, plan, credits: BigInt(credits), overrides: toOverrides(overrides) };
      const { answer: made, replayed } = await createAccount(ctx, account, {
        actor: request.operatorKeyId,
        idempotency: idempotencyOf(request, request.rawBody),
      });
      if (replayed) reply.header('idempotent-replayed', 'true');
      return reply
        .code(201)
        .send({ id: made.id, object: 'account', api_key: made.apiKey, test_api_key: made.testApiKey });
    },
  );

  app.get<{ Params: { id: string } }>(
    '/v1/admin/accounts/:id',
    { schema: schema('Look at an account', { params: Id, response: { 200: AdminAccount } }) },
    (request) => look(request.params.id),
  );

  async function look(id: string) {
    const found = await prisma.accounts.findUnique({
      where: { id },
      include: { lots: { orderBy: [{ expires_at: { sort: 'asc', nulls: 'last' } }, { id: 'asc' }] } },
    });
    if (!found) throw new AppError('not_found');
    const { name, status, plan_id, livemode, line_waiting, created_at } = found;
    const overrides = fromOverrides(found.overrides as PlanOverrides);
    const balance = {
      available: money(found.available),
      held: money(found.held),
      lots: found.lots.map(lotView),
    };
    const rest = { livemode, balance, line: { waiting: line_waiting }, created_at };
    return { id, object: 'account', name, status, plan: plan_id, overrides, ...rest };
  }

  app.patch<{ Params: { id: string }; Body: AccountPatch }>(
    '/v1/admin/accounts/:id',
    {
      schema: schema('Change plan, status or overrides', {
        params: Id,
        body: AccountPatch,
        response: { 200: AdminAccount },
      }),
    },
    async (request) => {
      const { id } = request.params;
      const { plan, status, overrides, reason } = request.body;
      const { plans } = ctx.catalogue();
      if (plan !== undefined && !plans.has(plan)) throw notAPlan(plan, [...plans.keys()]);
      await changeAccount(ctx, announcer, {
        id,
        plan,
        status,
        overrides: overrides && toOverrides(overrides),
        reason,
        actor: request.operatorKeyId,
      });
      await changed();
      return look(id);
    },
  );

  app.post<{ Params: { id: string }; Body: GrantForm }>(
    '/v1/admin/accounts/:id/grants',
    {
      schema: schema('Grant credits', {
        params: Id,
        body: GrantForm,
        headers: RepeatHeaders,
        response: { 201: GrantMade },
      }),
    },
    async (request, reply) => {
      const { credits, reason, expires_at, tag = null } = request.body;
      const expiresAt = expires_at === undefined ? null : new Date(expires_at);
      if (expiresAt && expiresAt.getTime() <= Date.now())
        throw invalidRequest({
          path: 'expires_at',
          message: 'must lie in the future',
          expected: 'a later instant',
          received: expiresAt,
        });
      const asked = {
        accountId: request.params.id,
        credits: BigInt(credits),
        reason,
        actor: request.operatorKeyId,
        expiresAt,
        tag,
      };
      const made = await grant(ctx, asked, idempotencyOf(request, request.rawBody));
      if (made.replayed) reply.header('idempotent-replayed', 'true');
      ctx.bus.publish([{ type: 'account', accountId: request.params.id }]);
      return reply.code(201).send({
        lot_id: made.lotId,
        object: 'grant',
        granted: money(BigInt(credits)),
        available: money(made.available),
      });
    },
  );

  app.post<{ Params: { account: string; id: string } }>(
    '/v1/admin/accounts/:account/jobs/:id/cancel',
    {
      schema: schema('Cancel a job, at no charge', {
        params: Type.Object({ account: Type.String(), id: Type.String() }),
        response: { 202: CancelAsked },
      }),
    },
    async (request, reply) => {
      const { account, id } = request.params;
      await cancel(ctx, announcer, { accountId: account, jobId: id, by: 'operator' });
      await log(request.operatorKeyId, { action: 'job.cancel', target: id });
      return reply.code(202).send({ id, object: 'job', cancel_requested: true });
    },
  );
}

/** Each override in the words of the API, and in those of a plan. */
const WORDS = {
  slots: 'slots',
  line_length: 'lineLength',
  caps: 'caps',
  max_audio_ms: 'maxAudioMs',
  max_deadline_s: 'maxDeadlineS',
  retention_days: 'retentionDays',
} as const satisfies Record<keyof OverridesForm, keyof PlanOverrides>;

type Words = [keyof OverridesForm, keyof PlanOverrides][];

function toOverrides<T extends OverridesForm | OverridesPatch>(form: T) {
  const given = (Object.entries(WORDS) as Words).filter(([word]) => form[word] !== undefined);
  return Object.fromEntries(given.map(([word, own]) => [own, form[word]])) as T extends OverridesForm
    ? PlanOverrides
    : OverridesChange;
}

function fromOverrides(overrides: PlanOverrides) {
  const given = (Object.entries(WORDS) as Words).filter(([, own]) => overrides[own] !== undefined);
  return Object.fromEntries(given.map(([word, own]) => [word, overrides[own]]));
}
