// The operator's routes. Cold paths, so Prisma does the reading and writing; credits go through the ledger's own verbs.
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { request as httpRequest } from 'undici';
import { newId } from '../../domain/ids.ts';
import { audit } from '../../flow/audit.ts';
import type { Api } from '../api.ts';
import { adminAccountRoutes } from './admin-accounts.ts';
import { adminCatalogueRoutes } from './admin-catalogue.ts';
import { Invariants, SimCalls } from './admin-shapes.ts';
import { adminSchema, type AdminTools } from './admin-tools.ts';

export function adminRoutes(app: FastifyInstance, api: Api): void {
  const { ctx, simUrl } = api;
  const tools: AdminTools = {
    async changed() {
      // First, so that the word has gone round, to this process too, by the time the answer is sent.
      ctx.bus.publish([{ type: 'catalogue' }]);
      await ctx.refreshCatalogue();
    },
    log: (actor, entry) =>
      ctx.prisma.audit_log.create({ data: { id: newId('log'), actor, reason: null, ...entry } }),
  };
  adminAccountRoutes(app, api, tools);
  adminCatalogueRoutes(app, api, tools);

  app.get<{ Querystring: { limit: number } }>(
    '/v1/admin/sim/calls',
    {
      schema: adminSchema("The simulator's own log of calls", {
        querystring: Type.Object(
          { limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 10_000, default: 1_000 })) },
          { additionalProperties: false },
        ),
        response: { 200: SimCalls },
      }),
    },
    async (request) => {
      const { body } = await httpRequest(`${simUrl}/calls?limit=${request.query.limit}`);
      return { object: 'list', data: (await body.json()) as unknown };
    },
  );

  app.get(
    '/v1/admin/invariants',
    { schema: adminSchema('Whether the books are right', { response: { 200: Invariants } }) },
    async () => {
      const { ok, checkedAt, rows, breaches, invariants } = await audit(ctx);
      return { ok, checked_at: checkedAt, rows, breaches, invariants };
    },
  );
}
