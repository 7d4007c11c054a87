// Webhook endpoints: where events are brought, and what they are signed with (contract 12).
import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { readAs } from '../../db/transaction.ts';
import { AppError } from '../../domain/errors.ts';
import { turnPage } from '../../domain/page.ts';
import {
  changeEndpoint,
  createEndpoint,
  endpointForJobs,
  ENDPOINTS_MAX,
  ownEndpoint,
  removeEndpoint,
  rotate,
  testEndpoint,
} from '../../flow/endpoints.ts';
import { listEndpoints } from '../../store/endpoints.ts';
import type { Api } from '../api.ts';
import { type PageQuery, pageQuery, sendPage, turnOf } from '../page.ts';
import { listOf } from '../shapes.ts';
import {
  EndpointAnswer,
  EndpointForm,
  EndpointPatch,
  endpointView,
  EndpointWithSecret,
  TestAnswer,
  testView,
} from './webhook-shapes.ts';

const Id = Type.Object({ id: Type.String() });
const tags = ['webhooks'];

export function webhookRoutes(app: FastifyInstance, api: Api): void {
  endpointRoutes(app, api);
  secretRoutes(app, api);
}

function endpointRoutes(app: FastifyInstance, { ctx }: Api): void {
  app.post<{ Body: EndpointForm }>(
    '/v1/webhook-endpoints',
    {
      schema: {
        tags,
        summary: 'Make a webhook endpoint',
        description: `Events are then sent there, signed with \`secret\`, which is shown this once. At most ${ENDPOINTS_MAX} an account.`,
        body: EndpointForm,
        response: { 201: EndpointWithSecret },
      },
    },
    async (request, reply) => {
      const { endpoint, secret } = await createEndpoint(ctx, request.caller.accountId, request.body);
      reply.header('location', `/v1/webhook-endpoints/${endpoint.id}`);
      return reply.code(201).send({ ...endpointView(endpoint), secret });
    },
  );

  app.get<{ Querystring: PageQuery }>(
    '/v1/webhook-endpoints',
    {
      schema: {
        tags,
        summary: 'List webhook endpoints',
        querystring: Type.Object(pageQuery('whe'), { additionalProperties: false }),
        response: { 200: listOf(EndpointAnswer) },
      },
    },
    async (request, reply) => {
      const { accountId } = request.caller;
      const { rows, hasMore, next } = await readAs(ctx.client, accountId, (tx) =>
        turnPage(turnOf(request.query, 'desc'), (turn) => listEndpoints(tx, { accountId, turn })),
      );
      const items = rows.map((row) => JSON.stringify(endpointView(row)));
      return sendPage(reply, { items, hasMore, next: next?.id ?? null });
    },
  );

  app.get<{ Params: { id: string } }>(
    '/v1/webhook-endpoints/:id',
    {
      schema: { tags, summary: 'Look at a webhook endpoint', params: Id, response: { 200: EndpointAnswer } },
    },
    async ({ caller, params }) => endpointView(await ownEndpoint(ctx, caller.accountId, params.id)),
  );

  app.patch<{ Params: { id: string }; Body: EndpointPatch }>(
    '/v1/webhook-endpoints/:id',
    {
      schema: {
        tags,
        summary: 'Change a webhook endpoint',
        description:
          'Switched off, what waits for it is given up (`failed`), and nothing new is noted for it; switched on again, what was given up ' +
          'can be sent again.',
        params: Id,
        body: EndpointPatch,
        response: { 200: EndpointAnswer },
      },
    },
    async ({ caller: { accountId }, params: { id }, body }) =>
      endpointView(await changeEndpoint(ctx, { accountId, id }, body)),
  );

  app.delete<{ Params: { id: string } }>(
    '/v1/webhook-endpoints/:id',
    { schema: { tags, summary: 'Delete a webhook endpoint', params: Id, response: { 204: Type.Null() } } },
    async ({ caller, params }, reply) => {
      await removeEndpoint(ctx, caller.accountId, params.id);
      return reply.code(204).send();
    },
  );

  /** Endpoints that this process is testing: it is a way to have us call somebody, so once at a time. */
  const testing = new Set<string>();
  app.post<{ Params: { id: string } }>(
    '/v1/webhook-endpoints/:id/test',
    {
      schema: {
        tags,
        summary: 'Send a test event, and see what comes back',
        description:
          'An event of type `endpoint.test` with `sequence` 0, signed like all, is sent once and at once; 200 whatever comes back.',
        params: Id,
        response: { 200: TestAnswer },
      },
    },
    async ({ caller, params: { id } }) => {
      if (testing.has(id)) {
        await ownEndpoint(ctx, caller.accountId, id);
        throw new AppError('conflict', {
          message: 'The endpoint is being tested already. Wait for the answer.',
        });
      }
      testing.add(id);
      try {
        return testView(await testEndpoint(ctx, caller, id));
      } finally {
        testing.delete(id);
      }
    },
  );
}

function secretRoutes(app: FastifyInstance, { ctx }: Api): void {
  app.get(
    '/v1/webhook-endpoints/for-jobs',
    {
      schema: {
        tags,
        summary: "What signs single jobs' webhooks",
        description:
          'The account has one endpoint for the `webhook` of all its jobs: its deliveries are listed, and its secret is changed, by its id.',
        response: { 200: EndpointWithSecret },
      },
    },
    async ({ caller }) => {
      const { endpoint, secret } = await endpointForJobs(ctx, caller.accountId);
      return { ...endpointView(endpoint), secret };
    },
  );

  app.post<{ Params: { id: string } }>(
    '/v1/webhook-endpoints/:id/rotate',
    {
      schema: {
        tags,
        summary: 'Change the secret',
        description: 'The new one is shown this once. For 24 hours the one before signs besides.',
        params: Id,
        response: { 200: EndpointWithSecret },
      },
    },
    async ({ caller, params }) => {
      const { endpoint, secret } = await rotate(ctx, caller.accountId, params.id);
      return { ...endpointView(endpoint), secret };
    },
  );
}
