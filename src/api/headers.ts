// Headers of contract 10 that belong to jobs.
import type { FastifyReply } from 'fastify';
import { isFinal } from '../domain/job.ts';
import type { Job } from '../domain/job-view.ts';
import { usd } from '../domain/money.ts';

export const EXPOSED_HEADERS = [
  'x-request-id',
  'x-client-request-id',
  'x-millrace-version',
  'x-inference-id',
  'x-credits-held',
  'x-credits-used',
  'x-usd-spent',
  'x-credits-available',
  'x-should-retry',
  'retry-after',
  'retry-after-ms',
  'idempotent-replayed',
  'location',
  'etag',
  'ratelimit',
  'ratelimit-policy',
  'x-ratelimit-limit',
  'x-ratelimit-remaining',
  'x-ratelimit-reset',
  'deprecation',
  'sunset',
  'link',
] as const;

export const JSON_TYPE = 'application/json; charset=utf-8';

export function jobHeaders(reply: FastifyReply, job: Job): void {
  reply.header('x-inference-id', job.id).header('x-credits-held', String(job.hold));
  if (isFinal(job.status)) {
    const cost = job.cost ?? 0n;
    reply.header('x-credits-used', String(cost)).header('x-usd-spent', usd(cost));
  } else {
    reply.header('retry-after', '1').header('retry-after-ms', '1000');
  }
}
