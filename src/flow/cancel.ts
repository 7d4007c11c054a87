// Cancel: a waiting job ends at once; a running one is asked to stop, and its owner ends it.
import type { Context } from '../context.ts';
import type { Tx } from '../db/pool.ts';
import { persistently, transaction } from '../db/transaction.ts';
import { AppError } from '../domain/errors.ts';
import type { Bell } from '../domain/job.ts';
import { endWaiting } from '../domain/outcome.ts';
import { findJobs } from '../store/jobs.ts';
import { lockOpen, requestCancel } from '../store/open-jobs.ts';
import type { Announcer } from './announce.ts';
import { type Changes, endJob, openChanges, writeChanges } from './changes.ts';

export interface Cancel {
  accountId: string;
  jobId: string;
  by: 'client' | 'operator' | 'suspension';
}

const PATIENCE_MS = 12_000;

/** Harmless when repeated. @throws AppError not_found, or job_ended with the final `status` */
export async function cancel(ctx: Context, announcer: Announcer, request: Cancel): Promise<void> {
  let tries = 0;
  const { bells, stopping, ended, toDeliver } = await persistently(
    () => transaction(ctx.flow, (tx) => cancelIn(tx, ctx, { ...request, repeated: tries++ > 0 })),
    { forMs: PATIENCE_MS },
  );
  ctx.counts.ended(ended);
  announcer.ring(bells);
  announcer.deliver(toDeliver);
  const { accountId, jobId } = request;
  announcer.wake([stopping ? { type: 'stop', jobId } : { type: 'job', accountId, jobId }]);
}

async function cancelIn(
  tx: Tx,
  ctx: Context,
  request: Cancel & { repeated: boolean },
): Promise<{ bells: Bell[]; stopping: boolean } & Pick<Changes, 'ended' | 'toDeliver'>> {
  const { changes, jobs } = await openChanges(ctx, tx, {
    wanted: [request],
    lock: (tx) => lockOpen(tx, [request]),
  });
  const job = jobs.get(request.jobId);
  const { toDeliver } = changes;
  if (!job) {
    const ended = (await findJobs(tx, [request])).get(request.jobId);
    // Our own first try, whose COMMIT's answer was lost.
    if (request.repeated && ended?.status === 'canceled')
      return { bells: [], stopping: false, ended: [], toDeliver };
    throw ended
      ? new AppError('job_ended', { details: { status: ended.status } })
      : new AppError('not_found');
  }
  if (job.status === 'running') {
    await requestCancel(tx, { ...request, at: changes.now });
    return { bells: [], stopping: true, ended: [], toDeliver };
  }
  endJob(changes, { ...job, canceledBy: request.by }, endWaiting('canceled'));
  const bells = await writeChanges(tx, changes);
  return { bells, stopping: false, ended: changes.ended, toDeliver: changes.toDeliver };
}
