// Live channels: one job's stream, and all of an account's events.
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { readAs } from '../../db/transaction.ts';
import { followAccount, followJob, hasMore } from '../../flow/follow.ts';
import { eventRange, eventsAfter } from '../../store/events.ts';
import type { Api } from '../api.ts';
import { acceptable } from '../accept.ts';
import { sendPage } from '../page.ts';
import { At, Free, listOf } from '../shapes.ts';
import { cursorOf, sendEvents } from '../sse.ts';
import { callerOf } from './jobs.ts';

const After = Type.Optional(
  Type.String({ description: 'The last id seen; as the header Last-Event-ID. Default: from the start.' }),
);
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
const stream = { schema: Type.String({ description: 'Server-sent events' }) };
const Stream = { description: 'A stream that ends with the job', content: { 'text/event-stream': stream } };
const StreamOrPage = {
  description: 'A stream without an end, or a page',
  content: { 'text/event-stream': stream, 'application/json': { schema: listOf(Event) } },
};

export function eventRoutes(app: FastifyInstance, api: Api): void {
  const { ctx, hub, closing, shower } = api;

  app.get<{ Params: { id: string } }>(
    '/v1/jobs/:id/events',
    {
      // A head has no end to come to.
      exposeHeadRoute: false,
      schema: {
        tags: ['events'],
        summary: 'Follow a job',
        description:
          'Its events, and what a chat says as it says it. Past the last event the stream ends, and coming back answers 204.',
        params: Type.Object({ id: Type.String() }),
        querystring: Type.Object({ after: After }, { additionalProperties: false }),
        response: { 200: Stream, 204: Type.Null() },
      },
    },
    async (request, reply) => {
      acceptable(request, ['text/event-stream']);
      const { job } = await shower.show(callerOf(request), request.params.id);
      const follow = { accountId: job.accountId, jobId: job.id, cursor: cursorOf(request) };
      if (!(await hasMore(ctx, follow))) return reply.code(204).send();
      return sendEvents(request, reply, {
        closing,
        frames: (signal) => followJob(ctx, hub, { ...follow, signal }),
      });
    },
  );

  app.get<{ Querystring: { after?: string; limit: number } }>(
    '/v1/events',
    {
      exposeHeadRoute: false,
      schema: {
        tags: ['events'],
        summary: "Follow all of the account's events",
        description:
          'A stream, or with `Accept: application/json` a page of what is kept (30 days and more), oldest first.',
        querystring: Type.Object(
          { after: After, limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 100, default: 20 })) },
          { additionalProperties: false },
        ),
        response: { 200: StreamOrPage },
      },
    },
    async (request, reply) => {
      const type = acceptable(request, ['text/event-stream', 'application/json']);
      const { accountId } = request.caller;
      const { after, limit } = request.query;
      const now = after === 'now' && request.headers['last-event-id'] === undefined;
      const cursor = now
        ? {
            sequence: (await readAs(ctx.client, accountId, (tx) => eventRange(tx, accountId))).newest,
            attempt: 0,
            offset: 0,
          }
        : cursorOf(request);
      if (type === 'text/event-stream') {
        return sendEvents(request, reply, {
          closing,
          frames: (signal) => followAccount(ctx, hub, { accountId, cursor, signal }),
        });
      }
      const query = { accountId, jobId: null, after: cursor.sequence, limit: limit + 1 };
      const rows = await readAs(ctx.client, accountId, (tx) => eventsAfter(tx, query));
      const shown = rows.slice(0, limit);
      const last = shown.at(-1)?.sequence;
      return sendPage(reply, {
        items: shown.map(({ body }) => body),
        hasMore: rows.length > limit,
        last: last === undefined ? null : String(last),
      });
    },
  );
}
