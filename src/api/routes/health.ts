import type { FastifyInstance } from 'fastify';
import { Type } from 'typebox';
import { QUEUES } from '../../domain/queues.ts';
import { oneAtATime } from '../../flow/one-at-a-time.ts';
import { servedQueues } from '../../store/workers.ts';
import type { Api } from '../api.ts';
import { METRICS_TYPE } from '../../metrics.ts';
import { openMetrics } from '../metrics.ts';
import type { Sockets } from '../ws/sockets.ts';

const CHECK_MS = 3_000;
const Alive = Type.Object({ ok: Type.Literal(true) });
const Word = Type.Enum(['ok', 'failed', 'slow']);
const Check = Type.Object({
  ok: Type.Boolean(),
  checks: Type.Optional(Type.Object({ database: Word, reader: Word, queue: Word, storage: Word })),
  unserved_queues: Type.Optional(Type.Array(Type.Enum([...QUEUES]))),
});

export function healthRoutes(
  app: FastifyInstance,
  {
    ctx,
    hub,
    isOperators,
    sockets,
  }: Pick<Api, 'ctx' | 'hub' | 'isOperators'> & { sockets: Pick<Sockets, 'gauges'> },
): void {
  const metrics = openMetrics({ ctx, hub, sockets });
  // Anybody may ask, and another's server is asked for it: once at a time.
  const askStorage = oneAtATime((storage: typeof ctx.storage) => storage.ping());

  app.get(
    '/healthz',
    {
      schema: {
        tags: ['service'],
        summary: 'Whether the process lives',
        security: [],
        response: { 200: Alive },
      },
    },
    async () => ({ ok: true }),
  );

  app.get(
    '/readyz',
    {
      schema: {
        tags: ['service'],
        summary: 'Whether it can do its work',
        description:
          'Also names queues that no worker serves at present, which is not held against the API. Where operators have a port of their own (`ADMIN_PORT`), any other says `ok` alone.',
        security: [],
        response: { 200: Check, 503: Check },
      },
    },
    async (request, reply) => {
      const checks = {
        database: await check(() => ctx.flow.query('select 1')),
        reader: await check(() => ctx.client.query('select 1')),
        queue: await check(() => ctx.queue.ping()),
        storage: await check(() => askStorage(ctx.storage)),
      };
      const ok = Object.values(checks).every((result) => result === 'ok');
      reply.code(ok ? 200 : 503);
      if (!isOperators(request)) return { ok };
      const served = checks.database === 'ok' ? await servedQueues(ctx.flow) : new Set<string>();
      return { ok, checks, unserved_queues: QUEUES.filter((name) => !served.has(name)) };
    },
  );

  app.get(
    '/metrics',
    {
      schema: {
        tags: ['service'],
        summary: 'Metrics for Prometheus',
        security: [],
        response: { 200: { description: 'Metrics', content: { 'text/plain': { schema: Type.String() } } } },
      },
    },
    async (_request, reply) => reply.type(METRICS_TYPE).send(await metrics()),
  );
}

/** What is wrong, in one word: the rest is in the log, not for everybody to read. */
async function check(ask: () => Promise<unknown>): Promise<'ok' | 'failed' | 'slow'> {
  let timer: NodeJS.Timeout | undefined;
  const slow = new Promise<'slow'>((resolve) => {
    timer = setTimeout(resolve, CHECK_MS, 'slow');
  });
  try {
    return await Promise.race([ask().then(() => 'ok' as const), slow]);
  } catch {
    return 'failed';
  } finally {
    clearTimeout(timer);
  }
}
