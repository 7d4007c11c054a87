import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { usd } from '../../domain/money.ts';
import type { Model } from '../../domain/model.ts';
import type { PriceLine } from '../../domain/pricing.ts';
import type { Api } from '../api.ts';
import type { Authenticator } from '../auth.ts';
import { ModelAnswer } from '../shapes-account.ts';

/** Without a key the public catalogue; with one, what this account may call. */
export function modelRoutes(app: FastifyInstance, { ctx }: Api, authenticator: Authenticator): void {
  app.get(
    '/v1/models',
    {
      onRequest: async (request) => {
        if (request.headers.authorization !== undefined) await authenticator.client(request);
      },
      schema: {
        tags: ['models'],
        summary: 'List models',
        security: [{}, { key: [] }],
        querystring: Type.Object({}, { additionalProperties: false }),
        response: {
          200: Type.Object({ object: Type.Literal('list'), data: Type.Array(ModelAnswer) }),
        },
      },
    },
    async (request) => {
      // Set by the hook only where a key was sent.
      const caller = request.caller as typeof request.caller | undefined;
      const models = [...new Set(ctx.catalogue().models.values())].filter((model) => model.enabled);
      const callable = (model: Model): boolean =>
        caller?.livemode !== false || model.routes.some((route) => route.provider === 'sim');
      return { object: 'list', data: models.filter(callable).map(modelView) };
    },
  );
}

function modelView(model: Model) {
  const units = (model.price?.lines ?? []).map(unitView);
  return {
    id: model.id,
    object: 'model',
    created: Math.floor(model.createdAt.getTime() / 1000),
    owned_by: model.routes[0]?.provider ?? 'millrace',
    kind: model.kind,
    aliases: model.aliases,
    name: model.name,
    tags: model.tags,
    units,
    default_output_tokens: model.data.default_output_tokens ?? null,
    context_length: model.data.context_length ?? null,
    charge_refused: model.data.charge_refused ?? false,
    routes: model.routes.map((route) => ({
      id: route.id,
      provider: route.provider,
      available: route.enabled,
      units,
    })),
    trademark_notice: null,
    deprecated_at: model.deprecatedAt,
    sunset_at: model.sunsetAt,
    replacement: model.replacement,
  };
}

function unitView({ name, measure, creditsPerMillion }: PriceLine) {
  return {
    name,
    measure,
    credits_per_million: String(creditsPerMillion),
    usd_per_million: usd(creditsPerMillion),
  };
}
