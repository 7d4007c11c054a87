// POST /v1/tickets (contract 14): for browsers, which can send no key where a WebSocket or a stream is opened.
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { invalidRequest } from '../../domain/errors.ts';
import { TICKET_MAX_S } from '../../domain/ticket.ts';
import { giveTicket } from '../../flow/tickets.ts';
import type { Api } from '../api.ts';
import { JOBS_OR_ALL } from '../page.ts';
import { At } from '../shapes.ts';

const JOBS_MAX = 100;

const Order = Type.Object(
  {
    jobs: Type.Unsafe<string[] | 'all'>({
      type: ['array', 'string'],
      items: { type: 'string', maxLength: 64 },
      minItems: 1,
      maxItems: JOBS_MAX,
      pattern: JOBS_OR_ALL,
      description: `Which it is good for: \`all\` of the account's, or the ids of up to ${JOBS_MAX} of them.`,
    }),
    expires_in_s: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: TICKET_MAX_S.jobs,
        default: 60,
        description: `At most ${TICKET_MAX_S.all} for \`all\`.`,
      }),
    ),
  },
  { additionalProperties: false },
);

export function ticketRoutes(app: FastifyInstance, { ctx }: Api): void {
  app.post<{ Body: { jobs: string[] | 'all'; expires_in_s: number } }>(
    '/v1/tickets',
    {
      schema: {
        tags: ['events'],
        summary: 'Make a ticket for a browser',
        description:
          'Goes as `?ticket=` to /v1/ws, to the two streams, and to the bytes of artifacts. For `all` it opens one of them once, within its ' +
          'time, and over a WebSocket may do what the key may. For named jobs it opens any number until its time is over, to read those jobs ' +
          'and what came of them. It is never good for longer than its key.',
        body: Order,
        response: { 201: Type.Object({ ticket: Type.String(), expires_at: At }) },
      },
    },
    async (request, reply) => {
      const { jobs, expires_in_s: forS } = request.body;
      const { accountId, keyId } = request.caller;
      if (jobs === 'all' && forS > TICKET_MAX_S.all)
        throw invalidRequest({
          path: 'expires_in_s',
          message: `must be at most ${TICKET_MAX_S.all} for all jobs`,
          expected: TICKET_MAX_S.all,
          received: forS,
        });
      const { ticket, expiresAt } = await giveTicket(ctx, {
        accountId,
        keyId,
        jobs: jobs === 'all' ? null : jobs,
        forS,
      });
      return reply.code(201).header('cache-control', 'no-store').send({ ticket, expires_at: expiresAt });
    },
  );
}
