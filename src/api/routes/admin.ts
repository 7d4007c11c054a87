// The operator's routes: accounts, credits, and what is sold. Cold paths, so Prisma does the reading and writing; credits
// go through the ledger's own verbs.
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { request as httpRequest } from 'undici';
import { AppError } from '../../domain/errors.ts';
import { newId } from '../../domain/ids.ts';
import { money } from '../../domain/money.ts';
import { createAccount, grant } from '../../flow/accounts.ts';
import { audit } from '../../flow/audit.ts';
import { cancel } from '../../flow/cancel.ts';
import { changeAccount } from '../../flow/change-account.ts';
import { seal } from '../../flow/seal.ts';
import type { Api } from '../api.ts';
import { ErrorAnswer } from '../shapes.ts';
import { AccountForm, AccountPatch, GrantForm, ModelForm, PriceForm, RouteForm } from './admin-forms.ts';

const Id = Type.Object({ id: Type.String() });
const Free = Type.Object({}, { additionalProperties: true });
const errors = { '4xx': ErrorAnswer, '5xx': ErrorAnswer };
const schema = (summary: string, rest: object) => ({ tags: ['admin'], summary, ...rest });

export function adminRoutes(app: FastifyInstance, { ctx, announcer, simUrl }: Api): void {
  const { prisma } = ctx;
  const changed = async (): Promise<void> => {
    await ctx.refreshCatalogue();
    ctx.bus.publish([{ type: 'catalogue' }]);
  };
  const log = (actor: string, entry: { action: string; target: string; reason?: string; details?: object }) =>
    prisma.audit_log.create({ data: { id: newId('log'), actor, reason: null, ...entry } });

  app.post<{ Body: AccountForm }>(
    '/v1/admin/accounts',
    { schema: schema('Make an account', { body: AccountForm, response: { 201: Free, ...errors } }) },
    async (request, reply) => {
      const { name, plan = 'startup', credits = 0, overrides = {} } = request.body;
      const made = await createAccount(
        ctx,
        { name, plan, credits: BigInt(credits), overrides: toOverrides(overrides) },
        request.operatorKeyId,
      );
      await log(request.operatorKeyId, {
        action: 'account.create',
        target: made.id,
        details: { plan, credits },
      });
      return reply
        .code(201)
        .send({ id: made.id, object: 'account', api_key: made.apiKey, test_api_key: made.testApiKey });
    },
  );

  app.get<{ Params: { id: string } }>(
    '/v1/admin/accounts/:id',
    { schema: schema('Look at an account', { params: Id, response: { 200: Free, ...errors } }) },
    async (request) => {
      const found = await prisma.accounts.findUnique({
        where: { id: request.params.id },
        include: { lots: true },
      });
      if (!found) throw new AppError('not_found');
      const { id, name, status, plan_id, overrides, livemode, line_waiting, created_at } = found;
      const lots = found.lots.map((lot) => ({
        id: lot.id,
        source: lot.source,
        remaining: money(lot.remaining),
        held: money(lot.held),
        expires_at: lot.expires_at,
      }));
      const balance = { available: money(found.available), held: money(found.held), lots };
      return {
        id,
        object: 'account',
        name,
        status,
        plan: plan_id,
        overrides,
        livemode,
        balance,
        line: { waiting: line_waiting },
        created_at,
      };
    },
  );

  app.patch<{ Params: { id: string }; Body: AccountPatch }>(
    '/v1/admin/accounts/:id',
    {
      schema: schema('Change plan, status or overrides', {
        params: Id,
        body: AccountPatch,
        response: { 200: Free, ...errors },
      }),
    },
    async (request) => {
      const { id } = request.params;
      const { plan, status, overrides, reason } = request.body;
      if (plan !== undefined && !ctx.catalogue().plans.has(plan)) throw unknown('plan', plan);
      const bells = await changeAccount(ctx, {
        accountId: id,
        plan,
        status,
        overrides: overrides && toOverrides(overrides),
        reason,
        actor: request.operatorKeyId,
      });
      announcer.ring(bells);
      await changed();
      const named = Object.entries({ plan_id: plan, status, overrides });
      return {
        id,
        object: 'account',
        changed: named.flatMap(([name, value]) => (value === undefined ? [] : [name])),
      };
    },
  );

  app.post<{ Params: { id: string }; Body: GrantForm }>(
    '/v1/admin/accounts/:id/grants',
    { schema: schema('Grant credits', { params: Id, body: GrantForm, response: { 201: Free, ...errors } }) },
    async (request, reply) => {
      const { credits, reason, expires_at, tag = null } = request.body;
      const expiresAt = expires_at === undefined ? null : new Date(expires_at);
      const made = await grant(ctx, {
        accountId: request.params.id,
        credits: BigInt(credits),
        reason,
        actor: request.operatorKeyId,
        expiresAt,
        tag,
      });
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
        response: { 202: Free, ...errors },
      }),
    },
    async (request, reply) => {
      const { account, id } = request.params;
      await cancel(ctx, announcer, { accountId: account, jobId: id, by: 'operator' });
      await log(request.operatorKeyId, { action: 'job.cancel', target: id });
      return reply.code(202).send({ id, object: 'job', cancel_requested: true });
    },
  );

  app.get(
    '/v1/admin/models',
    { schema: schema('List models, also those switched off', { response: { 200: Free, ...errors } }) },
    async () => {
      const models = await prisma.models.findMany({
        orderBy: { id: 'asc' },
        include: { prices: { orderBy: { effective_from: 'desc' } }, routes: { omit: { api_key: true } } },
      });
      return { object: 'list', data: models };
    },
  );

  app.put<{ Params: { '*': string }; Body: ModelForm }>(
    '/v1/admin/models/*',
    { schema: schema('Make or change a model', { body: ModelForm, response: { 200: Free, ...errors } }) },
    async (request) => {
      const id = request.params['*'];
      const { kind, name = id, aliases = [], tags = [], enabled = true, data = {} } = request.body;
      const row = { kind, name, aliases, tags, enabled, data };
      await prisma.models.upsert({ where: { id }, create: { id, ...row }, update: row });
      await log(request.operatorKeyId, { action: 'model.put', target: id, details: row });
      await changed();
      return { id, object: 'model', ...row };
    },
  );

  app.post<{ Body: RouteForm }>(
    '/v1/admin/routes',
    { schema: schema('Add a route to a model', { body: RouteForm, response: { 201: Free, ...errors } }) },
    async (request, reply) => {
      const {
        model,
        provider,
        upstream_model = model,
        base_url,
        api_key,
        rank = 0,
        enabled = true,
        cost = [],
        data = {},
      } = request.body;
      if (!ctx.catalogue().models.has(model)) throw unknown('model', model);
      const id = newId('rte');
      const row = {
        model_id: model,
        provider,
        upstream_model,
        base_url: base_url?.replace(/\/+$/, '') ?? null,
        rank,
        enabled,
        cost,
        data,
      };
      const sealed = api_key === undefined ? null : new Uint8Array(seal(ctx.secrets.key, api_key));
      await prisma.routes.create({ data: { id, ...row, api_key: sealed } });
      await log(request.operatorKeyId, { action: 'route.create', target: id, details: row });
      await changed();
      return reply.code(201).send({ id, object: 'route', ...row });
    },
  );

  app.patch<{ Params: { id: string }; Body: { enabled: boolean; reason?: string } }>(
    '/v1/admin/routes/:id',
    {
      schema: schema('Switch a route on or off', {
        params: Id,
        body: Type.Object(
          { enabled: Type.Boolean(), reason: Type.Optional(Type.String()) },
          { additionalProperties: false },
        ),
        response: { 200: Free, ...errors },
      }),
    },
    async (request) => {
      const { id } = request.params;
      const { enabled, reason = null } = request.body;
      const { count } = await prisma.routes.updateMany({
        where: { id },
        data: { enabled, disabled_reason: enabled ? null : reason },
      });
      if (count === 0) throw new AppError('not_found');
      await log(request.operatorKeyId, { action: 'route.switch', target: id, details: { enabled } });
      await changed();
      return { id, object: 'route', enabled };
    },
  );

  app.post<{ Body: PriceForm }>(
    '/v1/admin/prices',
    {
      schema: schema('Set a price', {
        description: 'A new version; jobs keep the one they were held under.',
        body: PriceForm,
        response: { 201: Free, ...errors },
      }),
    },
    async (request, reply) => {
      const { model, lines } = request.body;
      if (!ctx.catalogue().models.has(model)) throw unknown('model', model);
      const id = newId('prv');
      await prisma.prices.create({ data: { id, model_id: model, lines } });
      await log(request.operatorKeyId, { action: 'price.set', target: id, details: { model, lines } });
      await changed();
      return reply.code(201).send({ id, object: 'price', model, lines });
    },
  );

  app.get<{ Querystring: { limit: number } }>(
    '/v1/admin/sim/calls',
    {
      schema: schema("The simulator's own log of calls", {
        querystring: Type.Object(
          { limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, default: 1_000 })) },
          { additionalProperties: false },
        ),
        response: { 200: Free, ...errors },
      }),
    },
    async (request) => {
      const { body } = await httpRequest(`${simUrl}/calls?limit=${request.query.limit}`);
      return { object: 'list', data: (await body.json()) as unknown };
    },
  );

  app.get(
    '/v1/admin/invariants',
    { schema: schema('Whether the books are right', { response: { 200: Free, ...errors } }) },
    async () => {
      const report = await audit(ctx);
      return {
        ok: report.ok,
        checked_at: report.checkedAt,
        rows: report.rows,
        breaches: report.breaches,
        invariants: report.invariants,
      };
    },
  );
}

function unknown(path: string, received: string): AppError {
  const issue = { path, message: 'names nothing', expected: `a ${path}`, received };
  return new AppError('invalid_request', {
    message: `There is no ${path} "${received}".`,
    details: { issues: [issue] },
  });
}

/** Overrides in the words of the API become those of a plan. */
function toOverrides(form: NonNullable<AccountForm['overrides']>) {
  const { slots, line_length, caps, max_audio_ms, max_deadline_s } = form;
  return {
    ...(slots === undefined ? {} : { slots }),
    ...(line_length === undefined ? {} : { lineLength: line_length }),
    ...(caps === undefined ? {} : { caps: caps as never }),
    ...(max_audio_ms === undefined ? {} : { maxAudioMs: max_audio_ms }),
    ...(max_deadline_s === undefined ? {} : { maxDeadlineS: max_deadline_s }),
  };
}
