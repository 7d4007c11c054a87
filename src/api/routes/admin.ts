// The operator's routes. Cold paths, so Prisma does the reading and writing; credits go through the ledger's own verbs.
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { request as httpRequest } from 'undici';
import { AppError } from '../../domain/errors.ts';
import { newId } from '../../domain/ids.ts';
import { audit } from '../../flow/audit.ts';
import { oneAtATime } from '../../flow/one-at-a-time.ts';
import type { Api } from '../api.ts';
import { CURSORS } from '../page.ts';
import { adminAccountRoutes } from './admin-accounts.ts';
import { adminCatalogueRoutes } from './admin-catalogue.ts';
import { adminPlanRoutes } from './admin-plans.ts';
import { Invariants, SimCalls } from './admin-shapes.ts';
import { adminSchema, type AdminTools } from './admin-tools.ts';

/** Some seconds of reading. */
const ONE_ANSWER = { rows: 400_000, artifacts: 200, artifactBytes: 64 * 1024 * 1024 };

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
  adminPlanRoutes(app, api);

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
      if (simUrl === null) throw new AppError('not_found', { message: 'There is no simulator here.' });
      const { body } = await httpRequest(`${simUrl}/calls?limit=${request.query.limit}`);
      return { object: 'list', data: (await body.json()) as unknown };
    },
  );

  // A monitor that gave up and asks again must not take one connection more of those that admit and settle.
  const auditAfter = oneAtATime((after: string) =>
    audit(ctx, { from: 'checkpoints', within: { ...ONE_ANSWER, after } }),
  );

  app.get<{ Querystring: { after?: string } }>(
    '/v1/admin/invariants',
    {
      schema: adminSchema(
        'Whether the books are right, as far as one answer can say: of each account what came after the last ' +
          '`npm run audit` that found it right. `ok` is about what was `covered`; if that is not complete, `after` goes on.',
        {
          querystring: Type.Object(
            {
              after: Type.Optional(Type.String({ pattern: CURSORS.acc, description: 'covered.next_after' })),
            },
            { additionalProperties: false },
          ),
          response: { 200: Invariants },
        },
      ),
    },
    async (request) => {
      const { ok, checkedAt, rows, breaches, invariants, covered } = await auditAfter(
        request.query.after ?? '',
      );
      const { leftOut, nextAfter, unnamedAsOf: _, ...rest } = covered;
      return {
        ok,
        checked_at: checkedAt,
        rows,
        breaches,
        invariants,
        covered: { ...rest, left_out: leftOut, next_after: nextAfter },
      };
    },
  );
}
