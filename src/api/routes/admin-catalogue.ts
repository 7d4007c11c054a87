// What is sold: models, their routes to vendors, their prices.
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import type { Context } from '../../context.ts';
import { AppError, invalidRequest } from '../../domain/errors.ts';
import { newId } from '../../domain/ids.ts';
import { ENGINE_KINDS, engineOf, enginesFor } from '../../domain/engines.ts';
import type { Kind } from '../../domain/job.ts';
import type { Model } from '../../domain/model.ts';
import { type Turn, turnPage } from '../../domain/page.ts';
import { PROVIDER_KINDS, providerDoes } from '../../domain/providers.ts';
import { seal } from '../../flow/seal.ts';
import type { Api } from '../api.ts';
import { type PageQuery, pageQuery, sendPage, turnOf } from '../page.ts';
import { assertBounded, assertFits, assertRouteData } from './admin-fits.ts';
import { ModelForm, ModelPath, PriceForm, RouteForm, RoutePatch } from './admin-forms.ts';
import { AdminModels, ModelMade, PriceMade, RouteMade, RouteSwitched } from './admin-shapes.ts';
import { adminSchema as schema, type AdminTools } from './admin-tools.ts';

export function adminCatalogueRoutes(app: FastifyInstance, { ctx }: Api, { changed, log }: AdminTools): void {
  const { prisma } = ctx;

  app.get<{ Querystring: PageQuery }>(
    '/v1/admin/models',
    {
      schema: schema('List models, also those switched off', {
        description: 'By id, from the first letter on.',
        querystring: Type.Object(pageQuery('model'), { additionalProperties: false }),
        response: { 200: AdminModels },
      }),
    },
    async (request, reply) => {
      const { rows, hasMore, next } = await turnPage(turnOf(request.query, 'asc'), findModels);
      const items = rows.map((row) => JSON.stringify(row));
      return sendPage(reply, { items, hasMore, next: next?.id ?? null });
    },
  );

  function findModels({ after, before, ascending, limit }: Turn<string>) {
    const [past, short] = ascending ? (['gt', 'lt'] as const) : (['lt', 'gt'] as const);
    return prisma.models.findMany({
      where: {
        id: { ...(after !== null && { [past]: after }), ...(before !== null && { [short]: before }) },
      },
      orderBy: { id: ascending ? 'asc' : 'desc' },
      take: limit,
      include: { prices: { orderBy: { effective_from: 'desc' } }, routes: { omit: { api_key: true } } },
    });
  }

  app.put<{ Params: { '*': string }; Body: ModelForm }>(
    '/v1/admin/models/*',
    {
      schema: schema('Make or change a model', {
        description: "The id's slashes may stand as they are.",
        params: ModelPath,
        body: ModelForm,
        response: { 200: ModelMade },
      }),
    },
    async (request) => {
      const id = request.params['*'];
      const { kind, name = id, aliases = [], tags = [], enabled = true, data = {} } = request.body;
      refuseTakenNames(ctx, id, aliases);
      const known = ctx.catalogue().models.get(id);
      const unfit = known?.routes.find((route) => !providerDoes(route.provider, kind));
      if (known?.kind === kind) assertBounded({ kind, data, lines: known.price?.lines ?? [] }, 'data');
      if (unfit) throw cannotDo('kind', { provider: unfit.provider, kind });
      const row = { kind, name, aliases, tags, enabled, data };
      await prisma.models.upsert({ where: { id }, create: { id, ...row }, update: row });
      await log(request.operatorKeyId, { action: 'model.put', target: id, details: row });
      await changed();
      return { id, object: 'model', ...row };
    },
  );

  app.post<{ Body: RouteForm }>(
    '/v1/admin/routes',
    { schema: schema('Add a route to a model', { body: RouteForm, response: { 201: RouteMade } }) },
    async (request, reply) => {
      const { model, provider, upstream_model = model, base_url, api_key } = request.body;
      const { rank = 0, enabled = true, cost = [], data = {} } = request.body;
      const { kind } = assertModel(ctx, model);
      assertFits(kind, cost, { path: 'cost', whole: false });
      if (!providerDoes(provider, kind)) throw cannotDo('provider', { provider, kind });
      if (provider === 'openai') assertRouteData(kind, data);
      if (provider === 'exec') assertEngine(upstream_model, kind);
      const address = rootUrl(base_url, provider);
      const id = newId('rte');
      const row = {
        model_id: model,
        provider,
        upstream_model,
        base_url: address,
        rank,
        enabled,
        cost,
        data,
      };
      const sealed =
        api_key === undefined ? null : new Uint8Array(seal(ctx.secrets.keys, `route:${id}`, api_key));
      await prisma.routes.create({ data: { id, ...row, api_key: sealed } });
      await log(request.operatorKeyId, { action: 'route.create', target: id, details: row });
      await changed();
      return reply.code(201).send({ id, object: 'route', ...row });
    },
  );

  app.patch<{ Params: { id: string }; Body: RoutePatch }>(
    '/v1/admin/routes/:id',
    {
      schema: schema('Switch a route on or off', {
        params: Type.Object({ id: Type.String() }),
        body: RoutePatch,
        response: { 200: RouteSwitched },
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
        response: { 201: PriceMade },
      }),
    },
    async (request, reply) => {
      const { model, lines } = request.body;
      const { kind, data } = assertModel(ctx, model);
      assertFits(kind, lines, { path: 'lines', whole: true });
      assertBounded({ kind, data, lines }, 'lines');
      const id = newId('prv');
      await prisma.prices.create({ data: { id, model_id: model, lines } });
      await log(request.operatorKeyId, { action: 'price.set', target: id, details: { model, lines } });
      await changed();
      return reply.code(201).send({ id, object: 'price', model, lines });
    },
  );
}

/** By its id: an alias is no row that a route or a price could refer to. */
function assertModel(ctx: Context, model: string): Model {
  const known = ctx.catalogue().models.get(model);
  if (known?.id === model) return known;
  throw invalidRequest({
    path: 'model',
    message: 'must be the id of a model',
    expected: 'an id',
    received: model,
  });
}

function cannotDo(path: string, { provider, kind }: { provider: string; kind: Kind }): AppError {
  const doers = Object.keys(PROVIDER_KINDS).filter((name) => providerDoes(name, kind));
  const message = `must fit: ${provider} does no ${kind}, which can be done by ${doers.join(' and ')}`;
  const [expected, received] = path === 'kind' ? ['a kind that its routes can do', kind] : [doers, provider];
  return invalidRequest({ path, message, expected, received });
}

/** An engine is one of those that are written down in code, and never a command. */
function assertEngine(upstreamModel: string, kind: Kind): void {
  const named = engineOf(upstreamModel);
  if (named && ENGINE_KINDS[named.engine] === kind) return;
  const engines = enginesFor(kind);
  throw invalidRequest({
    path: 'upstream_model',
    message: `must be an engine that does ${kind}, alone or with a voice or a model file, as in ${engines[0]}:name`,
    expected: engines,
    received: upstreamModel,
  });
}

/** A name leads to one model. */
function refuseTakenNames(ctx: Context, id: string, aliases: readonly string[]): void {
  const { models } = ctx.catalogue();
  const taken = [id, ...aliases].find((name) => (models.get(name)?.id ?? id) !== id);
  if (taken === undefined) return;
  throw invalidRequest({
    path: taken === id ? 'id' : 'aliases',
    message: 'must not be a name of another model',
    expected: 'a name that is free',
    received: taken,
  });
}

/** Where a vendor's API begins, or null where the provider knows that by itself. */
function rootUrl(text: string | undefined, provider: RouteForm['provider']): string | null {
  if (text === undefined && (provider === 'sim' || provider === 'exec')) return null;
  const url = text !== undefined && URL.canParse(text) ? new URL(text) : null;
  const plain = url && /^https?:$/.test(url.protocol) && !url.username && !url.password;
  if (url && plain && !text?.includes('?') && !text?.includes('#')) return (text ?? '').replace(/\/+$/, '');
  throw invalidRequest({
    path: 'base_url',
    message: 'must be an http or https URL without user, query and fragment',
    expected: 'https://api.example.com/v1',
    received: text === undefined ? null : 'another text',
  });
}
