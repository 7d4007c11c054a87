// An answer that waits for the end of a job: `?wait=30`, or `Prefer: wait=30` (RFC 7240).
import type { FastifyRequest } from 'fastify';
import { Type } from 'typebox';
import { isFinal } from '../domain/job.ts';
import type { Job } from '../domain/job-view.ts';
import type { Api } from './api.ts';

const WAIT_MAX_S = 60;
export const Wait = Type.Optional(
  Type.Number({
    minimum: 0,
    maximum: WAIT_MAX_S,
    description: 'How many seconds to wait for its end. Then it is answered as it is.',
  }),
);

/** The job once it has ended, or as it is when the time is over or the process drains. */
export async function waited(api: Api, job: Job, forMs: number): Promise<Job> {
  if (forMs <= 0 || isFinal(job.status)) return job;
  const watch = api.hub.watch({ eventsOf: job.id });
  const until = performance.now() + forMs;
  try {
    for (;;) {
      const now = (await api.shower.show({ accountId: job.accountId, slots: 0 }, job.id)).job;
      const left = until - performance.now();
      if (isFinal(now.status) || left <= 0 || api.closing.aborted) return now;
      await watch.next(Math.min(left, 1_000), api.closing);
    }
  } finally {
    watch.close();
  }
}

/** What the request says: its parameter, or else its header. */
export function waitMs(request: FastifyRequest): number {
  const { wait } = request.query as { wait?: number };
  if (wait !== undefined) return wait * 1000;
  const match = /(?:^|[,;\s])wait=(\d{1,4})(?:$|[,;\s])/.exec(String(request.headers['prefer'] ?? ''));
  return Math.min(Number(match?.[1] ?? 0), WAIT_MAX_S) * 1000;
}
