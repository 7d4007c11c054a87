// POST, GET and cancel of jobs (contract 4, 5).
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { isFinal, KINDS, STATUSES } from '../../domain/job.ts';
import { type Job, renderJob } from '../../domain/job-view.ts';
import { Submission } from '../../domain/submission.ts';
import { cancel } from '../../flow/cancel.ts';
import { explain } from '../../flow/explain.ts';
import { listJobs, METADATA_FILTER } from '../../flow/list.ts';
import { quote } from '../../flow/quote.ts';
import { prepare } from '../../flow/submit.ts';
import type { Api } from '../api.ts';
import { clientRequestId } from '../api.ts';
import { hasCurrent, jobHeaders, JSON_TYPE } from '../headers.ts';
import { idempotencyKey, idempotencyOf } from '../idempotency.ts';
import { pageQuery, sendPage } from '../page.ts';
import { JobAnswer, JobList, Quote, Explanation } from '../shapes.ts';
import { admitJob, rawParts } from '../take-job.ts';
import { assertInput } from '../validate.ts';
import { Wait, waited, waitMs } from '../wait.ts';

const JobId = Type.Object({ id: Type.String() });
export function jobRoutes(app: FastifyInstance, api: Api): void {
  const { ctx, shower } = api;

  app.post<{ Body: Submission; Querystring: { wait?: number; dry_run?: boolean } }>(
    '/v1/jobs',
    {
      schema: {
        tags: ['jobs'],
        summary: 'Submit a job',
        description:
          'Answers 202 at once, or waits for the end with `?wait=` (seconds). `?dry_run=true` prices the job and writes nothing.',
        body: Submission,
        querystring: Type.Object(
          {
            wait: Wait,
            dry_run: Type.Optional(
              Type.Boolean({
                description:
                  'Answers a quote: what would be held, whether it would be admitted. Nothing is written.',
              }),
            ),
          },
          { additionalProperties: false },
        ),
        headers: Type.Object({
          'idempotency-key': idempotencyKey(
            'With the same key and body, for 30 days, the job of the first time is answered as it is now, with `Idempotent-Replayed: ' +
              'true`; with another body the key is refused. A refused request has used no key.',
          ),
          prefer: Type.Optional(
            Type.String({ description: '`wait=30` says the same as `?wait=30`, which goes before it.' }),
          ),
        }),
        response: {
          200: Type.Union([JobAnswer, Quote]),
          202: JobAnswer,
        },
      },
    },
    async (request, reply) => {
      const { query, body } = request;
      const idempotency = query.dry_run ? null : idempotencyOf(request, request.rawBody);
      const named = clientRequestId(request.headers['x-client-request-id']);
      const prepared = await prepare(ctx, request.caller, {
        body,
        ...rawParts(request.rawBody),
        idempotency,
        clientRequestId: named,
        assertInput,
      });
      if (query.dry_run) return quote(api, request.caller, prepared);
      const { job, replayed } = await admitJob(api, prepared);
      if (replayed) reply.header('idempotent-replayed', 'true');
      // A wait that breaks off is over: the job goes on, and is shown as it was admitted.
      const shown = await waited(api, job, waitMs(request)).catch(() => job);
      return sendJob(api, request, { reply, job: shown });
    },
  );

  app.get<{ Querystring: Record<string, string> }>(
    '/v1/jobs',
    {
      schema: {
        tags: ['jobs'],
        summary: 'List jobs',
        querystring: Type.Object(
          {
            ...pageQuery('job'),
            kind: Type.Optional(Type.Enum([...KINDS])),
            status: Type.Optional(Type.Enum([...STATUSES])),
            model: Type.Optional(Type.String()),
            key_id: Type.Optional(Type.String()),
            idempotency_key: Type.Optional(Type.String()),
            created_after: Type.Optional(Type.String({ format: 'date-time' })),
            created_before: Type.Optional(Type.String({ format: 'date-time' })),
          },
          {
            additionalProperties: false,
            patternProperties: { [METADATA_FILTER.source]: Type.String({ maxLength: 500 }) },
          },
        ),
        response: { 200: JobList },
      },
    },
    async (request, reply) => {
      const page = await listJobs(api.ctx, request.caller.accountId, request.query);
      const items = await shower.renderAll(callerOf(request), page.rows);
      return sendPage(reply, {
        items: items.map(({ json }) => json),
        hasMore: page.hasMore,
        next: page.next?.id ?? null,
      });
    },
  );

  app.get<{ Params: { id: string }; Querystring: { wait?: number } }>(
    '/v1/jobs/:id',
    {
      schema: {
        tags: ['jobs'],
        summary: 'Look at a job',
        params: JobId,
        querystring: Type.Object({ wait: Wait }, { additionalProperties: false }),
        response: { 200: JobAnswer, 304: Type.Null() },
      },
    },
    async (request, reply) => {
      const first = await shower.show(callerOf(request), request.params.id);
      const job = await waited(api, first.job, waitMs(request));
      const shown = job === first.job ? first : await shower.show(callerOf(request), request.params.id);
      reply.header('etag', shown.etag).header('cache-control', 'private, no-cache');
      if (hasCurrent(request, shown.etag)) return reply.code(304).send();
      jobHeaders(reply, shown.job);
      return reply.type(JSON_TYPE).send(shown.json);
    },
  );

  app.post<{ Params: { id: string } }>(
    '/v1/jobs/:id/cancel',
    {
      schema: {
        tags: ['jobs'],
        summary: 'Cancel a job',
        description:
          'A waiting job ends at once. A running one is asked to stop: `cancel_requested_at` is set and its end follows.',
        params: JobId,
        response: { 200: JobAnswer },
      },
    },
    async (request, reply) => {
      const { accountId } = request.caller;
      await shower.show(callerOf(request), request.params.id);
      await cancel(ctx, api.announcer, { accountId, jobId: request.params.id, by: 'client' });
      const shown = await shower.show(callerOf(request), request.params.id);
      jobHeaders(reply, shown.job);
      return reply.type(JSON_TYPE).send(shown.json);
    },
  );

  app.get<{ Params: { id: string } }>(
    '/v1/jobs/:id/explain',
    {
      schema: {
        tags: ['jobs'],
        summary: 'Account for a job',
        description:
          'The hold by lot, each attempt with what the provider said, the settlement: each credit accounted for.',
        params: JobId,
        response: { 200: Explanation },
      },
    },
    async (request) => explain(ctx, request.caller.accountId, request.params.id),
  );
}

export function callerOf({ caller }: FastifyRequest): { accountId: string; slots: number } {
  return { accountId: caller.accountId, slots: caller.terms.slots };
}

async function sendJob(
  { shower, ctx }: Api,
  request: FastifyRequest,
  { reply, job }: { reply: FastifyReply; job: Job },
): Promise<FastifyReply> {
  // The job is admitted: whatever fails now, the answer is that it is.
  const json = await shower.render(null, callerOf(request), job).then(
    (shown) => shown.json,
    (error: unknown) => {
      ctx.log.warn({ err: error, job: job.id }, 'an admitted job is shown without its place');
      return renderJob(job, { place: null, etaMs: null });
    },
  );
  jobHeaders(reply, job);
  reply.header('location', `/v1/jobs/${job.id}`).code(isFinal(job.status) ? 200 : 202);
  return reply.type(JSON_TYPE).send(json);
}
