// Live channels: one job's stream, and all of an account's events.
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { readAs } from '../../db/transaction.ts';
import { START } from '../../domain/cursor.ts';
import { openAccountFollower } from '../../flow/follow-account.ts';
import { followJob, openJobStream } from '../../flow/follow-job.ts';
import { eventsAfter } from '../../store/events.ts';
import { eventRange } from '../../store/looks.ts';
import type { Api } from '../api.ts';
import { acceptable } from '../accept.ts';
import type { Authenticator } from '../auth.ts';
import { sendPage } from '../page.ts';
import { At, Free, listOf } from '../shapes.ts';
import { cursorOf, sendEvents, type Stream } from '../sse.ts';
import { assertWithin, Ticket, TICKET_OR_KEY } from '../ticket-scope.ts';
import { callerOf } from './jobs.ts';

const LAST_SEEN = 'The last id seen; as the header Last-Event-ID. Default: from the start.';
const After = Type.Optional(Type.String({ description: LAST_SEEN }));
const AfterOrNow = Type.Optional(Type.String({ description: `${LAST_SEEN} \`now\`: only new ones.` }));
const Event = Type.Object(
  {
    id: Type.String(),
    object: Type.Literal('event'),
    type: Type.String({ description: 'An open list: ignore what you do not know.' }),
    timestamp: At,
    api_version: Type.Literal('v1'),
    livemode: Type.Boolean(),
    account_id: Type.String(),
    sequence: Type.Integer(),
    data: Free,
  },
  { description: 'A fact about the account or one of its jobs' },
);
const events = { schema: Type.String({ description: 'Server-sent events' }) };
const StreamAnswer = {
  description: 'A stream that ends with the job',
  content: { 'text/event-stream': events },
};
const StreamOrPage = {
  description: 'A stream without an end, or a page',
  content: { 'text/event-stream': events, 'application/json': { schema: listOf(Event) } },
};
/** A stream has no end that a HEAD could answer with. */
const exposeHeadRoute = false;

export function eventRoutes(
  app: FastifyInstance,
  api: Api,
  { stillGood, clientOrTicket }: Authenticator,
): void {
  const { ctx, hub } = api;
  const followAccount = openAccountFollower(api);

  const send = (request: FastifyRequest, reply: FastifyReply, frames: Stream['frames']) =>
    sendEvents(request, reply, {
      frames,
      closing: api.closing,
      heartbeatMs: ctx.config.heartbeatMs,
      authenticate: stillGood,
    });

  app.addHook('onRequest', (request) => clientOrTicket(request));

  app.get<{ Params: { id: string } }>(
    '/v1/jobs/:id/events',
    {
      exposeHeadRoute,
      schema: {
        tags: ['events'],
        summary: 'Follow a job',
        description:
          'Its events, and what a chat says as it says it (`job.delta`); when an attempt is followed by another, `job.reset` takes back ' +
          'what was said. Past the last event the stream ends, and coming back answers 204. An id that can no longer be served gets ' +
          '`reset` with the job as it is, and goes on from there.',
        params: Type.Object({ id: Type.String() }),
        querystring: Type.Object({ after: After, ticket: Ticket }, { additionalProperties: false }),
        security: TICKET_OR_KEY,
        response: { 200: StreamAnswer, 204: Type.Null() },
      },
    },
    async (request, reply) => {
      acceptable(request, ['text/event-stream']);
      assertWithin(request.ticket, request.params.id);
      const stream = await openJobStream(api, {
        caller: callerOf(request),
        jobId: request.params.id,
        cursor: cursorOf(request) ?? START,
      });
      if (stream === null) return reply.code(204).send();
      return send(request, reply, (signal) => followJob({ ctx, hub }, stream, { signal }));
    },
  );

  app.get<{ Querystring: { after?: string; limit: number } }>(
    '/v1/events',
    {
      exposeHeadRoute,
      schema: {
        tags: ['events'],
        summary: "Follow all of the account's events",
        description:
          'A stream, or with `Accept: application/json` a page of what is kept (30 days and more), oldest first. On a stream, an id ' +
          'that can no longer be served gets `reset` with the jobs that are open (at most 1,000), and goes on from there.',
        querystring: Type.Object(
          {
            after: AfterOrNow,
            ticket: Ticket,
            limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 20 })),
          },
          { additionalProperties: false },
        ),
        security: TICKET_OR_KEY,
        response: { 200: StreamOrPage },
      },
    },
    async (request, reply) => {
      const type = acceptable(request, ['text/event-stream', 'application/json']);
      assertWithin(request.ticket, null);
      const { accountId } = request.caller;
      const after = cursorOf(request, { orNow: true })?.sequence ?? null;
      if (type === 'text/event-stream')
        return send(request, reply, (signal) => followAccount({ accountId, after, signal }));
      const { limit } = request.query;
      const rows = await readAs(ctx.client, accountId, async (tx) =>
        eventsAfter(tx, {
          accountId,
          after: after ?? (await eventRange(tx, accountId)).newest,
          limit: limit + 1,
        }),
      );
      const shown = rows.slice(0, limit);
      const last = shown.at(-1)?.sequence;
      return sendPage(reply, {
        items: shown.map(({ body }) => body),
        hasMore: rows.length > limit,
        next: last === undefined || rows.length <= limit ? null : String(last),
      });
    },
  );
}
