// What was brought to webhook endpoints, and what is brought again (contract 12).
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { readAs } from '../../db/transaction.ts';
import { turnPage } from '../../domain/page.ts';
import type { DeliveryStatus } from '../../domain/webhook.ts';
import { ownEndpoint } from '../../flow/endpoints.ts';
import { ownDelivery, redeliverAll, redeliverOne, SPAN_MAX } from '../../flow/redeliver.ts';
import { listDeliveries } from '../../store/delivery-log.ts';
import type { Api } from '../api.ts';
import { type PageQuery, pageQuery, sendPage, turnOf } from '../page.ts';
import { listOf } from '../shapes.ts';
import { DeliveryAnswer, deliveryView, SpanAnswer, SpanForm } from './webhook-shapes.ts';

const Id = Type.Object({ id: Type.String() });
const tags = ['webhooks'];
/** Past every delivery there will be. */
const FAR = Date.UTC(9999, 0);

export function deliveryRoutes(app: FastifyInstance, { ctx }: Api): void {
  app.get<{ Params: { id: string }; Querystring: PageQuery & { status?: DeliveryStatus } }>(
    '/v1/webhook-endpoints/:id/deliveries',
    {
      schema: {
        tags,
        summary: 'List what was brought to an endpoint',
        description: 'Kept as long as the events are.',
        params: Id,
        querystring: Type.Object(
          {
            ...pageQuery('dlv'),
            status: Type.Optional(Type.Enum(['pending', 'delivered', 'failed', 'exhausted'])),
          },
          { additionalProperties: false },
        ),
        response: { 200: listOf(DeliveryAnswer) },
      },
    },
    async ({ caller: { accountId }, params, query }, reply) => {
      const { id: endpointId } = await ownEndpoint(ctx, accountId, params.id);
      const status = query.status ?? null;
      const { rows, hasMore, next } = await readAs(ctx.client, accountId, (tx) =>
        turnPage(turnOf(query, 'desc'), (turn) =>
          listDeliveries(tx, { accountId, endpointId, status, turn }),
        ),
      );
      const items = rows.map((row) => JSON.stringify(deliveryView(row)));
      return sendPage(reply, { items, hasMore, next: next?.id ?? null });
    },
  );

  app.post<{ Params: { id: string }; Body: SpanForm }>(
    '/v1/webhook-endpoints/:id/redeliver',
    {
      schema: {
        tags,
        summary: 'Send the events of a span of time again',
        description: `Begins a new round of calls for deliveries that have ended, the oldest first, at most ${SPAN_MAX} a request.`,
        params: Id,
        body: SpanForm,
        response: { 202: SpanAnswer },
      },
    },
    async ({ caller: { accountId }, params: { id }, body }, reply) => {
      const to = body.before === undefined ? new Date(FAR) : new Date(body.before);
      const span = { from: new Date(body.after), to, onlyFailed: body.only_failed ?? true };
      const { count, next } = await redeliverAll(ctx, { accountId, id }, span);
      return reply.code(202).send({ object: 'redelivery', redelivered: count, next_after: next });
    },
  );

  app.get<{ Params: { id: string } }>(
    '/v1/deliveries/:id',
    { schema: { tags, summary: 'Look at a delivery', params: Id, response: { 200: DeliveryAnswer } } },
    async ({ caller, params }) => deliveryView(await ownDelivery(ctx, caller.accountId, params.id)),
  );

  app.post<{ Params: { id: string } }>(
    '/v1/deliveries/:id/redeliver',
    {
      schema: {
        tags,
        summary: 'Send an event again',
        description: 'Begins a new round of calls at once, whatever came of those before.',
        params: Id,
        response: { 202: DeliveryAnswer },
      },
    },
    async ({ caller, params }, reply) =>
      reply.code(202).send(deliveryView(await redeliverOne(ctx, caller.accountId, params.id))),
  );
}
